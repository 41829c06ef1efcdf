// Debian's Chromium without a window, for the programs beside this one. chromium-headless-shell is the same engine without the browser around it: where it is
// installed it is taken, as it costs half the processor time to start.
"use strict";
const fs = require("node:fs");
const { chromium } = require("playwright-core");

const PLACES = ["/usr/bin/chromium-headless-shell", "/usr/bin/chromium"];
const executablePath = process.env.CHROMIUM || PLACES.find((path) => fs.existsSync(path)) || PLACES[1];
const ARGS = ["--no-sandbox", "--disable-gpu"];

const launch = () => chromium.launch({ executablePath, headless: true, args: ARGS });

/** With a profile of its own in that directory. */
const launchIn = (userData, { args = [], ...options } = {}) =>
  chromium.launchPersistentContext(userData, { executablePath, headless: true, args: [...ARGS, ...args], ...options });

module.exports = { launch, launchIn };
