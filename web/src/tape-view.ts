// The tape's lines. The newest stands on top; lines are reused, so that many trades a second make no garbage.

import { byId, make, say } from "./dom.js";
import { amount, brief, day, dayOf, moment, when } from "./format.js";
import type { Market } from "./market.js";
import { load, store } from "./settings.js";
import type { Print } from "./tape.js";

const LINES_MAX = 40;

export class TapeView {
  readonly #panel = byId("panel-tape");
  readonly #list = byId<HTMLOListElement>("tape");
  readonly #only = byId<HTMLInputElement>("tape-only");
  readonly #market: Market;
  #drawn = 0;
  #of = "";

  constructor(market: Market, ask: () => void) {
    this.#market = market;
    this.#only.checked = load("tape") === "only";
    this.#only.addEventListener("change", () => {
      store("tape", this.#only.checked ? "only" : "");
      ask();
    });
  }

  paint(selected: string): void {
    const { tape } = this.#market;
    const only = this.#only.checked ? selected : "";
    // At midnight all of it is drawn again: what was today's gets its date.
    const of = `${only} ${tape.restored} ${dayOf()}`;
    if (of !== this.#of) {
      this.#of = of;
      this.#drawn = 0;
      this.#list.replaceChildren();
    }
    const fresh = tape.since(this.#drawn).filter(({ symbol }) => !only || symbol === only);
    this.#drawn = tape.total;
    for (const print of fresh.slice(-LINES_MAX)) this.#draw(print);
    this.#panel.classList.toggle("dated", this.#list.querySelector("[data-dated]") !== null);
  }

  #draw({ symbol, price, volume, atMs, side, isInferred, count }: Print): void {
    const line = this.#list.children.length < LINES_MAX ? make("li", "", ...["time", "of", "side", "price", "size"].map((name) => make("span", name))) : (this.#list.lastElementChild as HTMLLIElement);
    const [time, of, taken, paid, size] = line.children as unknown as [Element, Element, Element, Element, Element];
    const isDated = day(atMs) !== "";
    line.toggleAttribute("data-dated", isDated);
    say(time, when(atMs));
    say(of, symbol);
    // A word: an arrow would be read as the way of the price, and colour alone tells not everybody.
    say(taken, side || "–");
    say(paid, amount(price, this.#market.quotes.get(symbol)?.decimals));
    say(size, brief(volume));
    line.dataset.side = side;
    line.toggleAttribute("data-inferred", isInferred);
    const word = side ? `${side}${isInferred ? " (inferred from the price)" : ""}` : "side unknown";
    line.title = [...(isDated ? [moment(atMs)] : []), word, ...(count > 1 ? [`${count} trades`] : [])].join("; ");
    this.#list.prepend(line);
  }
}
