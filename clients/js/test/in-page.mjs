// Builds what plays the behaviour table in a page, with the connection as the live page has it: the client behind web/src/tap.ts. The
// script PAGE leaves two functions behind. `behaviour()` plays the cases with the scripted server, and tells how many were played and what
// failed. `scenes()` begins to play those with a gateway, and tells besides which cases of this client none of them shows. As all of them
// take long, `another()` tells the same whenever one has been played, and has `isOver` once all have. For these the page needs a function
// `outside(scene, verb, value)`, which the module OUTSIDE for Node.js has.
//
// usage: node in-page.mjs PAGE OUTSIDE

import { build } from "esbuild";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const table = new URL("../../behaviour/", import.meta.url);
const files = readdirSync(table).filter((name) => name.endsWith(".yaml")).sort();
const read = (file) => ({ file, ...parse(readFileSync(new URL(file, table), "utf8")) });
const tables = files.map(read);
const gateway = readdirSync(new URL("gateway/", table)).filter((name) => name.endsWith(".yaml")).map((name) => read(`gateway/${name}`));
const [page, outside] = process.argv.slice(2);

const contents = `
import { tap } from "../../../web/src/tap.ts";
import { IN_PAGE, isFor, playScene } from "./real-run.ts";
import { CHANCES, play } from "./run.ts";
const isOurs = (one) => isFor(one, IN_PAGE);
const tables = ${JSON.stringify(tables)};
globalThis.behaviour = async () => {
  const told = { played: 0, received: 0, sent: 0, failures: [] };
  const native = globalThis.WebSocket;
  const wrap = (made) => {
    globalThis.WebSocket = made;
    return tap({ received: () => told.received++, sent: () => told.sent++ }).WebSocket;
  };
  for (const { file, needs, cases } of tables) {
    for (const one of cases) {
      if (!isOurs({ needs }) || !isOurs(one)) continue;
      for (const chance of CHANCES) {
        told.played++;
        await play(file, one, chance, wrap).catch((error) => told.failures.push(error.message));
      }
    }
  }
  globalThis.WebSocket = native;
  return told;
};
globalThis.scenes = () => {
  const told = { played: 0, received: 0, sent: 0, notShown: [], failures: [], isOver: false };
  const scenes = ${JSON.stringify(gateway)}.flatMap(({ file, scenes }) => scenes.map((scene) => ({ file, scene }))).filter(({ scene }) => isOurs(scene));
  const shown = scenes.flatMap(({ scene }) => scene.shows);
  const ours = tables.filter(isOurs).flatMap(({ cases }) => cases.filter(isOurs));
  told.notShown = ours.filter((one) => !one.only_scripted && !one.not_in_browsers).map(({ name }) => name).filter((name) => !shown.includes(name));
  let wake = () => {};
  const playOn = async () => {
    for (let next = scenes.shift(); next; next = scenes.shift()) {
      const { file, scene } = next;
      told.played++;
      const { WebSocket } = tap({ received: () => told.received++, sent: () => told.sent++ });
      const does = (verb, value) => globalThis.outside(scene.name, verb, value);
      await playScene(file, scene, does, WebSocket).catch((error) => told.failures.push(error.message));
      wake();
    }
  };
  // They wait more than they work.
  const over = Promise.all(Array.from({ length: 6 }, playOn)).then(() => (told.isOver = true));
  globalThis.another = () => Promise.race([new Promise((done) => (wake = done)), over]).then(() => told);
};`;

// What the cases use of Node's assert.
const assert = `
const show = (value) => JSON.stringify(value, (_, one) => (one === undefined ? "(undefined)" : one)) ?? String(value);
const sorted = (value) => {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
};
const fail = (text) => { throw new Error(text); };
export default Object.assign((holds, text) => holds || fail(text ?? "does not hold"), {
  fail,
  equal: (a, b, text = "") => Object.is(a, b) || fail(text + ": " + show(a) + ", not " + show(b)),
  notEqual: (a, b, text = "") => !Object.is(a, b) || fail(text + ": " + show(a)),
  deepEqual: (a, b, text = "") => show(sorted(a)) === show(sorted(b)) || fail(text + ": " + show(a) + ", not " + show(b)),
});`;
const shim = {
  name: "assert",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:assert/ }, ({ path }) => ({ path, namespace: "shim" }));
    onLoad({ filter: /.*/, namespace: "shim" }, () => ({ contents: assert }));
  },
};

await build({
  stdin: { contents, resolveDir: fileURLToPath(new URL(".", import.meta.url)), loader: "js" },
  bundle: true,
  format: "iife",
  target: "chrome120",
  outfile: page,
  plugins: [shim],
});

await build({
  stdin: {
    contents: `
import { Outside } from "./outside.ts";
const scenes = new Map();
export const outside = (scene, verb, value) => {
  if (!scenes.has(scene)) scenes.set(scene, new Outside());
  return scenes.get(scene).does(verb, value);
};`,
    resolveDir: fileURLToPath(new URL(".", import.meta.url)),
    loader: "js",
  },
  bundle: true,
  platform: "node",
  format: "cjs",
  outfile: outside,
});
