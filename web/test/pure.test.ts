// The parts of the page that need no page: names, numbers, ranges, sparklines, candles, the tape, one paint a frame.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Candles, merged, Series } from "../src/candles.js";
import { amount, brief, clock, day, decimalsOf, millis, moment, percent, signed, span, when } from "../src/format.js";
import { type DialectName, dialects, forms } from "../src/forms.js";
import { Frame } from "../src/frame.js";
import { isFound, isMatched, meant, moved, split, typed } from "../src/names.js";
import { itemOf, Latest } from "../src/news.js";
import { lengthMs, rangeOf, widened } from "../src/range.js";
import { withoutSecrets } from "../src/secret.js";
import { area, path, Spark } from "../src/spark.js";
import { isReplay } from "../src/tap.js";
import { sideOf, Tape } from "../src/tape.js";

const dealt = (price: number, atMs: number, volume = 1) => ({ price, high: price, low: price, volume, atMs });

test("names are separated by commas, or by spaces where there is no comma", () => {
  assert.deepEqual(typed(" aapl  msft "), ["aapl", "msft"]);
  assert.deepEqual(typed("AAPL  240119C00190000, MSFT,,MSFT"), ["AAPL  240119C00190000", "MSFT"]);
  assert.deepEqual(split(""), []);
});

test("a pattern covers what begins so", () => {
  assert(isMatched("BTC-USD", ["AAPL", "BTC-*"]));
  assert(!isMatched("AAPL", ["AAPL", "BTC-*"]));
});

test("a row moves, at most to an end of the list", () => {
  assert.deepEqual(moved(["a", "b", "c"], "a", 1), ["b", "a", "c"]);
  assert.deepEqual(moved(["a", "b", "c"], "b", -1), ["b", "a", "c"]);
  assert.deepEqual(moved(["a", "b", "c"], "b", 9), ["a", "c", "b"]);
  assert.deepEqual(moved(["a", "b"], "x", 0), ["a", "b"]);
});

test("searching hides other rows; typing several names or a pattern hides none", () => {
  assert(isFound("AAPL", "ap") && !isFound("MSFT", "ap"));
  assert(isFound("MSFT", "") && isFound("MSFT", "A B") && isFound("MSFT", "BTC-*"));
});

test("a search means the symbol of that name, else one that begins so, else one that has it in its name", () => {
  const symbols = ["NFLX", "AAPL", "BTC-USD", "A"];
  assert.deepEqual(["a", "aap", "nf", "usd", " L "].map((text) => meant(symbols, text)), ["A", "AAPL", "NFLX", "BTC-USD", "NFLX"]);
  assert.deepEqual(["", "q", "A, B", "aapl msft", "BTC-*"].map((text) => meant(symbols, text)), Array(5).fill(undefined));
  assert.equal(meant(["brk", "BRK"], "BRK"), "BRK", "where case counts, the one in that case");
});

test("prices have the decimals that they need", () => {
  assert.deepEqual([150.25, 150.5, 7, 1.0825, 0.000012, 64_000.129].map(decimalsOf), [2, 2, 2, 4, 6, 2]);
  assert.equal(amount(150.5), "150.50");
  assert.equal(amount(1.1, 4), "1.1000");
});

test("a change is rounded as it is shown, and is never minus zero", () => {
  assert.equal(signed(percent(150.5, 150.25)), "+0.17 %");
  assert.equal(signed(percent(99, 100)), "−1.00 %");
  assert.equal(signed(percent(99.9999, 100)), "0.00 %");
  assert.equal(percent(1, undefined), 0);
});

test("numbers and times are short, and a bad time is none", () => {
  assert.equal(brief(1_234), "1,234");
  assert.equal(brief(1_234_567), "1.23M");
  assert.deepEqual([0.4, 3.25, 45, 1_234].map(span), ["< 1 ms", "3.3 ms", "45 ms", "1.2 s"]);
  assert.equal(millis(1_700_000_000), 1_700_000_000_000);
  assert.match(clock(1_700_000_000_000), /^\d\d:\d\d:\d\d$/);
  assert.deepEqual([clock(NaN), clock(1e300), clock("x")], ["–", "–", "–"]);
});

