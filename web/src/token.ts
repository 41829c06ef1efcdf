// The token: asked for where the gateway wants one, kept for the tab, and asked for again before it ends. Without a token that holds there
// is nothing to come back for: the page waits for the person, without a connection.

import { byId, say } from "./dom.js";
import { loadToken, storeToken } from "./settings.js";

export class Token {
  #token = loadToken();
  /** What was sent on the connection that is open, and not yet answered. */
  #tried = "";
  #renew: ((token: string) => void) | undefined;
  readonly #field = byId<HTMLInputElement>("token");

  /** `use` begins a connection with the token. */
  constructor(use: () => void) {
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const typed = this.#field.value.trim();
      if (!typed) return;
      this.#field.value = "";
      this.answered();
      byId("symbols").focus();
      const renew = this.#renew;
      this.#renew = undefined;
      if (renew) {
        this.#tried = typed;
        renew(typed);
      } else {
        this.#keep(typed);
        use();
      }
    });
  }

  get isKnown(): boolean {
    return this.#token !== "";
  }

  /** The one that lets the page in, or nothing. */
  get text(): string {
    return this.#token;
  }

  /** For the client: the token of a new connection, or the one that the person enters before this one ends. */
  give(why: "connect" | "expiring"): string | Promise<string> {
    if (why === "connect") {
      this.#renew = undefined;
      this.#tried = "";
      return this.#token;
    }
    return new Promise((resolve) => (this.#renew = resolve));
  }

  /** Asks; `isBad` if it is because of the one that the page has. */
  ask(why: string, isBad = false): void {
    const note = byId("token-note");
    say(note, why);
    note.classList.toggle("bad", isBad);
    this.#field.ariaInvalid = String(isBad);
    byId("token-form").hidden = false;
  }

  /** The gateway takes none, or not this one. */
  refused(why: string): void {
    const had = this.#token || this.#tried;
    this.#keep("");
    this.ask(had ? `${why}. Enter another one.` : "This gateway asks for a token.", had !== "");
    this.#field.focus();
  }

  accepted(): void {
    if (this.#tried) this.#keep(this.#tried);
    this.answered();
  }

  answered(): void {
    say(byId("token-note"), "");
    byId("token-form").hidden = true;
  }

  #keep(token: string): void {
    this.#token = token;
    this.#tried = "";
    storeToken(token);
  }
}
