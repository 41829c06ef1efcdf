// The package stays small: what a bundler makes of it is under 6 KB, minified and compressed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

test("it is smaller than 6 KB, minified and compressed", async () => {
  const { outputFiles } = await build({ entryPoints: ["dist/index.js"], bundle: true, minify: true, format: "esm", write: false });
  const bytes = gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
  assert(bytes < 6 * 1024, `${bytes} bytes`);
});
