"""alpaca-py's streams as its documentation shows them; says in lines of JSON what their handlers get and what they log.

usage: alpaca_py.py CLASS URL KEY SECRET, then lines such as {"subscribe":"trades","symbols":["AAPL"]} on standard input
"""

import json
import logging
import sys
import threading

import alpaca.data.live as live


def say(**what):
    print(json.dumps(what, default=str), flush=True)


class Log(logging.Handler):
    def emit(self, record):
        say(log=record.getMessage())


logging.getLogger("alpaca").addHandler(Log())
logging.getLogger("alpaca").setLevel(logging.INFO)

name, url, key, secret = sys.argv[1:]
stream = getattr(live, name)(key, secret, url_override=url)
stream._reconnect_min_backoff = 0.05


def handler(channel):
    async def handle(event):
        say(channel=channel, event=event.model_dump())

    return handle


def act(line):
    for verb in ("subscribe", "unsubscribe"):
        if channel := line.get(verb):
            method = getattr(stream, f"{verb}_{channel}")
            if verb == "subscribe":
                method(handler(channel), *line["symbols"])
            else:
                method(*line["symbols"])


# What is subscribed to before the stream runs is asked for once it is connected.
act(json.loads(sys.stdin.readline()))
threading.Thread(target=stream.run, daemon=True).start()
for line in sys.stdin:
    act(json.loads(line))
stream.stop()
