// The package stays small: what a bundler makes of it is under 6 KB, minified and compressed, and with the desk under 9 KB.

import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

async function sizeOf(contents: string): Promise<number> {
  const stdin = { contents, resolveDir: "." };
  const { outputFiles } = await build({ stdin, bundle: true, minify: true, format: "esm", write: false });
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
}

test("it is smaller than 6 KB, minified and compressed", async () => {
  const bytes = await sizeOf('export * from "./dist/index.js"');
  assert(bytes < 6 * 1024, `${bytes} bytes`);
});

test("with the desk it is smaller than 9 KB", async () => {
  const bytes = await sizeOf('export * from "./dist/index.js"; export * from "./dist/desk.js"');
  assert(bytes < 9 * 1024, `${bytes} bytes`);
});

test("React's hooks for prices bring no desk with them", async () => {
  const stdin = { contents: 'export { usePrice, useConnection } from "./dist/react.js"', resolveDir: "." };
  const { outputFiles } = await build({ stdin, bundle: true, minify: true, format: "esm", write: false, external: ["react"] });
  const code = outputFiles[0]!.text;
  assert(code.length < 4 * 1024, `${code.length} bytes`);
  assert(!code.includes("join_room"), "there is a desk in it");
});
