"""What a client asks the gateway to subscribe to and to leave, and what it makes of the answers. Who wants what is in ``topics``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from .connection import Connection, error_of
from .environment import Timer
from .errors import GatewayError
from .events import Loss, NotRecovered
from .messages import Message
from .subscription import Subscription
from .topics import Topic, Topics, users_of

SYMBOLS_PER_REQUEST = 500
"""Symbols in one request, at most: far below the gateway's MAX_MESSAGE_SIZE."""

Action = Literal["subscribe", "unsubscribe"]


@dataclass(frozen=True)
class Asker:
    """What requests need of their client."""

    next_id: Callable[[], int]
    lose: Callable[[Loss, Iterable[Subscription[Any]]], None]
    drop: Callable[[Subscription[Any]], None]
    """The gateway refuses a subscription: it goes."""
    report: Callable[[GatewayError], None]


@dataclass(frozen=True, eq=False)
class _Request:
    action: Action
    topics: list[Topic]


class Requests:
    """The requests of one client about topics: on each connection they begin again."""

    def __init__(self, connection: Connection, topics: Topics, asker: Asker, constant: dict[str, Any]) -> None:
        """``constant`` is what every subscribe asks for."""
        self._connection = connection
        self._topics = topics
        self._asker = asker
        self._constant = constant
        self._waiting: dict[object, _Request] = {}
        self._timers: set[Timer] = set()

    def subscribe(self, topics: Iterable[Topic]) -> None:
        """Sends the requests for these topics."""
        self._ask("subscribe", list(topics))

    def leave(self, subscription: Subscription[Any]) -> None:
        """A subscription has ended: the gateway is asked to send no more of what nobody else wants."""
        asked = {topic for request in self._waiting.values() for topic in request.topics}
        gone = [topic for topic in self._topics.drop(subscription) if topic.accepted or topic in asked]
        if self._connection.is_open:
            self._ask("unsubscribe", self._topics.unwanted(gone))

    def take(self, message: Message) -> bool:
        """Whether a message was the answer to a request; then it is dealt with."""
        request = self._waiting.pop(message.get("id"), None)
        if request is None:
            return False
        if message["type"] == "success":
            self._accepted(request, message.get("data") or {})
        else:
            self._refused(request, error_of(message))
        return True

    def settle(self, subscriptions: Iterable[Subscription[Any]]) -> None:
        """Tells subscriptions of which all topics are accepted that they are."""
        pending = {user for topic in self._topics.all() if not topic.accepted for user in topic.users}
        for subscription in subscriptions:
            if subscription not in pending:
                subscription.accept()

    def forget(self) -> None:
        """The connection has gone, and what was asked on it."""
        self._waiting.clear()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _ask(self, action: Action, topics: list[Topic]) -> None:
        """Symbols of the same types and terms share a request. A type of which a symbol is resumed has requests of its own.

        The other types of a symbol are accepted or refused together.
        """
        # A resume goes with one type.
        resumed = {topic.type for topic in topics if self._seq(topic) is not None}
        symbols: dict[object, list[Topic]] = {}
        for topic in topics:
            alone = topic.type if topic.type in resumed else None
            symbols.setdefault((topic.symbol, topic.terms, alone), []).append(topic)
        groups: dict[object, list[list[Topic]]] = {}
        for own in symbols.values():
            groups.setdefault((own[0].terms, *sorted(topic.type for topic in own)), []).append(own)
        for group in groups.values():
            for begin in range(0, len(group), SYMBOLS_PER_REQUEST):
                self._send(action, [topic for own in group[begin : begin + SYMBOLS_PER_REQUEST] for topic in own])

    def _send(self, action: Action, topics: list[Topic]) -> None:
        """Asks for each of the topics' symbols in each of their types."""
        terms = topics[0].terms
        id = self._asker.next_id()
        record = self._waiting[id] = _Request(action, topics)
        request: dict[str, Any] = {
            "action": action,
            "symbols": list(dict.fromkeys(topic.symbol for topic in topics)),
            "types": list(dict.fromkeys(topic.type for topic in topics)),
        }
        if action == "subscribe":
            for topic in topics:
                topic.asked = record
            request |= self._constant
            if terms.snapshot:
                request["snapshot"] = True
            resume = {topic.symbol: seq for topic in topics if (seq := self._seq(topic)) is not None}
            if resume:
                request["resume"] = resume
            if terms.conflate is not None:
                request["conflate"] = terms.conflate
            if terms.max_rate is not None:
                request["maxRate"] = terms.max_rate
        self._connection.send({**request, "id": id})

    def _seq(self, topic: Topic) -> int | None:
        """The number behind which the gateway is to go on. A candle's numbers are those of its interval, which a resume cannot name."""
        if not topic.terms.resume or topic.type == "candle":
            return None
        last = self._topics.last(topic.type, topic.symbol)
        return last.seq if last else None

    def _accepted(self, request: _Request, data: dict[str, Any]) -> None:
        if request.action != "subscribe":
            # To leave "*" is to leave every symbol of the type. What is still wanted is asked for again, behind the last that has come.
            left = {topic.type for topic in request.topics if topic.symbol == "*"}
            rest = [topic for topic in self._topics.all() if topic.type in left and topic.accepted]
            for topic in rest:
                topic.accepted, topic.lost = False, True
            return self.subscribe(rest)
        recovered = data.get("recovered", {})
        settled: dict[Subscription[Any], None] = {}
        for asked in request.topics:
            # Left before this reply: its name may be another topic's by now.
            if not asked.users:
                continue
            upper = asked.symbol.upper()
            # Names of market types are folded, others are not: what the client has of the type tells what became of a name.
            held = data.get("currentSubscriptions") if asked.type == "trade" else data.get("currentByType", {}).get(asked.type)
            names = data.get("subscribed", []) if held is None else held
            is_folded = asked.symbol != upper and asked.symbol not in names and upper in names
            topic = self._topics.rename(asked, upper) if is_folded else asked
            topic.accepted = True
            topic.recovered = bool(recovered.get(topic.symbol))
            if topic.lost and not topic.recovered:
                self._asker.lose(NotRecovered(topic.type, topic.symbol), list(topic.users))
            topic.lost = False
            settled.update(topic.users)
        self._connection.set_feed_if_unknown()
        self.settle(settled)

    def _refused(self, request: _Request, error: GatewayError) -> None:
        if error.is_busy or request.action == "unsubscribe":
            self._asker.report(error)
        if error.is_busy:
            return self._later((error.retry_after or 1) * 1_000, request)
        # One bad symbol refuses the whole request: each subscription is judged by its own. Topics that were left have none.
        for user in users_of(request.topics):
            own = [topic for topic in request.topics if user in topic.users]
            if len(own) < len(request.topics):
                self._ask("subscribe", own)
            else:
                self._asker.drop(user)
                user.end(error)
                self._asker.report(error)

    def _later(self, ms: float, request: _Request) -> None:
        """Sends a request again, unless the connection or the wish has gone by then."""

        def again() -> None:
            self._timers.discard(timer)
            # By then a newer request may have asked for a topic, and one that was left may be wanted again.
            if request.action == "subscribe":
                self.subscribe(topic for topic in request.topics if topic.users and topic.asked is request)
            else:
                self._ask("unsubscribe", self._topics.unwanted(request.topics))

        timer = self._connection.clock.call_later(ms, again)
        self._timers.add(timer)
