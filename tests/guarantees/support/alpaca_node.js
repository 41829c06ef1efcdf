// @alpacahq/alpaca-trade-api as its documentation shows it; says in lines of JSON what its listeners get.
// usage: alpaca_node.js URL KEY SECRET [ACCESSOR], then lines such as {"subscribeForTrades":["AAPL"]} on standard input. The accessor is one of
// `new Alpaca().marketData`, as `optionStream`.
const { Alpaca, streaming } = require("@alpacahq/alpaca-trade-api");

const [url, keyId, secret, accessor] = process.argv.slice(2);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const stream = accessor
  ? new Alpaca({ keyId, secret }).marketData[accessor]({ url })
  : new streaming.StockDataStream({ credentials: { keyId, secret }, url, initialReconnectMs: 20 });
for (const [name, event] of Object.entries(streaming.EVENT)) {
  stream.on(event, (told) => say({ [name]: told ?? null }));
}
let begun = false;
require("node:readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    for (const [method, symbols] of Object.entries(JSON.parse(line))) stream[method](symbols);
    if (!begun) stream.connect();
    begun = true;
  })
  .on("close", () => process.exit(0));
