// One connection for many tabs. One of them, or a SharedWorker, holds the client; the others hear of it and ask it by messages. When the
// tab that holds it goes, another takes over, and what may have been missed meanwhile is told as a loss.

import { Callbacks } from "./callbacks.js";
import { type Client, type ClientEvents, type ClientOptions, connect, type Guest, type Link } from "./client.js";
import { systemClock } from "./environment.js";
import { errorOf, GatewayError } from "./errors.js";
import { Host, type Port } from "./host.js";
import { Subscription, type SubscribeOptions } from "./subscription.js";
import { Topics } from "./topics.js";
import type { ConnectionState, EventOf, EventType, Latest, Loss } from "./types.js";

/** What a client of one's own and a shared one have in common. */
export type AnyClient = Pick<Client, "state" | "on" | "subscribe" | "latest" | "close">;

export interface SharedOptions extends ClientOptions {
  /** Starts the SharedWorker that holds the connection: a script that calls `serve`. Without it, or where there is none, a tab holds it. */
  worker?: () => { port: Port };
}

interface Asked {
  subscription: Subscription<any>;
  request: { symbols: string[]; options: SubscribeOptions<any> };
  isReady: boolean;
}

/** A client whose connection is elsewhere. */
export class SharedClient implements AnyClient {
  #port: Port;
  #leave: () => void;
  #state: ConnectionState = { status: "connecting", feed: "unknown", fresh: false, slow: false, attempts: 0 };
  #asked = new Map<number, Asked>();
  #nextId = 1;
  #topics = new Topics();
  #callbacks = new Callbacks();
  #host: unknown;
  #guests = new Set<Guest>();
  /** What guests have been told. */
  #isOpen = false;
  #hasLeft = false;

  /** @internal `leave` is called once, when it is closed, by the program or by the gateway for good. */
  constructor(port: Port, leave: () => void) {
    this.#port = port;
    this.#leave = leave;
    port.onmessage = ({ data }) => this.#take(data);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  on<K extends keyof ClientEvents>(event: K, callback: (value: ClientEvents[K]) => void): () => void {
    return this.#callbacks.on(event, callback);
  }

