// The search field. It leaves the rows of the watchlist that have what is typed in their names, and marks the one that Enter shows; where there is
// none, Enter adds what is typed. A line below the field says which it will be.

import { byId, say } from "./dom.js";
import { isOne, meant, typed } from "./names.js";
import { asked, fold } from "./settings.js";
import type { Watchlist } from "./watchlist.js";

export interface SearchActions {
  show(symbol: string): void;
  add(names: string[]): void;
}

/** More names than this are only counted. */
const NAMED_MAX = 3;

export class Search {
  readonly #field = byId<HTMLInputElement>("symbols");
  readonly #button = byId("form").querySelector("button")!;
  readonly #watchlist: Watchlist;
  readonly #actions: SearchActions;
  /** The symbol that Enter shows; without one it adds what is typed. */
  #marked: string | undefined;

  constructor(watchlist: Watchlist, actions: SearchActions) {
    this.#watchlist = watchlist;
    this.#actions = actions;
    this.#field.addEventListener("input", () => this.#search());
    this.#field.addEventListener("keydown", (event) => this.#press(event));
    byId("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = this.#wanted();
      if (!wanted.length) return;
      this.#clear();
      actions.add(wanted);
    });
  }

  focus(): void {
    this.#field.focus();
  }

  /** What is typed, as it would be asked for. */
  #wanted(): string[] {
    return typed(this.#field.value).map(asked);
  }

  #search(): void {
    const { value } = this.#field;
    this.#watchlist.search(value);
    this.#mark(meant(this.#watchlist.shown(), value));
  }

  #clear(): void {
    this.#field.value = "";
    this.#search();
  }

  #mark(symbol: string | undefined): void {
    this.#marked = symbol;
    this.#watchlist.mark(symbol);
    const wanted = this.#wanted();
    this.#button.classList.toggle("next", wanted.length > 0 && symbol === undefined);
    const names = wanted.length > NAMED_MAX ? `${wanted.length} symbols` : wanted.join(", ");
    const add = this.#isNew(wanted) ? `, the button adds ${names}` : "";
    say(byId("hint"), !wanted.length ? "" : symbol === undefined ? `Enter adds ${names}.` : `Enter shows ${symbol}${add}.`);
  }

  #isNew(wanted: readonly string[]): boolean {
    const shown = this.#watchlist.shown();
    return wanted.some((name) => !shown.includes(fold(name)));
  }

  #press(event: KeyboardEvent): void {
    const { key, isComposing } = event;
    const step = key === "ArrowUp" ? -1 : key === "ArrowDown" ? 1 : 0;
    if (isComposing) return;
    if (step && isOne(this.#field.value)) this.#step(step);
    else if (key === "Enter" && this.#marked !== undefined) this.#show(this.#marked);
    else if (key === "Escape") this.#clear();
    else return;
    event.preventDefault();
  }

  /** From row to row, and behind the last to what the button does. */
  #step(by: number): void {
    const choices = [...this.#watchlist.shown(), ...(this.#isNew(this.#wanted()) ? [undefined] : [])];
    const at = choices.indexOf(this.#marked);
    this.#mark(choices[(at + by + choices.length) % choices.length]);
  }

  #show(symbol: string): void {
    this.#clear();
    this.#actions.show(symbol);
  }
}
