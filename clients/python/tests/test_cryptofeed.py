"""cryptofeed itself publishes for a gateway: its classes, and the README's worker, whose Binance is a server of recorded messages.

clients/python/check-cryptofeed installs cryptofeed and runs these.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from signal import SIGTERM
from typing import Any, cast

import pytest
from websockets.asyncio.server import ServerConnection, serve

from ws_gateway import Candle, Client, Quote, Trade, connect
from ws_gateway.cryptofeed import CandleGateway, QuoteGateway, TradeGateway
from ws_gateway.publisher import Publisher

from .gateway import RUNNING, Gateway, needs_gateway, run
from .told import Told

types = pytest.importorskip("cryptofeed.types", reason="cryptofeed is not installed: clients/python/check-cryptofeed installs it")

PACKAGE = Path(__file__).resolve().parents[1]

INFO = {
    "symbols": [{"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": [{"tickSize": "0.01"}]}]
}
"""What Binance tells of its symbols, as far as cryptofeed reads it."""

TRADE = {
    "e": "aggTrade",
    "E": 1700000000125,
    "s": "BTCUSDT",
    "a": 7,
    "p": "36000.10",
    "q": "0.50000000",
    "f": 100,
    "l": 105,
    "T": 1700000000123,
    "m": True,
    "M": True,
}
TICKER = {"u": 400900217, "s": "BTCUSDT", "b": "35999.50", "B": "2", "a": "36000.50", "A": "3"}
KLINE = {
    "e": "kline",
    "E": 1700000040001,
    "s": "BTCUSDT",
    "k": {
        "t": 1699999980000,
        "T": 1700000039999,
        "s": "BTCUSDT",
        "i": "1m",
        "f": 1,
        "L": 2,
        "o": "36001.00",
        "c": "36000.00",
        "h": "36002.00",
        "l": "35998.00",
        "v": "12.5",
        "n": 2,
        "x": True,
        "q": "9",
        "V": "1",
        "Q": "1",
        "B": "0",
    },
}
RECORDED = {"aggTrade": TRADE, "bookTicker": TICKER, "kline_1m": KLINE}
"""Messages of Binance's streams, as its documents and its servers have them."""

BEFORE = """
import ssl, sys
from cryptofeed.connection import WebsocketEndpoint
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols
Symbols.set(Binance.id, *Binance._parse_symbol_data({info}))
Binance.websocket_endpoints = [WebsocketEndpoint("{url}", options={{"ssl": ssl.create_default_context(cafile="{authority}")}})]
async def heard(event, receipt_timestamp):
    print(event, flush=True)
"""
"""Leads the worker to the server of the test. cryptofeed connects by TLS only."""


def test_its_classes_become_events() -> None:
    async def scene() -> None:
        told = Told()
        publisher = cast(Publisher, told)
        await TradeGateway(publisher)(types.Trade("COINBASE", "BTC-USD", "buy", Decimal("0.5"), Decimal("100.10"), 1.0, id="7"), 2.0)
        await QuoteGateway(publisher)(types.Ticker("COINBASE", "BTC-USD", Decimal(1), Decimal(2), None), 2.0)
        candle = types.Candle("B", "BTC-USDT", 1.0, 61.0, "1m", 1, *map(Decimal, (1, 2, 3, 1, 9)), True, 60.0)
        await CandleGateway(publisher)(candle, 60.0)
        assert [kind for kind, _ in told.events] == ["trade", "quote", "candle"]

    run(scene)


class Binance:
    """A server that plays messages on the streams that a client asks for by its address."""

    def __init__(self) -> None:
        self.streams: list[str] = []
        self.connected = asyncio.Event()
        self.connection: ServerConnection | None = None

    async def serve(self, connection: ServerConnection) -> None:
        """Notes who is there, until it leaves."""
        assert connection.request
        self.streams = sorted(connection.request.path.partition("?streams=")[2].split("/"))
        self.connection = connection
        self.connected.set()
        await connection.wait_closed()

    async def play(self, **changes: Any) -> None:
        """Sends each of the recorded messages, the trade with these changes."""
        await self.connected.wait()
        assert self.connection
        for name, data in RECORDED.items():
            data = {**data, **changes} if data is TRADE else data
            await self.connection.send(json.dumps({"stream": f"btcusdt@{name}", "data": data}))


