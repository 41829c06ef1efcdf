// The tape: the latest trades with size and side, and the rule that finds the side where the worker tells none. Pure.

export type Side = "buy" | "sell" | "";

/** One line of the tape. */
export interface Print {
  symbol: string;
  price: number;
  volume: number;
  atMs: number;
  side: Side;
  /** The side is not the worker's: it follows from the quote or from the price before. */
  isInferred: boolean;
  /** How many trades it stands for. */
  count: number;
}

const PRINTS_MAX = 60;

/** Who took: what the worker says, else the side of the quote that the price is at, else the way of the price (the tick rule). */
export function sideOf(told: unknown, price: number, bid: number | undefined, ask: number | undefined, last: number | undefined, before: Side): Pick<Print, "side" | "isInferred"> {
  const word = typeof told === "string" ? told.toLowerCase() : "";
  if (["buy", "b", "bid"].includes(word)) return { side: "buy", isInferred: false };
  if (["sell", "s", "ask"].includes(word)) return { side: "sell", isInferred: false };
  if (ask !== undefined && price >= ask) return { side: "buy", isInferred: true };
  if (bid !== undefined && price <= bid) return { side: "sell", isInferred: true };
  if (last === undefined) return { side: "", isInferred: true };
  return { side: price > last ? "buy" : price < last ? "sell" : before, isInferred: true };
}

/** The latest prints, the newest last. */
export class Tape {
  prints: Print[] = [];
  /** How many there have been, so that a view knows how many it has not drawn. */
  total = 0;
  /** How many times earlier ones were put in. */
  restored = 0;

  add(print: Print): void {
    this.total++;
    this.prints.push(print);
    if (this.prints.length > PRINTS_MAX) this.prints.shift();
  }

  /** Puts earlier prints where they belong; views draw all of it again. */
  restore(earlier: readonly Print[]): void {
    this.prints = [...earlier, ...this.prints].sort((a, b) => a.atMs - b.atMs).slice(-PRINTS_MAX);
    this.total += earlier.length;
    this.restored++;
  }

  /** The prints since the view's last look, at most as many as are kept. */
  since(total: number): Print[] {
    return this.prints.slice(Math.max(0, this.prints.length - (this.total - total)));
  }
}
