// What the page knows of a symbol after what has come.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Market, ROWS_MAX } from "../src/market.js";

const AT = 1_700_000_000_000;
const trade = (price: number, more: object = {}, marks: object = {}) => ({ type: "trade", data: { symbol: "A", price, volume: 10, timestamp: AT, ...more }, timestamp: AT, ...marks }) as never;

test("a trade is the last price, counts, and is on the tape", () => {
  const market = new Market();
  market.take("A", trade(10));
  market.take("A", trade(11));
  const quote = market.quotes.get("A")!;
  assert.deepEqual([quote.first, quote.last, quote.trades, quote.way, quote.moves], [10, 11, 2, 1, 1]);
  assert.deepEqual(market.tape.prints.map(({ side }) => side), ["", "buy"]);
  assert.deepEqual([...market.dirty], ["A"]);
});

test("a snapshot is a price from before, no trade of now, and takes the place of no newer one", () => {
  const market = new Market();
  market.take("A", trade(10, {}, { snapshot: true }));
  assert.deepEqual([market.quotes.get("A")!.isKnown, market.quotes.get("A")!.trades], [true, 0]);
  market.take("A", trade(12, { timestamp: AT + 5 }));
  market.take("A", trade(10, {}, { snapshot: true }));
  const { last, lastMs, isKnown } = market.quotes.get("A")!;
  assert.deepEqual([last, lastMs, isKnown], [12, AT + 5, false]);
});

test("the last price is in the range, also where the candle comes behind a newer trade", () => {
  for (const [afterMs, range] of [[30_000, [10, 13]], [90_000, [13, 13]]] as const) {
    const start = Math.floor(AT / 60_000) * 60_000;
    const market = new Market();
    market.take("A", trade(13, { timestamp: start + afterMs }, { snapshot: true }));
    market.take("A", { type: "candle", data: { symbol: "A", interval: "1m", start, open: 11, high: 12, low: 10, close: 11, volume: 1, timestamp: start + 20_000 }, timestamp: AT, snapshot: true } as never);
    const { low, high } = market.quotes.get("A")!.range!;
    assert.deepEqual([low, high], range);
  }
});

test("an aggregate counts as the trades that it stands for", () => {
  const market = new Market();
  market.take("A", trade(10, {}, { conflated: { count: 7, volume: 70, high: 12, low: 8 } }));
  const quote = market.quotes.get("A")!;
  assert.deepEqual([quote.trades, quote.lastSize], [7, 70]);
  assert.deepEqual(quote.candles.bars("1s").map(({ high, low, volume }) => [high, low, volume]), [[12, 8, 70]]);
});

test("where a worker's clock is set back, candles and sparkline go on from there", () => {
  for (const isNumbered of [true, false]) {
    const market = new Market();
    let seq = 0;
    const deal = (price: number, atMs: number) => market.take("A", trade(price, { timestamp: atMs, ...(isNumbered && { seq: ++seq }) }));
    for (let second = 0; second < 30; second++) deal(10, AT + second * 1_000);
    const quote = market.quotes.get("A")!;
    const before = quote.candles.edition("1s");
    // An hour back.
    for (let second = 0; second < 5; second++) deal(20 + second, AT - 3_600_000 + second * 1_000);
    assert.notEqual(quote.candles.edition("1s"), before, "the chart is drawn again");
    assert.deepEqual(quote.candles.bars("1s").map(({ close }) => close), [22, 23, 24]);
    assert.deepEqual(quote.candles.bars("1m").map(({ close }) => close), [24]);
    assert.deepEqual(quote.spark.points.slice(-3), [22, 23, 24]);
    assert.equal(quote.last, 24);
  }
});

test("where only candles come and the worker's clock is set back, the chart and the range go on from there", () => {
  for (const hasStart of [true, false]) {
    const market = new Market();
    const candle = (close: number, atMs: number) => {
      const start = Math.floor(atMs / 60_000) * 60_000;
      const data = { symbol: "A", interval: "1m", open: 1, high: close, low: 1, close, volume: 1, timestamp: hasStart ? atMs : start, ...(hasStart && { start }) };
      market.take("A", { type: "candle", data, timestamp: atMs } as never);
    };
    for (let minute = 0; minute < 30; minute++) for (const second of [10, 30, 59]) candle(10 + minute, AT + minute * 60_000 + second * 1_000);
    const quote = market.quotes.get("A")!;
    const before = quote.candles.edition("1m");
    // Twenty minutes back: the candles of before stand up to there.
    for (let at = 0; at < 4; at++) candle(90 + at, AT + 10 * 60_000 + at * 1_000);
    assert.notEqual(quote.candles.edition("1m"), before, "the chart is drawn again");
    assert.deepEqual(quote.candles.bars("1m").slice(-2).map(({ close }) => close), [19, 93]);
    assert.equal(quote.range?.high, 93);
    for (let at = 0; at < 3; at++) candle(100 + at, AT + (11 + at) * 60_000);
    assert.deepEqual(quote.candles.bars("1m").slice(-4).map(({ close }) => close), [93, 100, 101, 102]);
  }
});

