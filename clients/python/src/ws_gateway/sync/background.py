"""The thread that a client without asyncio runs in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .kept import Kept

R = TypeVar("R")


class Background:
    """A loop of asyncio in a thread of its own, and what is kept of what comes there."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ws_gateway", daemon=True)
        self._kept: set[Kept[Any]] = set()
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """It has not been stopped."""
        return self._thread.is_alive()

    def wait(self, work: Coroutine[Any, Any, R]) -> R:
        """Runs something in the thread, and waits for what it returns or raises."""
        if not self.is_alive:
            work.close()
            raise RuntimeError("This client is closed: make a new one.")
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("A callback can't wait for its own client: do this in another thread.")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def do(self, what: Callable[[], R]) -> R:
        """Calls something in the thread, and returns what it returns."""

        async def done() -> R:
            return what()

        return self.wait(done())

    def keep(self, kept: Kept[Any], end: Callable[[], None]) -> None:
        """Loops over it end with this thread, or when it is left, which is done by ``end``."""

        def leave() -> None:
            if self.is_alive:
                self.do(end)
            self._kept.discard(kept)
            kept.end(None)

        kept.leave_by(leave)
        self._kept.add(kept)

    def stop(self) -> None:
        """Ends the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        for kept in list(self._kept):
            kept.end(None)
        self._kept.clear()
