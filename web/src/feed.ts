// The page's connection: the client of clients/js, the subscriptions that the watchlist stands for, and what goes by beside them
// (round trips, earlier trades). What happens is told to a listener; nothing is drawn here.
//
// Each tab has its own connection, not a part of one by `connectShared`. A tab has a token of its own, so two may be two users. Its console sends
// and shows frames, and there the connection's subscriptions can be changed by hand. A rate belongs to a connection, and so does the number of
// symbols that it may have: by default five, which tabs would take from each other.

import { type Client, type ConnectionState, connect, type GatewayError, type Loss, type MarketEvent, type StatusMessage, type Subscription } from "../../clients/js/src/index.js";
import { isPattern } from "./names.js";
import { fold, TYPES } from "./settings.js";
import { type Tap, tap } from "./tap.js";

export interface FeedListener {
  /** There is another client. */
  begun(client: Client): void;
  state(state: ConnectionState): void;
  event(event: MarketEvent<string, any>): void;
  loss(loss: Loss): void;
  status(status: StatusMessage): void;
  error(error: GatewayError): void;
  /** A reply, with the `id` of its request; foreign if the request was the console's. */
  reply(message: { message: string; data?: any; id?: unknown }, isForeign: boolean): void;
  /** The gateway no longer gives these, or a request for them was refused. */
  refused(names: string[], error: GatewayError): void;
  roundTrip(ms: number): void;
  frame(way: "in" | "out", text: string): void;
  /** Trades from before the page came are about to come; then they have. */
  recall(symbol: string): void;
  recalled(symbol: string): void;
  token(why: "connect" | "expiring"): string | Promise<string>;
}

/** Symbols and types that were asked for together, so that they are accepted or refused together. */
interface Group {
  names: string[];
  types: string[];
  subscription: Subscription<any>;
}

const PING_ID = "page-ping-";
const PING_EVERY_MS = 5_000;
/** How many earlier trades a chart begins with, and how many where the gateway remembers less. */
const RECALLS = [250, 50, 10];

export class Feed {
  readonly #url: string;
  readonly #listener: FeedListener;
  #client: Client | undefined;
  #tap: Tap;
  #groups = new Set<Group>();
  #rate = "";
  #wasLimited = false;
  #last: unknown;
  /** Ids of the console's requests. */
  #foreign = new Set<unknown>();
  /** Symbols whose earlier trades have been asked for, and how many times. */
  #recalls = new Map<string, number>();
  #seqs = new Map<string, number>();
  #recallTimer: number | undefined;

