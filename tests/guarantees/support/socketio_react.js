// A React component with socket.io-client in headless Chromium, where http://localhost:3000 is the gateway. Prints what the page logs and shows as JSON, a
// line each: {"log": "connected …"}, {"shows": "…"}; reads orders as lines of JSON: {"case": "case-2"} shows another one, {"case": null} none.
//
// usage: socketio_react.js USER_DATA_DIR GATEWAY(host:port) TOKEN COMPONENT.tsx      the component is CaseDetail, with caseId
"use strict";
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const readline = require("node:readline");
const esbuild = require("esbuild");
const { launchIn } = require("./chromium.js");

const [userData, gateway, token, component] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const MAIN = `
import { createRoot } from "react-dom/client";
const root = createRoot(document.body.firstElementChild!);
Object.assign(window, { show: (caseId: string | null) => root.render(caseId && <CaseDetail caseId={caseId} />) });
`;

async function main() {
  const stdin = { contents: fs.readFileSync(component, "utf8") + MAIN, resolveDir: path.dirname(component), loader: "tsx" };
  const define = { "process.env.NODE_ENV": '"production"' };
  const nodePaths = [process.env.NODE_PATH];
  const built = await esbuild.build({ stdin, bundle: true, write: false, format: "iife", jsx: "automatic", define, nodePaths });
  const files = { "/page.js": built.outputFiles[0].text, "/": "<!doctype html><title>cases</title><body><div></div><script src=/page.js></script>" };
  const server = http.createServer(({ url }, answer) => {
    answer.setHeader("Content-Type", url === "/" ? "text/html" : "text/javascript");
    answer.statusCode = files[url] ? 200 : 404;
    answer.end(files[url] ?? "");
  });
  await new Promise((up) => server.listen(0, "127.0.0.1", up));
  const context = await launchIn(userData, { args: [`--host-resolver-rules=MAP localhost:3000 ${gateway}`] });
  const page = await context.newPage();
  let logged = Promise.resolve();
  page.on("console", (message) => {
    const values = Promise.all(message.args().map((each) => each.jsonValue()));
    const words = values.then((all) => all.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join(" "));
    logged = logged.then(async () => say({ log: await words }));
  });
  page.on("pageerror", (error) => say({ log: `error: ${error}` }));
  await page.addInitScript((token) => localStorage.setItem("access_token", token), token);
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.exposeFunction("told", (text) => say({ shows: text }));
  await page.evaluate(() => {
    const root = document.body.firstElementChild;
    new MutationObserver(() => window.told(root.textContent)).observe(root, { childList: true, subtree: true, characterData: true });
  });
  await page.evaluate(() => window.show("case-1"));
  readline.createInterface({ input: process.stdin }).on("line", (line) => page.evaluate((caseId) => window.show(caseId), JSON.parse(line).case));
}

main();