def worker(gateway: Gateway, linger_ms: int) -> str:
    """The README's lines, for this gateway; what the worker hears it also prints."""
    found = re.search(r"```python\n(import asyncio\nfrom cryptofeed.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)
    assert found
    code = found[1]
    for printed, here in (
        ('"redis://localhost:6379"', f'"{gateway.redis_url}", linger_ms={linger_ms}'),
        ("callbacks=callbacks", "callbacks={name: [back_end, heard] for name, back_end in callbacks.items()}"),
    ):
        assert printed in code
        code = code.replace(printed, here)
    return code


async def with_worker(
    directory: Path, linger_ms: int, scene: Callable[[Binance, asyncio.subprocess.Process, Client], Awaitable[None]]
) -> None:
    """Runs it with a worker that hears of Binance, and a client of the gateway that the worker publishes for."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "authority.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    binance = Binance()
    gateway = await Gateway.start(CHANNEL_TYPES="trade,quote,candle")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(binance.serve, "127.0.0.1", 0, ssl=context))
        port = next(iter(server.sockets)).getsockname()[1]
        before = BEFORE.format(info=INFO, url=f"wss://127.0.0.1:{port}", authority=directory / "authority.pem")
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", before + worker(gateway, linger_ms)),
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(PACKAGE / "src")},
            stdout=asyncio.subprocess.PIPE,
        )
        RUNNING.append(program)
        client = await stack.enter_async_context(connect(gateway.url))
        playing, ended = asyncio.ensure_future(scene(binance, program, client)), asyncio.create_task(program.wait())
        await asyncio.wait([playing, ended], return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            assert ended.result() == 0
        await playing
        assert await ended == 0
        assert binance.streams == ["btcusdt@aggTrade", "btcusdt@bookTicker", "btcusdt@kline_1m"]
    await gateway.stop()


@needs_gateway
def test_the_readmes_worker_publishes_what_its_exchange_tells(tmp_path: Path) -> None:
    async def scene(binance: Binance, program: asyncio.subprocess.Process, client: Client) -> None:
        events = client.subscribe("BTC-USDT", ["trade", "quote", "candle"], snapshot=False)
        await events.ready()
        await binance.play()
        loop = aiter(events)
        trade, quote, candle = [await anext(loop) for _ in range(3)]
        assert isinstance(trade, Trade)
        assert (str(trade.price), str(trade.volume), trade.timestamp, trade.seq) == ("36000.10", "0.50000000", 1700000000123, 1)
        assert (trade.data["exchange"], trade.data["side"], trade.data["id"]) == ("BINANCE", "sell", "7")
        assert isinstance(quote, Quote)
        assert (str(quote.bid_price), str(quote.ask_price)) == ("35999.50", "36000.50")
        assert isinstance(candle, Candle)
        assert (candle.interval, candle.timestamp, candle.data["closed"]) == ("1m", 1699999980000, True)
        assert [str(candle.data[name]) for name in ("open", "high", "low", "close", "volume")] == [
            *("36001.00", "36002.00", "35998.00", "36000.00", "12.5")
        ]
        program.send_signal(SIGTERM)

    run(lambda: with_worker(tmp_path, 2, scene))


@needs_gateway
def test_what_waits_is_sent_when_the_worker_is_ended(tmp_path: Path) -> None:
    async def scene(binance: Binance, program: asyncio.subprocess.Process, client: Client) -> None:
        events = client.subscribe("BTC-USDT", ["trade", "quote", "candle"], snapshot=False)
        await events.ready()
        await binance.play()
        assert program.stdout
        for _ in RECORDED:
            assert await program.stdout.readline()
        program.send_signal(SIGTERM)
        loop = aiter(events)
        assert [type(await anext(loop)) for _ in range(3)] == [Trade, Quote, Candle]

    # The worker has heard all of it long before it would send it by itself.
    run(lambda: with_worker(tmp_path, 1_000, scene))


@needs_gateway
def test_an_event_that_no_gateway_would_take_costs_only_itself(tmp_path: Path) -> None:
    async def scene(binance: Binance, program: asyncio.subprocess.Process, client: Client) -> None:
        events = client.subscribe("BTC-USDT", snapshot=False)
        await events.ready()
        await binance.play(p="NaN")
        first = binance.connection
        await binance.play()
        event = await anext(aiter(events))
        assert (str(event.price), event.seq) == ("36000.10", 1)
        assert binance.connection is first
        program.send_signal(SIGTERM)

    run(lambda: with_worker(tmp_path, 2, scene))
