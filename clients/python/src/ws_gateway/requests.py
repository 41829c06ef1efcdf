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
from .topics import Terms, Topic, Topics

SYMBOLS_PER_REQUEST = 500
"""Symbols in one request, at most: far below the gateway's MAX_MESSAGE_SIZE."""


@dataclass(frozen=True)
class Asker:
    """What requests need of their client."""

    next_id: Callable[[], int]
    lose: Callable[[Loss, Iterable[Subscription[Any]]], None]
    drop: Callable[[Subscription[Any]], None]
    """The gateway refuses a subscription: it goes."""
    report: Callable[[GatewayError], None]


@dataclass(frozen=True)
class _Request:
    action: Literal["subscribe", "unsubscribe"]
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
        """Sends the requests for these topics: one for each type and terms."""
        groups: dict[tuple[str, Terms], list[Topic]] = {}
        for topic in topics:
            groups.setdefault((topic.type, topic.terms), []).append(topic)
        for group in groups.values():
            for begin in range(0, len(group), SYMBOLS_PER_REQUEST):
                self._send("subscribe", group[begin : begin + SYMBOLS_PER_REQUEST])

    def leave(self, subscription: Subscription[Any]) -> None:
        """A subscription has ended: the gateway is asked to send no more of what nobody else wants."""
        asked = {topic for request in self._waiting.values() for topic in request.topics}
        gone = [topic for topic in self._topics.drop(subscription) if topic.accepted or topic in asked]
        if not self._connection.is_open:
            return
        for kind in dict.fromkeys(topic.type for topic in gone):
            self._send("unsubscribe", [topic for topic in gone if topic.type == kind])

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

    def _send(self, action: Literal["subscribe", "unsubscribe"], topics: list[Topic]) -> None:
        kind, terms = topics[0].type, topics[0].terms
        id = self._asker.next_id()
        self._waiting[id] = _Request(action, topics)
        request: dict[str, Any] = {"action": action, "symbols": [topic.symbol for topic in topics], "types": [kind]}
        if action == "subscribe":
            request |= self._constant
            if terms.snapshot:
                request["snapshot"] = True
            resume = self._seqs(topics) if terms.resume else {}
            if resume:
                request["resume"] = resume
            if terms.conflate is not None:
                request["conflate"] = terms.conflate
            if terms.max_rate is not None:
                request["maxRate"] = terms.max_rate
        self._connection.send({**request, "id": id})

    def _seqs(self, topics: Iterable[Topic]) -> dict[str, int]:
        """The last number of each topic that has one. A candle's numbers are those of its interval, which a resume cannot name."""
        lasts = {topic.symbol: self._topics.last(topic.type, topic.symbol) for topic in topics if topic.type != "candle"}
        return {symbol: last.seq for symbol, last in lasts.items() if last and last.seq is not None}

    def _accepted(self, request: _Request, data: dict[str, Any]) -> None:
        if request.action != "subscribe":
            # To leave "*" is to leave every symbol of the type. What is still wanted is asked for again, behind the last that has come.
            if any(topic.symbol == "*" for topic in request.topics):
                kind = request.topics[0].type
                rest = [topic for topic in self._topics.all() if topic.type == kind and topic.accepted]
                for topic in rest:
                    topic.accepted, topic.lost = False, True
                self.subscribe(rest)
            return
        names = set(data.get("subscribed", []))
        recovered = data.get("recovered", {})
        settled: dict[Subscription[Any], None] = {}
        for asked in request.topics:
            upper = asked.symbol.upper()
            is_folded = asked.symbol not in names and upper in names
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
        if request.action == "unsubscribe":
            return
        wanted = [topic for topic in request.topics if topic.users]
        users = {user: None for topic in wanted for user in topic.users}
        # One bad symbol refuses the whole request: each subscription is judged by its own.
        for user in users:
            own = [topic for topic in wanted if user in topic.users]
            if len(users) > 1 and len(own) < len(request.topics):
                self._send("subscribe", own)
            else:
                self._asker.drop(user)
                user.end(error)
                self._asker.report(error)

    def _later(self, ms: float, request: _Request) -> None:
        """Sends a request again, unless the connection or the wish has gone by then."""

        def again() -> None:
            self._timers.discard(timer)
            still = [topic for topic in request.topics if bool(topic.users) == (request.action == "subscribe")]
            if still:
                self._send(request.action, still)

        timer = self._connection.clock.call_later(ms, again)
        self._timers.add(timer)
