// The forms in which the gateway sends events: its own, and those of other vendors' APIs that DIALECTS turns on. Of each: where its clients
// connect, and what they send.

export interface Form {
  name: string;
  /** The path with its query, from the page's own. */
  path: string;
  /** What a client sends, in order: what lets it in, then the subscribe. Server-sent events have all of it in the path. */
  lines: string[];
  /** The gateway speaks first: each line is the answer to a message. */
  isAnswering: boolean;
  /** What tells more, from the top of the repository. */
  docs: string;
}

/** What `DIALECTS` may name, in the order in which they are offered. */
const DIALECTS = ["alpaca", "binance", "massive", "finnhub", "socketio"] as const;
export type DialectName = (typeof DIALECTS)[number];
export const NAMES: Record<DialectName, string> = { alpaca: "Alpaca", binance: "Binance", massive: "Massive (Polygon)", finnhub: "Finnhub", socketio: "Socket.IO" };

/** What an API calls the gateway's types. */
const CHANNELS: Record<"alpaca" | "binance" | "massive", Record<string, string>> = {
  alpaca: { trade: "trades", quote: "quotes", candle: "bars", halt: "statuses", news: "news" },
  binance: { trade: "trade", quote: "bookTicker", candle: "kline_1m" },
  massive: { trade: "T", quote: "Q", candle: "AM" },
};

/** What of `DIALECTS` is on, and what is not. */
export function dialects(enabled: readonly string[]): { on: DialectName[]; off: DialectName[] } {
  return { on: DIALECTS.filter((name) => enabled.includes(name)), off: DIALECTS.filter((name) => !enabled.includes(name)) };
}

/** The forms for a client of one symbol: the page's own first. Of the types it asks for the first one that the form has. */
export function forms(apis: readonly DialectName[], types: readonly string[], symbol: string, token: string): Form[] {
  const type = types[0] ?? "trade";
  const named = type === "trade" ? {} : { types: [type] };
  const subscribe = JSON.stringify({ action: "subscribe", symbols: [symbol], ...named, snapshot: true, id: 1 });
  const auth = token ? [JSON.stringify({ action: "auth", token })] : [];
  const query = `symbols=${encodeURIComponent(symbol)}&types=${type}&snapshot=1`;
  return [
    { name: "JSON", path: "ws", lines: [...auth, subscribe], isAnswering: false, docs: "docs/protocol.md" },
    { name: "JSON, several in a message", path: "ws?batch=1", lines: [...auth, subscribe], isAnswering: false, docs: "docs/protocol.md" },
    { name: "Server-sent events", path: withToken(`sse?${query}`, token), lines: [], isAnswering: false, docs: "docs/protocol.md" },
    ...apis.map((name) => ({ name: NAMES[name], docs: `docs/dialects/${name}.md`, ...dialect(name, types, symbol, token) })),
  ];
}

function dialect(name: DialectName, types: readonly string[], symbol: string, token: string): Pick<Form, "path" | "lines" | "isAnswering"> {
  switch (name) {
    case "alpaca": {
      const channel = channelOf(CHANNELS.alpaca, types);
      // Only API keys that have a secret have a colon, and the secret may have more; a gateway without keys takes any.
      const [key = "", ...secret] = (token || "KEY").split(":");
      return { path: "alpaca/v2/iex", lines: [JSON.stringify({ action: "auth", key, secret: secret.join(":") }), JSON.stringify({ action: "subscribe", [channel]: [symbol] })], isAnswering: true };
    }
    case "massive": {
      const params = `${channelOf(CHANNELS.massive, types)}.${symbol}`;
      return { path: "massive/stocks", lines: [JSON.stringify({ action: "auth", params: token || "KEY" }), JSON.stringify({ action: "subscribe", params })], isAnswering: true };
    }
    case "binance": {
      const stream = `${symbol.toLowerCase()}@${channelOf(CHANNELS.binance, types)}`;
      return { path: withToken("binance/stream", token), lines: [JSON.stringify({ method: "SUBSCRIBE", params: [stream], id: 1 })], isAnswering: false };
    }
    case "finnhub":
      return { path: withToken("finnhub", token), lines: [JSON.stringify({ type: "subscribe", symbol })], isAnswering: false };
    case "socketio": {
      const asked = JSON.stringify({ symbols: [symbol], types: [types[0] ?? "trade"], snapshot: true });
      return { path: "socket.io/?EIO=4&transport=websocket", lines: [`40/events,${token ? JSON.stringify({ token }) : ""}`, `42/events,0["subscribe",${asked}]`], isAnswering: true };
    }
  }
}

/** Where an API has none of the types, its first channel: the gateway then says what it makes of that. */
function channelOf(channels: Record<string, string>, types: readonly string[]): string {
  const type = types.find((type) => type in channels) ?? Object.keys(channels)[0]!;
  return channels[type]!;
}

function withToken(path: string, token: string): string {
  return token ? `${path}${path.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}` : path;
}
