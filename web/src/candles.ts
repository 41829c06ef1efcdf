// Candles of a symbol, of the intervals that the page offers: made from trades, and where the gateway carries candles, from those. Pure.

import { lengthMs } from "./range.js";

/** One candle; `time` is its begin in Unix seconds. */
export interface Bar {
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
}

/** A trade, or several in one. */
export interface Dealt {
  price: number;
  high: number;
  low: number;
  volume: number;
  atMs: number;
}

/** Intervals that are made from trades, in seconds. */
export const INTERVALS = ["1s", "5s", "15s", "1m", "5m"] as const;
const SECOND_BARS_MAX = 600;
const MINUTE_BARS_MAX = 480;
const CARRIED_BARS_MAX = 500;
/** So many events in a row that are so much older than the newest one mean that the worker's clock was set back. */
const SET_BACK_EVENTS = 3;
const SET_BACK_MS = 10_000;

/** Notices that a worker's clock was set back, by the times of its events. */
class Watch {
  readonly #slackMs: number;
  #newestMs = -Infinity;
  /** Events in a row that are far older than the newest. */
  #behind = 0;

  constructor(slackMs: number) {
    this.#slackMs = slackMs;
  }

  /** Whether this event shows it. One that is known to be late shows nothing. */
  isSetBack(atMs: number, isLate: boolean): boolean {
    if (!isLate) this.#behind = atMs < this.#newestMs - this.#slackMs ? this.#behind + 1 : 0;
    const isSetBack = this.#behind >= SET_BACK_EVENTS;
    if (isSetBack) this.setBack(atMs);
    else this.#newestMs = Math.max(this.#newestMs, atMs);
    return isSetBack;
  }

  /** It was set back to that time. */
  setBack(atMs: number): void {
    this.#newestMs = atMs;
    this.#behind = 0;
  }
}

/** Candles of one interval, in the order of time, bounded. */
export class Series {
  bars: Bar[] = [];
  /** Rises when anything but the end has changed. */
  rebuilt = 0;
  readonly seconds: number;
  readonly #max: number;

  constructor(seconds: number, max: number) {
    this.seconds = seconds;
    this.#max = max;
  }

  begin(atMs: number): number {
    return Math.floor(atMs / 1000 / this.seconds) * this.seconds;
  }

  /** Adds a trade to its candle. One from before the first candle is left out. */
  add({ price, high, low, volume, atMs }: Dealt): void {
    const time = this.begin(atMs);
    const last = this.bars.at(-1);
    if (!last || time > last.time) {
      this.#push({ time, open: price, high, low, close: price, volume });
      return;
    }
    const bar = time === last.time ? last : this.bars.find((bar) => bar.time === time);
    if (!bar) return;
    bar.high = Math.max(bar.high, high);
    bar.low = Math.min(bar.low, low);
    bar.volume += volume;
    if (bar === last) bar.close = price;
    else this.rebuilt++;
  }

  /** Takes a whole candle for the one of its time. */
  put(bar: Bar): void {
    const last = this.bars.at(-1);
    if (!last || bar.time > last.time) return this.#push(bar);
    const at = this.bars.findIndex(({ time }) => time >= bar.time);
    if (this.bars[at]!.time === bar.time) this.bars[at] = bar;
    else this.bars.splice(at, 0, bar);
    if (at < this.bars.length - 1) this.rebuilt++;
  }

  /** The clock was set back: what was drawn behind that time goes, so that candles go on from there. */
  setBack(atMs: number): void {
    const time = this.begin(atMs);
    this.bars = this.bars.filter((bar) => bar.time < time);
    this.rebuilt++;
  }

  #push(bar: Bar): void {
    this.bars.push(bar);
    if (this.bars.length > this.#max) this.bars.shift();
  }
}

/** Candles of a longer interval; `since` leaves out those that begin earlier. */
export function merged(bars: readonly Bar[], seconds: number, since = -Infinity): Bar[] {
  let from = bars.length;
  while (from > 0 && Math.floor(bars[from - 1]!.time / seconds) * seconds >= since) from--;
  const out: Bar[] = [];
  for (const bar of bars.slice(from)) {
    const time = Math.floor(bar.time / seconds) * seconds;
    const last = out.at(-1);
    if (last?.time === time) {
      last.high = Math.max(last.high, bar.high);
      last.low = Math.min(last.low, bar.low);
      last.close = bar.close;
      last.volume += bar.volume;
    } else {
      out.push({ ...bar, time });
    }
  }
  return out;
}

/** All candles of one symbol. */
export class Candles {
  #seconds = new Series(1, SECOND_BARS_MAX);
  #minutes = new Series(60, MINUTE_BARS_MAX);
  #carried = new Map<string, Series>();
  #cleared = 0;
  #trades = new Watch(SET_BACK_MS);
  /** Of each carried interval. */
  #watches = new Map<string, Watch>();

  /** Adds a trade; tells whether it shows that the worker's clock was set back. One that is known to be late shows nothing. */
  add(dealt: Dealt, isLate = false): boolean {
    const { atMs } = dealt;
    const isSetBack = this.#trades.isSetBack(atMs, isLate);
    const all = [this.#seconds, this.#minutes, ...this.#carried.values()];
    if (isSetBack) for (const part of [...all, ...this.#watches.values()]) part.setBack(atMs);
    for (const series of all) series.add(dealt);
    return isSetBack;
  }

  /**
   * Takes a candle that the gateway carries, published at `atMs`; tells whether it shows that the worker's clock was set back. One whose
   * interval can't be read has no place on an axis of time.
   */
  put(interval: string, startMs: number, atMs: number, bar: Omit<Bar, "time">): boolean {
    const seconds = lengthMs(interval) / 1000;
    if (!Number.isFinite(seconds)) return false;
    let series = this.#carried.get(interval);
    // A candle may be corrected when the next has begun, under the time of its own begin.
    const watch = this.#watches.get(interval) ?? new Watch(Math.max(SET_BACK_MS, 2_000 * seconds));
    this.#watches.set(interval, watch);
    if (!series) {
      series = new Series(seconds, CARRIED_BARS_MAX);
      series.bars = merged(this.#base(seconds).bars, seconds);
      this.#carried.set(interval, series);
    }
    const isSetBack = watch.isSetBack(atMs, false);
    if (isSetBack) series.setBack(startMs);
    series.put({ ...bar, time: series.begin(startMs) });
    return isSetBack;
  }

  /** Forgets what was made of trades: they are about to come again, with those before them. */
  clear(): void {
    this.#seconds = new Series(1, SECOND_BARS_MAX);
    this.#minutes = new Series(60, MINUTE_BARS_MAX);
    this.#cleared++;
    this.#trades = new Watch(SET_BACK_MS);
  }

  /** The intervals that the gateway carries. */
  get carried(): string[] {
    return [...this.#carried.keys()];
  }

  /** The candles of an interval that begin at `since` or later. */
  bars(interval: string, since = -Infinity): Bar[] {
    const carried = this.#carried.get(interval);
    if (carried) return merged(carried.bars, carried.seconds, since);
    const seconds = lengthMs(interval) / 1000;
    return merged(this.#base(seconds).bars, seconds, since);
  }

  /** Another number means that other candles than those at the end have changed. */
  edition(interval: string): string {
    const series = this.#carried.get(interval) ?? this.#base(lengthMs(interval) / 1000);
    return `${this.#carried.has(interval)} ${this.#cleared} ${series.rebuilt}`;
  }

  #base(seconds: number): Series {
    return seconds < 60 ? this.#seconds : this.#minutes;
  }
}
