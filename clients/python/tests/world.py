"""A scripted server and a clock that stands still until it is told to go on: the client sees sockets, the test their other end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from ws_gateway.environment import SocketListener

ROUNDS_OF_THE_LOOP = 20
"""Far more than any step of the client takes."""


async def settle() -> None:
    """Lets everything run that is ready to."""
    for _ in range(ROUNDS_OF_THE_LOOP):
        await asyncio.sleep(0)


class FakeTimer:
    """A call that is due at some time."""

    def __init__(self, clock: FakeClock, at_ms: float, run: Callable[[], None]) -> None:
        self.clock, self.at_ms, self.run = clock, at_ms, run

    def cancel(self) -> None:
        """It is not made."""
        if self in self.clock.timers:
            self.clock.timers.remove(self)


class FakeClock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000.0
        self.timers: list[FakeTimer] = []

    def now_ms(self) -> float:
        """The time that a test has left it at."""
        return self.now

    def call_later(self, ms: float, run: Callable[[], None]) -> FakeTimer:
        """Calls back when a test lets that time pass."""
        timer = FakeTimer(self, self.now + ms, run)
        self.timers.append(timer)
        return timer

    def is_due(self, until: float) -> bool:
        """Some timer runs out by then."""
        return any(timer.at_ms <= until for timer in self.timers)

    async def step(self, until: float) -> None:
        """Goes on to the next timer, if there is one up to then, or else to then."""
        due = min(self.timers, key=lambda timer: timer.at_ms, default=None)
        if due and due.at_ms <= until:
            self.timers.remove(due)
            self.now = max(self.now, due.at_ms)
            due.run()
        else:
            self.now = until
        await settle()

    async def advance(self, ms: float) -> None:
        """Lets that time pass."""
        until = self.now + ms
        while self.now < until or self.is_due(until):
            await self.step(until)


class FakeSocket:
    """A connection that a client has made, or tries to make."""

    def __init__(self, server: Server, url: str, protocols: Sequence[str], listener: SocketListener) -> None:
        self.server, self.url, self.protocols, self.listener = server, url, list(protocols), listener
        self.is_over = False
        self.closed_with: int | None = None

    def send(self, text: str) -> None:
        """The client sends."""
        self.server.frames.append(json.loads(text))

    def close(self, code: int = 1000) -> None:
        """The client closes."""
        self.closed_with = code

    async def wait_closed(self) -> None:
        """Nothing is left of it at once."""

    def end(self, code: int, reason: str, http_status: int | None = None, retry_after_ms: float | None = None) -> None:
        """The server closes, or is gone."""
        self.is_over = True
        self.listener.closed(code, reason, http_status, retry_after_ms)


class Server:
    """All connections that a client has made, newest last, and the frames that came on any of them."""

    def __init__(self) -> None:
        self.attempts: list[FakeSocket] = []
        self.frames: list[dict[str, Any]] = []

    def connect(self, url: str, protocols: Sequence[str], listener: SocketListener) -> FakeSocket:
        """What the client connects by."""
        self.attempts.append(FakeSocket(self, url, protocols, listener))
        return self.last

    @property
    def last(self) -> FakeSocket:
        """The newest connection."""
        assert self.attempts, "no connection was tried"
        return self.attempts[-1]

    def accept(self) -> None:
        """Completes the handshake."""
        self.last.listener.opened()

    def send(self, message: object) -> None:
        """Sends an object, or that very text."""
        self.last.listener.message(message if isinstance(message, str) else json.dumps(message))
