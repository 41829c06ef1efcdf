"""What exchanges tell becomes what the gateway takes: cryptofeed's objects, and ccxt pro with a recorded stream of Binance."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from types import SimpleNamespace
from typing import cast

import ccxt.pro
import pytest
from websockets.asyncio.server import ServerConnection, serve

from ws_gateway.ccxt import bridge
from ws_gateway.cryptofeed import CandleGateway, QuoteGateway, TradeGateway
from ws_gateway.publisher import Publisher

from .gateway import run
from .told import Told

# As str() of cryptofeed 2.4.1's objects shows them.
TRADE = {"exchange": "COINBASE", "symbol": "BTC-USD", "side": "buy", "amount": Decimal("0.5"), "price": Decimal("100.10"), "id": "7"}
CANDLE = {
    "exchange": "BINANCE",
    "symbol": "BTC-USDT",
    "start": 1700000000.0,
    "stop": 1700000060.0,
    "interval": "1m",
    "closed": True,
    "trades": 10,
    "open": Decimal(1),
    "close": Decimal(2),
    "high": Decimal(3),
    "low": Decimal(1),
    "volume": Decimal(9),
}


def test_cryptofeeds_objects_become_events() -> None:
    async def scene() -> None:
        told = Told()
        publisher = cast(Publisher, told)
        await TradeGateway(publisher)(SimpleNamespace(**TRADE, timestamp=1700000000.123), 1700000001.0)
        ticker = {"exchange": "COINBASE", "symbol": "BTC-USD", "bid": Decimal("1.10"), "ask": Decimal(2)}
        quotes = QuoteGateway(publisher)
        await quotes(SimpleNamespace(**ticker, timestamp=None), 1700000001.5)
        await CandleGateway(publisher)(SimpleNamespace(**CANDLE, timestamp=1700000059.5), 1700000060.0)
        await quotes.stop()
        assert told.events == [
            (
                "trade",
                {
                    "symbol": "BTC-USD",
                    "timestamp": 1700000000123,
                    "exchange": "COINBASE",
                    "price": Decimal("100.10"),
                    "volume": Decimal("0.5"),
                    "side": "buy",
                    "id": "7",
                },
            ),
            (
                "quote",
                {
                    "symbol": "BTC-USD",
                    "timestamp": 1700000001500,
                    "exchange": "COINBASE",
                    "bidPrice": Decimal("1.10"),
                    "askPrice": Decimal(2),
                },
            ),
            (
                "candle",
                {
                    "symbol": "BTC-USDT",
                    "timestamp": 1700000000000,
                    "exchange": "BINANCE",
                    "interval": "1m",
                    "closed": True,
                    **{name: CANDLE[name] for name in ("open", "high", "low", "close", "volume")},
                },
            ),
        ]

    run(scene)


def test_an_event_that_the_publisher_refuses_is_left_out_and_does_not_reach_cryptofeed(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with Publisher("unix:///none") as publisher:
            await TradeGateway(publisher)(SimpleNamespace(**{**TRADE, "price": Decimal("NaN")}, timestamp=1.0), 2.0)

    run(scene)
    assert "an event of COINBASE is left out: Decimal('NaN') cannot be published" in caplog.text


RECORDED = {
    "btcusdt@trade": {
        "e": "trade",
        "E": 1700000000125,
        "s": "BTCUSDT",
        "t": 7,
        "p": "36000.10",
        "q": "0.5",
        "T": 1700000000123,
        "m": True,
    },
    "btcusdt@bookTicker": {"u": 400900217, "s": "BTCUSDT", "b": "35999.5", "B": "2", "a": "36000.5", "A": "3"},
    "btcusdt@kline_1m": {
        "e": "kline",
        "E": 1700000000300,
        "s": "BTCUSDT",
        "k": {
            "t": 1699999980000,
            "T": 1700000039999,
            "s": "BTCUSDT",
            "i": "1m",
            "f": 1,
            "L": 2,
            "n": 2,
            "x": False,
            "o": "36001",
            "c": "36000",
            "h": "36002",
            "l": "35998",
            "v": "12",
            "q": "9",
            "V": "1",
            "Q": "1",
            "B": "0",
        },
    },
}
"""Messages of Binance's streams, as its documents and its servers have them."""


def test_what_ccxt_pro_watches_becomes_events() -> None:
    async def serve_recorded(connection: ServerConnection) -> None:
        async for text in connection:
            request = json.loads(text)
            await connection.send(json.dumps({"result": None, "id": request["id"]}))
            for stream in request["params"]:
                await connection.send(json.dumps({"stream": stream, "data": RECORDED[stream]}))

    async def scene() -> None:
        told = Told()
        exchange = ccxt.pro.binance({"newUpdates": True})
        market = {"id": "BTCUSDT", "lowercaseId": "btcusdt", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "type": "spot"}
        kinds = {"spot": True, "swap": False, "future": False, "option": False, "contract": False, "linear": None, "inverse": None}
        exchange.set_markets([exchange.safe_market_structure({**market, **kinds, "baseId": "BTC", "quoteId": "USDT"})])
        async with serve(serve_recorded, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            exchange.urls["api"]["ws"]["spot"] = f"ws://127.0.0.1:{port}/ws"
            running = asyncio.create_task(bridge(exchange, ["BTC/USDT"], cast(Publisher, told), types=["trade", "quote", "candle"]))
            try:
                while {kind for kind, _ in told.events} < {"trade", "quote", "candle"}:
                    told.changed.clear()
                    await told.changed.wait()
            finally:
                running.cancel()
                await asyncio.wait([running])
                await exchange.close()
        events = dict(told.events)
        assert events["trade"] == {
            "symbol": "BTC/USDT",
            "timestamp": 1700000000123,
            "exchange": "binance",
            "price": 36000.1,
            "volume": 0.5,
            "side": "sell",
            "id": "7",
        }
        assert events["quote"]["bidPrice"] == 35999.5
        assert events["quote"]["askPrice"] == 36000.5
        assert events["candle"]["timestamp"] == 1699999980000
        assert events["candle"]["interval"] == "1m"
        assert events["candle"]["close"] == 36000

    run(scene)


def test_a_type_that_no_exchange_has_is_refused() -> None:
    async def scene() -> None:
        with pytest.raises(ValueError, match="no such types: news"):
            await bridge(None, [], cast(Publisher, Told()), types=["news"])

    run(scene)
