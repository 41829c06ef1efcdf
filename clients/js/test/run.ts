// One case of the behaviour table (clients/behaviour, its README says what the steps mean) against the scripted server. No time passes but
// the fake clock's. It runs in Node and in a page.

import assert from "node:assert/strict";
import { type Desk, deskOf, type Room } from "../src/desk.js";
import { type Client, connect, type ConnectionState, type GatewayError, type Loss, type SocketClass, type Stream, type Subscription } from "../src/index.js";
import { FakeClock, FakePage, Server, settle } from "./world.js";

export interface Case {
  name: string;
  options?: Record<string, unknown>;
  desk?: true;
  tokens?: (string | null)[];
  needs?: string[];
  steps: (Record<string, any> | string)[];
}

/** What this client has of what a case may need: it may run in a page, and so cannot see the status of a refused handshake. */
export const HAS = ["page", "hidden_http_status", "desk"];
const TIMESTAMP = 1_234_567_890;

export class Run {
  readonly clock = new FakeClock();
  readonly page = new FakePage();
  readonly server = new Server();
  client!: Client;
  readonly subscriptions = new Map<string, Subscription<string>>();
  readonly streams = new Map<string, Stream<any>>();
  readonly atDesk: any[] = [];
  readonly members: any[] = [];
  readonly streamLosses: any[] = [];
  readonly outcomes: { code?: string; value?: any }[] = [];
  readonly events: any[] = [];
  readonly losses: Loss[] = [];
  readonly errors: GatewayError[] = [];
  readonly statuses: any[] = [];
  readonly states: ConnectionState[] = [];
  #attempts = 0;
  #lastId: unknown;
  #lastQuestion: unknown;
  tokens: unknown[] | undefined;

  constructor({ options = {}, tokens, desk }: Case, chance: number, wrap: (made: SocketClass) => SocketClass) {
    this.tokens = tokens && [...tokens];
    const token = tokens ? { token: () => this.token() as string } : {};
    const { clock, page } = this;
    const WebSocket = wrap(this.server.WebSocket);
    this.listen(connect("ws://gateway.test/ws", { ...options, ...token, clock, page, WebSocket, random: () => chance }));
    if (desk) deskOf(this.client);
  }

  /** Notes what the client tells. */
  listen(client: Client): void {
    this.client = client;
    client.on("loss", (loss) => this.losses.push(loss));
    client.on("error", (error) => this.errors.push(error));
    client.on("status", (status) => this.statuses.push(status));
    client.on("state", (state) => this.states.push(state));
  }

