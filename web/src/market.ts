// What is known of each symbol, from the events that have come. Pure: the clock comes in with the events.

import type { MarketEvent } from "../../clients/js/src/index.js";
import { Candles } from "./candles.js";
import { decimalsOf, millis } from "./format.js";
import { type Range, rangeOf, widened } from "./range.js";
import { Spark } from "./spark.js";
import { type Print, type Side, sideOf, Tape } from "./tape.js";

/** A symbol as the page shows it. */
export interface Quote {
  readonly symbol: string;
  last?: number;
  lastMs?: number;
  /** The first price that the page knows of: what the change is measured by. */
  first?: number;
  firstMs?: number;
  /** Rises and falls of the price since the page was opened, so that a view sees each. */
  moves: number;
  way: 1 | 0 | -1;
  decimals: number;
  /** Trades of now: not those from before the page came. */
  trades: number;
  lastSize?: number;
  exchange?: string;
  timestamp?: number;
  bid?: number;
  ask?: number;
  bidSize?: unknown;
  askSize?: unknown;
  range?: Range;
  halt: string;
  loss?: { text: string; title: string };
  /** The price is the last one before the page came; no trade has come since. */
  isKnown: boolean;
  seq?: number;
  side: Side;
  readonly spark: Spark;
  readonly candles: Candles;
}

/** Numbers that the gateway looks back. */
const LATE_WINDOW = 64;
/** More symbols than this have no row: a pattern may bring any number. */
export const ROWS_MAX = 500;

export class Market {
  readonly quotes = new Map<string, Quote>();
  readonly tape = new Tape();
  /** Symbols that have changed since the last paint. */
  readonly dirty = new Set<string>();
  /** Symbols that a pattern brought and that have no row. */
  readonly unseen = new Set<string>();
  /** Symbols whose earlier trades are about to come again. */
  readonly #recalled = new Map<string, Print[]>();

  /** The symbol's quote, made if there is room. */
  want(symbol: string): Quote | undefined {
    const known = this.quotes.get(symbol);
    if (known) return known;
    if (this.quotes.size >= ROWS_MAX) return void this.unseen.add(symbol);
    const quote: Quote = { symbol, moves: 0, way: 0, decimals: 2, trades: 0, halt: "", isKnown: false, side: "", spark: new Spark(), candles: new Candles() };
    this.quotes.set(symbol, quote);
    this.dirty.add(symbol);
    return quote;
  }

  /** Everything is to be drawn again: what is current has changed. */
  soil(): void {
    for (const symbol of this.quotes.keys()) this.dirty.add(symbol);
  }

  drop(symbol: string): void {
    this.quotes.delete(symbol);
    this.dirty.delete(symbol);
    this.#recalled.delete(symbol);
  }

  /** Takes a trade, quote, candle or halt of that symbol. */
  take(symbol: string, { type, data, snapshot, replay, conflated }: MarketEvent<string, any>): void {
    const quote = this.want(symbol);
    if (!quote) return;
    this.dirty.add(symbol);
    switch (type) {
      case "trade":
        return this.#trade(quote, data, conflated, snapshot === true, replay === true);
      case "quote":
        quote.bid = Number(data.bidPrice);
        quote.ask = Number(data.askPrice);
        quote.bidSize = data.bidSize;
        quote.askSize = data.askSize;
        quote.decimals = Math.max(quote.decimals, decimalsOf(quote.bid), decimalsOf(quote.ask));
        break;
      case "candle": {
        const [open, high, low, close, volume] = [data.open, data.high, data.low, data.close, data.volume].map(Number) as [number, number, number, number, number];
        const atMs = millis(data.timestamp);
        if (quote.candles.put(data.interval, typeof data.start === "number" ? millis(data.start) : atMs, atMs, { open, high, low, close, volume })) delete quote.range;
        quote.range = rangeOf(data, quote.range);
        // A snapshot of the candle comes behind that of a newer trade.
        if (quote.last !== undefined && quote.lastMs! >= atMs) quote.range = widened(quote.range, quote.last, quote.last, quote.lastMs!);
        break;
      }
      case "halt":
        quote.halt = /resum/i.test(data.status) ? "" : data.status;
        break;
    }
    quote.timestamp = data.timestamp;
  }

