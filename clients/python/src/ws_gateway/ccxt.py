"""A bridge from ccxt pro: what one of its exchanges watches is published for a gateway.

    exchange = ccxt.pro.binance()
    async with Publisher("redis://localhost:6379") as publisher:
        await bridge(exchange, ["BTC/USDT", "ETH/USDT"], publisher, types=["trade", "quote"])

Needs the extra ``ccxt``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from ccxt.base.errors import NetworkError

from .publisher import Publisher

log = logging.getLogger("ws_gateway")
RETRY_MAX_S = 30.0


async def bridge(
    exchange: Any,
    symbols: Iterable[str],
    publisher: Publisher,
    *,
    types: Iterable[str] = ("trade",),
    interval: str = "1m",
) -> None:
    """Watches symbols and publishes what comes, until it is cancelled. ``types`` are of ``trade``, ``quote`` and ``candle``, the latter
    of that ``interval``. An exchange that is away is tried again; what it refuses is raised."""
    watches: dict[str, Callable[[str], Coroutine[Any, Any, None]]] = {
        "trade": lambda symbol: _trades(exchange, symbol, publisher),
        "quote": lambda symbol: _quote(exchange, symbol, publisher),
        "candle": lambda symbol: _candles(exchange, symbol, publisher, interval),
    }
    names, kinds = list(symbols), list(types)
    unknown = set(kinds) - set(watches)
    if unknown:
        raise ValueError(f"no such types: {', '.join(sorted(unknown))}; there are {', '.join(watches)}")
    tasks = [asyncio.ensure_future(_again(watches[kind], symbol)) for kind in kinds for symbol in names]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _again(watch: Callable[[str], Coroutine[Any, Any, None]], symbol: str) -> None:
    wait_s = 1.0
    while True:
        try:
            await watch(symbol)
            wait_s = 1.0
        except NetworkError as error:
            log.warning("%s is watched again in %g s: %s", symbol, wait_s, error)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_MAX_S)


async def _trades(exchange: Any, symbol: str, publisher: Publisher) -> None:
    for trade in await exchange.watch_trades(symbol):
        numbers = {"price": trade["price"], "volume": trade["amount"]}
        await publisher.publish("trade", {**_common(exchange, trade), **numbers, **_known(trade, "side", "id")})


async def _quote(exchange: Any, symbol: str, publisher: Publisher) -> None:
    # The ticker of many exchanges has no bid and ask, and comes once a second.
    if exchange.has.get("watchBidsAsks"):
        ticker = (await exchange.watch_bids_asks([symbol]))[symbol]
    else:
        ticker = await exchange.watch_ticker(symbol)
    if ticker["bid"] is not None and ticker["ask"] is not None:
        prices = {"bidPrice": ticker["bid"], "askPrice": ticker["ask"]}
        await publisher.publish("quote", {**_common(exchange, ticker), **prices})


async def _candles(exchange: Any, symbol: str, publisher: Publisher, interval: str) -> None:
    for begin, first, high, low, last, volume in await exchange.watch_ohlcv(symbol, interval):
        prices = {"open": first, "high": high, "low": low, "close": last, "volume": volume}
        common = {"symbol": symbol, "timestamp": begin, "exchange": exchange.id, "interval": interval}
        await publisher.publish("candle", {**common, **prices})


def _common(exchange: Any, event: Mapping[str, Any]) -> dict[str, Any]:
    # Some exchanges tell no time: then it is when the event is published.
    return {"symbol": event["symbol"], **_known(event, "timestamp"), "exchange": exchange.id}


def _known(event: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: event[name] for name in names if event.get(name) is not None}