test("what is not of today has its date, and of another year the date alone", () => {
  const at = (year: number, month: number, date: number, hour = 0, minute = 0, second = 0) => new Date(year, month - 1, date, hour, minute, second).getTime();
  const now = at(2026, 3, 5, 0, 10);
  const today = at(2026, 3, 5);
  assert.deepEqual([day(today, now), moment(today, now), when(today, now)], ["", "00:00:00", "00:00:00"]);
  const yesterday = at(2026, 3, 4, 23, 58, 59);
  assert.match(day(yesterday, now), /4/);
  assert(!day(yesterday, now).includes("2026") && !day(yesterday, now).includes(":"));
  assert.equal(moment(yesterday, now), `${day(yesterday, now)} 23:58:59`);
  assert.equal(when(yesterday, now), `${day(yesterday, now)} 23:58`);
  const earlier = at(2025, 12, 31, 23, 59);
  assert.match(day(earlier, now), /31.*2025|2025.*31/);
  assert.equal(when(earlier, now), day(earlier, now));
  assert.equal(moment(earlier, now), `${day(earlier, now)} 23:59:00`);
  assert.equal(day(yesterday / 1000, now), day(yesterday, now), "workers may write seconds");
  assert.notEqual(day(at(2026, 3, 6), now), "", "nor is tomorrow today");
  assert.deepEqual([NaN, 1e300, "x", undefined].map((bad) => `${day(bad, now)}${when(bad, now)}${moment(bad, now)}`), Array(4).fill("––"));
});

test("trades widen the range of the candle under way, and begin the next", () => {
  const first = rangeOf({ low: 10, high: 12, interval: "1m", timestamp: 60_000_000_000_000 });
  const wider = widened(first, 9, 9, first.startMs + 59_999);
  assert.deepEqual([wider.low, wider.high], [9, 12]);
  const next = widened(wider, 11, 11, first.startMs + 60_000);
  assert.deepEqual([next.low, next.high, next.startMs], [11, 11, first.startMs + 60_000]);
  assert.equal(rangeOf({ low: 1, high: 2, interval: "1m", timestamp: first.startMs }, next), next, "a late candle replaces none");
  assert.equal(rangeOf({ low: 1, high: 2, interval: "1d", timestamp: first.startMs }, next), next, "the shortest interval is shown");
  assert.equal(lengthMs("odd"), Infinity);
});

test("a sparkline has a point a second and is bounded", () => {
  const spark = new Spark();
  spark.add(1, 0);
  spark.add(2, 500);
  spark.add(3, 1_000);
  assert.deepEqual(spark.points, [2, 3]);
  for (let at = 2; at < 100; at++) spark.add(at, at * 1_000);
  assert.equal(spark.points.length, 60);
  assert.equal(path([1, 2], 72, 24), "M0.0 22.5L72.0 1.5");
  assert.equal(path([5], 72, 24), "M0 12.0H72");
  assert.equal(path([], 72, 24), "");
  assert.equal(area(path([5], 72, 24), 24), "M0 12.0H72V24H0Z");
  assert.equal(area(path([], 72, 24), 24), "", "a browser complains of a path that begins with no move");
});

test("candles are made of trades, of each interval", () => {
  const candles = new Candles();
  const at = 1_700_000_100_000;
  for (const [price, after] of [[10, 0], [12, 900], [9, 1_000], [11, 4_999], [20, 5_000]] as const) candles.add(dealt(price, at + after));
  assert.deepEqual(candles.bars("1s")[0], { time: at / 1000, open: 10, high: 12, low: 10, close: 12, volume: 2 });
  assert.deepEqual(candles.bars("5s"), [
    { time: at / 1000, open: 10, high: 12, low: 9, close: 11, volume: 4 },
    { time: at / 1000 + 5, open: 20, high: 20, low: 20, close: 20, volume: 1 },
  ]);
  assert.equal(candles.bars("5s", at / 1000 + 5).length, 1, "only the end is asked for");
  assert.equal(candles.bars("1m").length, 1);
});

test("a late trade counts in its own candle and changes no close of now", () => {
  const series = new Series(1, 10);
  series.add(dealt(10, 1_000));
  series.add(dealt(11, 2_000));
  series.add(dealt(5, 1_500));
  assert.deepEqual(series.bars.map(({ low, close }) => [low, close]), [[5, 10], [11, 11]]);
  assert.equal(series.rebuilt, 1);
  series.add(dealt(1, 0));
  assert.equal(series.bars.length, 2, "one from before the first is left out");
});

