// A page in headless Chromium, driven by lines of JSON on standard input, each answered by one on standard output:
//
//   {"do":"goto","at":"http://…"}
//   {"do":"click","at":"button"}
//   {"do":"hover","at":"#chart"}                    moves the pointer to its middle
//   {"do":"reload"}
//   {"do":"forget"}                                 reloads as another tab would: without what the tab keeps for itself
//   {"do":"fill","at":"#symbols","with":"AAPL"}
//   {"do":"select","at":"#rate","with":"4"}         chooses from a list
//   {"do":"texts","at":".symbol"}                  what each of the elements says
//   {"do":"until","at":"#feed","with":"feed up"}    waits for an element that contains it, and tells all that it says
//   {"do":"untilGone","at":"li:has-text('AAPL')"}    waits until there is none
//   {"do":"press","with":"Alt+ArrowDown"}
//   {"do":"drag","at":"#from","with":"#to"}         by its middle, to the lower edge of the other
//   {"do":"evaluate","with":"document.title"}       tells what an expression is, or what it resolves to
//   {"do":"size","with":[390,844]}                  of the window
//   {"do":"scheme","with":"dark"}                   what the system prefers
//   {"do":"run","at":"axe.min.js"}                  runs a script in the page
//   {"do":"expose","at":"module.js","with":"name"}   lets the page call that function of a module
//   {"do":"memory"}                                 bytes of the page's objects and nodes of its documents, behind a collection of what nothing holds
//   {"do":"screenshot","at":"page.png"}             of the window, or of the element that "with" names
//
// usage: browser.js USER_DATA_DIR [WIDTH HEIGHT [SCALE]]
"use strict";
const readline = require("node:readline");
const { launchIn } = require("./chromium.js");

const [userData, width = 1200, height = 640, scale = 1] = process.argv.slice(2);

async function act(page, { do: what, at, with: text }) {
  switch (what) {
    case "goto": return void (await page.goto(at));
    case "reload": return void (await page.reload());
    case "forget":
      await page.evaluate(() => sessionStorage.clear());
      return void (await page.reload());
    case "click": return void (await page.click(at));
    case "hover": return void (await page.hover(at));
    case "fill": return void (await page.fill(at, text));
    case "select": return void (await page.selectOption(at, text));
    // In one go: what stands in a list moves on as it grows.
    case "texts": return page.evaluate((at) => [...document.querySelectorAll(at)].map((element) => element.textContent), at);
    case "until": {
      const found = page.locator(at).filter({ hasText: text }).first();
      await found.waitFor();
      return (await found.textContent()).trim();
    }
    case "untilGone": return void (await page.locator(at).first().waitFor({ state: "detached" }));
    case "press": return void (await page.keyboard.press(text));
    case "drag": {
      const [from, to] = await Promise.all([at, text].map((selector) => page.locator(selector).boundingBox()));
      await page.mouse.move(from.x + from.width / 2, from.y + from.height / 2);
      await page.mouse.down();
      await page.mouse.move(to.x + to.width / 2, to.y + to.height - 3, { steps: 12 });
      return void (await page.mouse.up());
    }
    case "evaluate": return page.evaluate(text);
    case "size": return void (await page.setViewportSize({ width: text[0], height: text[1] }));
    case "scheme": return void (await page.emulateMedia({ colorScheme: text }));
    case "memory": {
      const debug = await page.context().newCDPSession(page);
      for (let pass = 0; pass < 3; pass++) await debug.send("HeapProfiler.collectGarbage");
      const { usedSize } = await debug.send("Runtime.getHeapUsage");
      const { nodes } = await debug.send("Memory.getDOMCounters");
      await debug.detach();
      return { heapBytes: usedSize, nodes };
    }
    // As a debugger does, whatever the page's policy allows the page itself.
    case "run": return void (await page.evaluate(require("node:fs").readFileSync(at, "utf8")));
    case "expose": return void (await page.exposeFunction(text, require(at)[text]));
    case "screenshot":
      return void (await (text ? page.locator(text) : page).screenshot({ path: at, animations: "disabled" }));
    default: throw new Error(`unknown command ${what}`);
  }
}

async function main() {
  const context = await launchIn(userData, {
    // A gateway of a test signs its own certificate.
    ignoreHTTPSErrors: true,
    args: ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    viewport: { width: Number(width), height: Number(height) },
    deviceScaleFactor: Number(scale),
  });
  context.setDefaultTimeout(50_000); // Before the test gives up, as only we can tell what the page shows.
  const page = context.pages()[0] ?? (await context.newPage());
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  // A connection that is lost is not the page's fault, but the browser writes of it; all else it writes there is.
  const isLost = (text) => /WebSocket connection to|net::ERR_CONNECTION/.test(text);
  // Nor is an icon that isn't there: the browser asks for one by itself where a page names none.
  const isIcon = (message) => message.location().url.endsWith("/favicon.ico");
  page.on("console", (message) => message.type() === "error" && !isLost(message.text()) && !isIcon(message) && errors.push(message.text()));
  const say = (what) => console.log(JSON.stringify(what));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      const answer = await act(page, JSON.parse(line));
      say(errors.length ? { error: errors.join("\n") } : { answer: answer ?? null });
    } catch (error) {
      say({ error: `${error.message}\nThe page:\n${await page.innerText("body").catch(String)}` });
    }
  }
  await context.close();
}

main().catch((error) => {
  const hint = require("node:fs").existsSync(EXECUTABLE) ? "" : `${EXECUTABLE} is not installed (see README: Tests)\n`;
  console.error(hint + error);
  process.exit(1);
});
