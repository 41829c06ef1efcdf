"""Publishes events for a gateway to Redis: numbers them (``seq``), keeps last values, and sends many in one round trip.

Needs the extra ``publisher`` (redis-py). One publisher is one worker: two that number the same topics would contradict each other.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal

from redis.asyncio import Redis
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from .messages import seq_of

log = logging.getLogger("ws_gateway")

# Unix times in seconds from 2001 to 5138. In milliseconds they would all be of the year 1970, or soon after.
SECONDS = (1_000_000_000, 100_000_000_000)
REQUIRED = {
    "trade": ("symbol", "price", "volume", "timestamp"),
    "quote": ("symbol", "bidPrice", "askPrice", "timestamp"),
    "candle": ("symbol", "open", "high", "low", "close", "volume", "timestamp", "interval"),
    "news": ("headline", "timestamp"),
    "halt": ("symbol", "status", "timestamp"),
}
"""What the gateway requires of each type of the market; it drops events that lack it."""
TEXTS = {"symbol", "headline", "status"}
INTERVAL_BYTES_MAX = 32
RETRY_MAX_S = 5.0


class Publisher:
    """Publishes to the Redis that a gateway reads.

    ``redis``: its address, or a client of ``redis.asyncio``. ``prefix``: the gateway's ``CHANNEL_PREFIX``. ``number``: give the events
    of each topic ``seq`` 1, 2, 3 …, so that clients can resume and know of gaps; events that have one keep it. ``last_value_key``:
    the gateway's ``LAST_VALUE_KEY``, such as ``last:{type}:`` or, for trades only, ``last:trade:``; the last event of each symbol is
    kept there, and numbers go on from it after a restart. ``symbol_case``: the gateway's ``SYMBOL_CASE``. At most ``batch`` events go
    in one round trip, and an event waits at most ``linger_ms`` for others. While Redis is away ``waiting_max`` events wait, in order,
    and ``publish`` waits for room; what may have arrived is sent again, and the gateway drops what comes twice by its number.
    """

    def __init__(
        self,
        redis: str | Redis,
        *,
        prefix: str = "channel:",
        number: bool = True,
        last_value_key: str | None = None,
        symbol_case: Literal["upper", "exact"] = "upper",
        batch: int = 200,
        linger_ms: float = 2,
        waiting_max: int = 10_000,
    ) -> None:
        self._redis = Redis.from_url(redis) if isinstance(redis, str) else redis
        self._owns_redis = isinstance(redis, str)
        self._prefix = prefix
        self._number = number
        self._last_value_key = last_value_key
        self._symbol_case = symbol_case
        self._batch = batch
        self._linger_ms = linger_ms
        self._waiting_max = waiting_max
        self._waiting: deque[tuple[str, str | None, str]] = deque()
        self._changed = asyncio.Condition()
        self._numbers: dict[tuple[str, str, str], int] = {}
        self._numbering = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None
        # Marks exact numbers on their way through the encoder, which knows only floats.
        self._mark = secrets.token_hex(8)
        self._marked = re.compile(f'"{self._mark}([^"]*)"')
        self._has_warned = False
        self.published = 0
        """Events that Redis has taken."""
        self.failed = 0
        """Events that Redis has refused; the log says why."""

    async def publish(self, type: str, data: Mapping[str, Any], *, symbol: str | None = None) -> int | None:
        """Publishes one event, behind those before it, and tells its number.

        ``symbol`` is the channel's where ``data`` has none, as news may. ``timestamp`` is set to now where it is missing. Numbers may
        be ``Decimal``: they reach clients exactly so. Raises ``ValueError`` for what the gateway would drop.
        """
        event = {"timestamp": int(time.time() * 1_000), **data}
        check(type, event)
        if not self._has_warned and SECONDS[0] <= event["timestamp"] < SECONDS[1]:
            self._has_warned = True
            log.warning("the timestamp %s of an event of type %s looks like seconds: milliseconds are meant", event["timestamp"], type)
        name = symbol or event.get("symbol")
        if not isinstance(name, str):
            raise ValueError(f"the channel of an event needs a symbol: {data}")
        is_folded = self._symbol_case == "upper" and type in REQUIRED
        own = event.get("symbol", name)
        if (own.upper() != name.upper()) if is_folded else (own != name):
            raise ValueError(f"the channel's symbol is {name}, the event's {own}")
        if is_folded:
            name = name.upper()
        key = self._key(type, name)
        topic = (type, name, str(event.get("interval", "")) if type == "candle" else "")
        is_numbered_here = self._number and "seq" not in event
        # One after the other, so that numbers rise in the order in which events are sent.
        async with self._numbering:
            if is_numbered_here:
                event["seq"] = await self._last_number(topic, key) + 1
            payload = self._encode(event)
            if is_numbered_here:
                # An event that can't be encoded has taken no number: clients would miss it.
                self._numbers[topic] = event["seq"]
            await self._add(f"{self._prefix}{type}:{name}", key, payload)
        return seq_of(event)

    async def flush(self) -> None:
        """Waits until Redis has taken all that was published so far."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting)

    async def close(self) -> None:
        """Sends what waits, and ends."""
        await self.flush()
        if self._running:
            self._running.cancel()
            await asyncio.wait([self._running])
        if self._owns_redis:
            await self._redis.aclose()

    async def __aenter__(self) -> Publisher:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def _key(self, type: str, name: str) -> str | None:
        key = self._last_value_key
        if key is None or ("{type}" not in key and type != "trade"):
            return None
        return key.replace("{type}", type) + name

    async def _last_number(self, topic: tuple[str, str, str], key: str | None) -> int:
        """The last number of a topic: for candles, of its interval."""
        last = self._numbers.get(topic)
        return await self._last_in_redis(key, topic[2]) if last is None else last

    async def _last_in_redis(self, key: str | None, interval: str) -> int:
        kept = await self._kept(key) if key else None
        try:
            last = json.loads(kept or "{}")
            return seq_of(last) or 0 if str(last.get("interval", "")) == interval or not interval else 0
        except (ValueError, AttributeError):
            return 0

    async def _kept(self, key: str) -> Any:
        """What Redis has there, once it answers."""
        wait_s = 0.05
        while True:
            try:
                return await self._redis.get(key)
            except (ConnectionError, TimeoutError, OSError) as error:
                log.warning("an event waits for Redis, which knows its last number: %s", error)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MAX_S)

    def _encode(self, event: Mapping[str, Any]) -> str:
        text = json.dumps(event, default=self._mark_decimal, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return self._marked.sub(r"\1", text) if self._mark in text else text

    def _mark_decimal(self, value: object) -> str:
        if isinstance(value, Decimal) and value.is_finite():
            return f"{self._mark}{value}"
        raise ValueError(f"{value!r} cannot be published: JSON has no such value")

    async def _add(self, channel: str, key: str | None, payload: str) -> None:
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) < self._waiting_max)
            self._waiting.append((channel, key, payload))
            self._changed.notify_all()

    async def _run(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting))
            if len(self._waiting) < self._batch:
                await asyncio.sleep(self._linger_ms / 1_000)
            batch = [self._waiting[at] for at in range(min(self._batch, len(self._waiting)))]
            await self._send(batch)
            async with self._changed:
                for _ in batch:
                    self._waiting.popleft()
                self._changed.notify_all()

    async def _send(self, batch: list[tuple[str, str | None, str]]) -> None:
        """Sends a batch, again and again while Redis is away."""
        wait_s = 0.05
        while True:
            pipe = self._redis.pipeline(transaction=False)
            # The last values first: a gateway that looks one up finds it no older than what it has heard.
            for key, payload in {key: payload for _, key, payload in batch if key}.items():
                pipe.set(key, payload)
            for channel, _, payload in batch:
                pipe.publish(channel, payload)
            try:
                replies = await pipe.execute(raise_on_error=False)
                break
            except (ConnectionError, TimeoutError, OSError) as error:
                log.warning("%d events wait for Redis: %s", len(self._waiting), error)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MAX_S)
        refused = [reply for reply in replies if isinstance(reply, ResponseError)]
        if refused:
            log.error("Redis refused %d of %d commands: %s", len(refused), len(replies), refused[0])
        failed = sum(isinstance(reply, ResponseError) for reply in replies[-len(batch) :])
        self.failed += failed
        self.published += len(batch) - failed


def check(type: str, event: Mapping[str, Any]) -> None:
    """Holds an event to the contract of its type, as the gateway does; raises ``ValueError`` for what it would drop."""
    required = REQUIRED.get(type, ())
    missing = [name for name in required if event.get(name) is None]
    if missing:
        raise ValueError(f"an event of type {type} has to have {', '.join(missing)}: {event}")
    for name in dict.fromkeys((*required, "symbol", "timestamp")):
        if name not in event:
            continue
        value = event[name]
        is_text = isinstance(value, str)
        is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
        if name == "interval":
            is_good = (is_text or is_number) and len(str(value).encode()) <= INTERVAL_BYTES_MAX
            must_be = f"a string or a number, of at most {INTERVAL_BYTES_MAX} bytes"
        else:
            is_good, must_be = (is_text, "a string") if name in TEXTS else (is_number, "a number")
        if not is_good:
            raise ValueError(f"{name} of an event of type {type} has to be {must_be}: {value!r}")
