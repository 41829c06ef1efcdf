"""Which topics a client wants, under which names, for whom; and the last event of each. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .events import AnyEvent, Candle

if TYPE_CHECKING:
    from .subscription import Subscription

    Users = dict[Subscription[Any], None]
    """Subscriptions, in the order in which they came."""

LAST_MAX = 16_384
"""More last values than this are not kept: a client of ``*`` would grow for ever."""
WINDOW = 64
"""Numbers that the gateway looks back; what is older begins anew."""

_Key = tuple[str, str, str]


@dataclass(frozen=True)
class Terms:
    """What the gateway is asked for with a topic."""

    snapshot: bool = True
    resume: bool = True
    conflate: bool | Literal["aggregate"] | None = None
    max_rate: float | None = None


@dataclass(eq=False)
class Topic:
    """A type and a symbol (or a pattern) that somebody wants."""

    type: str
    symbol: str
    terms: Terms
    users: Users = field(default_factory=dict)
    accepted: bool = False
    """The gateway has accepted it on this connection."""
    lost: bool = False
    """The gateway had accepted it on an earlier connection, so something may have been missed."""
    recovered: bool = False
    """The gateway has promised all that was missed; it has come with ``replayEnd``."""
    asked: object = None
    """The last request for it."""


@dataclass
class Last:
    """The last event of a topic: for candles, of each interval."""

    event: AnyEvent
    received_at_ms: float
    epoch: int
    """The epoch in which it was received or confirmed; a lost connection or feed begins a new epoch."""
    seq: int | None
    newest: int
    """The newest ``timestamp`` of the worker."""


class Topics:
    """All topics of a client."""

    def __init__(self) -> None:
        self.epoch = 0
        self.types: set[str] = set()
        """Types that somebody has wanted."""
        self._topics: dict[tuple[str, str], Topic] = {}
        self._patterns: dict[Topic, None] = {}
        self._last: dict[_Key, Last] = {}

    def want(self, type: str, symbol: str, terms: Terms) -> Topic:
        """The topic of that name, made if need be."""
        self.types.add(type)
        topic = self._topics.get((type, symbol)) or self._topics.get((type, symbol.upper()))
        if topic is None:
            topic = Topic(type, symbol, terms)
            self._add(topic)
        return topic

    def drop(self, user: Subscription[Any]) -> list[Topic]:
        """Takes a user off all topics; those that nobody wants any more are forgotten and returned."""
        gone = []
        for topic in self.all():
            if user in topic.users:
                del topic.users[user]
                if not topic.users:
                    gone.append(topic)
        for topic in gone:
            self._remove(topic)
        return gone

    def unwanted(self, topics: Iterable[Topic]) -> list[Topic]:
        """Those whose name nobody wants. Until the gateway has accepted a name, ``aapl`` may be ``AAPL``."""
        wanted = {name for topic in self.all() for name in _names(topic)}
        return [topic for topic in topics if wanted.isdisjoint(_names(topic))]

    def all(self) -> list[Topic]:
        """Every topic, in the order in which they were first wanted."""
        return list(self._topics.values())

    def rename(self, topic: Topic, symbol: str) -> Topic:
        """The gateway knows a topic by another name (``AAPL`` for ``aapl``): the topic that is to be used from now on."""
        other = self._topics.get((topic.type, symbol))
        self._topics.pop((topic.type, topic.symbol), None)
        self._patterns.pop(topic, None)
        if other:
            other.users.update(topic.users)
            # The replies to other requests for the one are about the other.
            topic.users = other.users
            return other
        topic.symbol = symbol
        self._add(topic)
        return topic

    def users(self, type: str, symbol: str | None) -> Iterable[Subscription[Any]]:
        """Who wants an event or a status about that topic; without a symbol, everyone who wants the type."""
        if symbol is None:
            return users_of(topic for topic in self._topics.values() if topic.type == type)
        symbol = self._name(type, symbol)
        exact = self._topics.get((type, symbol))
        others = self._matches(type, symbol)
        if not others:
            return list(exact.users) if exact else []
        return users_of([exact, *others] if exact else others)

    def note(self, event: AnyEvent, received_at_ms: float) -> None:
        """Remembers an event, unless a newer one of its topic has come before it."""
        if not isinstance(event.symbol, str):
            return
        key = (event.type, self._name(event.type, event.symbol), event.interval if isinstance(event, Candle) else "")
        last = self._last.get(key)
        timestamp, seq = event.timestamp or 0, event.seq
        newest = timestamp
        if last:
            # A lower number is late, unless the worker has begun its numbers anew.
            is_lower = last.seq is not None and seq is not None and last.seq - WINDOW < seq < last.seq
            if is_lower and timestamp <= last.newest:
                return
            newest = max(timestamp, last.newest)
            # The newest stand last, so that the oldest go first.
            del self._last[key]
        self._last[key] = Last(event, received_at_ms, self.epoch, seq, newest)
        if len(self._last) > LAST_MAX:
            del self._last[next(iter(self._last))]

    def last(self, type: str, symbol: str, interval: str = "") -> Last | None:
        """The last event of that topic."""
        return self._last.get((type, symbol, interval)) or self._last.get((type, symbol.upper(), interval))

    def confirm(self, type: str, symbols: Iterable[str]) -> None:
        """All that was missed of these has come: their last events are current again."""
        for symbol in symbols:
            last, topic = self.last(type, symbol), self._topics.get((type, symbol))
            if last and topic and topic.recovered:
                last.epoch = self.epoch

    def _name(self, type: str, symbol: str) -> str:
        """A symbol as the gateway knows it: a worker may write it in any case."""
        if (type, symbol) in self._topics or self._matches(type, symbol):
            return symbol
        upper = symbol.upper()
        return upper if (type, upper) in self._topics or self._matches(type, upper) else symbol

    def _matches(self, type: str, symbol: str) -> list[Topic]:
        """The patterns that the symbol matches."""
        return [topic for topic in self._patterns if topic.type == type and symbol.startswith(topic.symbol[:-1])]

    def _add(self, topic: Topic) -> None:
        self._topics[topic.type, topic.symbol] = topic
        if topic.symbol.endswith("*"):
            self._patterns[topic] = None

    def _remove(self, topic: Topic) -> None:
        del self._topics[topic.type, topic.symbol]
        self._patterns.pop(topic, None)
        for key in [key for key in self._last if key[0] == topic.type and not self.users(key[0], key[1])]:
            del self._last[key]


def users_of(topics: Iterable[Topic]) -> list[Subscription[Any]]:
    """Who wants any of the topics."""
    return list({user: None for topic in topics for user in topic.users})


def _names(topic: Topic) -> set[tuple[str, str]]:
    return {(topic.type, topic.symbol), (topic.type, topic.symbol if topic.accepted else topic.symbol.upper())}
