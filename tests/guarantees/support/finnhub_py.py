"""websocket-client as Finnhub's documentation shows it, which comes back by itself; says in lines of JSON what it gets.

usage: finnhub_py.py URL SYMBOL..., then messages for the server on standard input
"""

import json
import sys
import threading

import websocket

url, *symbols = sys.argv[1:]


def say(**what):
    print(json.dumps(what), flush=True)


def on_open(ws):
    for symbol in symbols:
        ws.send(json.dumps({"type": "subscribe", "symbol": symbol}))


ws = websocket.WebSocketApp(
    url,
    on_open=on_open,
    on_reconnect=on_open,
    on_message=lambda _, text: say(message=json.loads(text)),
    on_error=lambda _, error: say(error=str(error)),
    on_close=lambda _, code, reason: say(code=code),
)
threading.Thread(target=lambda: ws.run_forever(reconnect=0.1), daemon=True).start()
for line in sys.stdin:
    ws.send(line)
