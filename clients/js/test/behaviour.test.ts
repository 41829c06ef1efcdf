// Runs the behaviour table against the scripted server, each case with three kinds of luck in the back-off.

import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { parse } from "yaml";
import { type Case, CHANCES, HAS, play } from "./run.js";

const table = "../behaviour";
for (const file of readdirSync(table).filter((name) => name.endsWith(".yaml")).sort()) {
  const { subject, needs = [], cases } = parse(readFileSync(`${table}/${file}`, "utf8")) as { subject: string; needs?: string[]; cases: Case[] };
  for (const one of cases) {
    if (![...needs, ...(one.needs ?? [])].every((need) => HAS.includes(need))) continue;
    for (const chance of CHANCES) test(`${subject}: ${one.name} (chance ${chance})`, () => play(file, one, chance));
  }
}
