// The low and high of the candle under way. A candle is published now and then, trades go on: until the next one its low and high are
// also theirs, and a trade behind its end begins the next. Pure.

import { millis } from "./format.js";

const UNITS_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** The length of an interval such as `1m`, or infinity where it can't be read. */
export function lengthMs(interval: string): number {
  const [, count, unit = ""] = /^(\d+) ?([smhdw])/i.exec(interval) ?? [];
  return Number(count) * (UNITS_MS[unit.toLowerCase()] ?? NaN) || Infinity;
}

export interface Range {
  low: number;
  high: number;
  interval: string;
  startMs: number;
  lengthMs: number;
}

interface CandleLike {
  low: number;
  high: number;
  interval: string;
  timestamp: number;
  start?: unknown;
}

/** The range of a candle that has come, or the one before if that is newer or of a shorter interval. Without an interval that can be read it lasts until the next candle. */
export function rangeOf({ low, high, interval, start, timestamp }: CandleLike, before?: Range): Range {
  const length = lengthMs(interval);
  const at = millis(typeof start === "number" ? start : timestamp);
  const startMs = length === Infinity ? -Infinity : Math.floor(at / length) * length;
  if (before?.interval === interval && before.startMs > startMs) return before; // Late: trades have begun the next.
  if (before && before.interval !== interval && before.lengthMs <= length) return before;
  return { low: Number(low), high: Number(high), interval, startMs, lengthMs: length };
}

/** The range with a trade, which may have begun the next candle. */
export function widened(range: Range, low: number, high: number, timestamp: number): Range {
  const at = millis(timestamp);
  if (at < range.startMs) return range;
  if (range.lengthMs === Infinity || at < range.startMs + range.lengthMs) {
    return { ...range, low: Math.min(range.low, low), high: Math.max(range.high, high) };
  }
  return rangeOf({ low, high, interval: range.interval, timestamp });
}
