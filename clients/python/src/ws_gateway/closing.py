"""What a close means: whether the client tries again, when, and what a person can do. Pure: chance comes in as a number."""

from __future__ import annotations

UNAUTHORIZED_STATUS = 401

_FINAL = {
    1002: "the gateway could not read a frame; a proxy between may have changed it",
    1003: "the gateway takes text frames only",
    1007: "the gateway got text that is no UTF-8",
    1008: "the gateway refuses this client as it is",
    1009: "a request was larger than MAX_MESSAGE_SIZE; subscribe to fewer symbols at once",
    1010: "the gateway lacks an extension that this client asked for",
}


def why_final(code: int) -> str | None:
    """Why trying again after a close with that code cannot help, or ``None`` if it can."""
    return _FINAL.get(code)


def backoff_ms(attempts: int, base_ms: float, max_ms: float, chance: float) -> float:
    """Milliseconds until the next attempt, with full jitter: any time from 0 to ``base_ms`` doubled with each failed attempt,
    at most ``max_ms``. ``chance`` is from 0 to below 1."""
    return float(int(chance * min(max_ms, base_ms * 2 ** min(attempts, 31))))
