"""The older client of Alpaca for Python, alpaca-trade-api, as its documentation shows it; says in lines of JSON what its handlers get and what it logs.

usage: alpaca_trade_api_py.py URL KEY SECRET [PARAMETERS], then lines such as {"subscribe":"trades","symbols":["AAPL"]} on standard input. With
parameters of its WebSocket library, as {"ping_interval":0.1}, it also logs that its pings are answered.
"""

import json
import logging
import sys
import threading

from alpaca_trade_api.common import URL
from alpaca_trade_api.stream import Stream


def say(**what):
    print(json.dumps(what, default=str), flush=True)


class Log(logging.Handler):
    def emit(self, record):
        say(log=record.getMessage())


logging.getLogger("alpaca_trade_api").addHandler(Log())
logging.getLogger("alpaca_trade_api").setLevel(logging.INFO)

url, key, secret, *parameters = sys.argv[1:]
parameters = json.loads(parameters[0]) if parameters else None
if parameters:
    library = logging.getLogger("websockets.client")
    library.addHandler(Log())
    library.addFilter(lambda record: "keepalive" in record.getMessage())
    library.setLevel(logging.DEBUG)
    library.propagate = False
stream = Stream(
    key, secret, base_url=URL(url), data_stream_url=URL(url), raw_data=True, websocket_params=parameters
)


def handler(channel):
    async def handle(event):
        say(channel=channel, event=event)

    return handle


def act(line):
    for verb in ("subscribe", "unsubscribe"):
        if channel := line.get(verb):
            method = getattr(stream, f"{verb}_{channel}")
            method(*([handler(channel)] if verb == "subscribe" else []), *line["symbols"])


# What is subscribed to before the stream runs is asked for once it is connected.
act(json.loads(sys.stdin.readline()))
threading.Thread(target=stream.run, daemon=True).start()
for line in sys.stdin:
    act(json.loads(line))
