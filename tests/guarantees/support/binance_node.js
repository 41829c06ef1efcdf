// One of Binance's clients for Node.js, used as its documentation shows it; says in lines of JSON what it gets.
// usage: binance_node.js PACKAGE URL [OPTIONS], then on standard input lines such as ["trade", {"symbol": "btcusdt"}]: a method and its arguments.
// Options: {"key": …}, which goes into a header (@binance/spot has no way to say one but the URL); {"pingInterval": ms}, for that package alone which
// has such a setting, and which then logs each pong.
const [name, url, options] = process.argv.slice(2);
const { key, pingInterval } = JSON.parse(options ?? "{}");
const headers = key ? { "X-MBX-APIKEY": key } : undefined;
// One of them logs to standard output.
for (const level of ["log", "info", "warn", "debug"]) console[level] = (...what) => console.error(...what);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const clients = {
  "@binance/spot": async () => {
    const { Spot } = require("@binance/spot");
    // Its first connection's errors come before its user has it, and so has nobody who listens.
    process.on("uncaughtException", (error) => say({ failed: error.message }));
    const spot = new Spot({ configurationWebsocketStreams: { wsURL: url, reconnectDelay: 100 } });
    const connection = await spot.websocketStreams.connect();
    for (const event of ["close", "error", "message"]) {
      connection.on(event, (what) => say({ [event]: String(what?.message ?? what) }));
    }
    const streams = {};
    return (method, ...args) => {
      if (method === "off") return streams[args[0]].unsubscribe();
      streams[method] = connection[method](...args);
      streams[method].on("message", (event) => say({ event, of: method }));
    };
  },
  binance: async () => {
    const { WebsocketClient } = require("binance");
    const log = (...what) => say({ log: what.map(String).join(" ") });
    const logger = { trace: (what) => pingInterval && String(what).includes("pong frame, clearing") && log(what), info() {}, error: log };
    const wsOptions = headers && { headers };
    const client = new WebsocketClient({ wsUrl: url, reconnectTimeout: 100, ...(pingInterval && { pingInterval }), wsOptions }, logger);
    client.on("message", (event) => say({ event }));
    client.on("response", (response) => say({ response }));
    client.on("reconnected", () => say({ reconnected: true }));
    client.on("exception", (error) => say({ exception: error }));
    return (method, ...args) => client[method](...args);
  },
  ccxt: async () => {
    const ccxt = require("ccxt");
    const exchange = new ccxt.pro.binance(headers ? { options: { ws: { options: { headers } } } } : {});
    exchange.urls.api.ws.spot = url;
    await exchange.loadHttpProxyAgent();
    // Its markets come from here rather than from Binance.
    const market = { id: "BTCUSDT", lowercaseId: "btcusdt", symbol: "BTC/USDT", base: "BTC", quote: "USDT", baseId: "BTC",
      quoteId: "USDT", type: "spot", spot: true, active: true, precision: {}, limits: {} };
    exchange.setMarkets([exchange.extend(exchange.safeMarketStructure(), market)]);
    return async (method, ...args) => {
      if (method === "compression") {
        return say({ agreed: Object.values(exchange.clients).map((client) => client.connection.extensions) });
      }
      for (;;) {
        try {
          say({ event: await exchange[method](...args), of: method });
          if (method.startsWith("un")) return;
        } catch (error) {
          say({ end: error.constructor.name, of: method, why: error.message });
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    };
  },
};

clients[name]().then(
  (call) => {
    say({ ready: true });
    require("node:readline")
      .createInterface({ input: process.stdin })
      .on("line", (line) => call(...JSON.parse(line)))
      .on("close", () => process.exit(0));
  },
  (error) => say({ failed: error.message }),
);