  constructor(url: string, listener: FeedListener) {
    this.#url = url;
    this.#listener = listener;
    this.#tap = tap({ received: (text) => this.#received(text), sent: (text) => listener.frame("out", text) });
    setInterval(() => this.#ping(), PING_EVERY_MS);
  }

  /** Connects and subscribes: each symbol for itself, so that one that is refused takes no other with it. */
  start(names: readonly string[], types: readonly string[], hasToken: boolean): void {
    this.stop();
    const client = (this.#client = connect(this.#url, {
      WebSocket: this.#tap.WebSocket,
      ...(hasToken ? { token: (why) => this.#listener.token(why) } : {}),
    }));
    const isMine = () => this.#client === client;
    client.on("state", (state) => {
      if (isMine()) this.#listener.state(state);
      if (state.status === "open") this.#ping();
    });
    client.on("loss", (loss) => isMine() && this.#listener.loss(loss));
    client.on("status", (status) => {
      if (status.event === "replayEnd") for (const symbol of status.data.symbols) this.#listener.recalled(fold(symbol));
      if (isMine()) this.#listener.status(status);
    });
    client.on("error", (error) => isMine() && this.#listener.error(error));
    for (const name of names) this.#add([name], types);
    this.#listener.begun(client);
  }

  stop(): void {
    const client = this.#client;
    this.#client = undefined;
    this.#groups.clear();
    this.#recalls.clear();
    client?.close();
  }

  /** Asks for more; resolves with whether the gateway gives all of it. */
  async add(names: readonly string[], types: readonly string[]): Promise<boolean> {
    if (!names.length || !this.#client) return false;
    const group = this.#add(names, types);
    return group.subscription.ready.then(
      () => true,
      () => false,
    );
  }

  /** Leaves symbols, of all types, or types, of all symbols. */
  remove(names: readonly string[], types: readonly string[] = []): void {
    for (const group of [...this.#groups]) {
      const restNames = group.names.filter((name) => !names.includes(name));
      const restTypes = group.types.filter((type) => !types.includes(type));
      if (restNames.length === group.names.length && restTypes.length === group.types.length) continue;
      // What stays is taken first, so that it is never left.
      if (restNames.length && restTypes.length) this.#add(restNames, restTypes);
      this.#end(group);
    }
    for (const name of names) this.#recalls.delete(name);
  }

  /** At most that many events a second of each symbol; all of them if empty. */
  async limit(rate: string, names: readonly string[], types: readonly string[]): Promise<void> {
    if (rate) this.#wasLimited = true;
    this.#rate = rate;
    const before = [...this.#groups];
    if (names.length && this.#client) this.#add(names, types);
    for (const group of before) this.#end(group);
  }

  setRate(rate: string): void {
    this.#rate = rate;
    this.#wasLimited = rate !== "";
  }

  /** Whether what is known of the symbol may be shown as current: after a lost connection or feed it may not, until its next event. */
  isCurrent(symbol: string, intervals: readonly string[]): boolean {
    const client = this.#client;
    if (!client) return false;
    const known = [client.latest(symbol), client.latest(symbol, "quote"), ...intervals.map((interval) => client.latest(symbol, "candle", interval))];
    return (known.find((last) => last) ?? client.state).fresh;
  }

  /** Sends what the console has, as it is. */
  send(text: string): boolean {
    this.#foreign.add(JSON.parse(text)?.id);
    return this.#tap.send(text);
  }

  #add(names: readonly string[], types: readonly string[]): Group {
    const client = this.#client!;
    // At a limited rate a trade says what it stands for, so that sums and counts stay right.
    const terms = this.#rate ? { conflate: "aggregate" as const, maxRate: Number(this.#rate) } : this.#wasLimited ? { conflate: false as const } : {};
    const group = {} as Group;
    const subscription = client.subscribe([...names], {
      types: [...types],
      ...terms,
      onEvent: (event) => this.#event(event),
      onError: (error) => {
        if (client !== this.#client || client.state.status === "closed") return;
        this.#groups.delete(group);
        this.#listener.refused([...names], error);
      },
    });
    Object.assign(group, { names: [...names], types: [...types], subscription });
    this.#groups.add(group);
    return group;
  }

  #end(group: Group): void {
    this.#groups.delete(group);
    group.subscription.unsubscribe();
  }

  /** Groups overlap while one takes another's place: an event is taken once. */
  #event(event: MarketEvent<string, any>): void {
    if (event === this.#last) return;
    this.#last = event;
    this.#listener.event(event);
    const { symbol, seq } = event.data;
    if (event.type !== "trade" || typeof symbol !== "string" || !Number.isSafeInteger(seq) || this.#recalls.has(fold(symbol))) return;
    const name = fold(symbol);
    this.#recalls.set(name, 0);
    // A pattern brings any number of symbols: their rows begin with what comes.
    if (![...this.#groups].some(({ names }) => names.some((asked) => !isPattern(asked) && fold(asked) === name))) return;
    this.#seqs.set(name, seq);
    this.#recallTimer ??= setTimeout(() => this.#recall(0));
  }

  /** Asks for trades from before the page came, as a client does that comes back: so a chart has candles at once. */
  #recall(attempt: number): void {
    this.#recallTimer = undefined;
    const back = RECALLS[attempt];
    if (back === undefined || this.#rate) return this.#seqs.clear();
    const resume = Object.fromEntries([...this.#seqs].map(([name, seq]) => [name, Math.max(0, seq - back)]));
    const symbols = Object.keys(resume);
    if (symbols.length) this.#tap.send(JSON.stringify({ action: "subscribe", symbols, resume, id: `page-recall-${attempt}` }));
  }

  #recallAnswered(attempt: number, recovered: Record<string, boolean> | undefined): void {
    for (const [name, isWhole] of Object.entries(recovered ?? {})) {
      if (!isWhole) continue;
      this.#seqs.delete(fold(name));
      this.#listener.recall(fold(name));
    }
    if (this.#seqs.size) this.#recall(attempt + 1);
  }

  #ping(): void {
    this.#tap.send(`{"action":"ping","id":"${PING_ID}${performance.now()}"}`);
  }

  #received(text: string): void {
    this.#listener.frame("in", text);
    // What the client does not pass on; events are not looked into twice.
    const isReply = text.startsWith('{"type":"success"') || text.startsWith('{"type":"pong"') || text.startsWith('{"type":"error"');
    if (!isReply) return;
    const message = JSON.parse(text);
    const pingedAt = String(message.id).startsWith(PING_ID) ? Number(message.id.slice(PING_ID.length)) : undefined;
    if (pingedAt !== undefined) return this.#listener.roundTrip(performance.now() - pingedAt);
    const attempt = /^page-recall-(\d)$/.exec(message.id)?.[1];
    if (attempt !== undefined) return this.#recallAnswered(Number(attempt), message.data?.recovered);
    if (message.type !== "success") return;
    const isForeign = this.#foreign.delete(message.id) || message.id === undefined;
    // The room tells by itself what becomes of what is said there.
    const isOfRoom = message.data?.room_id !== undefined || message.data?.to !== undefined;
    if (isForeign || !isOfRoom) this.#listener.reply(message, isForeign);
  }
}

/** Where WebSocket clients of the gateway that served this page connect. */
export function address(path: string): string {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** The types that a request names, in the gateway's order. */
export const inOrder = (types: ReadonlySet<string>): string[] => TYPES.filter((type) => types.has(type));
