// One connection to the gateway, made again whenever it is lost: attempts and their times, the token, the watchdog, the state.
// It knows nothing of subscriptions.

import { backoffMs, whyFinal } from "./closing.js";
import { type Clock, onAbort, type Page, type Socket, type SocketClass, systemClock, systemPage, systemSocket } from "./environment.js";
import { errorOf, GatewayError, textOf } from "./errors.js";
import type { ConnectionState } from "./types.js";

/** Gives a token: at each connect, and again when the gateway says that the token is about to expire. */
export type TokenProvider = (why: "connect" | "expiring") => string | Promise<string>;

/** What a connection can be told. All times are milliseconds. */
export interface ConnectionOptions {
  /** The token, or what gives one. Only a provider can renew it. */
  token?: string | TokenProvider;
  /** Ask for several events a message (`md.v1.json.batch`), where the gateway has that. Default false. */
  batch?: boolean;
  /** A status each second, so that silence is noticed. Default true. */
  heartbeat?: boolean;
  /** Silence after which prices are no longer fresh. Default 3000. */
  staleAfterMs?: number;
  /** Silence after which the connection is given up and made again. Default 10000. */
  muteAfterMs?: number;
  /** The longest that an attempt may take, token and all. Default 10000. */
  connectTimeoutMs?: number;
  /** The first attempt after a loss waits at most this long, each further one twice as long. Default 1000. */
  backoffBaseMs?: number;
  /** No attempt waits longer, unless the gateway says so. Default 30000. */
  backoffMaxMs?: number;
  /** A connection that has lasted this long begins the back-off again. Default 5000. */
  stableAfterMs?: number;
  /** Close the connection of a page that has been hidden this long; it is made again when the page is seen. Default: never. */
  pauseHiddenAfterMs?: number;
  /** Closes the client. */
  signal?: AbortSignal;
  /** The class that makes connections; needed in Node 20, which has none of its own. */
  WebSocket?: any;
  /** For tests. */
  clock?: Clock;
  /** For tests: from 0 to below 1. */
  random?: () => number;
  /** For tests. */
  page?: Page;
}

/** A message of the gateway. */
export type Message = { type?: unknown; event?: string; data?: any; code?: string; message?: string; id?: unknown; [field: string]: any };

/** Who is told what the connection does. */
export interface Listener {
  /** It is open, and authenticated where there is a token. */
  opened(): void;
  message(message: Message): void;
  lost(): void;
  closed(error: GatewayError | undefined): void;
  state(state: ConnectionState): void;
  error(error: GatewayError): void;
}

const AUTH_ID = "auth";

export class Connection {
  readonly clock: Clock;
  #url: () => string;
  #options: ConnectionOptions;
  #listener: Listener;
  #random: () => number;
  #socketClass: SocketClass;
  #page: Page | undefined;
  #socket: Socket | undefined;
  /** Rises with every attempt and loss, so that what belongs to an old one is recognised. */
  #generation = 0;
  #state: Omit<ConnectionState, "fresh"> = { status: "connecting", feed: "unknown", slow: false, attempts: 0 };
  #told = "";
  #timer: unknown;
  #watchTimer: unknown;
  #hiddenTimer: unknown;
  #renewTimer: unknown;
  #paused = false;
  #openedAt = 0;
  #heardAt = 0;
  #watchedAt = 0;
  #reconnectAfterMs: number | undefined;
  #lastError: GatewayError | undefined;
  /** Tokens that the gateway has refused in a row. */
  #refusals = 0;
  #unlisten: (() => void)[] = [];

