// The desk with the gateway as users run it: rooms, chat, presence, notifications, and a room that is joined again after a lost connection.

import assert from "node:assert/strict";
import { test } from "node:test";
import WebSocket from "ws";
import { type Desk, deskOf, type Members, type RoomMessage } from "../src/desk.js";
import { type Client, connect, type Loss } from "../src/index.js";
import { Gateway, needsGateway, SECRET, tokenOf } from "./gateway.js";

const settings = { DESK: "true", JWT_SECRET_KEY: SECRET };

/** A user, and what closes its connections without the gateway's or the client's doing. */
function userOf(gateway: Gateway, name: string, claims: object = {}): { client: Client; desk: Desk; cut: () => void } {
  const sockets: WebSocket[] = [];
  class Kept extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const client = connect(gateway.url, { WebSocket: Kept, token: () => tokenOf(name, claims), backoffBaseMs: 50 });
  return { client, desk: deskOf(client), cut: () => sockets.at(-1)!.terminate() };
}

/** The next of a stream. */
async function next<T>(stream: AsyncIterator<T>): Promise<T> {
  const { value, done } = await stream.next();
  assert(!done, "the stream has ended");
  return value;
}

/** Calls back into a promise once something holds. */
function latch<T>() {
  const got: T[] = [];
  let check = () => {};
  const put = (value: T) => {
    got.push(value);
    check();
  };
  const until = (holds: (got: T[]) => boolean) =>
    new Promise<void>((done) => {
      check = () => void (holds(got) && done());
      check();
    });
  return { got, put, until };
}

test("two users talk in a room, see who is there, and write to each other", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start(settings);
  const [alice, bob] = [userOf(gateway, "alice"), userOf(gateway, "bob")];
  const members = latch<Members>();
  const typing = latch<string>();
  const first = alice.desk.join("room-123", { onMembers: members.put, onTyping: typing.put });
  await first.ready;
  const second = bob.desk.join("room-123");
  await second.ready;
  await members.until((got) => got.some(({ users, count }) => count === 2 && users.includes("bob")));
  assert.equal(alice.desk.user, "alice");
  const [atAlice, atBob] = [first[Symbol.asyncIterator](), second[Symbol.asyncIterator]()];
  await first.send({ text: "Hello everyone!" });
  for (const room of [atAlice, atBob]) {
    const { type, from, message } = await next<RoomMessage>(room);
    assert.deepEqual([type, from, message], ["room_message", "alice", { text: "Hello everyone!" }]);
  }
  await second.typing();
  await typing.until(([user]) => user === "bob");
  assert.deepEqual(await second.presence(), { users: ["alice", "bob"], count: 2 });

  const inbox = bob.desk.inbox()[Symbol.asyncIterator]();
  await alice.desk.chat("bob", "Hi there!");
  const { type, from, to, message } = (await next(inbox)) as any;
  assert.deepEqual([type, from, to, message], ["chat", "alice", "bob", "Hi there!"]);
  await gateway.publish("channel:user:bob", { type: "task_status_update", event_id: "7" });
  assert.deepEqual(await next(inbox), { type: "task_status_update", event_id: "7" });
  await gateway.publish("channel:broadcast", { type: "maintenance" });
  assert.deepEqual(await next(inbox), { type: "maintenance" });

  second.leave();
  assert.equal((await atBob.next()).done, true);
  await members.until((got) => got.at(-1)?.count === 1);
  for (const { client } of [alice, bob]) client.close();
  await gateway.stop();
});

test("a client that only listens gets broadcasts", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start({ DESK: "true" });
  const client = connect(gateway.url, { WebSocket });
  const inbox = deskOf(client).inbox();
  await inbox.ready;
  await gateway.publish("channel:broadcast", { type: "maintenance" });
  assert.deepEqual(await next(inbox[Symbol.asyncIterator]()), { type: "maintenance" });
  client.close();
  await gateway.stop();
});

test("after a lost connection the room goes on, and says that something may be missing", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start(settings);
  const [alice, bob] = [userOf(gateway, "alice"), userOf(gateway, "bob")];
  const losses = latch<Loss>();
  const messages = latch<RoomMessage>();
  const gone = latch<string>();
  const room = alice.desk.join("room-123", { onLoss: losses.put, onMessage: messages.put });
  const other = bob.desk.join("room-123", { onLeft: gone.put });
  await Promise.all([room.ready, other.ready]);
  alice.cut();
  await losses.until((got) => got.length === 1);
  assert.deepEqual(losses.got, [{ kind: "notRecovered", type: "room", symbol: "room-123" }]);
  await other.send("are you back?");
  await messages.until((got) => got.length === 1);
  assert.deepEqual(messages.got.map(({ message }) => message), ["are you back?"]);
  assert.deepEqual(gone.got, [], "who is back within the grace has not left");
  for (const { client } of [alice, bob]) client.close();
  await gateway.stop();
});

test("what the gateway refuses is told in its words", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start({ ...settings, MAX_ROOMS_PER_USER: "1" });
  const { client, desk } = userOf(gateway, "alice", { rooms: ["team-*"] });
  await assert.rejects(desk.join("other").ready, { code: "FORBIDDEN", data: { room_id: "other" } });
  await desk.join("team-1").ready;
  await assert.rejects(desk.join("team-2").ready, { code: "ROOM_LIMIT_EXCEEDED", data: { current: 1 } });
  await assert.rejects(desk.join("team-\n").ready, { code: "INVALID_INPUT" });
  client.close();
  await gateway.stop();
});

test("a gateway without a desk is told as such", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start();
  const client = connect(gateway.url, { WebSocket });
  await assert.rejects(deskOf(client).join("room-123").ready, { code: "NO_DESK" });
  await assert.rejects(deskOf(client).ready, { code: "NO_DESK" });
  client.close();
  await gateway.stop();
});

test("a worker is asked, and what none answers ends in time", { ...needsGateway, timeout: 60_000 }, async () => {
  const gateway = await Gateway.start({ DESK: "true", REQUESTS: "true", REQUEST_TIMEOUT: "1s" });
  const client = connect(gateway.url, { WebSocket });
  const desk = deskOf(client);
  await desk.ready;
  const question = gateway.next("channel:request");
  // The broker has the subscription before the question can be there.
  await question.ready;
  const answer = desk.request({ q: "balance" });
  const { replyTo, requestId, payload } = await question.object;
  assert.deepEqual(payload, { q: "balance" });
  await gateway.publish(replyTo, { type: "response", requestId, payload: { balance: 7 } });
  assert.deepEqual(await answer, { balance: 7 });
  await assert.rejects(desk.request(1), { code: "TIMEOUT" });
  client.close();
  await gateway.stop();
});
