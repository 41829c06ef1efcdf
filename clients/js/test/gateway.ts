// The gateway as a program, for tests that need a real one.

import { type ChildProcess, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { setImmediate } from "node:timers/promises";

const binary = process.env.WS_GATEWAY;
export const needsGateway = binary ? {} : { skip: "WS_GATEWAY is not set: scripts/test sets it" };

export class Gateway {
  readonly #child: ChildProcess;
  private constructor(
    child: ChildProcess,
    readonly port: number,
    readonly brokerPort: number,
  ) {
    this.#child = child;
  }

  /** Starts it on a free port and waits until it is ready. */
  static async start(settings: Record<string, string> = {}): Promise<Gateway> {
    const args = ["--ws-host", "127.0.0.1", "--ws-port", "0", "--embedded-redis-port", "0"];
    const child = spawn(resolve(binary!), args, { env: { RUST_LOG: "info", ...settings }, cwd: tmpdir(), stdio: ["ignore", "ignore", "pipe"] });
    const kill = () => void child.kill("SIGKILL");
    process.on("exit", kill);
    child.once("exit", () => process.off("exit", kill));
    let found = 0;
    let broker = 0;
    await new Promise<void>((ready, fail) => {
      child.once("exit", (code) => fail(new Error(`the gateway ended with ${code}`)));
      createInterface(child.stderr!).on("line", (line) => {
        found ||= Number(/listening on port (\d+)/.exec(line)?.[1] ?? 0);
        broker ||= Number(/embedded on [\d.]+:(\d+)/.exec(line)?.[1] ?? 0);
        if (line.includes("initialized and ready")) ready();
      });
    });
    return new Gateway(child, found, broker);
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  /** Sends it a signal. Once SIGSTOP has been sent it does nothing more. */
  async signal(name: NodeJS.Signals): Promise<void> {
    this.#child.kill(name);
    const tasks = `/proc/${this.#child.pid}/task`;
    // It is on its way: until then threads go on. The state follows the name in parentheses.
    const isStopped = () => readdirSync(tasks).every((task) => /\) T /.test(readFileSync(`${tasks}/${task}/stat`, "utf8")));
    while (name === "SIGSTOP" && !isStopped()) await setImmediate();
  }

  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const ended = new Promise((done) => this.#child.once("exit", done));
    this.#child.kill(signal);
    await ended;
  }

  /** What a counter of its metrics has, over all shards. */
  async counted(name: string): Promise<number> {
    const metrics = await (await fetch(`http://127.0.0.1:${this.port}/metrics`)).text();
    const lines = metrics.split("\n").filter((line) => line.startsWith(name));
    return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }

  /** Publishes one trade, and waits until the broker has it. */
  async trade(symbol: string, price: number, seq: number): Promise<void> {
    await this.publish(`channel:trade:${symbol}`, { symbol, price, volume: 100, timestamp: seq, seq });
  }

  async publish(channel: string, object: object): Promise<void> {
    const words = ["PUBLISH", channel, JSON.stringify(object)];
    const socket = connectTcp(this.brokerPort, "127.0.0.1");
    socket.write(`*3\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`);
    await new Promise((done, fail) => socket.once("data", done).once("error", fail));
    socket.destroy();
  }

  /** What is published next on a channel, and when the broker has the subscription to it. */
  next(channel: string): { ready: Promise<void>; object: Promise<any> } {
    const socket = connectTcp(this.brokerPort, "127.0.0.1");
    socket.write(`*2\r\n$9\r\nSUBSCRIBE\r\n$${channel.length}\r\n${channel}\r\n`);
    let subscribed = () => {};
    const ready = new Promise<void>((done) => (subscribed = done));
    const object = new Promise<any>((done) => {
      let text = "";
      socket.on("data", (data) => {
        text += data;
        subscribed();
        const found = /^\{.*\}$/m.exec(text.replaceAll("\r", ""));
        if (found) done(JSON.parse(found[0]));
        if (found) socket.destroy();
      });
    });
    return { ready, object };
  }
}

export const SECRET = "a secret of thirty-two bytes or more";

/** A token of a gateway with `JWT_SECRET_KEY`. */
export function tokenOf(user: string, claims: object = {}, key = SECRET): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256" })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}
