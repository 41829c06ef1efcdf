// The client: subscriptions on a connection that comes and goes. After each connect it subscribes again and resumes; every event and
// loss goes to the subscriptions that it concerns.

import { Callbacks } from "./callbacks.js";
import { Connection, type ConnectionOptions, type Message } from "./connection.js";
import type { Clock } from "./environment.js";
import { errorOf, GatewayError } from "./errors.js";
import { Subscription, type SubscribeOptions } from "./subscription.js";
import { grouped, type Terms, type Topic, Topics, usersOf } from "./topics.js";
import type { ConnectionState, EventOf, EventType, Latest, Loss, MarketEvent } from "./types.js";

/** What a client can be told. */
export interface ClientOptions extends ConnectionOptions {
  /** What the gateway does when this client is too slow; the gateway's own setting if left out. */
  onSlow?: "skip" | "conflate" | "disconnect";
}

/** A status as the gateway sent it, for those that this version does not know. */
export interface StatusMessage {
  event: string;
  data: any;
  timestamp: number;
}

/** What a client tells, and to whom. */
export interface ClientEvents {
  /** The state of connection and feed has changed. */
  state: ConnectionState;
  /** Events are missing. */
  loss: Loss;
  /** Something failed; the client goes on unless its state is `closed`. */
  error: GatewayError;
  /** Every status of the gateway. */
  status: StatusMessage;
}

/** @internal What uses the connection beside subscriptions, and hears every message: the desk. */
export interface Guest {
  opened(): void;
  take(message: Message): void;
  lost(): void;
  /** Without an error if the program has closed it. */
  closed(error: GatewayError | undefined): void;
}

/** @internal What it uses of the client. */
export interface Link {
  clock: Clock;
  isOpen(): boolean;
  /** A number for a request that no other has. */
  nextId(): number;
  send(request: object): void;
  report(error: GatewayError): void;
  lose(loss: Loss): void;
  /** It is no event of a type that somebody has subscribed to, and none of the messages that every client gets. */
  isAtDesk(message: Message): boolean;
}

interface Request {
  action: "subscribe" | "unsubscribe";
  topics: Topic[];
}

/** Symbols in one request, at most: far below the gateway's MAX_MESSAGE_SIZE. */
const SYMBOLS_PER_REQUEST = 500;
const MARKET = ["success", "error", "pong", "trade", "quote", "candle", "news", "halt"];
const STATUSES_OF_A_TOPIC = ["gap", "skipped"];

/** A client of one gateway address. It connects at once, and stays connected until `close()`. */
export class Client {
  #connection: Connection;
  #options: ClientOptions;
  #topics = new Topics();
  #subscriptions = new Set<Subscription<any>>();
  #requests = new Map<unknown, Request>();
  #timers = new Set<unknown>();
  #nextId = 1;
  #callbacks = new Callbacks();
  #ended: GatewayError | undefined;
  #guests = new Set<Guest>();

  constructor(url: string, options: ClientOptions = {}) {
    this.#options = options;
    // A client that uses the desk says so as it connects: then what is told to everyone comes from the first moment.
    this.#connection = new Connection(() => (this.#guests.size ? url + (url.includes("?") ? "&" : "?") + "desk=1" : url), options, {
      opened: () => {
        this.#ask("subscribe", this.#topics.all());
        for (const guest of this.#guests) guest.opened();
      },
      message: (message) => {
        this.#take(message);
        for (const guest of this.#guests) guest.take(message);
      },
      lost: () => this.#lost(),
      closed: (error) => this.#closed(error),
      state: (state) => this.#tell("state", state),
      error: (error) => this.#tell("error", error),
    });
  }

  /** How connection and feed are now. */
  get state(): ConnectionState {
    return this.#connection.state;
  }

  /** Calls back on what happens, until the returned function is called. */
  on<K extends keyof ClientEvents>(event: K, callback: (value: ClientEvents[K]) => void): () => void {
    return this.#callbacks.on(event, callback);
  }