test("a carried candle takes the place of what trades made, and trades go on from it", () => {
  const candles = new Candles();
  const at = 1_700_000_040_000; // A whole minute.
  candles.add(dealt(10, at + 1_000));
  candles.put("1m", at, at, { open: 9, high: 13, low: 8, close: 10, volume: 100 });
  assert.deepEqual(candles.carried, ["1m"]);
  candles.add(dealt(14, at + 2_000));
  candles.add(dealt(15, at + 60_000));
  assert.deepEqual(candles.bars("1m").map(({ open, high, low, close, volume }) => [open, high, low, close, volume]), [[9, 14, 8, 14, 101], [15, 15, 15, 15, 1]]);
  candles.put("odd", at, at, { open: 1, high: 1, low: 1, close: 1, volume: 1 });
  assert.deepEqual(candles.carried, ["1m"], "what has no length has no place in time");
});

test("candles are bounded", () => {
  const candles = new Candles();
  for (let second = 0; second < 5_000; second++) candles.add(dealt(1, second * 1_000));
  assert.equal(candles.bars("1s").length, 600);
  assert(candles.bars("5m").length <= 97);
  assert.equal(merged([], 5).length, 0);
});

test("the side is the worker's, else the quote's, else the tick's", () => {
  assert.deepEqual(sideOf("SELL", 10, 9, 10, 9, "buy"), { side: "sell", isInferred: false });
  assert.deepEqual(sideOf(undefined, 10, 9, 10, 11, ""), { side: "buy", isInferred: true });
  assert.deepEqual(sideOf(undefined, 9, 9, 10, 8, ""), { side: "sell", isInferred: true });
  assert.equal(sideOf(undefined, 10, undefined, undefined, 9, "").side, "buy");
  assert.equal(sideOf(undefined, 10, undefined, undefined, 10, "sell").side, "sell", "an unchanged price keeps the side");
  assert.equal(sideOf(undefined, 10, undefined, undefined, undefined, "").side, "");
});

test("the tape is bounded and tells what is new", () => {
  const tape = new Tape();
  for (let at = 0; at < 100; at++) tape.add({ symbol: "A", price: at, volume: 1, atMs: at, side: "", isInferred: true, count: 1 });
  assert.equal(tape.prints.length, 60);
  assert.deepEqual(tape.since(98).map(({ price }) => price), [98, 99]);
  assert.equal(tape.since(0).length, 60);
});

test("there is one paint a frame, however often it is asked for", () => {
  const requested: (() => void)[] = [];
  let paints = 0;
  const frame = new Frame([() => paints++], (run) => requested.push(run));
  for (let update = 0; update < 1_000; update++) frame.ask();
  assert.equal(requested.length, 1);
  requested[0]!();
  assert.equal(paints, 1);
  frame.ask();
  assert.equal(requested.length, 2);
});

test("an event that came again is told by its mark, also on a delayed feed", () => {
  const event = (marks: string) => `{"type":"trade","data":{"symbol":"A"},"timestamp":1700000000000${marks}}`;
  assert.deepEqual([',"replay":true', ',"replay":true,"delayedMs":900000', "", ',"snapshot":true', ',"delayedMs":900000'].map((marks) => isReplay(event(marks))), [true, true, false, false, false]);
  assert(!isReplay('{"type":"book","data":{"symbol":"A","replay":true},"timestamp":1700000000000}'), "a field of the worker's is no mark");
});

test("each form says where its clients connect, and what they send", () => {
  const of = (name: DialectName, types: string[], token = "") => forms([name], types, "BTC-USD", token).at(-1)!;
  assert.deepEqual(of("alpaca", ["trade"]).lines, ['{"action":"auth","key":"KEY","secret":""}', '{"action":"subscribe","trades":["BTC-USD"]}']);
  assert.equal(of("alpaca", ["trade"], "a-key:with-a-secret").lines[0], '{"action":"auth","key":"a-key","secret":"with-a-secret"}');
  // The first of the types that the API has.
  assert.equal(of("binance", ["order_book", "candle"]).lines[0], '{"method":"SUBSCRIBE","params":["btc-usd@kline_1m"],"id":1}');
  assert.equal(of("massive", ["news"]).lines[1], '{"action":"subscribe","params":"T.BTC-USD"}');
  assert.equal(of("binance", ["trade"], "a+b").path, "binance/stream?token=a%2Bb");
  assert.equal(of("socketio", ["trade"], "t").lines[0], '40/events,{"token":"t"}');
  assert.equal(of("alpaca", ["trade"], "a-key:with:colons").lines[0], '{"action":"auth","key":"a-key","secret":"with:colons"}');
  const [json, batch, sse] = forms([], ["quote"], "M&M", "t");
  assert.deepEqual(batch!.lines, json!.lines);
  assert.equal(json!.lines[1], '{"action":"subscribe","symbols":["M&M"],"types":["quote"],"snapshot":true,"id":1}');
  assert.equal(sse!.path, "sse?symbols=M%26M&types=quote&snapshot=1&token=t");
  assert.deepEqual(dialects(["none"]).on, []);
  assert.deepEqual(dialects(["finnhub", "alpaca"]), { on: ["alpaca", "finnhub"], off: ["binance", "massive", "socketio"] });
});

