// Ten tabs of one browser on one connection, and React's hooks in each of them. Prints a line of JSON for each step, and in the end one with all
// that was seen.
//
// usage: tabs.js USER_DATA_DIR GATEWAY(host:port) worker|tabs|alone
"use strict";
const http = require("node:http");
const path = require("node:path");
const { launchIn } = require("./chromium.js");

const client = path.resolve(__dirname, "../../../clients/js");
const esbuild = require(path.join(client, "node_modules/esbuild"));
const [userData, gateway, mode] = process.argv.slice(2);
const TABS = 10;
const say = (what) => console.log(JSON.stringify(what));

const PAGE = `
import { createElement as h } from "react";
import { createRoot } from "react-dom/client";
import { connectShared } from "./src/shared.ts";
import { useConnection, usePrice } from "./src/react.ts";
const worker = ${mode === "worker"} ? () => new SharedWorker("/worker.js") : undefined;
if (${mode === "alone"}) delete window.BroadcastChannel;
const client = connectShared("ws://${gateway}/ws", { worker });
window.losses = [];
client.on("loss", (loss) => window.losses.push(loss));
let renders = 0;
function Price() {
  const { status } = useConnection(client);
  const { event, fresh } = usePrice(client, "AAPL");
  renders++;
  return h("p", { "data-fresh": fresh, "data-at": event?.data.timestamp ?? 0, "data-renders": renders }, status, " ", event?.data.price ?? "none");
}
createRoot(document.body.firstElementChild).render(h(Price));
`;
const WORKER = `import { serve } from "./src/host.ts"; serve("ws://${gateway}/ws");`;

const bundle = async (contents) => {
  const built = await esbuild.build({ stdin: { contents, resolveDir: client, loader: "ts" }, bundle: true, write: false, format: "iife", define: { "process.env.NODE_ENV": '"production"' } });
  return built.outputFiles[0].text;
};

async function main() {
  const files = { "/page.js": await bundle(PAGE), "/worker.js": await bundle(WORKER), "/": "<!doctype html><title>a tab</title><body><div></div><script src=/page.js></script>" };
  const server = http.createServer(({ url }, answer) => {
    answer.setHeader("Content-Type", url === "/" ? "text/html" : "text/javascript");
    answer.statusCode = files[url] ? 200 : 404;
    answer.end(files[url] ?? "");
  });
  await new Promise((up) => server.listen(0, "127.0.0.1", up));
  const at = `http://127.0.0.1:${server.address().port}/`;
  const context = await launchIn(userData);
  context.setDefaultTimeout(50_000);
  const errors = [];
  const tabs = [];
  const live = (page) => page.waitForSelector("p[data-fresh=true]");
  for (let tab = 0; tab < TABS; tab++) {
    const page = await context.newPage();
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(at);
    await live(page);
    tabs.push(page);
    say({ tabs: tabs.length });
  }
  const newer = async (page, at) => {
    // A hidden tab draws nothing: each is looked at.
    await page.bringToFront();
    const before = await page.getAttribute("p", "data-at");
    await page.waitForFunction((before) => document.querySelector("p[data-fresh=true]")?.dataset.at > before, before);
    say({ newer: at });
  };
  const connections = async () => (await (await fetch(`http://${gateway}/health`)).json()).connections;
  for (const [at, page] of tabs.entries()) await newer(page, at);
  const all = await connections();
  // The first tab is the one that holds the connection, where a tab does.
  await tabs.shift().close();
  for (const [at, page] of tabs.entries()) await newer(page, at);
  const losses = await tabs[0].evaluate(() => window.losses.length);
  const afterOne = await connections();
  for (const page of tabs) await page.evaluate(() => (location.href = "about:blank"));
  while (await connections()) await new Promise((later) => setTimeout(later, 50));
  say({ all, afterOne, losses, errors });
  await context.close();
  server.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
