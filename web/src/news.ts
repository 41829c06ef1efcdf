// News, halts, and events of types that the workers have of their own: by their time, the newest on top.

import { byId, make, time } from "./dom.js";
import { millis } from "./format.js";

const NEWS_MAX = 30;
const ITEM_MAX = 200;

/** One line. */
export interface Item {
  timestamp: unknown;
  kind: string;
  text: string;
  element?: HTMLLIElement;
}

/** The latest lines by their time, the newest first, each once: whoever subscribes again gets the last ones again. Pure. */
export class Latest {
  readonly items: Item[] = [];
  /** One has come since this was last set to false. */
  hasChanged = false;

  add(item: Item): void {
    const { timestamp, kind, text } = item;
    if (this.items.some((other) => other.text === text && other.kind === kind && other.timestamp === timestamp)) return;
    const atMs = millis(Number(timestamp));
    const found = this.items.findIndex((other) => !(millis(Number(other.timestamp)) > atMs));
    this.items.splice(found < 0 ? this.items.length : found, 0, item);
    if (this.items.length > NEWS_MAX) this.items.pop();
    this.hasChanged = true;
  }
}

export class News {
  readonly #latest = new Latest();
  /** Types of the workers' own come at any rate: of each topic the last one of a frame is shown. */
  #custom = new Map<string, Item>();

  constructor(isWanted: boolean) {
    byId("panel-news").hidden = !isWanted;
  }

  headline({ headline, symbol, timestamp }: { headline: string; symbol?: string; timestamp: number }): void {
    this.#latest.add({ timestamp, kind: "news", text: symbol && !headline.startsWith(symbol) ? `${symbol}: ${headline}` : headline });
  }

  halt({ symbol, status, reason, timestamp }: { symbol: string; status: string; reason?: unknown; timestamp: number }): void {
    const why = typeof reason === "string" ? ` (${reason})` : "";
    this.#latest.add({ timestamp, kind: "halt", text: `${symbol} ${status}${why}` });
  }

  /** Whatever it has in place of a time, it has come at `timestamp`. */
  custom(type: string, data: any, timestamp: number): void {
    const own = data?.timestamp;
    this.#custom.set(`${type} ${data?.symbol ?? ""}`, { timestamp: Number.isFinite(own) ? own : timestamp, kind: type, text: `${type} ${JSON.stringify(data)}`.slice(0, ITEM_MAX) });
  }

  paint(): void {
    for (const item of this.#custom.values()) this.#latest.add(item);
    this.#custom.clear();
    if (!this.#latest.hasChanged) return;
    this.#latest.hasChanged = false;
    const list = byId("news");
    this.#latest.items.forEach((item, index) => {
      const line = (item.element ??= lineOf(item));
      if (list.children[index] !== line) list.insertBefore(line, list.children[index] ?? null);
    });
    while (list.children.length > this.#latest.items.length) list.lastElementChild?.remove();
    byId("no-news").hidden = true;
    byId("panel-news").hidden = false;
  }
}

function lineOf({ timestamp, kind, text }: Item): HTMLLIElement {
  const line = make("li", "", time(timestamp), make("span", "", text));
  line.dataset.kind = kind;
  return line;
}
