"""The client without asyncio, for notebooks and scripts: it runs in a thread of its own, and keeps the last events of each
subscription.

prices = Client("ws://localhost:8080/ws").watch(["AAPL", "MSFT"])
prices.frame()                      # the last 1,000 trades as a frame of pandas
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from . import client as aio
from .events import AnyEvent, ConnectionState, Latest, Loss, Overflow

if TYPE_CHECKING:
    import pandas

R = TypeVar("R")
LOSSES_MAX = 1_000
"""Losses that a watch remembers; the oldest go first."""


class Client:
    """A client of one gateway address, with the arguments of ``ws_gateway.connect``. Its methods may be called from any thread."""

    def __init__(self, url: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ws_gateway", daemon=True)
        self._thread.start()

        async def connect() -> aio.Client:
            return aio.Client(url, **options)

        try:
            self._client = self._wait(connect())
        except BaseException:
            self._stop()
            raise

    @property
    def state(self) -> ConnectionState:
        """How connection and feed are now."""
        return self._do(lambda: self._client.state)

    def watch(self, symbols: str | Iterable[str], types: str | Sequence[str] = "trade", *, keep: int = 1_000, **options: Any) -> Watch:
        """Subscribes, and keeps the last ``keep`` events. Further arguments are those of ``ws_gateway.Client.subscribe``. Waits
        until the gateway has accepted, and raises what it says if it refuses."""
        watch = Watch(keep)

        async def subscribe() -> None:
            subscription = self._client.subscribe(symbols, types, on_event=watch.add, on_loss=watch.lose, **options)
            watch.unsubscribe = lambda: self._do(subscription.unsubscribe)
            await subscription.ready()

        self._wait(subscribe())
        return watch

    def latest(self, symbol: str, type: str = "trade", interval: str = "") -> Latest | None:
        """The last event of a symbol, and whether it may be shown as current."""
        return self._do(lambda: self._client.latest(symbol, type, interval))

    def close(self) -> None:
        """Ends all subscriptions, the connection and the thread."""
        if self._thread.is_alive():
            self._wait(self._client.close())
            self._stop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _do(self, what: Callable[[], R]) -> R:
        async def done() -> R:
            return what()

        return self._wait(done())

    def _wait(self, work: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Watch:
    """The last events of a subscription. Iterating yields those that are kept, and then each as it comes."""

    def __init__(self, keep: int) -> None:
        self._events: deque[AnyEvent] = deque(maxlen=keep)
        self._losses: deque[Loss] = deque(maxlen=LOSSES_MAX)
        self._count = 0
        self._changed = threading.Condition()
        self.unsubscribe: Callable[[], None] = lambda: None
        """Ends the subscription. What is kept stays."""

    def events(self, n: int | None = None) -> list[AnyEvent]:
        """The last ``n`` events, the newest last; all that are kept if left out."""
        with self._changed:
            events = list(self._events)
        return events if n is None else events[max(0, len(events) - n) :]

    def losses(self) -> list[Loss]:
        """What is known to be missing."""
        with self._changed:
            return list(self._losses)

    def wait(self, count: int = 1, timeout_s: float | None = None) -> bool:
        """Waits until so many events have come in all; false if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count >= count, timeout_s)

    def frame(self, n: int | None = None) -> pandas.DataFrame:
        """The last ``n`` events as a frame: a column for each field of the worker's, by time. Needs the extra ``pandas``. Prices are
        floats there; the events have them exactly."""
        import pandas

        events = self.events(n)
        rows = [{name: _plain(value) for name, value in event.data.items()} for event in events]
        times = pandas.to_datetime([event.timestamp for event in events], unit="ms", utc=True)
        return pandas.DataFrame(rows, index=pandas.DatetimeIndex(times, name="time"))

    def __iter__(self) -> Iterator[AnyEvent]:
        with self._changed:
            at = self._count - len(self._events)
        while True:
            with self._changed:
                # Bound now: the loop's own variable changes.
                self._changed.wait_for(lambda at=at: self._count > at)  # type: ignore[misc]
                lost = self._count - len(self._events) - at
                if lost > 0:
                    # The loop was too slow for what is kept.
                    self._losses.append(Overflow(lost))
                    at += lost
                event = self._events[len(self._events) - (self._count - at)]
            at += 1
            yield event

    def add(self, event: AnyEvent) -> None:
        """For the client: an event has come."""
        with self._changed:
            self._events.append(event)
            self._count += 1
            self._changed.notify_all()

    def lose(self, loss: Loss) -> None:
        """For the client: events are missing."""
        with self._changed:
            self._losses.append(loss)


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value
