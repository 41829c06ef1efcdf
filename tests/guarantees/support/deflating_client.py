"""A client that offers compression, subscribes with a long request and takes objects, alone or in arrays; says what it saw in lines of JSON:
what was agreed on, then the objects as they came.

usage: deflating_client.py websockets|websockets_sync|aiohttp URL N
"""

import asyncio
import json
import sys

REQUEST = '{"action":"subscribe",' + " " * 3000 + '"symbols":["AAPL","MSFT"],"snapshot":true}'


class Got:
    def __init__(self, n, extensions):
        self.n, self.extensions, self.trades = n, extensions, []

    def take(self, text):
        """Whether that is all."""
        said = json.loads(text)
        for each in said if isinstance(said, list) else [said]:
            if each.get("event") == "snapshotEnd":
                print(json.dumps({"extensions": self.extensions}), flush=True)
            if each["type"] == "trade" and "snapshot" not in each:
                self.trades.append(each["data"])
        return len(self.trades) >= self.n


async def with_websockets(url, n):
    from websockets.asyncio.client import connect

    async with connect(url) as ws:
        await ws.send(REQUEST)
        got = Got(n, ws.response.headers.get("Sec-WebSocket-Extensions"))
        while not got.take(await ws.recv()):
            pass
    return got.trades


def with_websockets_sync(url, n):
    from websockets.sync.client import connect

    with connect(url) as ws:
        ws.send(REQUEST)
        got = Got(n, ws.response.headers.get("Sec-WebSocket-Extensions"))
        while not got.take(ws.recv()):
            pass
    return got.trades


async def with_aiohttp(url, n):
    """As ccxt connects."""
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, compress=15) as ws:
            await ws.send_str(REQUEST)
            got = Got(n, ws._response.headers.get("Sec-WebSocket-Extensions"))
            while not got.take(await ws.receive_str()):
                pass
    return got.trades


def main(which, url, n):
    if which == "websockets_sync":
        trades = with_websockets_sync(url, n)
    else:
        trades = asyncio.run({"websockets": with_websockets, "aiohttp": with_aiohttp}[which](url, n))
    print(json.dumps(trades), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
