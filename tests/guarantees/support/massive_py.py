"""The Python client of Massive, or that of Polygon, as its documentation shows it; says in lines of JSON what it gets and what it logs.

usage: massive_py.py MODULE FEED MARKET KEY CHANNELS [OPTIONS], then lines such as {"subscribe":["T.AAPL"]} on standard input
"""

import asyncio
import importlib
import json
import logging
import sys
import threading

module, feed, market, key, channels, *options = sys.argv[1:]
WebSocketClient = importlib.import_module(module).WebSocketClient


def say(**what):
    print(json.dumps(what, default=vars), flush=True)


class Log(logging.Handler):
    def emit(self, record):
        say(log=record.getMessage())


client = WebSocketClient(
    api_key=key, feed=feed, market=market, secure=False, verbose=True, subscriptions=channels.split(",")
)
# In place of its own, which writes to standard output.
logging.getLogger("WebSocketClient").handlers[:] = [Log()]


async def handle(events):
    for event in events:
        say(event=vars(event), type=type(event).__name__)


def run():
    try:
        asyncio.run(client.connect(handle, **json.loads(*options or ["{}"])))
        say(end=None)
    except Exception as error:
        say(end=f"{type(error).__name__}: {error}")


threading.Thread(target=run, daemon=True).start()
for line in sys.stdin:
    for verb, names in json.loads(line).items():
        getattr(client, verb)(*names)
