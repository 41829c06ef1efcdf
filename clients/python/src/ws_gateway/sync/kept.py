"""The last events of a subscription, kept by one thread for others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import GatewayError
from ..events import Loss, Overflow

if TYPE_CHECKING:
    import pandas

E = TypeVar("E")
LOSSES_MAX = 1_000
"""Losses that are remembered; the oldest go first."""


class Kept(Generic[E]):
    """The last of what has come. Iterating yields what is kept, and then each as it comes, until it is left or its client closed."""

    def __init__(self, keep: int) -> None:
        self._events: deque[E] = deque(maxlen=keep)
        self._losses: deque[Loss] = deque(maxlen=LOSSES_MAX)
        self._count = 0
        self._has_ended = False
        self._error: GatewayError | None = None
        self._changed = threading.Condition()
        self._leave: Callable[[], None] = lambda: self.end(None)

    def losses(self) -> list[Loss]:
        """What is known to be missing."""
        with self._changed:
            return list(self._losses)

    def wait(self, count: int = 1, timeout_s: float | None = None) -> bool:
        """Waits until so many have come in all; false if that took too long, or no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._count >= count or self._has_ended, timeout_s)
            return self._count >= count

    def __iter__(self) -> Iterator[E]:
        with self._changed:
            at = self._count - len(self._events)
        while True:
            with self._changed:
                # Bound now: the loop's own variable changes.
                self._changed.wait_for(lambda at=at: self._count > at or self._has_ended)  # type: ignore[misc]
                if self._count == at:
                    if self._error:
                        raise self._error
                    return
                lost = self._count - len(self._events) - at
                if lost > 0:
                    # The loop was too slow for what is kept.
                    self._losses.append(Overflow(lost))
                    at += lost
                event = self._events[len(self._events) - (self._count - at)]
            at += 1
            yield event

    def add(self, event: E) -> None:
        """For the client: an event has come."""
        with self._changed:
            self._events.append(event)
            self._count += 1
            self._changed.notify_all()

    def lose(self, loss: Loss) -> None:
        """For the client: events are missing."""
        with self._changed:
            self._losses.append(loss)

    def end(self, error: GatewayError | None) -> None:
        """For the client: no more will come. What is kept stays."""
        with self._changed:
            if not self._has_ended:
                self._has_ended, self._error = True, error
            self._changed.notify_all()

    def told(self, on_event: str, options: dict[str, Any]) -> dict[str, Any]:
        """For the client: the caller's options, with callbacks that keep what comes before the caller's own hear of it."""
        ours: dict[str, Callable[[Any], None]] = {on_event: self.add, "on_loss": self.lose, "on_error": self.end}
        return {**options, **{name: _both(own, options.get(name)) for name, own in ours.items()}}

    def leave_by(self, leave: Callable[[], None]) -> None:
        """For the client: how it is left."""
        self._leave = leave

    def _last(self, n: int | None) -> list[E]:
        with self._changed:
            events = list(self._events)
        return events if n is None else events[max(0, len(events) - n) :]


def frame_of(rows: list[dict[str, Any]], times_ms: list[int | None], columns: list[str]) -> pandas.DataFrame:
    """Rows by time, as a frame of pandas; with these columns where there are none."""
    import pandas

    times = pandas.to_datetime(times_ms, unit="ms", utc=True)
    return pandas.DataFrame(rows, index=pandas.DatetimeIndex(times, name="time"), columns=None if rows else columns)


def _both(own: Callable[[Any], None], theirs: Callable[[Any], None] | None) -> Callable[[Any], None]:
    if theirs is None:
        return own

    def both(value: Any) -> None:
        own(value)
        theirs(value)

    return both
