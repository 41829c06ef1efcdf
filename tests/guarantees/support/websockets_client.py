"""The `websockets` client as its documentation shows it, one scenario a run; says what it saw in lines of JSON.

usage: websockets_client.py SCENARIO URL [N]
"""

import asyncio
import json
import logging
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def say(**what):
    print(json.dumps(what), flush=True)


def request(action, **fields):
    return json.dumps({"action": action, **fields})


class Frames(logging.Handler):
    """Counts the frames that the library logs, by what begins the line: `< PING`, `> PONG`."""

    def __init__(self):
        super().__init__()
        self.counts = {}
        self.more = asyncio.Event()

    def emit(self, record):
        kind = record.getMessage()[:6]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.more.set()

    async def until(self, kind, n):
        while self.counts.get(kind, 0) < n:
            self.more.clear()
            await self.more.wait()


def logged():
    frames = Frames()
    logger = logging.getLogger("websockets.client")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(frames)
    logger.propagate = False
    return frames


async def trades(url, n):
    """Offers permessage-deflate, as the library does unless told otherwise, and takes n trades."""
    async with connect(url, subprotocols=["md.v1.json"]) as ws:
        await ws.send(request("subscribe", symbols=["AAPL", "MSFT"]))
        reply = json.loads(await ws.recv())
        say(
            offered=ws.request.headers["Sec-WebSocket-Extensions"],
            accepted=ws.response.headers.get("Sec-WebSocket-Extensions"),
            subprotocol=ws.subprotocol,
            reply=reply["message"],
        )
        say(trades=[await ws.recv() for _ in range(n)])


async def gateway_pings(url, n):
    """Answers n pings of the gateway, sends none, and stays until a line comes in."""
    frames = logged()
    async with connect(url, ping_interval=None):
        await frames.until("> PONG", n)
        say(**frames.counts)
        await asyncio.to_thread(sys.stdin.readline)


async def client_pings(url, n):
    """The library's keepalive: n pings, each answered, or it would close the connection itself."""
    frames = logged()
    async with connect(url, ping_interval=0.02, ping_timeout=50) as ws:
        await frames.until("< PONG", n)
        say(latency=ws.latency, **frames.counts)


async def too_large(url, n):
    """A message of n bytes, which is one too many."""
    async with connect(url) as ws:
        try:
            await ws.send("x" * n)
            replies = [json.loads(message) async for message in ws]
        except ConnectionClosed:
            replies = []
        say(code=ws.close_code, reason=ws.close_reason, replies=replies)


async def closes(url, _):
    """The client's own close, answered."""
    ws = await connect(url)
    await ws.close(1000, "that's all")
    answer = ws.protocol.close_rcvd
    say(code=answer.code, reason=answer.reason, client_first=ws.protocol.close_rcvd_then_sent is False)


async def stays(url, _):
    """Says how the gateway ends it."""
    async with connect(url) as ws:
        await ws.send(request("subscribe", symbols=["AAPL"]))
        say(reply=json.loads(await ws.recv())["type"])
        said = [json.loads(message) async for message in _until_closed(ws)]
        say(said=said, code=ws.close_code, reason=ws.close_reason)


async def _until_closed(ws):
    try:
        while True:
            yield await ws.recv()
    except ConnectionClosed:
        pass


async def fragments(url, _):
    """A request in fragments, one of which ends within a character, with a ping between any two."""
    async with connect(url) as ws:

        async def pieces(message, size):
            for at in range(0, len(message), size):
                if at:
                    await (await ws.ping())
                yield message[at : at + size]

        message = json.dumps({"action": "ping", "id": "Zürich→東京"}, ensure_ascii=False).encode()
        for size in (1, 2, 7):
            await ws.send(pieces(message, size), text=True)
            say(reply=json.loads(await ws.recv()))
        await ws.send(['{"action":"subscribe",', "", '"symbols":["AAPL"]}', ""])
        say(reply=json.loads(await ws.recv()))


async def main():
    scenario, url = sys.argv[1:3]
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    await globals()[scenario](url, n)


asyncio.run(main())
