"""The gateway's text as messages, and messages as events. Numbers stay exact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .events import AnyEvent, Candle, Conflated, Custom, Halt, News, Quote, Trade

Message = Mapping[str, Any]


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


_decode = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant).decode


def messages_of(text: str | bytes) -> list[Message | None]:
    """The messages in a frame, several in a batch; ``None`` for what is no message of a gateway."""
    try:
        found = _decode(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    several = found if isinstance(found, list) else [found]
    return [one if isinstance(one, dict) and isinstance(one.get("type"), str) else None for one in several]


def event_of(message: Message) -> AnyEvent:
    """A message about the market as the event that it is. Raises what the look-up of a field raises where it has not what an event
    of its type has to have: ``KeyError``, ``TypeError``, ``ValueError``, ``AttributeError`` or ``ArithmeticError``."""
    kind: str = message["type"]
    data: Mapping[str, Any] = message["data"]
    conflated = message.get("conflated")
    common: dict[str, Any] = {
        "type": kind,
        "data": data,
        "sent_at": message["timestamp"],
        "symbol": data.get("symbol"),
        "timestamp": None if data.get("timestamp") is None else int(data["timestamp"]),
        "seq": seq_of(data),
        "snapshot": message.get("snapshot", False),
        "replay": message.get("replay", False),
        "delayed_ms": message.get("delayedMs", 0),
        "conflated": conflated and _conflated(conflated),
    }
    if kind == "trade":
        return Trade(**common, price=Decimal(data["price"]), volume=Decimal(data["volume"]))
    if kind == "quote":
        return Quote(**common, bid_price=Decimal(data["bidPrice"]), ask_price=Decimal(data["askPrice"]))
    if kind == "candle":
        first, high, low, last, volume = (Decimal(data[name]) for name in ("open", "high", "low", "close", "volume"))
        return Candle(**common, interval=str(data["interval"]), open=first, high=high, low=low, close=last, volume=volume)
    if kind == "news":
        return News(**common, headline=data["headline"])
    if kind == "halt":
        return Halt(**common, status=data["status"])
    return Custom(**common)


def seq_of(data: Mapping[str, Any]) -> int | None:
    """The number of an event; what is no integer from 0 to below 2^53 is none."""
    seq = data.get("seq")
    return seq if type(seq) is int and 0 <= seq < 1 << 53 else None


def _conflated(of: Mapping[str, Any]) -> Conflated:
    exact = {name: Decimal(of[name]) for name in ("volume", "high", "low", "vwap") if name in of}
    first = of.get("firstTimestamp")
    return Conflated(of["count"], first_timestamp=None if first is None else int(first), **exact)
