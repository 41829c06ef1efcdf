// Which topics a client wants, under which names, for whom; and the last event of each. No I/O and no clock.

import type { Subscription } from "./subscription.js";
import type { MarketEvent } from "./types.js";

/** What the gateway is asked for with a topic. */
export interface Terms {
  snapshot: boolean;
  resume: boolean;
  conflate?: boolean | "aggregate" | undefined;
  maxRate?: number | undefined;
}

/** A type and a symbol (or a pattern) that somebody wants. */
export interface Topic {
  type: string;
  symbol: string;
  terms: Terms;
  users: Set<Subscription<any>>;
  /** The gateway has accepted it on this connection. */
  accepted: boolean;
  /** The gateway had accepted it on an earlier connection, so something may have been missed. */
  lost: boolean;
  /** The gateway has promised all that was missed; it has come with `replayEnd`. */
  recovered: boolean;
  /** The last request for it. */
  asked?: object;
}

/** The last event of a topic that has one: for candles, of each interval. */
export interface Last {
  event: MarketEvent;
  receivedAt: number;
  /** The client's epoch in which it was received or confirmed; a lost connection or feed begins a new epoch. */
  epoch: number;
  /** The highest `seq`, and the newest `timestamp` of the worker. */
  seq: number | undefined;
  newest: number;
}

/** More last values than this are not kept: a client of `*` would grow for ever. */
const LAST_MAX = 16_384;
/** Numbers that the gateway looks back; what is older begins anew. */
const WINDOW = 64;

/** Groups items by key. */
export function grouped<T>(items: T[], keyOf: (item: T) => unknown): T[][] {
  const groups: Record<string, T[]> = {};
  for (const item of items) (groups[JSON.stringify(keyOf(item))] ??= []).push(item);
  return Object.values(groups);
}

/** Who wants any of the topics. */
export const usersOf = (topics: Topic[]): Set<Subscription<any>> => new Set(topics.flatMap(({ users }) => [...users]));

const keyOf = (type: string, symbol: string, interval?: unknown) => `${type} ${symbol} ${interval ?? ""}`;

export class Topics {
  readonly #topics = new Map<string, Topic>();
  readonly #patterns = new Set<Topic>();
  readonly #last = new Map<string, Last>();
  /** Types that somebody has wanted. */
  readonly types = new Set<string>();
  epoch = 0;

  /** The topic of that name, made if need be. */
  want(type: string, symbol: string, terms: Terms): Topic {
    this.types.add(type);
    let topic = this.#topics.get(keyOf(type, symbol)) ?? this.#topics.get(keyOf(type, symbol.toUpperCase()));
    if (!topic) {
      topic = { type, symbol, terms, users: new Set(), accepted: false, lost: false, recovered: false };
      this.#add(topic);
    }
    return topic;
  }

  /** Takes a user off all topics; those that nobody wants any more are forgotten and returned. */
  drop(user: Subscription<any>): Topic[] {
    const gone = this.all().filter((topic) => topic.users.delete(user) && topic.users.size === 0);
    for (const topic of gone) this.#remove(topic);
    return gone;
  }

  /** Those whose name nobody wants. Until the gateway has accepted a name, `aapl` may be `AAPL`. */
  unwanted(topics: Topic[]): Topic[] {
    const names = ({ type, symbol, accepted }: Topic) => [keyOf(type, symbol), keyOf(type, accepted ? symbol : symbol.toUpperCase())];
    const wanted = new Set(this.all().flatMap(names));
    return topics.filter((topic) => !names(topic).some((name) => wanted.has(name)));
  }

  all(): Topic[] {
    return [...this.#topics.values()];
  }

  /** The gateway knows a topic by another name (`AAPL` for `aapl`): returns the topic that is to be used from now on. */
  rename(topic: Topic, symbol: string): Topic {
    const other = this.#topics.get(keyOf(topic.type, symbol));
    this.#topics.delete(keyOf(topic.type, topic.symbol));
    this.#patterns.delete(topic);
    if (other) {
      for (const user of topic.users) other.users.add(user);
      // The replies to other requests for the one are about the other.
      topic.users = other.users;
      return other;
    }
    topic.symbol = symbol;
    this.#add(topic);
    return topic;
  }

  /** Who wants an event or a status about that topic; without a symbol, everyone who wants the type. */
  users(type: string, symbol: string | undefined): Iterable<Subscription<any>> {
    if (symbol === undefined) return usersOf(this.all().filter((topic) => topic.type === type));
    const name = this.#name(type, symbol);
    const exact = this.#topics.get(keyOf(type, name));
    const others = this.#matches(type, name);
    return others.length ? usersOf(exact ? [exact, ...others] : others) : (exact?.users ?? []);
  }

  /** Remembers an event, unless a newer one of its topic has come before it. */
  note(event: MarketEvent, receivedAt: number): void {
    const { symbol, seq, interval, timestamp = 0 } = event.data;
    if (typeof symbol !== "string") return;
    const key = keyOf(event.type, this.#name(event.type, symbol), event.type === "candle" ? interval : undefined);
    const last = this.#last.get(key);
    const hasSeq = Number.isSafeInteger(seq);
    // A lower number is late, unless the worker has begun its numbers anew.
    const isLate = last?.seq !== undefined && hasSeq && seq! < last.seq && seq! > last.seq - WINDOW && timestamp <= last.newest;
    if (isLate) return;
    const newest = Math.max(timestamp, last?.newest ?? 0);
    this.#last.delete(key);
    this.#last.set(key, { event, receivedAt, epoch: this.epoch, seq: hasSeq ? seq : undefined, newest });
    if (this.#last.size > LAST_MAX) this.#last.delete(this.#last.keys().next().value!);
  }

  last(type: string, symbol: string, interval?: string): Last | undefined {
    return this.#last.get(keyOf(type, symbol, interval)) ?? this.#last.get(keyOf(type, symbol.toUpperCase(), interval));
  }

  /** All that was missed of these has come: their last events are current again. */
  confirm(type: string, symbols: string[]): void {
    for (const symbol of symbols) {
      const last = this.last(type, symbol);
      if (last && this.#topics.get(keyOf(type, symbol))?.recovered) last.epoch = this.epoch;
    }
  }

  /** A symbol as the gateway knows it: a worker may write it in any case. */
  #name(type: string, symbol: string): string {
    const isKnown = (name: string) => this.#topics.has(keyOf(type, name)) || this.#matches(type, name).length > 0;
    const upper = symbol.toUpperCase();
    return !isKnown(symbol) && isKnown(upper) ? upper : symbol;
  }

  /** The patterns that the symbol matches. */
  #matches(type: string, symbol: string): Topic[] {
    return [...this.#patterns].filter((topic) => topic.type === type && symbol.startsWith(topic.symbol.slice(0, -1)));
  }

  #add(topic: Topic): void {
    this.#topics.set(keyOf(topic.type, topic.symbol), topic);
    if (topic.symbol.endsWith("*")) this.#patterns.add(topic);
  }

  #remove(topic: Topic): void {
    this.#topics.delete(keyOf(topic.type, topic.symbol));
    this.#patterns.delete(topic);
    for (const [key, { event }] of this.#last) {
      if (event.type !== topic.type) continue;
      const { symbol } = event.data;
      if (![...this.users(event.type, symbol)].length) this.#last.delete(key);
    }
  }
}
