"""What the gateway sends, as types. Prices and volumes are ``Decimal``, exactly as the worker wrote them; times are Unix
milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Generic, Literal, TypeVar, Union


@dataclass(frozen=True)
class Conflated:
    """What an event stands for that the gateway has made of several."""

    count: int
    volume: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    vwap: Decimal | None = None
    first_timestamp: int | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every event has. Fields of the worker's own, such as ``exchange``, are in ``data``, which has the whole object."""

    type: str
    """The name of the type: ``trade``, ``quote``, …, or one of the workers' own."""
    data: Mapping[str, Any]
    """The worker's object; numbers with a fraction are ``Decimal``."""
    sent_at: int
    """The gateway's clock when it built the message."""
    symbol: str | None
    timestamp: int | None
    """The worker's own time of the event."""
    seq: int | None = None
    """The worker's number of this event, rising by one for each topic, where the worker numbers its events."""
    snapshot: bool = False
    """The last event before the subscribe, not a new one."""
    replay: bool = False
    """An event that this client missed while it was away."""
    delayed_ms: int = 0
    """The feed is delayed by this many milliseconds."""
    conflated: Conflated | None = None


@dataclass(frozen=True, kw_only=True)
class Trade(Event):
    """A trade."""

    symbol: str
    timestamp: int
    price: Decimal
    volume: Decimal


@dataclass(frozen=True, kw_only=True)
class Quote(Event):
    """The best bid and ask."""

    symbol: str
    timestamp: int
    bid_price: Decimal
    ask_price: Decimal


@dataclass(frozen=True, kw_only=True)
class Candle(Event):
    """A candle of one interval, such as ``1m``."""

    symbol: str
    timestamp: int
    interval: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, kw_only=True)
class News(Event):
    """A headline; it may name no symbol."""

    timestamp: int
    headline: str


@dataclass(frozen=True, kw_only=True)
class Halt(Event):
    """A halt of trading, or its end."""

    symbol: str
    timestamp: int
    status: str


@dataclass(frozen=True, kw_only=True)
class Custom(Event):
    """An event of a type of the workers' own."""


@dataclass(frozen=True)
class RoomMessage:
    """Somebody has written into a room. ``message`` is any JSON; numbers with a fraction are ``Decimal``."""

    sender: str
    room: str
    message: Any
    sent_at: int


@dataclass(frozen=True)
class Chat:
    """Somebody has written to this user, or this user to somebody."""

    sender: str
    to: str
    message: Any
    sent_at: int
    message_id: str | None = None
    """Of gateways that keep what comes for those who are away."""
    queued: bool = False
    """It was kept while the user was away."""


@dataclass(frozen=True)
class Notification:
    """What a worker has told this user, a room or everyone."""

    type: str
    """A word of the worker's own."""
    data: Mapping[str, Any]
    """The worker's whole object."""


@dataclass(frozen=True)
class Members:
    """Who is in a room."""

    count: int
    """The number of users."""
    users: tuple[str, ...]
    """Their names: all of them, or of many some."""


AnyEvent = Union[Trade, Quote, Candle, News, Halt, Custom]


@dataclass(frozen=True)
class Gap:
    """The worker left out the numbers ``from_seq`` to ``to_seq``, inclusive."""

    kind: ClassVar[Literal["gap"]] = "gap"
    type: str
    symbol: str
    from_seq: int
    to_seq: int


@dataclass(frozen=True)
class Skipped:
    """This client was too slow for ``count`` events."""

    kind: ClassVar[Literal["skipped"]] = "skipped"
    type: str
    symbol: str
    count: int


@dataclass(frozen=True)
class FeedLost:
    """The gateway had no feed for ``gap_ms`` milliseconds."""

    kind: ClassVar[Literal["feed"]] = "feed"
    gap_ms: int


@dataclass(frozen=True)
class NotRecovered:
    """The connection was lost, and what came meanwhile cannot be brought back."""

    kind: ClassVar[Literal["notRecovered"]] = "notRecovered"
    type: str
    symbol: str


@dataclass(frozen=True)
class Overflow:
    """The loop over a subscription was too slow: the oldest ``count`` events of its buffer are gone."""

    kind: ClassVar[Literal["overflow"]] = "overflow"
    count: int


Loss = Union[Gap, Skipped, FeedLost, NotRecovered, Overflow]
"""Events that were published and that this client has not got, or cannot know to have got."""


@dataclass(frozen=True)
class Status:
    """A status as the gateway sent it, also one that this version does not know."""

    event: str
    data: Mapping[str, Any]
    sent_at: int


@dataclass(frozen=True)
class ConnectionState:
    """How the connection and the gateway's feed are."""

    status: Literal["connecting", "open", "waiting", "closed"] = "connecting"
    """``connecting``; ``open``; ``waiting``, until the next attempt; ``closed``, for good."""
    feed: Literal["up", "down", "unknown"] = "unknown"
    """The gateway's own feed: ``up``, ``down``, or ``unknown`` until the gateway has told."""
    fresh: bool = False
    """Prices may be shown as current: the connection is open, the feed is up, and the gateway has been heard lately."""
    slow: bool = False
    """The gateway sends only the latest event of each topic, since this client was too slow."""
    attempts: int = 0
    """Failed attempts since the connection was last stable."""
    retry_in_ms: float | None = None
    """Milliseconds until the next attempt, while waiting."""
    code: int | None = None
    """The code of the last close, 1006 where there was none."""
    reason: str | None = None
    """Why the connection is not open, in words."""


E_co = TypeVar("E_co", covariant=True)


@dataclass(frozen=True)
class Latest(Generic[E_co]):
    """The last event of a topic, and whether it may be shown as current."""

    event: E_co
    age_ms: float
    """Milliseconds since it was received."""
    fresh: bool
    """The state is fresh, and this event was received, or confirmed by a replay, on this connection and with this feed."""