  /** Subscribes to symbols (`"AAPL"`, `["AAPL", "BTC-*"]`), now or as soon as there is a connection, and after each reconnect. */
  subscribe<const T extends EventType = "trade">(symbols: string | readonly string[], options: SubscribeOptions<T> = {}): Subscription<T> {
    const owner = {
      drop: (subscription: Subscription<any>) => this.#drop(subscription),
      report: (error: GatewayError) => this.#tell("error", error),
    };
    const subscription = new Subscription<T>(owner, options);
    if (options.signal?.aborted || this.#ended) {
      subscription.end(this.#ended);
      return subscription;
    }
    this.#subscriptions.add(subscription);
    const { snapshot = true, resume = true, conflate, maxRate } = options;
    const terms: Terms = { snapshot, resume, conflate, maxRate };
    const asked: Topic[] = [];
    for (const type of options.types ?? ["trade"]) {
      for (const symbol of new Set(typeof symbols === "string" ? [symbols] : symbols)) {
        const topic = this.#topics.want(type, symbol, terms);
        topic.users.add(subscription);
        const last = this.#topics.last(type, topic.symbol);
        if (topic.accepted && last && conflate === undefined && maxRate === undefined) {
          // Known already: no need to ask.
          if (snapshot) queueMicrotask(() => subscription.deliver({ ...(last.event as EventOf<T>), snapshot: true }));
        } else {
          topic.terms = terms;
          asked.push(topic);
        }
      }
    }
    if (this.#connection.isOpen) this.#ask("subscribe", asked);
    this.#settle();
    return subscription;
  }

  /** The last event of a symbol that this client has got, and whether it may be shown as current. `interval` is for candles. */
  latest<const T extends EventType = "trade">(symbol: string, type: T = "trade" as T, interval?: string): Latest<T> | undefined {
    const last = this.#topics.last(type, symbol, interval);
    if (!last) return undefined;
    const fresh = this.state.fresh && last.epoch === this.#topics.epoch;
    return { event: last.event as EventOf<T>, ageMs: this.#connection.clock.now() - last.receivedAt, fresh };
  }

  /** @internal */
  attach(guest: Guest): Link {
    const connection = this.#connection;
    this.#guests.add(guest);
    return {
      clock: connection.clock,
      isOpen: () => connection.isOpen,
      nextId: () => this.#nextId++,
      send: (request) => connection.send(request),
      report: (error) => this.#tell("error", error),
      lose: (loss) => this.#tell("loss", loss),
      isAtDesk: ({ type, data }) =>
        type === "status" ? data?.type in { room: 1, user: 1, broadcast: 1 } : !MARKET.includes(type as string) && !this.#topics.types.has(type as string),
    };
  }

  /** Ends all subscriptions and the connection. */
  close(): void {
    this.#connection.close();
  }

  /**
   * Sends the requests for these topics. Symbols of the same types and terms share one. A type of which a symbol is resumed has requests of its own.
   * The other types of a symbol are accepted or refused together.
   */
  #ask(action: Request["action"], topics: Topic[]): void {
    // A resume goes with one type.
    const resumed = new Set(topics.filter((topic) => this.#seq(topic) !== undefined).map(({ type }) => type));
    const symbols = grouped(topics, ({ type, symbol, terms }) => [symbol, terms, resumed.has(type) && type]);
    for (const group of grouped(symbols, (own) => [own[0]!.terms, own.map(({ type }) => type).sort()])) {
      for (let from = 0; from < group.length; from += SYMBOLS_PER_REQUEST) {
        this.#request(action, group.slice(from, from + SYMBOLS_PER_REQUEST).flat());
      }
    }
  }

  /** The number behind which the gateway is to go on. A candle's numbers are those of its interval, which a resume cannot name. */
  #seq({ type, symbol, terms }: Topic): number | undefined {
    return terms.resume && type !== "candle" ? this.#topics.last(type, symbol)?.seq : undefined;
  }

  /** Asks for each of the topics' symbols in each of their types. */
  #request(action: Request["action"], topics: Topic[]): void {
    const id = this.#nextId++;
    const record = { action, topics };
    this.#requests.set(id, record);
    const distinct = (of: "symbol" | "type") => [...new Set(topics.map((topic) => topic[of]))];
    const request = { action, symbols: distinct("symbol"), types: distinct("type"), id };
    if (action === "subscribe") {
      for (const topic of topics) topic.asked = record;
      const { snapshot, conflate, maxRate } = topics[0]!.terms;
      const { heartbeat = true, onSlow } = this.#options;
      const resumed = topics.filter((topic) => this.#seq(topic) !== undefined);
      const resume = resumed.length ? Object.fromEntries(resumed.map((topic) => [topic.symbol, this.#seq(topic)])) : undefined;
      // What is undefined is not sent.
      Object.assign(request, { snapshot: snapshot || undefined, heartbeat: heartbeat || undefined, resume, conflate, maxRate, onSlow });
    }
    this.#connection.send(request);
  }

  #take(message: Message): void {
    const { type, data } = message;
    const request = this.#requests.get(message.id);
    if (request) {
      this.#requests.delete(message.id);
      if (type === "success") this.#accepted(request, data);
      else this.#refused(request, message);
    } else if (type === "status") {
      this.#status(message as never);
    } else if (type !== "success" && type !== "error" && type !== "pong" && data) {
      this.#event(message as never);
    }
  }

  #event(event: MarketEvent): void {
    this.#topics.note(event, this.#connection.clock.now());
    for (const subscription of this.#topics.users(event.type, event.data.symbol)) subscription.deliver(event);
  }

  #status(status: StatusMessage): void {
    const { event, data } = status;
    if (STATUSES_OF_A_TOPIC.includes(event)) {
      this.#lose({ kind: event, ...data }, this.#topics.users(data.type, data.symbol));
    } else if (event === "replayEnd") {
      this.#topics.confirm(data.type, data.symbols);
    } else if (event === "feed") {
      // Whatever came before may be older than what is missing.
      this.#topics.epoch++;
      if (data.gapMs) this.#lose({ kind: "feed", gapMs: data.gapMs }, this.#subscriptions);
    }
    this.#tell("status", status);
  }

  #accepted({ action, topics }: Request, data: any): void {
    if (action !== "subscribe") {
      // To leave "*" is to leave every symbol of the type. What is still wanted is asked for again, behind the last that has come.
      const left = new Set(topics.filter(({ symbol }) => symbol === "*").map(({ type }) => type));
      const rest = this.#topics.all().filter(({ type, accepted }) => left.has(type) && accepted);
      for (const topic of rest) Object.assign(topic, { accepted: false, lost: true });
      return this.#ask("subscribe", rest);
    }
    for (const asked of topics) {
      const { symbol, type } = asked;
      // Left before this reply: its name may be another topic's by now.
      if (!asked.users.size) continue;
      const upper = symbol.toUpperCase();
      // Names of market types are folded, others are not: what the client has of the type tells what became of a name.
      const names: string[] = (type === "trade" ? data.currentSubscriptions : data.currentByType?.[type]) ?? data.subscribed;
      const topic = symbol !== upper && !names.includes(symbol) && names.includes(upper) ? this.#topics.rename(asked, upper) : asked;
      topic.accepted = true;
      topic.recovered = !!data.recovered?.[topic.symbol];
      if (topic.lost && !topic.recovered) {
        this.#lose({ kind: "notRecovered", type, symbol: topic.symbol }, topic.users);
      }
      topic.lost = false;
    }
    this.#connection.setFeedIfUnknown();
    this.#settle();
  }

  /** Tells subscriptions of which all topics are accepted that they are. */
  #settle(): void {
    const pending = usersOf(this.#topics.all().filter(({ accepted }) => !accepted));
    for (const subscription of this.#subscriptions) if (!pending.has(subscription)) subscription.accept();
  }

  #refused(request: Request, message: Message): void {
    const { action, topics } = request;
    const error = errorOf(message);
    if (action === "unsubscribe" || error.isBusy) this.#tell("error", error);
    if (error.isBusy) return this.#later((error.retryAfter ?? 1) * 1_000, request);
    // One bad symbol refuses the whole request: each subscription is judged by its own. Topics that were left have none.
    for (const user of usersOf(topics)) {
      const own = topics.filter(({ users }) => users.has(user));
      if (own.length < topics.length) {
        this.#ask("subscribe", own);
      } else {
        this.#drop(user);
        user.end(error);
        this.#tell("error", error);
      }
    }
  }

  /** Sends a request again, unless the connection or the wish has gone by then. */
  #later(ms: number, request: Request): void {
    const { action, topics } = request;
    const timer = this.#connection.clock.setTimeout(() => {
      this.#timers.delete(timer);
      // By then a newer request may have asked for a topic, and one that was left may be wanted again.
      this.#ask(action, action === "subscribe" ? topics.filter(({ users, asked }) => users.size && asked === request) : this.#topics.unwanted(topics));
    }, ms);
    this.#timers.add(timer);
  }