  get #desk(): Desk {
    return deskOf(this.client);
  }

  /** What has become of a request, in the order in which they end. */
  #await(outcome: Promise<any>): void {
    outcome.then(
      (value) => this.outcomes.push(value === undefined ? {} : { value }),
      (error: GatewayError) => this.outcomes.push({ code: error.code, ...(error.retryAfter && { retry_after: error.retryAfter }) }),
    );
  }

  #room(as = "a"): Room {
    return this.streams.get(as) as Room;
  }

  /** The next token. */
  token(): unknown {
    const token = this.tokens!.shift();
    assert.notEqual(token, undefined, "the client asked for more tokens than the table has");
    if (token === null) throw new Error("no token today");
    return token;
  }

  async step(verb: string, value: any): Promise<void> {
    const does = this.steps[verb];
    assert(does, `the table has a step that this runner does not know: ${verb}`);
    await settle();
    await does(value);
    await settle();
  }

  readonly steps: Record<string, (value: any) => void | Promise<void>> = {
    subscribe: ({ as = "a", symbols, ...options }) => {
      const onEvent = (event: any) => this.events.push({ on: as, ...event });
      this.subscriptions.set(as, this.client.subscribe<string>(symbols, { ...options, onEvent }));
    },
    unsubscribe: (as = "a") => this.subscriptions.get(as)!.unsubscribe(),
    join: ({ room, as = "a", members }) => {
      const told = (type: string) => (user_id: string) => this.atDesk.push({ on: as, type, user_id, room_id: room });
      const [onJoined, onLeft, onTyping] = [told("user_joined"), told("user_left"), told("typing")];
      const options = {
        onJoined,
        onLeft,
        onTyping,
        onMessage: (message: object) => this.atDesk.push({ on: as, ...message }),
        onLoss: (loss: Loss) => this.streamLosses.push({ on: as, ...loss }),
        ...(members && { onMembers: (now: object) => this.members.push({ on: as, ...now }) }),
      };
      this.streams.set(as, this.#desk.join(room, options));
    },
    inbox: ({ as }) => {
      const onMessage = (message: object) => this.atDesk.push({ on: as, ...message });
      this.streams.set(as, this.#desk.inbox({ onMessage, onLoss: (loss) => this.streamLosses.push({ on: as, ...loss }) }));
    },
    leave: (as) => this.#room(as).leave(),
    say: ({ on, message }) => this.#await(this.#room(on).send(message)),
    typing: (as) => this.#await(this.#room(as).typing()),
    chat: ({ to, message }) => this.#await(this.#desk.chat(to, message)),
    ask_workers: (payload) => this.#await(this.#desk.request(payload)),
    close_client: () => this.client.close(),
    hide_page: () => this.page.show(false),
    show_page: () => this.page.show(true),
    machine_sleeps_ms: (ms) => this.clock.sleep(ms),
    advance_ms: (ms) => this.clock.advance(ms),

    subscribed: async () => {
      const symbols = ["AAPL"];
      const steps: [string, any][] = [
        ["subscribe", { symbols }],
        ["expect_attempt", undefined],
        ["accept", undefined],
        ["expect_frame", { action: "subscribe", symbols, types: ["trade"], snapshot: true, heartbeat: true }],
        ["reply", { subscribed: symbols }],
      ];
      for (const [verb, value] of steps) await this.step(verb, value);
    },
    greeted: async () => {
      await this.step("expect_frame", { type: "leave_room", payload: { room_id: "nowhere" } });
      await this.step("reply", { room_id: "nowhere" });
    },
    in_room: async () => {
      const joined = { type: "user_joined", user_id: "alice", room_id: "room-1" };
      const steps: [string, any][] = [
        ["join", { room: "room-1" }],
        ["expect_attempt", undefined],
        ["accept", undefined],
        ["greeted", undefined],
        ["expect_frame", { type: "join_room", payload: { room_id: "room-1" } }],
        ["send", joined],
        ["reply", { room_id: "room-1" }],
        ["expect_at_desk", joined],
      ];
      for (const [verb, value] of steps) await this.step(verb, value);
    },
    accept: () => this.server.accept(),
    refuse: () => this.server.close(1006),
    send: (message) => this.server.send(Array.isArray(message) ? message.map(complete) : complete(message)),
    send_text: (text) => this.server.send(text),
    reply: (data) => {
      const subscribed = data.subscribed && { currentSubscriptions: data.subscribed };
      this.server.send({ type: "success", message: "", data: { ...subscribed, ...data }, timestamp: TIMESTAMP, id: this.#lastId });
    },
    reply_error: (error) => this.server.send({ type: "error", message: error.code, ...error, timestamp: TIMESTAMP, id: this.#lastId }),
    reply_presence: (presence) => this.server.send({ type: "presence", ...presence, id: this.#lastId }),
    respond: (payload) => this.server.send({ type: "response", requestId: this.#lastQuestion, payload }),
    respond_error: (error) => this.server.send(complete({ type: "error", ...error, requestId: this.#lastQuestion })),
    close: ({ code, reason }) => this.server.close(code, reason),
    drop: () => this.server.close(1006),
    send_on_old: (message) => this.server.attempts.at(-2)!.receive(JSON.stringify(complete(message))),
    close_old: ({ code, reason }) => this.server.attempts.at(-2)!.onclose?.({ code, reason }),

    expect_attempt: async ({ within_ms: [least, most] = [0, 0], offers, desk } = {}) => {
      const start = this.clock.now();
      const until = start + most;
      while (this.server.attempts.length === this.#attempts && (this.clock.now() < until || this.clock.isDue(until))) {
        await this.clock.step(until);
      }
      assert.equal(this.server.attempts.length, ++this.#attempts, "attempts to connect");
      const waited = this.clock.now() - start;
      assert(waited >= least && waited <= most, `waited ${waited} ms, not ${least} to ${most}`);
      if (offers) assert.deepEqual(this.server.last.protocols, offers);
      if (desk !== undefined) assert.equal(this.server.last.url.endsWith("?desk=1"), desk, this.server.last.url);
    },
    expect_no_attempt_ms: async (ms) => {
      await this.clock.advance(ms);
      assert.equal(this.server.attempts.length, this.#attempts, "attempts to connect");
    },
    expect_frame: (frame) => {
      const { id, ...got } = this.server.frames.shift() ?? assert.fail("no frame was sent");
      this.#lastId = id;
      assert.deepEqual(got, frame);
    },
    expect_pings: () => {
      const { frames } = this.server;
      const others = frames.filter(({ action }) => action !== "ping");
      assert(frames.length > others.length, "no ping was sent");
      frames.splice(0, frames.length, ...others);
    },
    expect_question: (frame) => {
      const { requestId, ...got } = this.server.frames.shift() ?? assert.fail("no frame was sent");
      this.#lastQuestion = requestId;
      assert.deepEqual(got, frame);
    },
    expect_at_desk: ({ queued, ...message }) => {
      const got = this.atDesk.shift();
      matches(got, { on: "a", ...message }, "at the desk");
      if (queued !== undefined) assert.equal(got.queued === true, queued);
    },
    expect_members: (members) => matches(this.members.shift(), { on: "a", ...members }, "members"),
    expect_outcome: (outcome) => assert.deepEqual(this.outcomes.shift(), outcome),
    expect_loss_on: (loss) => assert.deepEqual(this.streamLosses.shift(), loss),
    expect_user: (user) => assert.equal(this.#desk.user, user),
    expect_event: (event) => matches(this.events.shift(), { on: "a", ...complete(event) }, "event"),
    expect_loss: (loss) => assert.deepEqual(this.losses.shift(), loss),
    expect_error: (error) => matches(this.errors.shift(), error, "error"),
    expect_status: (status) => matches(this.statuses.shift(), status, "status"),
    expect_state: (state) => matches(this.client.state, state, "state"),
    expect_states: (states: object[]) => {
      // Each of them, in this order; others may lie between.
      let at = 0;
      for (const state of states) {
        at = this.states.findIndex((one, index) => index >= at && includes(one, state));
        assert(at >= 0, `no ${JSON.stringify(state)} in ${JSON.stringify(this.states)}`);
      }
      this.states.splice(0, at);
    },
    expect_latest: ({ symbol, type = "trade", fresh, ...data }) => {
      const latest = this.client.latest<string>(symbol, type);
      assert.equal(latest?.fresh, fresh, `${symbol} is fresh`);
      matches(latest?.event.data, data, "latest event");
    },
    expect_ended: async ({ on = "a", code }) => {
      const outcome = await (this.subscriptions.get(on) ?? this.streams.get(on)!)[Symbol.asyncIterator]().next().then(() => undefined, (error) => error.code);
      assert.equal(outcome, code);
    },
    expect_ready: async (as) => {
      let isReady = false;
      this.subscriptions.get(as)!.ready.then(() => (isReady = true));
      await settle();
      assert(isReady, `${as} is not ready`);
    },
    expect_token_left: (count) => assert.equal(this.tokens!.length, count),
  };

  /** Nothing happened that the table did not expect. */
  end(): void {
    assert.deepEqual(this.server.frames, [], "frames that were not expected");
    assert.deepEqual(this.events, [], "events that were not expected");
    assert.deepEqual(this.atDesk, [], "what came at the desk and was not expected");
    assert.deepEqual(this.members, [], "members that were not expected");
    assert.deepEqual(this.streamLosses, [], "losses of rooms and inboxes that were not expected");
    assert.deepEqual(this.outcomes, [], "outcomes that were not expected");
    assert.deepEqual(this.losses, [], "losses that were not expected");
    assert.deepEqual(this.errors.map(({ code, message }) => ({ code, message })), [], "errors that were not expected");
    assert.equal(this.server.attempts.length, this.#attempts, "attempts to connect");
    this.client.close();
    assert.equal(this.clock.timers, 0, "timers after the client's end");
    const open = this.server.attempts.filter(({ onclose, closedWith }) => onclose && !closedWith);
    assert.equal(open.length, 0, "connections after the client's end");
  }
}

/** A message with the outer timestamp that every message has. */
function complete(message: any): any {
  return typeof message === "object" && !("timestamp" in message) ? { ...message, timestamp: TIMESTAMP } : message;
}

function includes(got: any, want: any): boolean {
  if (typeof want !== "object" || want === null) return Object.is(got, want);
  return typeof got === "object" && got !== null && Object.entries(want).every(([key, value]) => includes(got[key], value));
}

export function matches(got: any, want: any, what: string): void {
  assert(includes(got, want), `${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}${got instanceof Error ? got : ""}`);
}

/** Three kinds of luck in the back-off. */
export const CHANCES = [0, 0.5, 0.999_999];

/** Plays a case; `wrap` makes the class that the client makes connections with. */
export async function play(file: string, one: Case, chance: number, wrap = (made: SocketClass): SocketClass => made): Promise<void> {
  const run = new Run(one, chance, wrap);
  await take(file, one, run);
  run.end();
}

/** Takes the steps of a case, one after the other; an error names the one that fails. */
export async function take(file: string, { name, steps }: Case, run: Run): Promise<void> {
  for (const [index, step] of steps.entries()) {
    const [verb, value] = typeof step === "string" ? [step, undefined] : Object.entries(step)[0]!;
    try {
      await run.step(verb, value);
    } catch (error) {
      throw new Error(`${file}, "${name}", step ${index + 1} (${verb}): ${(error as Error).message}`, { cause: error });
    }
  }
}
