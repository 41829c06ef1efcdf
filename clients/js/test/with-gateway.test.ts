// Runs the scenes of clients/behaviour/gateway. They wait more than they work, so some play at the same time.

import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import WebSocket from "ws";
import { parse } from "yaml";
import { needsGateway } from "./gateway.js";
import { Outside } from "./outside.js";
import { IN_NODE, isFor, playScene, type Scene } from "./real-run.js";

const table = "../behaviour/gateway";
describe("with a gateway", { concurrency: 6 }, () => {
  for (const file of readdirSync(table).filter((name) => name.endsWith(".yaml")).sort()) {
    for (const scene of parse(readFileSync(`${table}/${file}`, "utf8")).scenes as Scene[]) {
      if (!isFor(scene, IN_NODE)) continue;
      test(scene.name, { ...needsGateway, timeout: 120_000 }, () => {
        const outside = new Outside();
        return playScene(file, scene, (verb, value) => outside.does(verb, value), WebSocket);
      });
    }
  }
});
