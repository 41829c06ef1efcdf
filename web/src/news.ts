// News, halts, and events of types that the workers have of their own: by their time, the newest on top. A time
// that is still ahead when the event comes counts as the time at which it comes: else such events would hold all places.

import type { MarketEvent } from "../../clients/js/src/index.js";
import { byId, make, time } from "./dom.js";
import { millis } from "./format.js";

const NEWS_MAX = 30;
const ITEM_MAX = 200;

/** One line. */
export interface Item {
  timestamp: number;
  /** Its place among the others. */
  atMs: number;
  kind: string;
  text: string;
  /** The worker's object: what is the same in all of it is the same event. */
  object: string;
  element?: HTMLLIElement;
}

/** The line of an event that reached the gateway at `cameMs`. Pure. */
export function itemOf(kind: string, data: any, cameMs: number): Item {
  // Types of the workers' own may have anything in place of a time, or none.
  const timestamp = Number.isFinite(data?.timestamp) ? data.timestamp : cameMs;
  const object = JSON.stringify(data);
  return { timestamp, atMs: Math.min(millis(timestamp), cameMs), kind, text: textOf(kind, data, object), object };
}

function textOf(kind: string, data: any, object: string): string {
  const { headline, symbol, status, reason } = data ?? {};
  if (kind === "news") return symbol && !headline.startsWith(symbol) ? `${symbol}: ${headline}` : headline;
  if (kind === "halt") return `${symbol} ${status}${typeof reason === "string" ? ` (${reason})` : ""}`;
  return `${kind} ${object}`.slice(0, ITEM_MAX);
}

/** The latest lines by their time, the newest first, each once: whoever subscribes again gets the last ones again. Pure. */
export class Latest {
  readonly items: Item[] = [];
  /** One has come since this was last set to false. */
  hasChanged = false;

  add(item: Item): void {
    const { timestamp, atMs, kind, object } = item;
    if (this.items.some((other) => other.object === object && other.kind === kind && other.timestamp === timestamp)) return;
    const found = this.items.findIndex((other) => other.atMs <= atMs);
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

  take({ type, data, timestamp }: MarketEvent<string, any>): void {
    const item = itemOf(type, data, timestamp);
    if (type === "news" || type === "halt") this.#latest.add(item);
    else this.#custom.set(`${type} ${data?.symbol ?? ""}`, item);
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
