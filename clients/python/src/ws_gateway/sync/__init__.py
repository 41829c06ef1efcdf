"""The client without asyncio, for notebooks and scripts: it runs in a thread of its own, and keeps the last events of each
subscription and the last messages of each room.

prices = Client("ws://localhost:8080/ws").watch(["AAPL", "MSFT"])
prices.frame()                      # the last 1,000 trades as a frame of pandas
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from .. import client as aio
from ..errors import GatewayError
from ..events import AnyEvent, Candle, ConnectionState, Halt, Latest, News, Quote, Trade
from ..subscription import Subscription
from .background import Background
from .desk import Desk, Inbox, Room
from .kept import Kept, frame_of

if TYPE_CHECKING:
    import pandas

FIELDS = {
    "trade": ["symbol", "price", "volume", "timestamp"],
    "quote": ["symbol", "bidPrice", "askPrice", "timestamp"],
    "candle": ["symbol", "open", "high", "low", "close", "volume", "timestamp", "interval"],
    "news": ["headline", "timestamp"],
    "halt": ["symbol", "status", "timestamp"],
}
"""What every event of a type has: the columns of a frame of none."""

__all__ = ["Client", "Desk", "Inbox", "Room", "Watch"]


class Client:
    """A client of one gateway address, with the arguments of ``ws_gateway.connect``. Its methods may be called from any thread but
    the one that it runs callbacks in."""

    def __init__(self, url: str, **options: Any) -> None:
        self._background = Background()

        async def connect() -> aio.Client:
            return aio.Client(url, **options)

        try:
            self._client = self._background.wait(connect())
        except BaseException:
            self._background.stop()
            raise

    @property
    def state(self) -> ConnectionState:
        """How connection and feed are now."""
        return self._background.do(lambda: self._client.state)

    @property
    def desk(self) -> Desk:
        """Rooms, chat and notifications, where the gateway has them."""
        return Desk(self._background, self._background.do(lambda: self._client.desk))

    def watch(
        self,
        symbols: str | Iterable[str],
        types: str | Sequence[str] = "trade",
        *,
        keep: int = 1_000,
        timeout_s: float = 30,
        **options: Any,
    ) -> Watch:
        """Subscribes, and keeps the last ``keep`` events. Further arguments are those of ``ws_gateway.Client.subscribe``; callbacks
        run in the client's thread. Waits until the gateway has accepted, and raises what it says if it refuses; and
        ``NOT_CONNECTED`` where it has done neither after ``timeout_s`` seconds."""
        watch = Watch(keep)
        for type in [types] if isinstance(types, str) else types:
            watch.columns += [name for name in FIELDS.get(type, []) if name not in watch.columns]

        async def subscribe() -> Callable[[], None]:
            subscription: Subscription[Any] = self._client.subscribe(symbols, types, **watch.told("on_event", options))
            try:
                await asyncio.wait_for(subscription.ready(), timeout_s)
            except asyncio.TimeoutError:
                subscription.unsubscribe()
                state = self._client.state
                why = f": {state.reason}" if state.reason else ""
                text = f"The gateway has not accepted within {timeout_s:g} s; the connection is {state.status}{why}"
                raise GatewayError("NOT_CONNECTED", text) from None
            return subscription.unsubscribe

        self._background.keep(watch, self._background.wait(subscribe()))
        return watch

    @overload
    def latest(self, symbol: str, type: Literal["trade"] = ..., interval: str = ...) -> Latest[Trade] | None: ...
    @overload
    def latest(self, symbol: str, type: Literal["quote"], interval: str = ...) -> Latest[Quote] | None: ...
    @overload
    def latest(self, symbol: str, type: Literal["candle"], interval: str = ...) -> Latest[Candle] | None: ...
    @overload
    def latest(self, symbol: str, type: Literal["news"], interval: str = ...) -> Latest[News] | None: ...
    @overload
    def latest(self, symbol: str, type: Literal["halt"], interval: str = ...) -> Latest[Halt] | None: ...
    @overload
    def latest(self, symbol: str, type: str, interval: str = ...) -> Latest[AnyEvent] | None: ...
    def latest(self, symbol: str, type: str = "trade", interval: str = "") -> Latest[Any] | None:
        """The last event of a symbol, and whether it may be shown as current."""
        return self._background.do(lambda: self._client.latest(symbol, type, interval))

    def close(self) -> None:
        """Ends all subscriptions, the connection and the thread, and loops over what is kept."""
        if self._background.is_alive:
            self._background.wait(self._client.close())
            self._background.stop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Watch(Kept[AnyEvent]):
    """The last events of a subscription."""

    def __init__(self, keep: int) -> None:
        super().__init__(keep)
        self.columns: list[str] = []
        """Those of a frame as long as no event has come."""

    def events(self, n: int | None = None) -> list[AnyEvent]:
        """The last ``n`` events, the newest last; all that are kept if left out."""
        return self._last(n)

    def frame(self, n: int | None = None) -> pandas.DataFrame:
        """The last ``n`` events as a frame: a column for each field of the worker's, by time. Needs the extra ``pandas``. Prices are
        floats there; the events have them exactly."""
        events = self.events(n)
        rows = [{name: _plain(value) for name, value in event.data.items()} for event in events]
        return frame_of(rows, [event.timestamp for event in events], self.columns)

    def unsubscribe(self) -> None:
        """Ends the subscription, and loops over it. What is kept stays."""
        self._leave()


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value
