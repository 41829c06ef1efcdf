// Runs clients/behaviour/gateway (its README says what the steps mean): a gateway as users run it is brought to what the behaviour table
// has a scripted server do, and time passes as it does.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import { parse } from "yaml";
import { connect } from "../src/index.js";
import { Gateway, needsGateway, SECRET, tokenOf } from "./gateway.js";
import { type Case, HAS, matches, Run, take } from "./run.js";

type Scene = Case & { shows: string[] };
const table = "../behaviour";
const PATIENCE_MS = 20_000;
/** What is looked at again until it holds. All else comes as it is, or not at all. */
const MAY_COME = ["expect_state", "expect_states", "expect_latest", "expect_user", "expect_token_left", "expect_last_error", "expect_last_loss", "expect_last_loss_on"];
/** Far more than a connection holds. */
const [FLOOD, FLOOD_BYTES] = [200, 50_000];
/** Statuses that the client asks for itself. */
const USUAL = ["heartbeat", "snapshotEnd", "replayEnd"];

/** The way to the gateway: an address that stays while gateways come and go, and on which things happen. */
class Way {
  gateway: Gateway | undefined;
  #mode = "open";
  #server: Server | undefined;
  #connections = new Set<Socket>();
  #waiting: (() => void)[] = [];

  async listen(): Promise<string> {
    this.#server = createServer((client) => this.#serve(client));
    await new Promise<void>((listening) => this.#server!.listen(0, "127.0.0.1", listening));
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/ws`;
  }

  /** See the table's README. */
  set(mode: string): void {
    this.#mode = mode === "cut" ? "open" : mode;
    if (mode === "cut" || mode === "shut") for (const socket of this.#connections) socket.destroy();
    if (mode === "held") for (const socket of this.#connections) socket.pause();
    if (mode !== "open") return;
    for (const socket of this.#connections) socket.resume();
    for (const serve of this.#waiting.splice(0)) serve();
  }

  #serve(client: Socket): void {
    if (this.#mode === "silent") return void this.#waiting.push(() => this.#serve(client));
    if (this.#mode === "shut" || !this.gateway) return void client.destroy();
    const to = connectTcp(this.gateway.port, "127.0.0.1");
    for (const [from, into] of [[client, to], [to, client]] as const) {
      this.#connections.add(from);
      from.on("data", (some) => {
        // Of a client that is not heard only the handshake comes through.
        const isHeard = from === to || this.#mode !== "unheard" || some.subarray(0, 4).equals(Buffer.from("GET "));
        if (isHeard) into.write(some);
      });
      from.on("end", () => into.end()).on("error", () => into.destroy());
      from.on("close", () => {
        this.#connections.delete(from);
        into.destroySoon();
      });
    }
  }

  close(): void {
    this.set("shut");
    this.#server?.close();
  }
}

/** A token with these claims. */
function signed({ expires_in_s: seconds, secret = SECRET, ...claims }: any): string {
  const exp = seconds && { exp: Math.floor(Date.now() / 1000) + seconds };
  return tokenOf("alice", { ...claims, ...exp }, secret.padEnd(32, "."));
}

/** Waits for it, but not for ever. */
async function soon(done: void | Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((_, fail) => (timer = setTimeout(() => fail(new Error("it takes too long")), PATIENCE_MS)));
  await Promise.race([done, late]).finally(() => clearTimeout(timer));
}

class RealRun extends Run {
  readonly #way = new Way();
  readonly #others = new Map<string, WebSocket>();
  #upstream: Gateway | undefined;
  #renews = true;

  constructor(scene: Scene) {
    super({ name: scene.name, steps: [] }, 0, (made) => made);
    Object.assign(this.steps, this.#own);
  }

  /** The gateway, or its upstream. */
  #named(which: unknown): Gateway {
    return which === "upstream" ? this.#upstream! : this.#gateway;
  }

  get #gateway(): Gateway {
    return this.#way.gateway!;
  }

  #token(why: string): string {
    if (why === "expiring" && !this.#renews) throw new Error("no other token");
    return signed(this.token());
  }

  readonly #own: Record<string, (value: any) => void | Promise<void>> = {
    gateway: async (settings) => {
      const texts = Object.entries(settings).map(([name, value]) => [name, String(value)]);
      const upstream = this.#upstream && { REDIS_URL: `redis://127.0.0.1:${this.#upstream.brokerPort}` };
      this.#way.gateway = await Gateway.start({ JWT_LEEWAY: "0", ...Object.fromEntries(texts), ...upstream });
    },
    upstream: async () => void (this.#upstream = await Gateway.start()),
    stop: async (signal) => {
      const gateway = this.#gateway;
      this.#way.gateway = undefined;
      await gateway.stop(signal);
    },
    pause: (which) => this.#named(which).signal("SIGSTOP"),
    go_on: (which) => this.#named(which).signal("SIGCONT"),
    publish: ({ on, data }) => (this.#upstream ?? this.#gateway).publish(`channel:${on}`, data),
    flood: async ({ on }) => {
      for (let n = 1; n <= FLOOD; n++) {
        const data = { type: "task", symbol: "AAPL", price: n, volume: 1, timestamp: n, seq: n, pad: "x".repeat(FLOOD_BYTES) };
        await this.#gateway.publish(`channel:${on}`, data);
      }
    },
    sleep_ms: (ms) => sleep(ms),
    way: (mode) => this.#way.set(mode),
    other: async ({ user, says = [], leaves }) => {
      let other = this.#others.get(user);
      if (!other) {
        other = new WebSocket(`${this.#gateway.url}?desk=1&token=${tokenOf(user)}`);
        this.#others.set(user, other);
        await new Promise((opened, failed) => other!.once("open", opened).once("error", failed));
      }
      for (const frame of says) {
        const answered = new Promise<void>((done) => {
          const read = (data: unknown) => {
            if (JSON.parse(String(data)).id !== "other") return;
            other!.off("message", read);
            done();
          };
          other!.on("message", read);
        });
        other.send(JSON.stringify({ ...frame, id: "other" }));
        await answered;
      }
      if (!leaves) return;
      this.#others.delete(user);
      const closed = new Promise((done) => other!.once("close", done));
      other.close();
      await closed;
    },
    client: async ({ options = {}, tokens, token, user, in_url: inUrl, renews = true }) => {
      this.client.close();
      this.states.length = 0;
      const url = (await this.#way.listen()) + (user ? `?token=${tokenOf(user)}` : inUrl ? `?token=${signed(inUrl)}` : "");
      this.tokens = tokens;
      this.#renews = renews;
      const provider = tokens ? { token: (why: string) => this.#token(why) } : token ? { token: signed(token) } : {};
      this.listen(connect(url, { WebSocket, backoffBaseMs: 50, backoffMaxMs: 200, page: this.page, ...options, ...provider }));
      this.client.on("status", ({ event }) => USUAL.includes(event) && this.statuses.pop());
    },
    expect_event: (event) => matches(this.events.shift(), { on: "a", ...event }, "event"),
    expect_last_error: (error) => {
      // Others may have come before.
      matches(this.errors.at(-1), error, "error");
      this.errors.length = 0;
    },
    expect_last_loss: (loss) => {
      matches(this.losses.at(-1), loss, "loss");
      this.losses.length = 0;
    },
    expect_last_loss_on: (loss) => {
      matches(this.streamLosses.at(-1), loss, "loss");
      this.streamLosses.length = 0;
    },
    forget: (what) => {
      const lists: Record<string, unknown[]> = { events: this.events, errors: this.errors, losses: this.losses, at_desk: this.atDesk };
      lists[what]!.length = 0;
    },
    expect_ready: (as) => (this.subscriptions.get(as) ?? (this.streams.get(as) as any)).ready,
  };

  /** What steps take from the front of. */
  readonly #lists: Record<string, unknown[]> = {
    expect_event: this.events,
    expect_loss: this.losses,
    expect_error: this.errors,
    expect_status: this.statuses,
    expect_at_desk: this.atDesk,
    expect_members: this.members,
    expect_outcome: this.outcomes,
    expect_loss_on: this.streamLosses,
  };

  /** Makes a step, and waits until what it expects has come. */
  override async step(verb: string, value: any): Promise<void> {
    const does = this.steps[verb];
    assert(does, `the table has a step that this runner does not know: ${verb}`);
    const until = Date.now() + PATIENCE_MS;
    const isEarly = () => this.#lists[verb]?.length === 0;
    while (isEarly() && Date.now() < until) await sleep(10);
    assert(!isEarly(), "nothing has come");
    for (;;) {
      try {
        return await soon(does(value));
      } catch (error) {
        if (!MAY_COME.includes(verb) || Date.now() > until) throw error;
        await sleep(10);
      }
    }
  }

  override end(): void {
    const { events, losses, atDesk, outcomes } = this;
    const errors = this.errors.map(({ code, message }) => `${code}: ${message}`);
    assert.deepEqual({ events, losses, atDesk, outcomes, errors }, { events: [], losses: [], atDesk: [], outcomes: [], errors: [] });
  }

  async leave(): Promise<void> {
    this.client.close();
    for (const other of this.#others.values()) other.terminate();
    this.#way.close();
    await this.#way.gateway?.stop();
    await this.#upstream?.stop();
  }
}

const scenes: [string, Scene][] = readdirSync(`${table}/gateway`)
  .filter((name) => name.endsWith(".yaml"))
  .flatMap((file) => (parse(readFileSync(`${table}/gateway/${file}`, "utf8")).scenes as Scene[]).map((scene): [string, Scene] => [file, scene]));

for (const [file, scene] of scenes) {
  if (!(scene.needs ?? []).every((need) => HAS.includes(need))) continue;
  test(`with a gateway: ${scene.name}`, { ...needsGateway, timeout: 60_000 }, async () => {
    const run = new RealRun(scene);
    try {
      await take(file, scene, run);
      run.end();
    } finally {
      await run.leave();
    }
  });
}
