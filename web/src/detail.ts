// The chosen symbol: its price in large, and what else is known of it.

import { byId, make, say } from "./dom.js";
import { amount, brief, count, moment, percent, signed, tradesOff, when } from "./format.js";
import type { Quote } from "./market.js";
import { TYPES } from "./settings.js";

/** Title, key, and the type that a fact belongs to. */
const FACTS = [
  ["Bid", "bid", "quote"],
  ["Ask", "ask", "quote"],
  ["Low – high", "range", "candle"],
  ["Last size", "lastSize", "trade"],
  ["Trades", "trades", "trade"],
  ["Exchange", "exchange", "trade"],
  ["Time", "time", ""],
] as const;
type Fact = (typeof FACTS)[number][1];

export class Detail {
  readonly #cells = new Map<Fact, HTMLElement>();
  readonly #titles = new Map<Fact, HTMLElement>();

  constructor() {
    for (const [title, key, type] of FACTS) {
      if (type && !TYPES.includes(type)) continue;
      const cell = make("dd", "", "–");
      cell.dataset.fact = key;
      if (type) cell.dataset.type = type;
      const label = make("dt", "", title);
      this.#cells.set(key, cell);
      this.#titles.set(key, label);
      byId("facts").append(make("div", "", label, cell));
    }
  }

  /** Without trades the price and what belongs to it are those of before; a quote goes on. */
  paint(symbol: string, quote: Quote | undefined, hasTrades: boolean): void {
    say(byId("chosen"), symbol || "–");
    const { last, decimals = 2, halt = "" } = quote ?? {};
    const halted = byId("chosen-halt");
    halted.hidden = !halt;
    say(halted, halt);
    const change = last === undefined ? 0 : percent(last, quote?.first);
    say(byId("chosen-price"), last === undefined ? "–" : amount(last, decimals));
    const moved = byId("chosen-change");
    say(moved, last === undefined ? "" : `${last - quote!.first! < 0 ? "−" : "+"}${amount(Math.abs(last - quote!.first!), decimals)}  ${signed(change)}`);
    moved.className = change > 0 ? "up" : change < 0 ? "down" : "flat";
    moved.title = quote?.firstMs ? `Since ${moment(quote.firstMs)}, the first price that this page knows` : "";
    const isOff = !hasTrades && last !== undefined;
    byId("chosen-off").hidden = !isOff;
    byId("now").title = isOff ? tradesOff(quote?.lastMs) : "";
    for (const [key, cell] of this.#cells) say(cell, quote ? fact(key, quote) : "–");
    const { bid, ask, time } = Object.fromEntries(this.#cells) as Record<Fact, HTMLElement | undefined>;
    if (time) time.title = quote?.timestamp === undefined ? "" : moment(quote.timestamp);
    if (bid) bid.title = sized(quote?.bidSize);
    if (ask) ask.title = sized(quote?.askSize);
    // Without its interval it would look like the day's.
    const range = this.#titles.get("range");
    if (range) say(range, quote?.range ? `Low – high, ${quote.range.interval}` : "Low – high");
  }
}

const sized = (size: unknown) => (size === undefined ? "" : `Size ${String(size)}`);
const price = (value: number | undefined, decimals: number) => (value === undefined || !Number.isFinite(value) ? "–" : amount(value, decimals));

function fact(key: Fact, { bid, ask, range, lastSize, trades, exchange, timestamp, decimals }: Quote): string {
  switch (key) {
    case "bid":
      return price(bid, decimals);
    case "ask":
      return price(ask, decimals);
    case "range":
      return range ? `${price(range.low, decimals)} – ${price(range.high, decimals)}` : "–";
    case "lastSize":
      return lastSize === undefined ? "–" : brief(lastSize);
    case "trades":
      return count(trades);
    case "exchange":
      return exchange ?? "–";
    case "time":
      return timestamp === undefined ? "–" : when(timestamp);
  }
}
