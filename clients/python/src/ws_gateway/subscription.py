"""One subscription: the events of its symbols, for a loop and for callbacks. What it asks of the gateway is the client's part."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

from .errors import GatewayError
from .events import Loss, Overflow

E = TypeVar("E")
A = TypeVar("A")


@dataclass(frozen=True)
class Owner:
    """What a subscription tells its client: that it has ended, and what nobody else is told."""

    drop: Callable[[Subscription[Any]], None]
    report: Callable[[GatewayError], None]


class Subscription(Generic[E]):
    """A running subscription: loop over it with ``async for``, or pass callbacks. Leaving the loop ends it; so does leaving
    an ``async with`` block over it."""

    def __init__(
        self,
        owner: Owner,
        buffer_size: int,
        on_event: Callable[[E], None] | None,
        on_loss: Callable[[Loss], None] | None,
        on_error: Callable[[GatewayError], None] | None,
    ) -> None:
        self._owner = owner
        self._on_event = on_event
        self._on_loss = on_loss
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        # Whoever does not await it hears of a refusal by `on_error` or the loop.
        self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        # What comes before the loop begins waits for it, unless a callback has it.
        self._buffer: deque[E] = deque(maxlen=buffer_size)
        self._keeps = on_event is None
        self._loops = False
        self._wake = asyncio.Event()
        self._overflow = 0
        self._ended = False
        self._error: GatewayError | None = None

    async def ready(self) -> None:
        """Waits until the gateway has accepted all of it; raises what it says if it refuses."""
        await asyncio.shield(self._ready)

    def unsubscribe(self) -> None:
        """Ends it, and the loop over it. Nothing of it is delivered afterwards."""
        self.end(None)
        self._owner.drop(self)

    def __aiter__(self) -> AsyncGenerator[E, None]:
        if self._loops:
            raise RuntimeError("There is a loop over this subscription already: subscribe once for each loop.")
        self._loops = self._keeps = True
        if self._overflow:
            self._loop.call_soon(self._tell_overflow)
        return self._iterate()

    async def __aenter__(self) -> Subscription[E]:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.unsubscribe()

    async def _iterate(self) -> AsyncGenerator[E, None]:
        try:
            while True:
                while self._buffer:
                    yield self._buffer.popleft()
                if self._error:
                    raise self._error
                if self._ended:
                    return
                self._wake.clear()
                await self._wake.wait()
        finally:
            self.unsubscribe()

    def deliver(self, event: E) -> None:
        """For the client: an event has come."""
        if self._ended:
            return
        if self._keeps:
            if len(self._buffer) == self._buffer.maxlen:
                self._overflow += 1
                # One loss for all that one burst drops.
                if self._overflow == 1 and self._loops:
                    self._loop.call_soon(self._tell_overflow)
            self._buffer.append(event)
            self._wake.set()
        self._call(self._on_event, event)

    def lose(self, loss: Loss) -> None:
        """For the client: events are missing."""
        if not self._ended:
            self._call(self._on_loss, loss)

    def accept(self) -> None:
        """For the client: the gateway has accepted it."""
        if not self._ready.done():
            self._ready.set_result(None)

    def end(self, error: GatewayError | None) -> None:
        """For the client: ends it, with an error if it did not end as asked."""
        if self._ended:
            return
        self._ended = True
        self._error = error
        if not self._ready.done():
            if error:
                self._ready.set_exception(error)
            else:
                self._ready.set_result(None)
        if error:
            self._call(self._on_error, error)
        self._wake.set()

    def _tell_overflow(self) -> None:
        count, self._overflow = self._overflow, 0
        self.lose(Overflow(count))

    def _call(self, callback: Callable[[A], None] | None, value: A) -> None:
        """A callback that raises must not cost the others their events."""
        if callback is None:
            return
        try:
            callback(value)
        except Exception as raised:
            self._owner.report(GatewayError("CALLBACK", f"A callback of a subscription raised: {raised!r}", raised))
