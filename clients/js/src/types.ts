// What the gateway sends, as types. Fields beyond the contract are whatever the worker has added. Timestamps are Unix milliseconds.

/** A trade. */
export interface Trade {
  symbol: string;
  price: number;
  volume: number;
  timestamp: number;
  /** The worker's number of this event, rising by one for each topic, where the worker numbers its events. */
  seq?: number;
  [field: string]: unknown;
}

/** The best bid and ask. */
export interface Quote {
  symbol: string;
  bidPrice: number;
  askPrice: number;
  timestamp: number;
  seq?: number;
  [field: string]: unknown;
}

/** A candle of one interval, such as `1m`. */
export interface Candle {
  symbol: string;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  timestamp: number;
  /** As its worker writes it: a number is the same interval as the text of its digits. */
  interval: string | number;
  seq?: number;
  [field: string]: unknown;
}

/** A headline. */
export interface News {
  headline: string;
  timestamp: number;
  symbol?: string;
  seq?: number;
  [field: string]: unknown;
}

/** A halt of trading, or its end. */
export interface Halt {
  symbol: string;
  status: string;
  timestamp: number;
  seq?: number;
  [field: string]: unknown;
}

/** An event of a type of the workers' own. */
export interface Custom {
  symbol?: string;
  timestamp?: number;
  seq?: number;
  [field: string]: unknown;
}

/** The types of events and their data. Declare types of your own by merging into this interface. */
export interface EventData {
  trade: Trade;
  quote: Quote;
  candle: Candle;
  news: News;
  halt: Halt;
}

/** The name of a type: one of the market's, or one of the workers' own. */
export type EventType = keyof EventData | (string & {});

/** What an event stands for that the gateway has made of several. */
export interface Conflated {
  count: number;
  volume?: number;
  high?: number;
  low?: number;
  vwap?: number;
  firstTimestamp?: number;
}

/** An event as the gateway sends it. `timestamp` is the gateway's clock. */
export interface MarketEvent<T extends string = string, D = Custom> {
  type: T;
  data: D;
  timestamp: number;
  /** The last event before the subscribe, not a new one. */
  snapshot?: true;
  /** An event that this client missed while it was away. */
  replay?: true;
  /** The feed is delayed by this many milliseconds. */
  delayedMs?: number;
  conflated?: Conflated;
}

/** The event of a type: `EventOf<"trade">` has a `Trade`. */
export type EventOf<T extends string> = T extends keyof EventData ? MarketEvent<T, EventData[T]> : MarketEvent<T>;

/** Events that were published and that this client has not got, or cannot know to have got. */
export type Loss =
  /** The worker left out the numbers `from` to `to`, inclusive. */
  | { kind: "gap"; type: string; symbol: string; from: number; to: number }
  /** This client was too slow for `count` events. */
  | { kind: "skipped"; type: string; symbol: string; count: number }
  /** The gateway had no feed for `gapMs` milliseconds. */
  | { kind: "feed"; gapMs: number }
  /** The connection was lost, and what came meanwhile cannot be brought back. */
  | { kind: "notRecovered"; type: string; symbol: string }
  /** The loop over a subscription was too slow: the oldest `count` events of its buffer are gone. */
  | { kind: "overflow"; count: number };

/** `waiting`: until the next attempt. `closed`: for good, by `close()` or because trying again cannot help. */
export type ConnectionStatus = "connecting" | "open" | "waiting" | "closed";

/** How the connection and the gateway's feed are. */
export interface ConnectionState {
  status: ConnectionStatus;
  /** The gateway's own feed; `unknown` until the gateway has told. */
  feed: "up" | "down" | "unknown";
  /** Prices may be shown as current: the connection is open, the feed is up, and the gateway has been heard lately. */
  fresh: boolean;
  /** The gateway sends only the latest event of each topic, since this client was too slow. */
  slow: boolean;
  /** Failed attempts since the connection was last stable. */
  attempts: number;
  /** Milliseconds until the next attempt, while waiting. */
  retryInMs?: number;
  /** The code of the last close, 1006 where there was none. */
  code?: number;
  /** Why the connection is not open, in words. */
  reason?: string;
}

/** The last event of a topic, and whether it may be shown as current. */
export interface Latest<T extends string = string> {
  event: EventOf<T>;
  /** Milliseconds since it was received. */
  ageMs: number;
  /** The state is fresh, and this event was received, or confirmed by a replay, on this connection and with this feed. */
  fresh: boolean;
}
