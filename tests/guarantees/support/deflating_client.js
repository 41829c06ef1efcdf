// A client that offers compression as it does by default, subscribes with a long request and takes objects, alone or in arrays; says what it
// saw in lines of JSON: what was agreed on, then the objects as they came.
// usage: deflating_client.js ws|undici|chromium URL N
"use strict";
const [which, url, n] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));

// Runs in Node and in a page.
function take(socket, n, subscribed) {
  return new Promise((resolve, reject) => {
    const got = [];
    const pad = " ".repeat(3000);
    socket.onopen = () => socket.send(`{"action":"subscribe",${pad}"symbols":["AAPL","MSFT"],"snapshot":true}`);
    socket.onerror = () => reject(new Error("the socket failed"));
    socket.onclose = (event) => reject(new Error(`closed: ${event.code} ${event.reason}`));
    socket.onmessage = ({ data }) => {
      const objects = [JSON.parse(data)].flat();
      if (objects.some(({ event }) => event === "snapshotEnd")) subscribed(socket.extensions);
      got.push(...objects.filter(({ type, snapshot }) => type === "trade" && !snapshot).map(({ data }) => data));
      if (got.length >= n) {
        resolve(got);
        socket.onclose = null;
        socket.close(1000);
      }
    };
  });
}

async function main() {
  const subscribed = (extensions) => say({ extensions });
  if (which === "chromium") {
    const browser = await require("./chromium.js").launch();
    const page = await browser.newPage();
    await page.goto(`${url.replace("ws:", "http:").replace(/\/ws.*/, "")}/health`);
    await page.exposeFunction("subscribed", subscribed);
    say(await page.evaluate(`(${take})(new WebSocket(${JSON.stringify(url)}), ${Number(n)}, subscribed)`));
    return browser.close();
  }
  const Socket = which === "ws" ? require("ws") : globalThis.WebSocket;
  say(await take(new Socket(url), Number(n), subscribed));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