  #drop(subscription: Subscription<any>): void {
    if (!this.#subscriptions.delete(subscription)) return;
    const asked = new Set([...this.#requests.values()].flatMap(({ topics }) => topics));
    const gone = this.#topics.drop(subscription).filter((topic) => topic.accepted || asked.has(topic));
    if (this.#connection.isOpen) this.#ask("unsubscribe", this.#topics.unwanted(gone));
  }

  #lost(): void {
    this.#forget();
    for (const topic of this.#topics.all()) {
      topic.lost ||= topic.accepted;
      topic.accepted = false;
    }
    for (const guest of this.#guests) guest.lost();
  }

  #closed(error: GatewayError | undefined): void {
    this.#ended = error ?? new GatewayError("CLOSED", "This client is closed: make a new one.");
    this.#forget();
    for (const subscription of this.#subscriptions) subscription.end(error);
    this.#subscriptions.clear();
    for (const guest of this.#guests) guest.closed(error);
    if (error) this.#tell("error", error);
  }

  /** The connection has gone: its requests are forgotten, and what is known may be out of date. */
  #forget(): void {
    this.#topics.epoch++;
    this.#requests.clear();
    for (const timer of this.#timers) this.#connection.clock.clearTimeout(timer);
    this.#timers.clear();
  }

  #lose(loss: Loss, subscriptions: Iterable<Subscription<any>>): void {
    for (const subscription of subscriptions) subscription.lose(loss);
    this.#tell("loss", loss);
  }

  #tell<K extends keyof ClientEvents>(event: K, value: ClientEvents[K]): void {
    this.#callbacks.tell(event, value);
  }
}

/** Connects to a gateway: `connect("wss://prices.example.com/ws")`. */
export function connect(url: string, options?: ClientOptions): Client {
  return new Client(url, options);
}
