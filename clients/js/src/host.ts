// The side that holds the connection: takes the requests of tabs, and tells each of them what concerns it.

import { type Client, type ClientOptions, connect } from "./client.js";
import type { GatewayError } from "./errors.js";
import { HostDesk } from "./host-desk.js";
import type { Subscription } from "./subscription.js";

/** The part of a MessagePort that is used. */
export interface Port {
  postMessage(message: any): void;
  onmessage: ((event: any) => void) | null;
}

interface Guest {
  send: (message: object) => void;
  subscriptions: Map<number, Subscription<any>>;
}

/** A client that others use by messages. */
export class Host {
  readonly #client: Client;
  readonly #id: unknown;
  readonly #locks: LockManager | undefined;
  readonly #guests = new Map<unknown, Guest>();
  readonly #desk: HostDesk;

  constructor(client: Client, id: unknown, locks?: LockManager) {
    this.#client = client;
    this.#id = id;
    this.#locks = locks;
    this.#desk = new HostDesk(client);
    client.on("state", (state) => this.#toAll({ state }));
    client.on("loss", (value) => this.#toAll({ tell: "loss", value }));
    client.on("error", (error) => this.#toAll({ tell: "error", value: plain(error) }));
    client.on("status", (value) => {
      const { event, data } = value;
      const confirmed = event === "replayEnd" ? data.symbols.filter((symbol: string) => client.latest(symbol, data.type)?.fresh) : undefined;
      this.#toAll({ tell: "status", value, confirmed });
    });
  }

  /** A message of a guest; `reply` is how it hears, and is needed with its first one. */
  take(from: unknown, message: any, reply?: (message: object) => void): void {
    if (message.hello !== undefined) return this.#welcome(from, message.hello, reply!);
    const guest = this.#guests.get(from);
    if (!guest) return;
    if (message.subscribe !== undefined) this.#subscribe(guest, message);
    else if (message.unsubscribe !== undefined) this.#unsubscribe(guest, message.unsubscribe);
    else if (message.desk) this.#desk.ask(guest.send, message.desk);
    else if (message.bye) this.#leave(from);
  }

  /** The connection has been closed for good. */
  get isOver(): boolean {
    return this.#client.state.status === "closed";
  }

  /** The tab that holds the connection goes; the others wait for the next one. */
  close(): void {
    if (!this.isOver) this.#toAll({ state: { ...this.#client.state, status: "waiting", feed: "unknown", fresh: false, reason: "the tab that held the connection has closed" } });
    this.#guests.clear();
    this.#client.close();
  }

  #welcome(from: unknown, name: string, send: (message: object) => void): void {
    if (!this.#guests.has(from)) {
      this.#guests.set(from, { send, subscriptions: new Map() });
      // The guest holds this lock as long as it lives.
      void this.#locks?.request(name, () => this.#leave(from));
    }
    send({ host: this.#id, state: this.#client.state });
  }

  #leave(from: unknown): void {
    const guest = this.#guests.get(from);
    if (!guest) return;
    this.#guests.delete(from);
    for (const subscription of guest.subscriptions.values()) subscription.unsubscribe();
    this.#desk.leave(guest.send);
  }

  #subscribe({ send, subscriptions }: Guest, { subscribe: id, symbols, options }: any): void {
    if (subscriptions.has(id)) return;
    const subscription = this.#client.subscribe<any>(symbols, {
      ...options,
      onEvent: (event) => send({ id, event }),
      onLoss: (loss) => send({ id, loss }),
      onError: (error) => {
        subscriptions.delete(id);
        send({ id, error: plain(error) });
      },
    });
    subscriptions.set(id, subscription);
    subscription.ready.then(
      () => subscriptions.has(id) && send({ id, ready: true }),
      () => {},
    );
  }

  #unsubscribe({ subscriptions }: Guest, id: number): void {
    const subscription = subscriptions.get(id);
    subscriptions.delete(id);
    subscription?.unsubscribe();
  }

  #toAll(message: object): void {
    for (const { send } of this.#guests.values()) send(message);
  }
}

/** In a SharedWorker: holds one connection for all tabs that start it. Its script is this call and its import. */
export function serve(url: string, options: ClientOptions = {}): void {
  const scope = globalThis as unknown as { onconnect: ((event: { ports: readonly Port[] }) => void) | null; navigator?: { locks?: LockManager } };
  let hosts = 0;
  const begin = () => new Host(connect(url, options), `worker ${Date.now()} ${hosts++}`, scope.navigator?.locks);
  let newest = begin();
  scope.onconnect = ({ ports: [port] }) => {
    // A worker lives as long as one of its tabs: what the gateway has closed for good must not be all that tabs can get.
    if (newest.isOver) newest = begin();
    const host = newest;
    port!.onmessage = ({ data }) => host.take(port, data, (reply) => port!.postMessage(reply));
  };
}

/** Errors lose their fields on the way. */
const plain = ({ code, message, data, retryAfter }: GatewayError) => ({ code, message, data: data instanceof Error ? data.message : data, retryAfter });
