"""What the client takes from where it runs: the clock, and sockets by ``websockets``. Tests bring their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""A larger message ends the connection: a batch has 64 KiB, and a reply lists at most 10,000 symbols of 64 bytes twice."""
CLOSE_TIMEOUT_S = 2
"""The gateway waits as long for the answer to its close."""
OWN_CONNECT_OPTIONS = frozenset({"uri", "subprotocols", "compression", "open_timeout", "ping_interval", "close_timeout", "max_size"})
"""Arguments of ``websockets.connect`` that the client needs to be as they are."""


class Timer(Protocol):
    """What a clock calls back by."""

    def cancel(self) -> None:
        """Nothing is called back."""


class Clock(Protocol):
    """A clock in milliseconds, with timers."""

    def now_ms(self) -> float:
        """Milliseconds since some moment; they pass while the machine sleeps as well."""

    def call_later(self, ms: float, run: Callable[[], None]) -> Timer:
        """Calls back once, in so many milliseconds."""


class SocketListener(Protocol):
    """Who is told what happens on a socket: ``opened`` at most once, ``closed`` once and last."""

    def opened(self) -> None:
        """The handshake is complete."""

    def message(self, text: str | bytes) -> None:
        """A message has come."""

    def closed(self, code: int, reason: str, http_status: int | None = None, retry_after_ms: float | None = None) -> None:
        """There is no connection: lost, closed, or refused with that HTTP status."""


class Socket(Protocol):
    """One connection, or the attempt to make one."""

    def send(self, text: str) -> None:
        """Sends, or keeps until it can be sent. What waits is bounded by the time that a mute connection is kept."""

    def close(self, code: int = 1000) -> None:
        """Ends it; the listener hears nothing more."""

    async def wait_closed(self) -> None:
        """Waits until nothing of it is left."""


SocketFactory = Callable[[str, Sequence[str], SocketListener], Socket]


class SystemClock:
    """The clock of this machine, with the timers of the running loop."""

    def __init__(self) -> None:
        # Linux' monotonic clock stands still while the machine sleeps.
        self._clock = getattr(time, "CLOCK_BOOTTIME", None)
        self._loop = asyncio.get_running_loop()

    def now_ms(self) -> float:
        """Milliseconds since the machine started."""
        return (time.monotonic() if self._clock is None else time.clock_gettime(self._clock)) * 1_000

    def call_later(self, ms: float, run: Callable[[], None]) -> Timer:
        """Calls back from the loop."""
        return self._loop.call_later(ms / 1_000, run)


class SystemSocket:
    """A connection by ``websockets``."""

    def __init__(self, url: str, protocols: Sequence[str], listener: SocketListener, **options: Any) -> None:
        self._listener: SocketListener | None = listener
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._connection: ClientConnection | None = None
        self._connect = connect(
            url,
            subprotocols=[Subprotocol(protocol) for protocol in protocols],
            compression=None,
            open_timeout=None,
            # The client's own watchdog asks, and gives up.
            ping_interval=None,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=MESSAGE_BYTES_MAX,
            **options,
        )
        loop = asyncio.get_running_loop()
        self._running = loop.create_task(self._run())
        self._closing: asyncio.Task[None] | None = None

    def send(self, text: str) -> None:
        """Sends behind all that waits already."""
        self._waiting.put_nowait(text)

    def close(self, code: int = 1000) -> None:
        """Closes as the protocol has it; a peer that does not answer is left after ``CLOSE_TIMEOUT_S``."""
        self._listener = None
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._end(code))

    async def wait_closed(self) -> None:
        """Waits for the end of its tasks."""
        await asyncio.wait([task for task in (self._running, self._closing) if task])

    async def _end(self, code: int) -> None:
        if self._connection is None:
            self._running.cancel()
        else:
            await self._connection.close(code)

    async def _run(self) -> None:
        try:
            connection = self._connection = await self._connect
        except InvalidStatus as refused:
            response = refused.response
            seconds = response.headers.get("Retry-After", "")
            retry_after_ms = float(seconds) * 1_000 if seconds.isdecimal() else None
            self._tell_closed(1006, f"refused with HTTP {response.status_code}", response.status_code, retry_after_ms)
        except (OSError, EOFError, WebSocketException) as error:
            self._tell_closed(1006, str(error) or type(error).__name__)
        else:
            writing = asyncio.get_running_loop().create_task(self._write(connection))
            try:
                await self._read(connection)
            except asyncio.CancelledError:
                # The program ends without a close: nothing is to be made again.
                self._listener = None
                connection.transport.abort()
                raise
            finally:
                writing.cancel()
                self._tell_closed(connection.close_code or 1006, connection.close_reason or "")

    async def _read(self, connection: ClientConnection) -> None:
        if self._listener:
            self._listener.opened()
        try:
            while True:
                text = await connection.recv()
                if self._listener:
                    self._listener.message(text)
                # Loops over subscriptions get their turn before the next message, however much has come.
                await asyncio.sleep(0)
        except ConnectionClosed:
            # Its code and reason are the connection's.
            pass

    async def _write(self, connection: ClientConnection) -> None:
        try:
            while True:
                await connection.send(await self._waiting.get())
        except ConnectionClosed:
            # The reader tells.
            pass

    def _tell_closed(self, code: int, reason: str, http_status: int | None = None, retry_after_ms: float | None = None) -> None:
        if self._listener:
            self._listener.closed(code, reason, http_status, retry_after_ms)
