// The watchlist: a row for each symbol with sparkline, last price, change and what is wrong with it. On a phone the rows are cards.

import { byId, button, make, say } from "./dom.js";
import { amount, day, moment, percent, signed, tradesOff } from "./format.js";
import { isFound, isMatched, isPattern } from "./names.js";
import type { Market, Quote } from "./market.js";
import { reorder } from "./reorder.js";
import { fold } from "./settings.js";
import { area, path } from "./spark.js";

/** What a person does with the list. */
export interface WatchActions {
  select(symbol: string): void;
  drop(name: string): void;
  move(symbol: string, index: number): void;
  /** Whether a symbol's events may be shown as ones of now. */
  isCurrent(symbol: string): boolean;
  /** Whether trades are subscribed: without them a price stays as it was. */
  hasTrades(): boolean;
}

interface Row {
  element: HTMLLIElement;
  pick: HTMLButtonElement;
  grip: HTMLButtonElement;
  date: HTMLElement;
  off: HTMLElement;
  halt: HTMLElement;
  loss: HTMLElement;
  line: SVGPathElement;
  area: SVGPathElement;
  price: HTMLElement;
  change: HTMLElement;
  drop: HTMLButtonElement;
  moves: number;
  flashedAt: number;
}

/** As its template in index.html. */
const SPARK = { width: 72, height: 24 };
/** A row flashes no more often: at many trades a second it would be a lamp. */
const FLASH_EVERY_MS = 250;

export class Watchlist {
  readonly #list = byId<HTMLOListElement>("rows");
  readonly #rows = new Map<string, Row>();
  readonly #market: Market;
  readonly #actions: WatchActions;
  #search = "";
  #hasPrice = false;
  #selected = "";
  /** Decimals of the widest price, so that the points of all stand above each other. */
  #decimals = 2;

