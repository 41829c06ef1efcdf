// What is published: types that hold by themselves, as a program checks them that doesn't skip those of its libraries, without internals.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import ts from "typescript";

const files = readdirSync("dist").filter((name) => name.endsWith(".d.ts")).map((name) => `dist/${name}`);
const options = { strict: true, skipLibCheck: false, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext };

test("the published types hold by themselves", () => {
  const faults = ts.getPreEmitDiagnostics(ts.createProgram(files, { ...options, types: [] }));
  assert.deepEqual(faults.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, " ")), []);
});

test("no internals are published", () => {
  for (const file of files) assert(!readFileSync(file, "utf8").includes("@internal"), file);
  const room = readFileSync("dist/room.d.ts", "utf8");
  assert(room.includes("send(") && !room.includes("take("));
});
