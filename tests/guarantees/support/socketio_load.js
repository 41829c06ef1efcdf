// Artillery's runner and its engine for Socket.IO, with a load file. Prints what it has counted as a line of JSON.
//
// usage: socketio_load.js LOAD.yml TARGET [FASTER]      FASTER: phases and pauses take this part of their time
"use strict";
const fs = require("node:fs");
const yaml = require("js-yaml");
const { runner } = require("@artilleryio/int-core").runner;

const [file, target, faster = "1"] = process.argv.slice(2);

async function main() {
  const load = yaml.load(fs.readFileSync(file, "utf8"));
  load.config.target = target;
  for (const phase of load.config.phases) phase.duration = Math.ceil(phase.duration / faster);
  for (const { flow } of load.scenarios) for (const step of flow) if (step.think) step.think /= faster;
  const running = await runner(load, undefined, { scriptPath: file });
  running.on("done", ({ counters, summaries }) => {
    process.stdout.write(`${JSON.stringify({ counters, summaries })}\n`);
    process.exit(0);
  });
  running.run();
}

main();
