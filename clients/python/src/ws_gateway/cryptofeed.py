"""Back-ends of cryptofeed: what its exchanges tell is published for a gateway.

    publisher = Publisher("redis://localhost:6379")
    handler = FeedHandler()
    handler.add_feed(Binance(symbols=["BTC-USDT"], channels=[TRADES], callbacks={TRADES: TradeGateway(publisher)}))
    asyncio.set_event_loop(asyncio.new_event_loop())
    handler.run()

cryptofeed itself is not imported: a back-end is called with its objects. An event that the publisher refuses is logged and left out:
an exception would make cryptofeed give up the connection and come back after a wait, without what the exchange tells meanwhile.
"""

from __future__ import annotations

import logging
from typing import Any

from .publisher import Publisher

log = logging.getLogger("ws_gateway")


class _Gateway:
    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def __call__(self, event: Any, receipt_timestamp: float) -> None:
        """For cryptofeed: an event, and when it was received, in seconds."""
        # Some exchanges tell no time.
        seconds = event.timestamp or receipt_timestamp
        try:
            await self._publish(event, {"symbol": event.symbol, "timestamp": int(seconds * 1_000), "exchange": event.exchange})
        except ValueError as error:
            log.warning("an event of %s is left out: %s", event.exchange, error)

    async def stop(self) -> None:
        """For cryptofeed: sends what waits."""
        await self._publisher.flush()

    async def _publish(self, event: Any, common: dict[str, Any]) -> None:
        raise NotImplementedError


class TradeGateway(_Gateway):
    """For ``TRADES``."""

    async def _publish(self, event: Any, common: dict[str, Any]) -> None:
        further = {name: value for name, value in (("side", event.side), ("id", event.id)) if value is not None}
        await self._publisher.publish("trade", {**common, "price": event.price, "volume": event.amount, **further})


class QuoteGateway(_Gateway):
    """For ``TICKER``: the best bid and ask."""

    async def _publish(self, event: Any, common: dict[str, Any]) -> None:
        await self._publisher.publish("quote", {**common, "bidPrice": event.bid, "askPrice": event.ask})


class CandleGateway(_Gateway):
    """For ``CANDLES``. The event's ``timestamp`` is the candle's beginning."""

    async def _publish(self, event: Any, common: dict[str, Any]) -> None:
        numbers = {name: getattr(event, name) for name in ("open", "high", "low", "close", "volume")}
        begin = {"timestamp": int(event.start * 1_000), "interval": event.interval, "closed": bool(event.closed)}
        await self._publisher.publish("candle", {**common, **begin, **numbers})
