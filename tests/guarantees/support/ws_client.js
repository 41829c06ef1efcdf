// The npm client `ws`, offering compression, takes trades; says what it saw in lines of JSON.
// usage: ws_client.js URL N
"use strict";
const WebSocket = require("ws");

const [url, n] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));
const ws = new WebSocket(url, "md.v1.json", { perMessageDeflate: true });
let trades = null;

ws.on("open", () => ws.send(JSON.stringify({ action: "subscribe", symbols: ["AAPL", "MSFT"] })));
ws.on("message", (data, isBinary) => {
  if (trades === null) {
    trades = [];
    const { message } = JSON.parse(data);
    say({ extensions: ws.extensions, protocol: ws.protocol, message });
    return;
  }
  trades.push(isBinary ? null : data.toString());
  if (trades.length === Number(n)) {
    say(trades);
    ws.close(1000, "enough");
  }
});
ws.on("close", (code) => say({ code }));
ws.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
