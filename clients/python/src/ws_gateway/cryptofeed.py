"""Back-ends of cryptofeed: what its exchanges tell is published for a gateway.

    publisher = Publisher("redis://localhost:6379")
    handler = FeedHandler()
    handler.add_feed(Coinbase(symbols=["BTC-USD"], channels=[TRADES], callbacks={TRADES: TradeGateway(publisher)}))
    handler.run()

cryptofeed itself is not imported: a back-end is called with its objects.
"""

from __future__ import annotations

from typing import Any

from .publisher import Publisher


class _Gateway:
    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def __call__(self, event: Any, receipt_timestamp: float) -> None:
        """For cryptofeed: an event, and when it was received, in seconds."""
        # Some exchanges tell no time.
        seconds = event.timestamp or receipt_timestamp
        await self._publish(event, {"symbol": event.symbol, "timestamp": int(seconds * 1_000), "exchange": event.exchange})

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
