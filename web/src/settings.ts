// What the gateway says of itself in the page, what the address asks for, and what this browser remembers.

const meta = (name: string) => document.querySelector<HTMLMetaElement>(`meta[name=${name}]`)?.content ?? "";

/** The types that this gateway carries. */
export const TYPES = meta("channel-types").split(",");
/** SYMBOL_CASE: whether `aapl` is another symbol than `AAPL`. */
const IS_EXACT = meta("symbol-case") === "exact";
/** Whether it has rooms. */
export const HAS_ROOMS = meta("rooms") === "yes";
/** The APIs of others whose clients it serves. */
export const DIALECTS = meta("dialects").split(",");
/** All other types are the workers' own: any JSON objects. */
export const MARKET = new Set(["trade", "quote", "candle", "news", "halt"]);

/** A symbol as the gateway folds it: an event may have it in another case than its channel. */
export const fold = (symbol: string): string => (IS_EXACT ? symbol : symbol.toUpperCase());

/** A name as it is asked for. Types of the workers' own are never folded: where there are some, it stays as it was typed. */
export const asked = (name: string): string => (TYPES.every((type) => MARKET.has(type)) ? fold(name) : name);

/** MAX_SYMBOLS_PER_CLIENT, which counts each type of each symbol. */
const MAX_SYMBOLS = Number(meta("max-symbols"));

/** The symbols of the demo. */
const DEMO = ["AAPL", "GOOGL", "MSFT", "TSLA", "AMZN", "NVDA", "META", "NFLX"];
/** Whether a client may have all of them with all types of a market, and as many again: there has to be room for more. */
const IS_ALL = meta("demo") === "yes" && 2 * DEMO.length * TYPES.filter((type) => MARKET.has(type)).length <= MAX_SYMBOLS;

/** What a first visit begins with where a client may have few. Elsewhere than in the demo nobody knows which symbols are traded. */
export const FEW = DEMO.slice(0, 3);
/** Something to see at once. */
export const FIRST_VISIT = IS_ALL ? DEMO : FEW;

/** The types that so many symbols begin with: those of a market, as many as the gateway lets a client have. */
export const firstTypes = (count: number): string[] => {
  const fitting = TYPES.filter((type) => MARKET.has(type)).slice(0, Math.floor(MAX_SYMBOLS / Math.max(1, count)));
  return fitting.length ? fitting : TYPES.slice(0, 1);
};

type Remembered = "symbols" | "types" | "rate" | "theme" | "interval" | "style" | "tape" | "console" | "room";

/** The address' value, or else what this browser remembers. */
export function load(name: Remembered): string | null {
  const asked = new URLSearchParams(location.search).get(name);
  if (asked) return asked;
  try {
    return localStorage.getItem(`ws-gateway.${name}`);
  } catch {
    return null;
  }
}

export function store(name: Remembered, value: string): void {
  try {
    localStorage.setItem(`ws-gateway.${name}`, value);
  } catch {
    // Private mode: not remembered.
  }
}

const TOKEN = "ws-gateway.token";

/** What lets the page in, for as long as its tab lives. */
export function loadToken(): string {
  try {
    return sessionStorage.getItem(TOKEN) ?? "";
  } catch {
    return "";
  }
}
export function storeToken(token: string): void {
  try {
    token ? sessionStorage.setItem(TOKEN, token) : sessionStorage.removeItem(TOKEN);
  } catch {
    // As `store`.
  }
}
