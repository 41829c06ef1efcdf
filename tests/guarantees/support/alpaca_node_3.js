// Version 3 of @alpacahq/alpaca-trade-api as its documentation shows it; says in lines of JSON what its listeners get and what it logs,
// and the pongs of its first connection.
// usage: alpaca_node_3.js URL KEY SECRET STREAM, then lines such as {"subscribeForTrades":["AAPL"]} on standard input
console.log = (...what) => say({ log: what.join(" ") });
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const Alpaca = require("alpaca-trade-api-3");
const { EVENT } = require("alpaca-trade-api-3/dist/resources/datav2/websocket");

const [dataStreamUrl, keyId, secretKey, name] = process.argv.slice(2);
const stream = new Alpaca({ keyId, secretKey, paper: true, dataStreamUrl, feed: "iex", verbose: true })[name];
for (const [name, event] of Object.entries(EVENT)) {
  stream.on(event, (told) => say({ [name]: told ?? null }));
}
const act = (asked) => Object.entries(asked).forEach(([method, symbols]) => stream[method](symbols));
let begun = false;
require("node:readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    if (begun) return act(JSON.parse(line));
    begun = true;
    stream.onConnect(() => act(JSON.parse(line)));
    stream.connect();
    stream.conn.on("pong", () => say({ pong: true }));
  })
  .on("close", () => process.exit(0));
