// Parses an AsyncAPI description with AsyncAPI's own parser and prints one line of JSON: its version, channels and messages, and what is
// wrong with it.
//
// usage: asyncapi.js FILE
"use strict";
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

async function main() {
  const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
  // 0 is an error, 1 a warning; less is advice.
  const faults = diagnostics.filter(({ severity }) => severity <= 1).map(({ path, message }) => `${path.join("/")}: ${message}`);
  const channels = document?.channels().all().map((channel) => channel.id()) ?? [];
  console.log(JSON.stringify({ version: document?.version(), channels, messages: document?.messages().length ?? 0, faults }));
}

main();
