"""ccxt's client of Alpaca's API, used as its documentation shows it; says in lines of JSON what it gets.

usage: [KEEP_ALIVE_MS=…] alpaca_ccxt.py URL KEY SECRET METHOD...: methods that watch BTC/USD. With an interval of its pings it says each pong as well.
"""

import asyncio
import json
import os
import sys

from ccxt.pro import alpaca

url, key, secret, *methods = sys.argv[1:]


def say(**what):
    print(json.dumps(what), flush=True)


async def watch(exchange, method):
    while True:
        try:
            say(event=await getattr(exchange, method)("BTC/USD"), of=method)
        except Exception as error:
            say(end=type(error).__name__, of=method, why=str(error))
            await asyncio.sleep(0.05)


async def main():
    exchange = alpaca({"apiKey": key, "secret": secret})
    exchange.urls["api"]["ws"]["crypto"] = url
    if keep_alive_ms := os.environ.get("KEEP_ALIVE_MS"):
        # A machine with much to do may let it wait for seconds.
        exchange.streaming = {"keepAlive": int(keep_alive_ms), "maxPingPongMisses": 200}
        exchange.log = lambda *what: "pong" in what and say(pong=True)
        exchange.verbose = True
    # Its markets come from here rather than from Alpaca.
    market = {"id": "BTC/USD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "baseId": "BTC", "quoteId": "USD",
              "type": "spot", "spot": True, "active": True, "precision": {}, "limits": {}}
    exchange.set_markets([exchange.extend(exchange.safe_market_structure(), market)])
    await asyncio.gather(*[watch(exchange, method) for method in methods])


asyncio.run(main())
