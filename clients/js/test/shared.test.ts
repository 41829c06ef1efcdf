// One connection for many tabs: the side that holds it and the tabs, with messages that go from one to the other as between tabs. That
// browsers do so with real tabs and a real worker, tests/guarantees/tabs_share_one_connection.rs shows.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { deskOf } from "../src/desk.js";
import { connect, type Loss, type MarketEvent } from "../src/index.js";
import { Host, type Port, serve } from "../src/host.js";
import { connectShared, SharedClient, type SharedOptions } from "../src/shared.js";
import { FakeClock, Server, settle } from "./world.js";

const trade = (price: number, more: object = {}) => ({ type: "trade", data: { symbol: "AAPL", price, volume: 1, timestamp: 1, ...more }, timestamp: 1 });

function hostOf(server: Server, id: string): Host {
  return new Host(connect("ws://gateway/ws", { WebSocket: server.WebSocket, clock: new FakeClock() }), id);
}

/** A tab, and how it is brought to another host. */
function tabOf(first: Host) {
  let host = first;
  const port: Port = { onmessage: null, postMessage: (message) => host.take(port, structuredClone(message)) };
  const meet = (next: Host) => {
    host = next;
    host.take(port, { hello: "tab" }, (reply) => queueMicrotask(() => port.onmessage?.({ data: structuredClone(reply) })));
  };
  const client = new SharedClient(port, () => {});
  meet(first);
  return { client, meet };
}

/** Accepts the newest connection and answers its subscribe. */
async function accept(server: Server): Promise<void> {
  server.accept();
  await settle();
  answer(server);
  await settle();
}
function answer(server: Server): void {
  const { id, symbols } = server.frames.at(-1);
  server.send({ type: "success", message: "", data: { subscribed: symbols, currentSubscriptions: symbols }, timestamp: 1, id });
}

test("ten tabs have one connection and one subscription, and each gets every event", async () => {
  const server = new Server();
  const host = hostOf(server, "a");
  const tabs = Array.from({ length: 10 }, () => tabOf(host));
  const got = tabs.map(() => [] as MarketEvent[]);
  const ready = tabs.map(({ client }, tab) => client.subscribe("AAPL", { onEvent: (event) => got[tab]!.push(event) }).ready);
  await settle();
  await accept(server);
  await Promise.all(ready);
  server.send(trade(10));
  await settle();
  assert.equal(server.attempts.length, 1);
  assert.deepEqual(server.frames.map(({ action, symbols }) => [action, symbols]), [["subscribe", ["AAPL"]]]);
  assert.deepEqual(got.map((events) => events.map(({ data }) => data.price)), tabs.map(() => [10]));
  for (const { client } of tabs) assert.deepEqual([client.state.status, client.latest("AAPL")?.fresh], ["open", true]);

  for (const { client } of tabs.slice(1)) client.close();
  await settle();
  assert.equal(server.frames.length, 1, "one tab still wants it");
  tabs[0]!.client.close();
  await settle();
  assert.equal(server.frames.at(-1).action, "unsubscribe");
});

test("a tab that comes later gets the known price first", async () => {
  const server = new Server();
  const host = hostOf(server, "a");
  tabOf(host).client.subscribe("AAPL", { onEvent: () => {} });
  await settle();
  await accept(server);
  server.send(trade(10));
  const later = tabOf(host).client.subscribe("AAPL");
  await settle();
  const { value } = await later[Symbol.asyncIterator]().next();
  assert.deepEqual([value?.data.price, value?.snapshot], [10, true]);
  assert.equal(server.frames.length, 1);
});

test("where another tab takes over, all are subscribed again and told that something may be missing", async () => {
  const [first, second] = [new Server(), new Server()];
  const old = hostOf(first, "a");
  const { client, meet } = tabOf(old);
  const losses: Loss[] = [];
  client.on("loss", (loss) => losses.push(loss));
  client.subscribe("AAPL", { onEvent: () => {} });
  await settle();
  await accept(first);
  first.send(trade(10));
  await settle();
  assert.equal(client.latest("AAPL")?.fresh, true);
  old.close();
  await settle();
  const next = hostOf(second, "b");
  meet(next);
  await settle();
  assert.equal(client.latest("AAPL")?.fresh, false, "a price from before is not passed off as current");
  await accept(second);
  assert.deepEqual(losses, [{ kind: "notRecovered", type: "trade", symbol: "AAPL" }]);
  second.send({ ...trade(11, { timestamp: 2 }), snapshot: true });
  await settle();
  assert.deepEqual([client.latest("AAPL")?.event.data.price, client.latest("AAPL")?.fresh], [11, true]);
});

test("a refusal reaches the tab that asked, as an error with its code", async () => {
  const server = new Server();
  const host = hostOf(server, "a");
  const [one, other] = [tabOf(host), tabOf(host)];
  const bad = one.client.subscribe("no,good");
  other.client.subscribe("AAPL", { onEvent: () => {} });
  await settle();
  server.accept();
  await settle();
  const { id } = server.frames.at(-1);
  server.send({ type: "error", message: "no such symbol", code: "INVALID_INPUT", timestamp: 1, id });
  await settle();
  // Together they were refused; each is asked for by itself.
  const own = server.frames.find(({ symbols }, index) => index > 0 && symbols[0] === "no,good");
  server.send({ type: "error", message: "no such symbol", code: "INVALID_INPUT", timestamp: 1, id: own.id });
  await assert.rejects(bad.ready, { code: "INVALID_INPUT" });
});