test("what lets somebody in is not shown, in whichever form it is sent", () => {
  for (const [sent, shown] of [
    ['{"action":"auth","token":"s3cret"}', '{"action":"auth","token":"…"}'],
    ['{"action":"auth", "key" : "s3c\\"ret", "secret":"s3cret"}', '{"action":"auth", "key" : "…", "secret":"…"}'],
    ['{"params":"s3cret","action":"auth"}', '{"params":"…","action":"auth"}'],
    ['{"action":"subscribe","params":"T.AAPL"}', '{"action":"subscribe","params":"T.AAPL"}'],
    ['40/events,{"token":"s3cret"}', '40/events,{"token":"…"}'],
    ['42/events,1["auth",{"token":"s3cret"}]', '42/events,1["auth",{"token":"…"}]'],
    // What is no request may have a token in it all the same.
    ['42/events,1["auth",{"token":12345,"id":1}]', '42/events,1["auth",{"token":"…","id":1}]'],
    ['40/events,{"token":"s3cret', '40/events,{"token":"…"'],
  ] as const) {
    assert.equal(withoutSecrets(sent), shown);
  }
});

test("news are in the order of their times, whenever they come, and each is there once", () => {
  const latest = new Latest();
  const add = (timestamp: number, headline: string) => latest.add(itemOf("news", { headline, timestamp }, 2_100_000_000_000));
  const texts = () => latest.items.map(({ text }) => text);
  add(2_000_000_000_002, "b");
  add(2_000_000_000_003, "c");
  // A symbol that is added later brings its last one, and a type that is chosen again brings all of them again.
  add(2_000_000_000_001, "a");
  add(2_000_000_000_003, "c");
  assert.deepEqual(texts(), ["c", "b", "a"]);
  latest.hasChanged = false;
  add(2_000_000_000_002, "b");
  assert.equal(latest.hasChanged, false);
  // Of the same time, the later one on top; in seconds as in milliseconds.
  add(2_000_000_000_003, "d");
  add(2_000_000_001, "e");
  assert.deepEqual(texts(), ["e", "d", "c", "b", "a"]);
  for (let n = 0; n < 40; n++) add(2_000_000_002_000 + n, `n${n}`);
  add(2_000_000_000_001, "a");
  assert.deepEqual([texts().length, texts()[0], texts().at(-1)], [30, "n39", "n10"]);
});

test("news that claim a time ahead have no better place than what comes after them", () => {
  const latest = new Latest();
  const add = (kind: string, data: object, cameMs: number) => latest.add(itemOf(kind, data, cameMs));
  const NOW = 2_000_000_000_000;
  for (let n = 0; n < 30; n++) add("note", { n, timestamp: NOW + 1e9 }, NOW);
  add("note", { n: 30 }, NOW + 1);
  add("news", { headline: "h", timestamp: NOW - 1 }, NOW + 2);
  add("halt", { symbol: "A", status: "halted", timestamp: NOW + 3 }, NOW + 3);
  assert.deepEqual(latest.items.slice(0, 2).map(({ text }) => text), ["A halted", 'note {"n":30}']);
  assert.deepEqual([latest.items.length, latest.items[2]?.text], [30, `note {"n":29,"timestamp":${NOW + 1e9}}`]);
});

test("what differs only behind the part that is shown is no repeat", () => {
  const latest = new Latest();
  for (const end of ["a", "b", "b"]) latest.add(itemOf("book", { text: "x".repeat(300), end }, 2_000_000_000_000));
  assert.deepEqual(latest.items.map(({ text, object }) => [text.length, object.slice(-3)]), [[200, 'b"}'], [200, 'a"}']]);
});