  constructor(url: () => string, options: ConnectionOptions, listener: Listener) {
    this.#url = url;
    this.#options = options;
    this.#listener = listener;
    this.clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#socketClass = options.WebSocket ?? systemSocket();
    this.#page = options.page ?? systemPage();
    const { signal } = options;
    this.#unlisten.push(onAbort(signal, () => this.close()));
    if (this.#page) this.#unlisten.push(this.#page.onChange(() => this.#pageChanged()));
    // Behind the caller's own first steps, so that its listeners hear of the first attempt.
    queueMicrotask(() => (signal?.aborted ? this.close() : this.#connect()));
  }

  get state(): ConnectionState {
    const state = this.#state;
    const heard = this.clock.now() - this.#heardAt < this.#staleAfterMs;
    return { ...state, fresh: state.status === "open" && state.feed === "up" && heard };
  }

  get isOpen(): boolean {
    return this.#state.status === "open";
  }

  send(request: object): void {
    this.#socket?.send(JSON.stringify(request));
  }

  /** A gateway whose feed is down says so before anything else: one that has said nothing by its first reply has its feed. */
  setFeedIfUnknown(): void {
    if (this.#state.feed === "unknown") this.#set({ feed: "up" });
  }

  /** Closes for good. */
  close(error?: GatewayError): void {
    if (this.#state.status === "closed") return;
    this.#abandon(1000);
    this.clock.clearTimeout(this.#timer);
    this.clock.clearTimeout(this.#hiddenTimer);
    for (const unlisten of this.#unlisten) unlisten();
    this.#set({ status: "closed", feed: "unknown", reason: error?.message ?? "closed by this program", retryInMs: undefined });
    this.#listener.closed(error);
  }

  get #staleAfterMs(): number {
    return this.#options.staleAfterMs ?? 3_000;
  }

  get #muteAfterMs(): number {
    return this.#options.muteAfterMs ?? 10_000;
  }

  async #connect(): Promise<void> {
    if (this.#state.status === "closed") return;
    const generation = ++this.#generation;
    const isOld = () => generation !== this.#generation;
    this.#reconnectAfterMs = this.#lastError = undefined;
    this.#set({ status: "connecting", feed: "unknown", slow: false, retryInMs: undefined });
    this.#after(this.#options.connectTimeoutMs ?? 10_000, () => this.#lost(1006, "the gateway did not answer in time"));
    const token = await this.#token("connect");
    if (isOld()) return;
    if (token instanceof GatewayError) return this.#lost(1006, token.message);
    try {
      const forms = this.#options.batch ? ["md.v1.json.batch", "md.v1.json"] : ["md.v1.json"];
      const socket = (this.#socket = new this.#socketClass(this.#url(), forms));
      socket.onopen = () => (token === undefined ? this.#opened() : this.send({ action: "auth", token, id: AUTH_ID }));
      socket.onmessage = ({ data }: { data: unknown }) => this.#received(data, isOld);
      socket.onclose = ({ code, reason }: { code: number; reason: string }) => this.#lost(code, reason);
      // A close follows, with all that can be known.
      socket.onerror = () => {};
    } catch (thrown) {
      this.close(new GatewayError("CLOSED", `No connection to ${this.#url()} can be made: ${textOf(thrown)}`, thrown));
    }
  }

  /** The token, `undefined` if there is to be none, or why there is none. */
  async #token(why: "connect" | "expiring"): Promise<string | undefined | GatewayError> {
    const { token } = this.#options;
    try {
      return typeof token === "function" ? await token(why) : token;
    } catch (thrown) {
      const error = new GatewayError("TOKEN_PROVIDER", `The token provider failed: ${textOf(thrown)}`, thrown);
      this.#listener.error(error);
      return error;
    }
  }

  #opened(): void {
    this.clock.clearTimeout(this.#timer);
    this.#openedAt = this.#heardAt = this.#watchedAt = this.clock.now();
    this.#watch();
    this.#set({ status: "open", code: undefined, reason: undefined });
    this.#listener.opened();
  }

  #received(text: unknown, isOld: () => boolean): void {
    this.#heardAt = this.clock.now();
    let messages: unknown;
    try {
      messages = JSON.parse(text as string);
    } catch {
      messages = undefined;
    }
    for (const message of Array.isArray(messages) ? messages : [messages]) {
      // A callback may have closed the client.
      if (isOld()) return;
      if (typeof message?.type === "string") this.#take(message);
      else this.#listener.error(new GatewayError("BAD_FRAME", `Not a message of a gateway: ${String(text).slice(0, 120)}`));
    }
    this.#tell();
  }

  #take(message: Message): void {
    const { type, event, data } = message;
    if (message.id === AUTH_ID) return this.#authenticated(message);
    if (type === "status") {
      if (event === "feed") this.#set({ feed: data.state });
      else if (event === "heartbeat") this.#set({ feed: data.feed });
      else if (event === "slow") this.#set({ slow: data.policy === "conflate" });
      else if (event === "shutdown") this.#reconnectAfterMs = data.reconnectAfterMs;
      else if (event === "tokenExpiring") void this.#renew(data.expiresInMs);
    } else if (type === "error" && message.id === undefined && message.requestId === undefined) {
      this.#refused(errorOf(message));
    }
    this.#listener.message(message);
  }

  #authenticated(message: Message): void {
    if (message.type === "success") {
      this.#refusals = 0;
    } else {
      const error = errorOf(message);
      this.#refused(error);
      if (error.code === "UNAUTHORIZED") return this.#lost(1008, error.message);
    }
    if (!this.isOpen) this.#opened();
  }

  /** An error that belongs to no request: often why the gateway is about to close. */
  #refused(error: GatewayError): void {
    this.#lastError = error;
    if (error.code === "UNAUTHORIZED") this.#refusals++;
    this.#listener.error(error);
  }

  async #renew(leftMs: number): Promise<void> {
    const generation = this.#generation;
    if (typeof this.#options.token !== "function") return;
    const token = await this.#token("expiring");
    if (generation !== this.#generation) return;
    if (typeof token === "string") return this.send({ action: "auth", token, id: AUTH_ID });
    // Again while there is time; afterwards the gateway closes, and the next attempt asks for a token anyway.
    const inMs = Math.max(1_000, leftMs / 4);
    if (leftMs > inMs) {
      this.#renewTimer = this.clock.setTimeout(() => void this.#renew(leftMs - inMs), inMs);
    }
  }

  #lost(code: number, reason: string): void {
    if (this.#state.status === "closed") return;
    const cause = this.#lastError;
    const canRenew = typeof this.#options.token === "function" && cause?.code === "UNAUTHORIZED" && this.#refusals < 2;
    const final = code === 1008 && canRenew ? undefined : whyFinal(code);
    const said = cause?.message || reason;
    if (final) {
      let help = "";
      if (cause?.code === "UNAUTHORIZED" && typeof this.#options.token !== "function") {
        help = ". Pass `token` as a function, so that a fresh one can be fetched";
      }
      this.#set({ code });
      return this.close(new GatewayError(cause?.code ?? "CLOSED", `Closed with ${code}: ${said || final}${help}`, cause?.data));
    }
    const wasOpen = this.isOpen;
    const now = this.clock.now();
    const wasStable = wasOpen && now - this.#openedAt >= (this.#options.stableAfterMs ?? 5_000);
    const attempts = wasStable ? 0 : this.#state.attempts;
    const { backoffBaseMs = 1_000, backoffMaxMs = 30_000 } = this.#options;
    const inMs = this.#reconnectAfterMs ?? backoffMs(attempts, backoffBaseMs, backoffMaxMs, this.#random());
    this.#abandon();
    this.#after(inMs, () => void this.#connect());
    this.#set({ status: "waiting", feed: "unknown", attempts: attempts + 1, retryInMs: inMs, code, reason: said });
    if (wasOpen) this.#listener.lost();
  }

  /** Lets go of the socket at once; its own close may take minutes where the peer has gone. */
  #abandon(code?: number): void {
    this.#generation++;
    this.clock.clearTimeout(this.#watchTimer);
    this.clock.clearTimeout(this.#renewTimer);
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    try {
      socket.close(code);
    } catch {
      // It is closed already.
    }
  }

  #after(ms: number, run: () => void): void {
    this.clock.clearTimeout(this.#timer);
    this.#timer = this.clock.setTimeout(run, ms);
  }

  /** Looks again and again for how long nothing has been heard: asks first, gives up later. */
  #watch(): void {
    const everyMs = this.#staleAfterMs / 3;
    this.#watchTimer = this.clock.setTimeout(() => {
      const now = this.clock.now();
      // A machine that has slept has heard nothing: the gateway gets the time to answer.
      if (now - this.#watchedAt > this.#muteAfterMs) this.#grace(now);
      this.#watchedAt = now;
      const silentMs = now - this.#heardAt;
      if (silentMs >= this.#muteAfterMs) return this.#lost(1006, `nothing heard for ${silentMs} ms`);
      if (silentMs > this.#staleAfterMs / 2) this.send({ action: "ping" });
      this.#tell();
      this.#watch();
    }, everyMs);
  }

  /** Stale, but not given up for as long as an answer may take. */
  #grace(now: number): void {
    this.#heardAt = Math.min(now, Math.max(this.#heardAt, now - Math.max(this.#staleAfterMs, this.#muteAfterMs / 2)));
  }

  #pageChanged(): void {
    this.clock.clearTimeout(this.#hiddenTimer);
    const { pauseHiddenAfterMs } = this.#options;
    if (this.#page!.hidden()) {
      if (pauseHiddenAfterMs === undefined) return;
      this.#hiddenTimer = this.clock.setTimeout(() => this.#pause(), pauseHiddenAfterMs);
    } else if (this.#paused || this.#state.status === "waiting") {
      this.#paused = false;
      // Someone looks: no back-off, unless the gateway has asked for one.
      if (this.#reconnectAfterMs === undefined) void this.#connect();
    } else if (this.isOpen) {
      const now = this.clock.now();
      if (now - this.#heardAt > this.#staleAfterMs / 2) {
        this.#grace(now);
        this.send({ action: "ping" });
        this.#tell();
      }
    }
  }

  #pause(): void {
    const wasOpen = this.isOpen;
    this.#paused = true;
    this.#reconnectAfterMs = undefined;
    this.#abandon(1000);
    this.clock.clearTimeout(this.#timer);
    this.#set({ status: "waiting", feed: "unknown", retryInMs: undefined, reason: "the page is hidden" });
    if (wasOpen) this.#listener.lost();
  }

  #set(change: Partial<ConnectionState>): void {
    Object.assign(this.#state, change);
    this.#tell();
  }

  /** Tells the state if it is not what was told last. */
  #tell(): void {
    const state = this.state;
    const text = JSON.stringify(state);
    if (text === this.#told) return;
    this.#told = text;
    this.#listener.state(state);
  }
}
