// The search field. Only rows of the watchlist whose names contain what is typed stay, and the one that Enter shows is marked. Where there is none,
// Enter adds what is typed. A line below the field says which it will be.

import { byId, say } from "./dom.js";
import { isOne, meant, typed } from "./names.js";
import { asked } from "./settings.js";
import type { Watchlist } from "./watchlist.js";

export interface SearchActions {
  show(symbol: string): void;
  /** Resolves with whether they are watched. */
  add(names: string[]): Promise<boolean>;
  /** Whether the watchlist has a name already. */
  isWatched(name: string): boolean;
}

/** More names than this are only counted. */
const NAMED_MAX = 3;
/** What a key has that an input method takes: Safari tells of the Enter that ends a composition only so. */
const COMPOSING = 229;

export class Search {
  readonly #field = byId<HTMLInputElement>("symbols");
  readonly #button = byId("form").querySelector("button")!;
  readonly #watchlist: Watchlist;
  readonly #actions: SearchActions;
  /** The symbol that Enter shows; without one it adds what is typed. */
  #marked: string | undefined;
  /** What was typed and awaits the gateway's answer. */
  readonly #adding = new Set<string>();
  /** Arrows have led there. */
  #isChosen = false;

  constructor(watchlist: Watchlist, actions: SearchActions) {
    this.#watchlist = watchlist;
    this.#actions = actions;
    this.#field.addEventListener("input", () => this.#search());
    this.#field.addEventListener("keydown", (event) => this.#press(event));
    byId("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = this.#wanted();
      if (wanted.length) void this.#add(wanted);
    });
  }

  /** What is refused stays, so that it can be corrected. */
  async #add(wanted: string[]): Promise<void> {
    const text = this.#field.value;
    // It is asked for already.
    if (this.#adding.has(text)) return;
    this.#adding.add(text);
    const isAdded = await this.#actions.add(wanted);
    this.#adding.delete(text);
    if (isAdded && this.#field.value === text) this.#clear();
  }

  focus(): void {
    this.#field.focus();
  }

  /** The rows have changed, or whether something can be added. A mark stays where it can. */
  refresh(): void {
    if (!this.#field.value) return;
    const stays = (this.#marked !== undefined || this.#isChosen) && this.#choices().includes(this.#marked);
    if (stays) this.#mark(this.#marked);
    else this.#markMeant();
  }

  /** What is typed, as it would be asked for. */
  #wanted(): string[] {
    return [...new Set(typed(this.#field.value).map(asked))];
  }

  /** What of that is not watched yet. */
  #fresh(): string[] {
    return this.#wanted().filter((name) => !this.#actions.isWatched(name));
  }

  #search(): void {
    this.#watchlist.search(this.#field.value);
    this.#markMeant();
  }

  #clear(): void {
    this.#field.value = "";
    this.#search();
  }

  #markMeant(): void {
    this.#isChosen = false;
    this.#lead(meant(this.#watchlist.shown(), this.#field.value));
  }

  /** Marks another row, and scrolls to it. */
  #lead(symbol: string | undefined): void {
    this.#mark(symbol);
    if (symbol !== undefined) this.#watchlist.reveal(symbol);
  }

  #mark(symbol: string | undefined): void {
    this.#marked = symbol;
    this.#watchlist.mark(symbol);
    this.#button.classList.toggle("next", this.#canAdd() && symbol === undefined);
    say(byId("hint"), this.#hint());
  }

  #hint(): string {
    if (!this.#wanted().length) return "";
    const fresh = this.#fresh();
    const names = fresh.length > NAMED_MAX ? `${fresh.length} symbols` : fresh.join(", ");
    if (this.#marked !== undefined) return `Enter shows ${this.#marked}${this.#canAdd() ? `, the button adds ${names}` : ""}.`;
    if (!fresh.length) return "Watched already.";
    return this.#canAdd() ? `Enter adds ${names}.` : `Without a connection ${names} can't be added.`;
  }

  /** Without a connection nothing is added: the button is disabled, and so Enter does not submit. */
  #canAdd(): boolean {
    return !this.#button.disabled && this.#fresh().length > 0;
  }

  #press(event: KeyboardEvent): void {
    const { key, isComposing, keyCode, shiftKey, altKey, ctrlKey, metaKey } = event;
    const step = key === "ArrowUp" ? -1 : key === "ArrowDown" ? 1 : 0;
    if (isComposing || keyCode === COMPOSING) return;
    // With another key they select text, or move the cursor.
    const isAlone = !(shiftKey || altKey || ctrlKey || metaKey);
    if (step && isAlone && isOne(this.#field.value)) this.#step(step);
    else if (key === "Enter" && this.#marked !== undefined) this.#show(this.#marked);
    else if (key === "Escape") this.#clear();
    else return;
    event.preventDefault();
  }

  /** The rows, and behind the last of them what the button does. */
  #choices(): (string | undefined)[] {
    return [...this.#watchlist.shown(), ...(this.#canAdd() ? [undefined] : [])];
  }

  /** From one choice to the next. */
  #step(by: number): void {
    const choices = this.#choices();
    const at = choices.indexOf(this.#marked);
    this.#isChosen = true;
    this.#lead(choices[(at + by + choices.length) % choices.length]);
  }

  #show(symbol: string): void {
    this.#clear();
    this.#actions.show(symbol);
  }
}
