// React's hooks of clients/js in a browser, in strict mode: a room, who is in it, a talk, notifications, a price. Bob is a client beside
// them, without hooks. Prints what the hooks gave as one line of JSON.
//
// usage: react_hooks.js GATEWAY(host:port) BROKER_PORT
"use strict";
const http = require("node:http");
const net = require("node:net");
const path = require("node:path");
const { launch } = require("./chromium.js");

const client = path.resolve(__dirname, "../../../clients/js");
const esbuild = require(path.join(client, "node_modules/esbuild"));
const [gateway, brokerPort] = process.argv.slice(2);

const PAGE = `
import { createElement as h, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "./src/index.ts";
import { deskOf } from "./src/desk.ts";
import { useChat, useNotifications, usePresence, usePrice, useRoom } from "./src/react.ts";
const client = connect("ws://${gateway}/ws");
// What a hook gives needs no line on the console besides.
client.on("error", () => {});
const bob = (window.bob = deskOf(connect("ws://${gateway}/ws")));
const seen = (window.seen = { mixed: [], renders: 0 });
const told = (window.told = { left: [], messages: [], inbox: [] });
window.bobs = bob.join("lobby", { onMessage: (message) => told.messages.push(message), onLeft: (user) => told.left.push(user) });
bob.inbox({ onMessage: (message) => told.inbox.push(message) });
function Room({ id }) {
  const room = useRoom(client, id, { keep: 2 });
  seen.room = { id, ...room, texts: room.messages.map(({ message }) => message), presence: usePresence(client, id) };
  // What belongs to another room is never shown for this one.
  if (room.messages.some(({ room_id }) => room_id !== id)) seen.mixed.push(id);
  seen.renders++;
  return null;
}
function Price({ symbol }) {
  const { event } = usePrice(client, symbol);
  if (event && event.data.symbol !== symbol) seen.mixed.push(symbol);
  seen.price = event && symbol;
  return null;
}
function Talk({ user }) {
  seen.talk = useChat(client, user);
  return null;
}
function Notes() {
  seen.notes = useNotifications(client);
  return null;
}
function App() {
  const [{ room, symbol, user }, set] = useState({ room: "lobby", symbol: "AAPL" });
  window.set = (change) => set((before) => ({ ...before, ...change }));
  return [room && h(Room, { id: room, key: "room" }), h(Price, { symbol, key: "price" }), user && h(Talk, { user, key: "talk" }), h(Notes, { key: "notes" })];
}
createRoot(document.body.firstElementChild).render(h(StrictMode, null, h(App)));
`;

const publish = async (channel, object) => {
  const words = ["PUBLISH", channel, JSON.stringify(object)];
  const socket = net.connect(brokerPort, "127.0.0.1");
  socket.write(`*3\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`);
  await new Promise((done, fail) => socket.once("data", done).once("error", fail));
  socket.destroy();
};

async function main() {
  const built = await esbuild.build({ stdin: { contents: PAGE, resolveDir: client, loader: "ts" }, bundle: true, write: false, format: "iife" });
  const server = http.createServer(({ url }, answer) => {
    answer.setHeader("Content-Type", url === "/" ? "text/html" : "text/javascript");
    answer.end(url === "/" ? "<!doctype html><title>hooks</title><body><div></div><script src=/page.js></script>" : built.outputFiles[0].text);
  });
  await new Promise((up) => server.listen(0, "127.0.0.1", up));
  const browser = await launch();
  const page = await browser.newPage();
  page.setDefaultTimeout(50_000);
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (said) => ["error", "warning"].includes(said.type()) && !said.location().url.endsWith("favicon.ico") && errors.push(said.text()));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const until = (holds) => page.waitForFunction(holds);
  const found = {};

  await until("seen.room?.joined && seen.room.members?.count === 2 && seen.room.presence?.count === 2");
  const names = await page.evaluate("({ alice: seen.room.user, bob: bob.user, users: seen.room.members.users })");
  found.users = [names.alice, names.bob].every((name) => names.users.includes(name)) && names.users.length;
  await page.evaluate("bobs.typing()");
  await until("seen.room.typing[0] === bob.user");
  for (const text of ["one", "two", "three"]) await page.evaluate((text) => window.bobs.send(text), text);
  await until("seen.room.texts.at(-1) === 'three'");
  Object.assign(found, await page.evaluate("({ kept: seen.room.texts, typing: seen.room.typing })"));
  await page.evaluate("seen.room.tellTyping().then(() => seen.room.send('mine'))");
  await until("told.messages.at(-1).message === 'mine'");
  found.mineIsFromAlice = (await page.evaluate("told.messages.at(-1).from")) === names.alice;

  await page.evaluate((user) => window.set({ user }), names.bob);
  await until("seen.talk");
  await page.evaluate((user) => window.bob.chat(user, "Hi!"), names.alice);
  await until("seen.talk.messages.length === 1");
  await page.evaluate("seen.talk.send('Hi Bob!')");
  await until("seen.talk.messages.length === 2");
  await publish("channel:broadcast", { type: "maintenance" });
  await until("seen.notes.messages.length === 1");
  found.talk = await page.evaluate("seen.talk.messages.map(({ message }) => message)");
  found.notes = await page.evaluate("seen.notes.messages");

  // Another room and another symbol.
  await page.evaluate("told.left.length = 0, set({ room: 'den', symbol: 'MSFT' })");
  await until("seen.room.id === 'den' && seen.room.members?.count === 1 && seen.price === 'MSFT'");
  await until("told.left.length === 1");
  found.inTheDen = await page.evaluate("seen.room.texts");
  await page.evaluate("set({ room: 'no\\nname' })");
  await until("seen.room.error");
  found.refused = await page.evaluate("[seen.room.error.code, seen.room.joined]");
  found.toARefusedRoom = await page.evaluate("seen.room.send('x').then(() => 'sent', ({ code }) => code)");

  // A component that has gone leaves its room.
  await page.evaluate("set({ room: 'lobby' })");
  await until("seen.room.id === 'lobby' && seen.room.members?.count === 2");
  await page.evaluate("told.left.length = 0, set({ room: null })");
  await until("told.left.length === 1");
  found.mixed = await page.evaluate("seen.mixed");
  console.log(JSON.stringify({ ...found, errors }));
  await browser.close();
  server.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
