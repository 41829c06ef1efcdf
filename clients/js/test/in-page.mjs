// Builds what plays the behaviour table in a page, with the connection as the live page has it: the client behind web/src/tap.ts. The
// script leaves a function behind, `behaviour()`, which tells how many cases were played and what failed.
//
// usage: node in-page.mjs OUTPUT

import { build } from "esbuild";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const table = new URL("../../behaviour/", import.meta.url);
const files = readdirSync(table).filter((name) => name.endsWith(".yaml")).sort();
const tables = files.map((file) => ({ file, ...parse(readFileSync(new URL(file, table), "utf8")) }));

const contents = `
import { tap } from "../../../web/src/tap.ts";
import { CHANCES, HAS, play } from "./run.ts";
globalThis.behaviour = async () => {
  const told = { played: 0, received: 0, sent: 0, failures: [] };
  const native = globalThis.WebSocket;
  const wrap = (made) => {
    globalThis.WebSocket = made;
    return tap({ received: () => told.received++, sent: () => told.sent++ }).WebSocket;
  };
  for (const { file, needs = [], cases } of ${JSON.stringify(tables)}) {
    for (const one of cases) {
      if (![...needs, ...(one.needs ?? [])].every((need) => HAS.includes(need))) continue;
      for (const chance of CHANCES) {
        told.played++;
        await play(file, one, chance, wrap).catch((error) => told.failures.push(error.message));
      }
    }
  }
  globalThis.WebSocket = native;
  return told;
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
  outfile: process.argv[2],
  plugins: [shim],
});
