// The client with the gateway as users run it: prices flow, and come again after a restart, a crash and a silence. The README's lines
// run as printed in an empty project.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as connectTcp, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import WebSocket from "ws";
import { type Client, type ClientOptions, connect, type ConnectionState, type EventOf, type Loss } from "../src/index.js";
import { Gateway, needsGateway, SECRET, tokenOf } from "./gateway.js";

/** An address that stays while gateways come and go: nobody else can take their port between two of them. */
async function address(first: Gateway) {
  let gateway = first;
  const server = createServer((client) => {
    const to = connectTcp(gateway.port, "127.0.0.1");
    client.on("error", () => to.destroy()).on("close", () => to.destroy());
    to.on("error", () => client.destroy()).on("close", () => client.destroy());
    client.pipe(to).pipe(client);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`;
  return { url, leadTo: (next: Gateway) => (gateway = next), close: () => server.close() };
}

/** What a client has told so far, and a way to wait for the next of it. */
class Told {
  readonly trades: EventOf<"trade">[] = [];
  readonly losses: Loss[] = [];
  readonly client: Client;
  readonly ready: Promise<void>;
  #waiting = new Set<() => void>();

  constructor(url: string, options: ClientOptions = {}) {
    this.client = connect(url, { WebSocket, backoffBaseMs: 50, ...options });
    const changed = (_: unknown) => this.#waiting.forEach((check) => check());
    this.client.on("state", changed);
    // Behind what else is done at a status.
    this.client.on("status", (status) => queueMicrotask(() => changed(status)));
    this.client.on("loss", (loss) => changed(this.losses.push(loss)));
    this.ready = this.client.subscribe("AAPL", { onEvent: (trade) => changed(this.trades.push(trade)) }).ready;
  }

  /** Waits until that holds; the test runner's own limit ends what never comes. */
  until(holds: (state: ConnectionState) => boolean): Promise<void> {
    return new Promise((done) => {
      const check = () => {
        if (!holds(this.client.state)) return;
        this.#waiting.delete(check);
        done();
      };
      this.#waiting.add(check);
      check();
    });
  }
}

test("prices flow, and come again after a restart of the gateway", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start();
  const { url, leadTo, close } = await address(gateway);
  const told = new Told(url, { backoffMaxMs: 200 });
  await told.ready;
  await gateway.trade("AAPL", 150.25, 1);
  await told.until(() => told.trades.length === 1);
  assert.equal(told.trades[0]!.data.price, 150.25);
  assert.equal(told.client.latest("AAPL")!.fresh, true);

  const closing = told.until(({ code }) => code === 1012);
  await Promise.all([gateway.stop("SIGTERM"), closing]);
  assert.equal(told.client.latest("AAPL")!.fresh, false);
  const next = await Gateway.start();
  leadTo(next);
  await told.until(({ fresh }) => fresh);
  // The new gateway knows nothing of what came before.
  await told.until(() => told.losses.length === 1);
  assert.deepEqual(told.losses, [{ kind: "notRecovered", type: "trade", symbol: "AAPL" }]);
  assert.equal(told.client.latest("AAPL")!.fresh, false);
  await next.trade("AAPL", 151, 2);
  await told.until(() => told.trades.length === 2);
  assert.equal(told.client.latest("AAPL")!.fresh, true);
  told.client.close();
  close();
  await next.stop();
});

test("a gateway that stands still is noticed, and what came meanwhile is resumed", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start();
  const other = new Told(gateway.url);
  const told = new Told(gateway.url, { staleAfterMs: 1_500, muteAfterMs: 3_000, connectTimeoutMs: 1_000, backoffMaxMs: 200 });
  await Promise.all([told.ready, other.ready]);
  await gateway.trade("AAPL", 1, 1);
  await told.until(() => told.trades.length === 1);
  await gateway.signal("SIGSTOP");
  await told.until(({ status, fresh }) => status === "open" && !fresh);
  assert.equal(told.client.latest("AAPL")!.fresh, false);
  await told.until(({ status }) => status === "waiting");
  // The kernel takes it, so the gateway finds it when it goes on: before the client is back, or behind.
  const published = gateway.trade("AAPL", 2, 2);
  await gateway.signal("SIGCONT");
  await published;
  await told.until(() => told.trades.length === 2);
  await told.until(() => told.client.latest("AAPL")!.fresh);
  assert.deepEqual(told.trades.map(({ data }) => data.seq), [1, 2]);
  assert.deepEqual(told.losses, []);
  told.client.close();
  other.client.close();
  await gateway.stop();
});

test("a symbol that the gateway refuses is told in its words", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start();
  const client = connect(gateway.url, { WebSocket });
  await assert.rejects(client.subscribe("no,good").ready, { code: "INVALID_INPUT", message: /printable ASCII/ });
  client.close();
  await gateway.stop();
});

test("an open gateway serves a client that has a token", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start();
  const client = connect(gateway.url, { WebSocket, token: () => "token" });
  await client.subscribe("AAPL").ready;
  assert.equal(client.state.status, "open");
  client.close();
  await gateway.stop();
});

test("a gateway with keys serves a client with a good token, and no other", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start({ JWT_SECRET_KEY: SECRET });
  const good = connect(gateway.url, { WebSocket, token: () => tokenOf("user-1") });
  const received = good.subscribe("AAPL");
  await received.ready;
  await gateway.trade("AAPL", 150.25, 1);
  const { value } = await received[Symbol.asyncIterator]().next();
  assert.equal(value?.data.price, 150.25);
  const bad = connect(gateway.url, { WebSocket, token: () => tokenOf("user-1", {}, "another secret of thirty-two bytes") });
  await assert.rejects(bad.subscribe("AAPL").ready, { code: "UNAUTHORIZED" });
  assert.notEqual(bad.state.status, "open");
  good.close();
  await gateway.stop();
});

test("the README's lines work as printed in an empty project", { ...needsGateway, timeout: 120_000 }, async () => {
  const gateway = await Gateway.start();
  const project = mkdtempSync(join(tmpdir(), "ws-gateway-client-"));
  try {
    const readme = readFileSync("README.md", "utf8");
    const code = /```js\n(import[^]*?)```/.exec(readme)![1]!;
    assert(code.trim().split("\n").length <= 12, code);
    const packed = execFileSync("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", project], { encoding: "utf8" });
    execFileSync("npm", ["init", "-y", "--silent"], { cwd: project, stdio: "ignore" });
    const quiet = ["--silent", "--no-audit", "--no-fund", "--prefer-offline"];
    execFileSync("npm", ["install", ...quiet, packed.trim(), "ws@8.23.0"], { cwd: project });
    writeFileSync(join(project, "prices.mjs"), code.replace("ws://localhost:8080/ws", gateway.url));
    const child = spawn("node", ["prices.mjs"], { cwd: project, stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface(child.stdout!)[Symbol.asyncIterator]();
    const seen: string[] = [];
    while (!seen.some((line) => line.includes("open"))) seen.push((await lines.next()).value);
    // The subscribe is on its way: a snapshot brings the price, whichever comes first.
    await gateway.trade("AAPL", 150.25, 1);
    while (!seen.some((line) => line?.includes("AAPL 150.25"))) seen.push((await lines.next()).value);
    child.kill("SIGKILL");
  } finally {
    rmSync(project, { recursive: true });
    await gateway.stop();
  }
});
