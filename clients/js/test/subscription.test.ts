// What the behaviour table cannot say, since each language has a form of its own for it: loops, signals, callbacks, types.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, GatewayError, type Loss, type Quote, type SubscribeOptions, type Trade } from "../src/index.js";
import { FakeClock, Server, settle } from "./world.js";

async function connected() {
  const server = new Server();
  const clock = new FakeClock();
  const abort = new AbortController();
  const client = connect("ws://gateway.test/ws", { WebSocket: server.WebSocket, clock, signal: abort.signal });
  await settle();
  server.accept();
  const trade = (price: number) => server.send({ type: "trade", data: { symbol: "AAPL", price, volume: 1, timestamp: price }, timestamp: 1 });
  return { server, clock, client, abort, trade };
}

test("a loop gets every event in order, and leaving it unsubscribes", async () => {
  const { server, client, trade } = await connected();
  const prices: number[] = [];
  const loop = (async () => {
    for await (const { data } of client.subscribe("AAPL")) {
      prices.push(data.price);
      if (data.price === 3) break;
    }
  })();
  for (const price of [1, 2, 3, 4]) trade(price);
  await loop;
  assert.deepEqual(prices, [1, 2, 3]);
  assert.deepEqual(server.frames.map(({ action }) => action), ["subscribe", "unsubscribe"]);
  client.close();
});

test("what comes before the loop begins waits for it", async () => {
  const { client, trade } = await connected();
  const losses: Loss[] = [];
  const subscription = client.subscribe("AAPL", { bufferSize: 2, onLoss: (loss) => losses.push(loss) });
  for (const price of [1, 2, 3]) trade(price);
  await settle();
  assert.deepEqual(losses, []);
  const loop = subscription[Symbol.asyncIterator]();
  assert.equal((await loop.next()).value!.data.price, 2);
  assert.deepEqual(losses, [{ kind: "overflow", count: 1 }]);
  client.close();
});

test("a loop that is too slow loses the oldest events, and is told how many", async () => {
  const { client, trade } = await connected();
  const losses: Loss[] = [];
  const subscription = client.subscribe("AAPL", { bufferSize: 2, onLoss: (loss) => losses.push(loss) });
  const loop = subscription[Symbol.asyncIterator]();
  for (const price of [1, 2, 3, 4, 5]) trade(price);
  await settle();
  assert.deepEqual(losses, [{ kind: "overflow", count: 3 }]);
  assert.equal((await loop.next()).value!.data.price, 4);
  assert.equal((await loop.next()).value!.data.price, 5);
  assert.throws(() => subscription[Symbol.asyncIterator](), /subscribe once for each loop/);
  client.close();
});

test("signals end a subscription, and the client", async () => {
  const { server, client, clock, abort, trade } = await connected();
  const one = new AbortController();
  const seen: number[] = [];
  const subscription = client.subscribe("AAPL", { signal: one.signal, onEvent: ({ data }) => seen.push(data.price) });
  trade(1);
  one.abort();
  trade(2);
  assert.deepEqual(seen, [1]);
  assert.deepEqual(await subscription[Symbol.asyncIterator]().next(), { done: true, value: undefined });
  abort.abort();
  assert.equal(client.state.status, "closed");
  assert.deepEqual(server.last.closedWith, { code: 1000 });
  assert.equal(clock.timers, 0);
  const late = client.subscribe("AAPL");
  await assert.rejects(late.ready, (error) => error instanceof GatewayError && error.code === "CLOSED");
});

test("a callback that throws costs nobody else an event, and is told", async () => {
  const { client, trade } = await connected();
  const errors: string[] = [];
  const seen: number[] = [];
  client.on("error", ({ code, message }) => errors.push(`${code}: ${message}`));
  client.subscribe("AAPL", {
    onEvent() {
      throw new Error("my own fault");
    },
  });
  client.subscribe("AAPL", { onEvent: ({ data }) => seen.push(data.price) });
  trade(1);
  assert.deepEqual(seen, [1]);
  assert.deepEqual(errors, ["CALLBACK: A callback threw: my own fault"]);
  client.close();
});

test("ready tells when the gateway has accepted", async () => {
  const { server, client } = await connected();
  const { ready } = client.subscribe("AAPL");
  server.send({ type: "success", message: "", data: { subscribed: ["AAPL"] }, timestamp: 1, id: server.frames[0].id });
  await ready;
  const refused = client.subscribe("MSFT").ready;
  const error = { type: "error", message: "Cannot subscribe: would exceed maximum of 1 symbols", code: "SYMBOL_LIMIT_EXCEEDED" };
  server.send({ ...error, timestamp: 1, id: server.frames[1].id });
  await assert.rejects(refused, { code: "SYMBOL_LIMIT_EXCEEDED" });
  client.close();
});

test("an address that is none closes the client and says why", async () => {
  const BadSocket = class {
    constructor() {
      throw new SyntaxError("The URL 'here' is invalid.");
    }
  };
  const client = connect("here", { WebSocket: BadSocket, clock: new FakeClock() });
  await assert.rejects(client.subscribe("AAPL").ready, /No connection to here can be made: The URL 'here' is invalid/);
  assert.equal(client.state.status, "closed");
});

test("events have the types that were asked for", () => {
  // Checked by the compiler.
  const options = (event: SubscribeOptions<"trade" | "quote">["onEvent"]) => event;
  options((event) => {
    const data: Trade | Quote = event.type === "trade" ? event.data : event.data;
    if (event.type === "quote") event.data.bidPrice.toFixed(2);
    return data;
  });
});
