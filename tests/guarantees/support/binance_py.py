"""One of Binance's clients for Python, used as its documentation shows it; says in lines of JSON what it gets and what it logs.

usage: binance_py.py PACKAGE URL [KEY], then on standard input lines such as ["trade", {"symbol": "btcusdt"}]: a method of the client and its arguments.
["connect"] makes a new client in place of the last; ["stop", {"of": method}] leaves what a call of python-binance has begun. ["hold"] keeps its user from
asking for the next event, until ["go_on"]. The key goes into a header; a client that has no way to say one may have it in the URL.
"""

import asyncio
import json
import logging
import sys

package, url, *key = sys.argv[1:]
headers = {"X-MBX-APIKEY": key[0]} if key else {}


def say(**what):
    print(json.dumps(what, default=str), flush=True)


class Log(logging.Handler):
    def emit(self, record):
        say(log=record.getMessage())


logging.basicConfig(level=logging.INFO, handlers=[Log()])


class PythonBinance:
    """python-binance: a socket for each call."""

    async def connect(self):
        from binance import AsyncClient, BinanceSocketManager

        self.manager = BinanceSocketManager(AsyncClient())
        self.manager.STREAM_URL = url + "/"
        if headers:
            self.manager.ws_kwargs = {"additional_headers": headers}
        self.tasks = {}
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def call(self, method, arguments):
        if method == "stop":
            return self.tasks.pop(arguments["of"]).cancel()
        if method == "hold":
            return self.may_read.clear()
        if method == "go_on":
            return self.may_read.set()
        socket = getattr(self.manager, method)(**arguments)
        self.tasks[method] = asyncio.create_task(self.read(socket))

    async def read(self, socket):
        try:
            async with socket as stream:
                say(open=True)
                while True:
                    await self.may_read.wait()
                    say(event=await stream.recv())
        except Exception as error:
            say(end=type(error).__name__, why=str(error))


class BinanceConnector:
    """binance-connector: a thread of its own; combined."""

    async def connect(self):
        from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient

        self.client = SpotWebsocketStreamClient(
            stream_url=url,
            is_combined=True,
            on_message=lambda _, text: say(event=json.loads(text)),
            on_close=lambda _: say(end="close"),
            on_error=lambda _, error: say(end=type(error).__name__),
        )

    async def call(self, method, arguments):
        getattr(self.client, method)(**arguments)


class BinanceSdkSpot:
    """binance-sdk-spot: a handle for each stream."""

    async def connect(self):
        from binance_common.configuration import ConfigurationWebSocketStreams
        from binance_sdk_spot.spot import Spot

        spot = Spot(config_ws_streams=ConfigurationWebSocketStreams(stream_url=url))
        self.connection = await spot.websocket_streams.create_connection()
        self.handles = {}

    async def call(self, method, arguments):
        if method == "unsubscribe":
            return await self.handles.pop(arguments["of"]).unsubscribe()
        if method == "list_subscribe":
            return say(list=await self.connection.list_subscribe())
        handle = await getattr(self.connection, method)(**arguments)
        self.handles[method] = handle
        handle.on("message", lambda event: say(event=event.to_dict(), of=method))


class Ccxt:
    """ccxt: a call for each update. Its markets come from here rather than from Binance."""

    async def connect(self):
        from ccxt.pro import binance

        self.exchange = binance({"options": {"ws": {"options": {"headers": headers}}}} if headers else {})
        self.exchange.urls["api"]["ws"]["spot"] = url
        market = {"id": "BTCUSDT", "lowercaseId": "btcusdt", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT",
                  "baseId": "BTC", "quoteId": "USDT", "type": "spot", "spot": True, "active": True,
                  "precision": {}, "limits": {}}
        self.exchange.set_markets([self.exchange.extend(self.exchange.safe_market_structure(), market)])

    async def call(self, method, arguments):
        if method == "compression":
            return say(agreed=[client.connection.compress for client in self.exchange.clients.values()])
        asyncio.create_task(self.watch(method, arguments))

    async def watch(self, method, arguments):
        while True:
            try:
                say(event=await getattr(self.exchange, method)(**arguments), of=method)
                if method.startswith("un_"):
                    return
            except Exception as error:
                say(end=type(error).__name__, of=method, why=str(error))
                await asyncio.sleep(0.05)


async def main():
    client = {
        "python-binance": PythonBinance,
        "binance-connector": BinanceConnector,
        "binance-sdk-spot": BinanceSdkSpot,
        "ccxt": Ccxt,
    }[package]()

    async def act(method, *arguments):
        try:
            if method == "connect":
                await client.connect()
            else:
                await client.call(method, *(arguments or [{}]))
        except Exception as error:
            say(failed=method, why=f"{type(error).__name__}: {error}")

    await act("connect")
    lines = asyncio.get_running_loop()
    while line := await lines.run_in_executor(None, sys.stdin.readline):
        await act(*json.loads(line))


asyncio.run(main())