  subscribe<const T extends EventType = "trade">(symbols: string | readonly string[], options: SubscribeOptions<T> = {}): Subscription<T> {
    const id = this.#nextId++;
    const { types = ["trade"], snapshot, resume, conflate, maxRate } = options;
    const subscription: Subscription<T> = new Subscription<T>(
      {
        drop: () => {
          this.#topics.drop(subscription);
          if (this.#asked.delete(id)) this.#port.postMessage({ unsubscribe: id });
        },
        report: (error) => this.#tell("error", error),
      },
      options,
    );
    if (options.signal?.aborted || this.#state.status === "closed") {
      subscription.end(options.signal?.aborted ? undefined : new GatewayError("CLOSED", "This client is closed: make a new one."));
      return subscription;
    }
    const list = typeof symbols === "string" ? [symbols] : [...symbols];
    for (const type of types) for (const symbol of list) this.#topics.want(type, symbol, { snapshot: true, resume: true }).users.add(subscription);
    const request = { symbols: list, options: { types: [...types], snapshot, resume, conflate, maxRate } as SubscribeOptions<any> };
    this.#asked.set(id, { subscription, request, isReady: false });
    if (this.#host !== undefined) this.#port.postMessage({ subscribe: id, ...request });
    return subscription;
  }

  latest<const T extends EventType = "trade">(symbol: string, type: T = "trade" as T, interval?: string): Latest<T> | undefined {
    const last = this.#topics.last(type, symbol, interval);
    if (!last) return undefined;
    return { event: last.event as EventOf<T>, ageMs: Date.now() - last.receivedAt, fresh: this.#state.fresh && last.epoch === this.#topics.epoch };
  }

  /** @internal */
  attach(guest: Guest): Link {
    this.#guests.add(guest);
    return {
      clock: systemClock,
      isOpen: () => this.#isOpen,
      nextId: () => this.#nextId++,
      send: (request) => this.#port.postMessage({ desk: request }),
      report: (error) => this.#tell("error", error),
      lose: (loss) => this.#tell("loss", loss),
      // The one that holds the connection passes on nothing else.
      isAtDesk: () => true,
    };
  }

  /** Ends this tab's subscriptions; the connection stays as long as another tab uses it. */
  close(): void {
    this.#part();
  }

  /** Ends what this tab has. So the one that holds the connection can end, too, and `connectShared` begins with another one. */
  #part(error?: GatewayError): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#port.postMessage({ bye: true });
    this.#port.onmessage = null;
    for (const { subscription } of this.#asked.values()) subscription.end(error);
    this.#asked.clear();
    if (this.#state.status !== "closed") this.#setState({ status: "closed", feed: "unknown", fresh: false, slow: false, attempts: 0, reason: "closed by this program" });
    this.#leave();
  }

  #take(message: any): void {
    if (message.host !== undefined) return this.#met(message.host, message.state);
    if (message.state) return this.#setState(message.state);
    if (message.tell) return this.#told(message);
    if (message.desk) {
      for (const guest of this.#guests) guest.take(message.desk);
      return;
    }
    const asked = this.#asked.get(message.id);
    if (!asked) return;
    const { subscription, request } = asked;
    if (message.event) {
      this.#topics.note(message.event, Date.now());
      subscription.deliver(message.event);
    } else if (message.loss) {
      subscription.lose(message.loss);
    } else if (message.ready) {
      subscription.accept();
      const wasReady = asked.isReady;
      asked.isReady = true;
      // Another tab holds the connection now; what came between the two is not known.
      if (wasReady) this.#missed(subscription, request);
    } else if (message.error) {
      this.#asked.delete(message.id);
      this.#topics.drop(subscription);
      subscription.end(errorOf(message.error));
    }
  }

  /** The one that holds the connection, for the first time or another than before: it is asked for everything. */
  #met(host: unknown, state: ConnectionState): void {
    if (host !== this.#host) {
      this.#host = host;
      this.#topics.epoch++;
      this.#setOpen(false);
      for (const [id, { request }] of this.#asked) this.#port.postMessage({ subscribe: id, ...request });
    }
    this.#setState(state);
  }

  #missed(subscription: Subscription<any>, { symbols, options }: Asked["request"]): void {
    for (const type of options.types ?? []) {
      for (const symbol of symbols) {
        const loss: Loss = { kind: "notRecovered", type, symbol };
        subscription.lose(loss);
        this.#tell("loss", loss);
      }
    }
  }

  #told({ tell, value, confirmed }: { tell: keyof ClientEvents; value: any; confirmed?: string[] }): void {
    if (tell === "status" && value.event === "feed") this.#topics.epoch++;
    for (const symbol of confirmed ?? []) {
      const last = this.#topics.last(value.data.type, symbol);
      if (last) last.epoch = this.#topics.epoch;
    }
    if (tell !== "error") return this.#tell(tell, value);
    const error = errorOf(value);
    // Why the connection was closed for good: the last that comes.
    if (this.#state.status === "closed") this.#part(error);
    this.#tell("error", error);
  }

  #setState(state: ConnectionState): void {
    if (this.#state.status === "open" && state.status !== "open") this.#topics.epoch++;
    this.#state = state;
    this.#setOpen(state.status === "open");
    if (state.status === "closed") {
      const error = state.code === undefined ? undefined : new GatewayError("CLOSED", state.reason ?? "closed");
      for (const guest of this.#guests) guest.closed(error);
    }
    this.#tell("state", state);
  }

  #setOpen(isOpen: boolean): void {
    if (isOpen === this.#isOpen) return;
    this.#isOpen = isOpen;
    for (const guest of this.#guests) isOpen ? guest.opened() : guest.lost();
  }

  #tell<K extends keyof ClientEvents>(event: K, value: ClientEvents[K]): void {
    this.#callbacks.tell(event, value);
  }
}

/**
 * Connects to a gateway, with one connection for all tabs of this origin that call it with the same address: in the SharedWorker that
 * `worker` starts, or else in one of the tabs. Where a browser has neither, each tab has its own.
 */
export function connectShared(url: string, options: SharedOptions = {}): AnyClient {
  const { worker, signal, ...own } = options;
  const { locks } = (globalThis.navigator ?? {}) as { locks?: LockManager };
  const name = `ws-gateway ${url}`;
  let client: AnyClient;
  if (worker && typeof SharedWorker !== "undefined") client = inWorker(name, worker().port, locks);
  else if (locks && typeof BroadcastChannel !== "undefined") client = amongTabs(name, url, own, locks);
  else client = connect(url, own);
  if (signal?.aborted) client.close();
  signal?.addEventListener("abort", () => client.close());
  return client;
}

/** A lock that is held for as long as the tab lives: who waits for it learns that it has gone. */
function holdTab(name: string, locks: LockManager | undefined): { id: string; isHeld: Promise<void>; release: () => void } {
  const id = `${name} ${Date.now()} ${Math.random()}`;
  let release = () => {};
  const isOver = new Promise<void>((resolve) => (release = resolve));
  const isHeld = new Promise<void>((resolve) => {
    if (!locks) return resolve();
    void locks.request(id, () => {
      resolve();
      return isOver;
    });
  });
  return { id, isHeld, release };
}

function inWorker(name: string, port: Port, locks: LockManager | undefined): AnyClient {
  const tab = holdTab(name, locks);
  const client = new SharedClient(port, tab.release);
  void tab.isHeld.then(() => port.postMessage({ hello: tab.id }));
  // Without locks nobody notices that a tab has gone, unless it says so.
  if (!locks) addEventListener("pagehide", () => client.close());
  return client;
}

/** One tab holds the connection: the one with the lock. All hear and ask it on a channel. */
function amongTabs(name: string, url: string, options: ClientOptions, locks: LockManager): AnyClient {
  const channel = new BroadcastChannel(name);
  const tab = holdTab(name, locks);
  const toHost = (message: object) => channel.postMessage({ from: tab.id, message });
  let host: Host | undefined;
  // What this tab sends to itself does not come back on the channel.
  const port: Port = { onmessage: null, postMessage: (message) => (host ? host.take(tab.id, message) : toHost(message)) };
  const hear = (message: unknown) => port.onmessage?.({ data: message });
  let end = () => {};
  const isOver = new Promise<void>((resolve) => (end = resolve));
  const client = new SharedClient(port, () => {
    host?.close();
    channel.close();
    tab.release();
    end();
  });
  channel.onmessage = ({ data: { from, to, message, begins } }) => {
    if (host && from) host.take(from, message, (reply) => channel.postMessage({ to: from, message: reply }));
    else if (begins) void tab.isHeld.then(() => toHost({ hello: tab.id }));
    else if (to === tab.id) hear(message);
  };
  void tab.isHeld.then(() => {
    toHost({ hello: tab.id });
    return locks.request(`${name} host`, () => {
      if (client.state.status === "closed") return undefined;
      host = new Host(connect(url, options), tab.id, locks);
      host.take(tab.id, { hello: tab.id }, (reply) => queueMicrotask(() => hear(reply)));
      channel.postMessage({ begins: true });
      return isOver;
    });
  });
  return client;
}
