// News, halts, and events of types that the workers have of their own: the newest on top.

import { byId, make, time } from "./dom.js";

const NEWS_MAX = 30;
const ITEM_MAX = 200;

interface Item {
  timestamp: unknown;
  kind: string;
  text: string;
}

export class News {
  #waiting: Item[] = [];
  /** Types of the workers' own come at any rate: of each topic the last one of a frame is shown. */
  #custom = new Map<string, Item>();

  constructor(isWanted: boolean) {
    byId("panel-news").hidden = !isWanted;
  }

  headline({ headline, symbol, timestamp }: { headline: string; symbol?: string; timestamp: number }): void {
    this.#add({ timestamp, kind: "news", text: symbol && !headline.startsWith(symbol) ? `${symbol}: ${headline}` : headline });
  }

  halt({ symbol, status, reason, timestamp }: { symbol: string; status: string; reason?: unknown; timestamp: number }): void {
    const why = typeof reason === "string" ? ` (${reason})` : "";
    this.#add({ timestamp, kind: "halt", text: `${symbol} ${status}${why}` });
  }

  custom(type: string, data: any, timestamp: number): void {
    this.#custom.set(`${type} ${data?.symbol ?? ""}`, { timestamp: data?.timestamp ?? timestamp, kind: type, text: `${type} ${JSON.stringify(data)}`.slice(0, ITEM_MAX) });
  }

  paint(): void {
    const items = [...this.#waiting, ...this.#custom.values()].slice(-NEWS_MAX);
    if (!items.length) return;
    // The first ones come symbol by symbol.
    items.sort((a, b) => Number(a.timestamp) - Number(b.timestamp));
    this.#waiting = [];
    this.#custom.clear();
    const list = byId("news");
    for (const { timestamp, kind, text } of items) {
      const line = make("li", "", time(timestamp), make("span", "", text));
      line.dataset.kind = kind;
      list.prepend(line);
    }
    while (list.children.length > NEWS_MAX) list.lastElementChild?.remove();
    byId("no-news").hidden = true;
    byId("panel-news").hidden = false;
  }

  #add(item: Item): void {
    this.#waiting.push(item);
    if (this.#waiting.length > NEWS_MAX) this.#waiting.shift();
  }
}
