// What scenes of clients/behaviour/gateway need beside the client: gateways, the way to them, workers and other users. It runs in Node,
// also where the client is in a page.

import assert from "node:assert/strict";
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from "node:net";
import WebSocket from "ws";
import { Gateway, SECRET, tokenOf } from "./gateway.js";

/** Far more than a connection and the kernel's buffers hold. */
const [FLOOD, FLOOD_BYTES] = [4_000, 50_000];

/** The way to the gateway: an address that stays while gateways come and go, and on which things happen. */
class Way {
  gateway: Gateway | undefined;
  /** The answer to the newest handshake. */
  answer = "";
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
      if (from === to) from.once("data", (some) => (this.answer = some.toString("latin1").toLowerCase()));
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

/** What is outside of one scene's client. */
export class Outside {
  readonly #way = new Way();
  readonly #others = new Map<string, WebSocket>();
  #upstream: Gateway | undefined;

  /** Does what a step says, or what the client's side asks for. */
  does(verb: string, value: any): Promise<unknown> {
    return Promise.resolve(this.#verbs[verb]!(value));
  }

  /** The gateway, or its upstream. */
  #named(which: unknown): Gateway {
    return which === "upstream" ? this.#upstream! : this.#gateway;
  }

  get #gateway(): Gateway {
    return this.#way.gateway!;
  }

  readonly #verbs: Record<string, (value: any) => unknown> = {
    /** An address for the client. */
    listen: async ({ user, in_url: inUrl }) =>
      (await this.#way.listen()) + (user ? `?token=${tokenOf(user)}` : inUrl ? `?token=${signed(inUrl)}` : ""),
    sign: signed,
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
    flood: async ({ on, until }) => {
      for (let n = 1; n <= FLOOD; n++) {
        const data = { type: "task", symbol: "AAPL", price: n, volume: 1, timestamp: n, seq: n, pad: "x".repeat(FLOOD_BYTES) };
        await this.#gateway.publish(`channel:${on}`, data);
        if ((await this.#gateway.counted(until)) > 0) return;
      }
      assert.fail(`${until} stays 0`);
    },
    way: (mode) => this.#way.set(mode),
    expect_protocol: (name) => assert(this.#way.answer.includes(`sec-websocket-protocol: ${name}\r\n`), this.#way.answer),
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
    /** Nothing is left behind. */
    end: async () => {
      for (const other of this.#others.values()) other.terminate();
      this.#way.close();
      await this.#way.gateway?.stop();
      await this.#upstream?.stop();
    },
  };
}