  #trade(quote: Quote, data: any, conflated: any, isSnapshot: boolean, isReplay: boolean): void {
    const price = Number(data.price);
    if (!Number.isFinite(price)) return;
    const atMs = millis(data.timestamp);
    const volume = Number(conflated?.volume ?? data.volume) || 0;
    const seq: number | undefined = Number.isSafeInteger(data.seq) ? data.seq : undefined;
    const isOld = (isSnapshot && quote.last !== undefined && atMs <= millis(quote.timestamp ?? 0)) || (isReplay && seq !== undefined && seq <= (quote.seq ?? -1));
    const low = Number(conflated?.low ?? price);
    const high = Number(conflated?.high ?? price);
    const recalled = this.#recalled.get(quote.symbol);
    if (isOld && !recalled) return; // Known already.
    const { side, isInferred } = isOld ? sideOf(data.side, price, undefined, undefined, recalled?.at(-1)?.price, recalled?.at(-1)?.side ?? "") : sideOf(data.side, price, quote.bid, quote.ask, quote.last, quote.side);
    const print = { symbol: quote.symbol, price, volume, atMs, side, isInferred, count: conflated?.count ?? 1 };
    // Overtaken by newer ones, as the gateway tells late events from those of a worker that has begun its numbers again.
    const isLate = seq !== undefined && quote.seq !== undefined && seq < quote.seq && seq > quote.seq - LATE_WINDOW;
    if (quote.candles.add({ price, high, low, volume, atMs }, isLate)) {
      quote.spark.setBack();
      delete quote.range;
    }
    quote.spark.add(price, atMs);
    quote.decimals = Math.max(quote.decimals, decimalsOf(price));
    if (isOld) {
      recalled?.push(print);
      if (atMs < (quote.firstMs ?? Infinity)) Object.assign(quote, { first: price, firstMs: atMs });
      return;
    }
    if (quote.range) quote.range = widened(quote.range, low, high, data.timestamp);
    if (quote.last !== undefined && price !== quote.last) {
      quote.way = price > quote.last ? 1 : -1;
      quote.moves++;
    }
    quote.last = price;
    quote.lastMs = atMs;
    if (quote.first === undefined) Object.assign(quote, { first: price, firstMs: atMs });
    quote.lastSize = volume;
    quote.exchange = data.exchange;
    quote.timestamp = data.timestamp;
    quote.isKnown = isSnapshot;
    if (seq !== undefined && !isLate) quote.seq = seq;
    if (isSnapshot) return;
    quote.side = side;
    quote.trades += print.count;
    this.tape.add(print);
  }

  /** The symbol's trades are about to come again, with earlier ones, up to `recalled`. */
  recall(symbol: string): void {
    const quote = this.quotes.get(symbol);
    if (!quote) return;
    quote.candles.clear();
    quote.spark.clear();
    this.#recalled.set(symbol, []);
  }

  recalled(symbol: string): void {
    const prints = this.#recalled.get(symbol);
    if (!prints) return;
    this.#recalled.delete(symbol);
    this.dirty.add(symbol);
    // Some have come live before.
    const own = this.tape.prints.filter((print) => print.symbol === symbol).length;
    this.tape.restore(own ? prints.slice(0, -own) : prints);
  }

  /** Events of the symbol are missing: said beside its row until the next loss. */
  lose(symbol: string, text: string, title: string): void {
    const quote = this.want(symbol);
    if (!quote) return;
    quote.loss = { text, title };
    this.dirty.add(symbol);
  }
}