  constructor(market: Market, actions: WatchActions) {
    this.#market = market;
    this.#actions = actions;
    reorder(this.#list, actions);
  }

  /** Rows in the order of the names, then those that patterns have brought. */
  layout(names: readonly string[], selected: string): void {
    this.#selected = selected;
    const named = names.filter((name) => !isPattern(name)).map(fold);
    const brought = [...this.#market.quotes.keys()].filter((symbol) => !named.includes(symbol) && isMatched(symbol, names.map(fold)));
    const symbols = [...new Set([...named, ...brought])];
    for (const [symbol, { element }] of this.#rows) {
      if (symbols.includes(symbol)) continue;
      element.remove();
      this.#rows.delete(symbol);
    }
    symbols.forEach((symbol, index) => {
      const row = this.#rows.get(symbol) ?? this.#make(symbol);
      row.grip.hidden = row.drop.hidden = !named.includes(symbol);
      row.element.toggleAttribute("data-named", named.includes(symbol));
      row.element.hidden = !isFound(symbol, this.#search);
      if (symbol === selected) row.pick.setAttribute("aria-current", "true");
      else row.pick.removeAttribute("aria-current");
      if (this.#list.children[index] !== row.element) this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    });
    this.#chips(names.filter(isPattern));
  }

  search(text: string): void {
    this.#search = text;
    for (const [symbol, { element }] of this.#rows) element.hidden = !isFound(symbol, text);
  }

  /** The symbols of the rows that are not hidden, in their order. */
  shown(): string[] {
    return ([...this.#list.children] as HTMLLIElement[]).filter(({ hidden }) => !hidden).map(({ dataset }) => dataset.symbol!);
  }

  /** Marks the row that Enter in the search field leads to. */
  mark(symbol: string | undefined): void {
    for (const [of, { element }] of this.#rows) element.classList.toggle("next", of === symbol);
  }

  /** Scrolls to a row, if need be. */
  reveal(symbol: string): void {
    this.#rows.get(symbol)?.element.scrollIntoView({ block: "nearest" });
  }

  /** Draws the rows whose symbols have changed. */
  paint(now = performance.now()): void {
    for (const symbol of this.#market.dirty) {
      const quote = this.#market.quotes.get(symbol);
      const row = this.#rows.get(symbol);
      if (quote && row) this.#draw(row, quote, now);
    }
  }

  #draw(row: Row, quote: Quote, now: number): void {
    const isOff = quote.last !== undefined && !this.#actions.hasTrades();
    row.element.classList.toggle("stale", isOff || !this.#actions.isCurrent(quote.symbol));
    row.off.hidden = !isOff;
    Object.assign(row.halt, { hidden: !quote.halt });
    say(row.halt, quote.halt);
    row.loss.hidden = !quote.loss;
    if (quote.loss) {
      say(row.loss, quote.loss.text);
      row.loss.title = quote.loss.title;
    }
    if (quote.last === undefined) return;
    if (!this.#hasPrice) performance.mark("first-price");
    this.#hasPrice = true;
    const line = path(quote.spark.points, SPARK.width, SPARK.height);
    row.line.setAttribute("d", line);
    row.area.setAttribute("d", area(line, SPARK.height));
    row.element.classList.toggle("known", quote.isKnown);
    const date = day(quote.lastMs);
    row.date.hidden = !date;
    say(row.date, date);
    if (date) row.date.title = `Traded ${moment(quote.lastMs)}`;
    row.element.title = isOff ? tradesOff(quote.lastMs) : quote.isKnown ? "The last price before you came" : "";
    say(row.price, amount(quote.last, quote.decimals));
    row.price.dataset.pad = String(this.#decimals - quote.decimals);
    if (quote.decimals > this.#decimals) this.#align(quote.decimals);
    const change = percent(quote.last, quote.first);
    const way = change > 0 ? "up" : change < 0 ? "down" : "flat";
    say(row.change, signed(change));
    row.element.dataset.way = way;
    if (quote.moves !== row.moves && now - row.flashedAt > FLASH_EVERY_MS) {
      // Two classes that look the same: the other one starts the animation anew.
      const turn = quote.moves % 2 ? "a" : "b";
      row.price.className = `price flash-${quote.way > 0 ? "up" : "down"}-${turn}`;
      row.flashedAt = now;
    }
    row.moves = quote.moves;
  }

  #align(decimals: number): void {
    this.#decimals = decimals;
    for (const [symbol, { price }] of this.#rows) {
      price.dataset.pad = String(decimals - (this.#market.quotes.get(symbol)?.decimals ?? 2));
    }
  }

  #make(symbol: string): Row {
    const svg = (byId<HTMLTemplateElement>("spark").content.cloneNode(true) as DocumentFragment).firstElementChild as SVGSVGElement;
    const [area, line] = [...svg.children] as [SVGPathElement, SVGPathElement];
    const [date, halt, loss] = [make("span", "date"), make("span", "badge"), make("span", "badge loss")];
    date.hidden = halt.hidden = loss.hidden = true;
    const price = make("span", "price", "–");
    const change = make("span", "change", "");
    const off = make("span", "unseen", ", trades are off");
    off.hidden = true;
    const pick = make("button", "pick", make("span", "name", make("span", "symbol", symbol), date, halt, loss), svg, price, change, off);
    pick.type = "button";
    pick.setAttribute("aria-describedby", "move-hint");
    pick.addEventListener("click", () => this.#actions.select(symbol));
    const grip = button("grip", "", `Move ${symbol}`, () => {});
    grip.setAttribute("aria-describedby", "move-hint");
    const drop = button("drop", "×", `Unsubscribe from ${symbol}`, () => this.#actions.drop(symbol));
    const element = make("li", "row", grip, pick, drop);
    element.dataset.symbol = symbol;
    const row: Row = { element, pick, grip, date, off, halt, loss, line, area, price, change, drop, moves: 0, flashedAt: -Infinity };
    this.#rows.set(symbol, row);
    const quote = this.#market.quotes.get(symbol);
    if (quote) this.#draw(row, quote, performance.now());
    return row;
  }

  #chips(patterns: readonly string[]): void {
    const chips = patterns.map((pattern) => {
      const drop = button("drop", "×", `Unsubscribe from ${pattern}`, () => this.#actions.drop(pattern));
      return make("span", "chip", pattern, drop);
    });
    byId("patterns").replaceChildren(...chips);
  }

  get selected(): string {
    return this.#selected;
  }
}