test("candles that are corrected afterwards are no clock that was set back", () => {
  const market = new Market();
  const candle = (close: number, start: number, timestamp: number) =>
    market.take("A", { type: "candle", data: { symbol: "A", interval: "1m", open: 1, high: close, low: 1, close, volume: 1, start, timestamp }, timestamp } as never);
  for (let minute = 0; minute < 30; minute++) candle(10 + minute, AT + minute * 60_000, AT + minute * 60_000);
  for (let minute = 0; minute < 10; minute++) candle(90, AT + minute * 60_000, AT + 30 * 60_000);
  const { candles } = market.quotes.get("A")!;
  assert.equal(candles.bars("1m").length, 30);
  assert.equal(candles.bars("1m").at(-1)!.close, 39);
});

test("trades that come late, and a few seconds of disorder, are no clock that was set back", () => {
  const market = new Market();
  for (let seq = 1; seq <= 30; seq++) market.take("A", trade(10, { timestamp: AT + seq * 1_000, seq: seq + 10 }));
  for (let seq = 1; seq <= 5; seq++) market.take("A", trade(9, { timestamp: AT + seq * 1_000, seq: seq }));
  market.take("B", trade(10, { symbol: "B", timestamp: AT + 9_000 }));
  for (let at = 0; at < 5; at++) market.take("B", trade(10, { symbol: "B", timestamp: AT + at * 1_000 }));
  assert.equal(market.quotes.get("A")!.candles.bars("1s").length, 30);
  assert.equal(market.quotes.get("B")!.candles.bars("1s").length, 1, "of before the first candle");
});

test("recalled trades fill candles, sparkline and tape, and are no trades of now", () => {
  const market = new Market();
  market.take("A", trade(12, { seq: 3, timestamp: AT + 3_000 }, { snapshot: true }));
  market.take("A", trade(13, { seq: 4, timestamp: AT + 4_000 }));
  market.recall("A");
  for (const seq of [1, 2, 3, 4]) market.take("A", trade(9 + seq, { seq, timestamp: AT + seq * 1_000 }, { replay: true }));
  market.recalled("A");
  const quote = market.quotes.get("A")!;
  assert.deepEqual([quote.last, quote.trades, quote.first], [13, 1, 10]);
  assert.deepEqual(quote.candles.bars("1s").map(({ close, volume }) => [close, volume]), [[10, 10], [11, 10], [12, 10], [13, 10]]);
  assert.equal(quote.spark.points.length, 4);
  assert.deepEqual(market.tape.prints.map(({ price }) => price), [10, 11, 12, 13]);
  assert.equal(market.tape.since(0).length, 4, "a view that begins again gets all of them");
});

test("a replay after a lost connection is what was missed: it counts", () => {
  const market = new Market();
  market.take("A", trade(10, { seq: 1 }));
  market.take("A", trade(11, { seq: 2 }, { replay: true }));
  market.take("A", trade(11, { seq: 2 }, { replay: true }));
  assert.equal(market.quotes.get("A")!.trades, 2);
});

test("quotes, candles and halts are kept beside the price", () => {
  const market = new Market();
  const take = (type: string, data: object) => market.take("A", { type, data: { symbol: "A", timestamp: AT, ...data }, timestamp: AT } as never);
  take("quote", { bidPrice: 9, askPrice: 11 });
  take("candle", { open: 10, high: 12, low: 9, close: 10, volume: 5, interval: "1m" });
  take("halt", { status: "halted" });
  const quote = market.quotes.get("A")!;
  assert.deepEqual([quote.bid, quote.ask, quote.range?.low, quote.halt], [9, 11, 9, "halted"]);
  market.take("A", trade(8));
  assert.deepEqual([quote.range?.low, market.tape.prints[0]!.side], [8, "sell"], "the price is never outside the range");
  take("halt", { status: "resumed" });
  assert.equal(quote.halt, "");
});

test("there are at most so many rows; the other symbols are counted", () => {
  const market = new Market();
  for (let at = 0; at < ROWS_MAX + 3; at++) market.take(`S${at}`, trade(1));
  market.take("S502", trade(1));
  assert.deepEqual([market.quotes.size, market.unseen.size], [ROWS_MAX, 3]);
});

test("a price that is no number changes nothing", () => {
  const market = new Market();
  market.take("A", trade(10));
  market.take("A", trade("odd" as never));
  assert.equal(market.quotes.get("A")!.last, 10);
});