test("tabs in one room are one member; a tab that goes takes nobody else out of it", async () => {
  const server = new Server();
  const host = hostOf(server, "a");
  const tabs = [tabOf(host), tabOf(host)];
  const heard: [number, string][] = [];
  const rooms = tabs.map(({ client }, tab) => deskOf(client).join("room-1", { onMessage: ({ message }) => heard.push([tab, message]) }));
  await settle();
  server.accept();
  // Answers what the tabs ask, in the order in which it was asked.
  const answer = async () => {
    await settle();
    for (const { type, payload, id } of server.frames.splice(0)) {
      if (type === "join_room") server.send({ type: "user_joined", user_id: "alice", room_id: payload.room_id });
      server.send({ type: "success", message: "", data: { room_id: payload.room_id }, timestamp: 1, id });
    }
    await settle();
  };
  await answer();
  await Promise.all(rooms.map(({ ready }) => ready));
  assert.deepEqual(tabs.map(({ client }) => deskOf(client).user), ["alice", "alice"]);
  server.send({ type: "room_message", from: "bob", room_id: "room-1", message: "hi", timestamp: 1 });
  await settle();
  assert.deepEqual(heard, [[0, "hi"], [1, "hi"]]);

  const sent = rooms[1]!.send("yes?");
  await settle();
  assert.deepEqual(server.frames[0].payload, { room_id: "room-1", message: "yes?" });
  await answer();
  await sent;

  tabs[0]!.client.close();
  await settle();
  assert.deepEqual(server.frames, [], "one tab is in it still");
  rooms[1]!.leave();
  await settle();
  assert.deepEqual(server.frames.map(({ type }) => type), ["leave_room"]);
});

test("where another tab takes over, rooms are joined again", async () => {
  const [first, second] = [new Server(), new Server()];
  const old = hostOf(first, "a");
  const { client, meet } = tabOf(old);
  const losses: Loss[] = [];
  const room = deskOf(client).join("room-1", { onLoss: (loss) => losses.push(loss) });
  const serve = async (server: Server) => {
    await settle();
    server.accept();
    await settle();
    for (const { payload, id } of server.frames.splice(0)) server.send({ type: "success", message: "", data: payload, timestamp: 1, id });
    await settle();
  };
  await serve(first);
  await room.ready;
  old.close();
  meet(hostOf(second, "b"));
  await serve(second);
  assert.deepEqual(losses, [{ kind: "notRecovered", type: "room", symbol: "room-1" }]);
});

test("a callback that throws stops no other, and an error that nobody listens to is written to the console", async (t) => {
  const warned = t.mock.method(console, "warn", () => {});
  const server = new Server();
  const { client } = tabOf(hostOf(server, "a"));
  const told: string[] = [];
  client.on("state", () => {
    throw new Error("no");
  });
  client.on("state", ({ status }) => told.push(status));
  await settle();
  server.accept();
  await settle();
  assert.equal(told.at(-1), "open");
  assert.match(String(warned.mock.calls[0]?.arguments[0]), /A callback for state threw: no/);
  const errors: string[] = [];
  client.on("error", ({ code }) => errors.push(code));
  server.close(1008);
  await settle();
  assert.deepEqual([errors.includes("CALLBACK"), client.state.status, told.at(-1)], [true, "closed", "closed"]);
});

/** Locks as browsers have them: one holder for each name, the others wait in order. */
class Locks {
  #queues = new Map<string, Promise<unknown>>();
  request(name: string, hold: () => unknown): Promise<unknown> {
    const turn = (this.#queues.get(name) ?? Promise.resolve()).then(hold);
    this.#queues.set(name, turn);
    return turn;
  }
}

/** What is set as global values, until the test ends. */
function globals(t: TestContext, values: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(values)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete (globalThis as any)[name]));
  }
}

/** Becomes true after messages have gone between tabs. */
async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo(); turn++) {
    assert.ok(turn < 10_000, what);
    await settle();
  }
}

for (const mode of ["a tab", "a worker"]) {
  test(`where ${mode} holds the connection and the gateway closes it for good, the next client gets one of its own`, async (t) => {
    const server = new Server();
    globals(t, { navigator: { locks: new Locks() } });
    const options: SharedOptions = { WebSocket: server.WebSocket };
    if (mode === "a worker") {
      globals(t, { SharedWorker: class {}, onconnect: null });
      serve("ws://gateway/ws", options);
      options.worker = () => {
        const { port1, port2 } = new MessageChannel();
        t.after(() => port1.close());
        (globalThis as any).onconnect({ ports: [port2] });
        return { port: port1 };
      };
    }
    const errors: string[] = [];
    const tab = () => {
      const client = connectShared("ws://gateway/ws", options);
      client.on("error", ({ code }) => errors.push(code));
      return client;
    };
    const tabs = [tab(), tab()];
    const ended = tabs.map((client) => client.subscribe("AAPL").ready.catch(({ code }) => code));
    await until("both ask for it", () => server.attempts.length === 1);
    await settle();
    server.accept();
    await until("both know", () => tabs.every(({ state }) => state.status === "open"));
    server.close(1008, "Authentication failed");
    await until("both know", () => tabs.every(({ state }) => state.status === "closed"));
    assert.deepEqual((await Promise.all(ended)).length, 2);
    await until("both are told why", () => errors.length === 2);

    // A person logs in: the first tab's page says so to it.
    tabs[0]!.close();
    const next = tab();
    // A tab may come to hold the connection before it hears that it is to have none: it gives it up then.
    const seen = new Set(server.attempts);
    await until("it is open", () => {
      const { last } = server;
      if (!seen.has(last) && last.onopen && !last.closedWith) {
        seen.add(last);
        server.accept();
      }
      return next.state.status === "open";
    });
    const attempts = server.attempts.length;
    const other = tab();
    await until("the other uses it", () => other.state.status === "open");
    assert.equal(server.attempts.length, attempts);
    for (const client of [next, other, ...tabs]) client.close();
    // The worker would come back for ever.
    server.close(1008);
  });
}
