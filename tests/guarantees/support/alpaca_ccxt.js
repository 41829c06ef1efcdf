// ccxt's client of Alpaca's API, used as its documentation shows it; says in lines of JSON what it gets.
// usage: [KEEP_ALIVE_MS=…] alpaca_ccxt.js URL KEY SECRET METHOD...: methods that watch BTC/USD. With an interval of its pings it says each pong as well.
const [url, apiKey, secret, ...methods] = process.argv.slice(2);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const ccxt = require("ccxt");
const exchange = new ccxt.pro.alpaca({ apiKey, secret });
exchange.urls.api.ws.crypto = url;
if (process.env.KEEP_ALIVE_MS) {
  // A machine with much to do may let it wait for seconds.
  exchange.streaming = { keepAlive: Number(process.env.KEEP_ALIVE_MS), maxPingPongMisses: 200 };
  exchange.log = (...what) => what.includes("onPong") && say({ pong: true });
  exchange.verbose = true;
}
// Its markets come from here rather than from Alpaca.
const market = { id: "BTC/USD", symbol: "BTC/USD", base: "BTC", quote: "USD", baseId: "BTC", quoteId: "USD", type: "spot",
  spot: true, active: true, precision: {}, limits: {} };
exchange.setMarkets([exchange.extend(exchange.safeMarketStructure(), market)]);

async function watch(method) {
  for (;;) {
    try {
      say({ event: await exchange[method]("BTC/USD"), of: method });
    } catch (error) {
      say({ end: error.constructor.name, of: method, why: error.message });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

// Without this it refuses ws://.
exchange.loadHttpProxyAgent().then(() => methods.forEach(watch));
process.stdin.on("end", () => process.exit(0)).resume();
