// @alpacahq/alpaca-trade-api as its documentation shows it; says in lines of JSON what its listeners get.
// usage: alpaca_node.js URL KEY SECRET [ACCESSOR [PING_INTERVAL_MS]], then lines such as {"subscribeForTrades":["AAPL"]} on standard input. The
// accessor is one of `new Alpaca().marketData`, as `optionStream`. With an interval it says each pong as well.
const { Alpaca, streaming } = require("@alpacahq/alpaca-trade-api");

const [url, keyId, secret, accessor, pingIntervalMs] = process.argv.slice(2);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const stream = accessor
  ? new Alpaca({ keyId, secret }).marketData[accessor]({ url })
  : new streaming.StockDataStream({ credentials: { keyId, secret }, url, initialReconnectMs: 20, ...(pingIntervalMs && { pingIntervalMs: Number(pingIntervalMs) }) });
for (const [name, event] of Object.entries(streaming.EVENT)) {
  stream.on(event, (told) => say({ [name]: told ?? null }));
}
let begun = false;
require("node:readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    for (const [method, symbols] of Object.entries(JSON.parse(line))) stream[method](symbols);
    if (begun) return;
    begun = true;
    stream.connect();
    if (pingIntervalMs) stream.conn.on("pong", () => say({ pong: true }));
  })
  .on("close", () => process.exit(0));
