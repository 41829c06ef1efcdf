"""The client: subscriptions on a connection that comes and goes. After each connect it subscribes again and resumes; every event and
loss goes to the subscriptions that it concerns."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union, overload
from urllib.parse import urlsplit

from .connection import Connection, ConnectionOptions, Listener, TokenProvider, error_of
from .desk import Desk, Link
from .environment import Clock, SocketFactory, SystemClock, SystemSocket, Timer
from .errors import GatewayError
from .events import (
    AnyEvent,
    Candle,
    ConnectionState,
    FeedLost,
    Gap,
    Halt,
    Latest,
    Loss,
    News,
    NotRecovered,
    Quote,
    Skipped,
    Status,
    Trade,
)
from .messages import Message, event_of
from .subscription import Owner, Subscription
from .topics import Terms, Topic, Topics

if TYPE_CHECKING:
    from typing_extensions import Unpack

log = logging.getLogger("ws_gateway")

SYMBOLS_PER_REQUEST = 500
"""Symbols in one request, at most: far below the gateway's MAX_MESSAGE_SIZE."""

Told = Literal["state", "loss", "error", "status"]
Conflate = Literal[True, False, "aggregate"]
Symbols = Union[str, Iterable[str]]


class SubscribeOptions(TypedDict, total=False):
    """What a subscribe may ask for: see ``Client.subscribe``."""

    snapshot: bool
    resume: bool
    conflate: Conflate | None
    max_rate: float | None
    buffer_size: int
    on_event: Callable[[Any], None] | None
    on_loss: Callable[[Loss], None] | None
    on_error: Callable[[GatewayError], None] | None


@dataclass(frozen=True)
class _Request:
    action: Literal["subscribe", "unsubscribe"]
    topics: list[Topic]


class Client:
    """A client of one gateway address. It connects at once, and stays connected until ``close()`` or the end of an ``async with``
    block. It belongs to the loop that runs when it is made.

    All times are milliseconds. ``token``: the token, or what gives one; only a function can renew it. ``batch``: several events a
    message, where the gateway has that. ``heartbeat``: a status each second, so that silence is noticed. ``stale_after_ms``:
    silence after which prices are no longer fresh. ``mute_after_ms``: silence after which the connection is made again.
    ``connect_timeout_ms``: the longest that an attempt may take, token and all. ``backoff_base_ms``: the first attempt after a
    loss waits at most this long, each further one twice as long, none longer than ``backoff_max_ms`` unless the gateway says so.
    ``stable_after_ms``: a connection that has lasted this long begins the back-off again. ``on_slow``: what the gateway does when
    this client is too slow; its own setting if left out. ``connect_options`` go to ``websockets.connect``: ``ssl``,
    ``additional_headers``, ``proxy``. ``clock``, ``socket`` and ``chance`` are for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | TokenProvider | None = None,
        batch: bool = False,
        heartbeat: bool = True,
        stale_after_ms: float = 3_000,
        mute_after_ms: float = 10_000,
        connect_timeout_ms: float = 10_000,
        backoff_base_ms: float = 1_000,
        backoff_max_ms: float = 30_000,
        stable_after_ms: float = 5_000,
        on_slow: Literal["skip", "conflate", "disconnect"] | None = None,
        connect_options: dict[str, Any] | None = None,
        clock: Clock | None = None,
        socket: SocketFactory | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if urlsplit(url).scheme not in ("ws", "wss"):
            raise ValueError(f"{url!r} is no address of a gateway: it begins with ws:// or wss://, as in ws://localhost:8080/ws")
        self._heartbeat = heartbeat
        self._on_slow = on_slow
        self._topics = Topics()
        self._subscriptions: dict[Subscription[Any], None] = {}
        self._requests: dict[object, _Request] = {}
        self._timers: set[Timer] = set()
        self._next_id = 1
        self._callbacks: dict[str, list[Callable[[Any], None]]] = {}
        self._ended: GatewayError | None = None
        self._desk: Desk | None = None
        self._loop = asyncio.get_running_loop()
        options = ConnectionOptions(
            token=token,
            batch=batch,
            heartbeat=heartbeat,
            stale_after_ms=stale_after_ms,
            mute_after_ms=mute_after_ms,
            connect_timeout_ms=connect_timeout_ms,
            backoff_base_ms=backoff_base_ms,
            backoff_max_ms=backoff_max_ms,
            stable_after_ms=stable_after_ms,
            clock=clock or SystemClock(),
            socket=socket or partial(SystemSocket, **(connect_options or {})),
            chance=chance,
        )
        listener = Listener(
            opened=self._opened,
            message=self._take,
            lost=self._lost,
            closed=self._closed,
            state=partial(self._tell, "state"),
            error=partial(self._tell, "error"),
        )
        self._owner = Owner(self._drop, partial(self._tell, "error"))
        self._connection = Connection(url, options, listener)

    @property
    def state(self) -> ConnectionState:
        """How connection and feed are now."""
        return self._connection.state

    @property
    def desk(self) -> Desk:
        """Rooms, chat and notifications, where the gateway has them. The first look at it makes this client one of the desk."""
        if self._desk is None:
            link = Link(
                clock=self._connection.clock,
                is_open=lambda: self._connection.is_open,
                next_id=self._take_id,
                send=self._connection.send,
                report=partial(self._tell, "error"),
                lose=partial(self._tell, "loss"),
                is_of_events=lambda type: type in self._topics.types,
            )
            self._desk = Desk(link)
            if self._ended:
                self._desk.closed(None)
        return self._desk

    @overload
    def on(self, event: Literal["state"], callback: Callable[[ConnectionState], None]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["loss"], callback: Callable[[Loss], None]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["error"], callback: Callable[[GatewayError], None]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["status"], callback: Callable[[Status], None]) -> Callable[[], None]: ...
    def on(self, event: Told, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Calls back on what happens, until the returned function is called: ``state`` of connection and feed, ``loss`` of events,
        ``error`` (the client goes on unless its state is ``closed``), and every ``status`` of the gateway. Errors that nobody
        asks for are logged."""
        callbacks = self._callbacks.setdefault(event, [])
        callbacks.append(callback)
        return lambda: callbacks.remove(callback) if callback in callbacks else None

    @overload
    def subscribe(
        self, symbols: Symbols, types: Literal["trade"] = ..., **options: Unpack[SubscribeOptions]
    ) -> Subscription[Trade]: ...
    @overload
    def subscribe(self, symbols: Symbols, types: Literal["quote"], **options: Unpack[SubscribeOptions]) -> Subscription[Quote]: ...
    @overload
    def subscribe(self, symbols: Symbols, types: Literal["candle"], **options: Unpack[SubscribeOptions]) -> Subscription[Candle]: ...
    @overload
    def subscribe(self, symbols: Symbols, types: Literal["news"], **options: Unpack[SubscribeOptions]) -> Subscription[News]: ...
    @overload
    def subscribe(self, symbols: Symbols, types: Literal["halt"], **options: Unpack[SubscribeOptions]) -> Subscription[Halt]: ...
    @overload
    def subscribe(
        self, symbols: Symbols, types: str | Sequence[str], **options: Unpack[SubscribeOptions]
    ) -> Subscription[AnyEvent]: ...
    def subscribe(
        self,
        symbols: Symbols,
        types: str | Sequence[str] = "trade",
        *,
        snapshot: bool = True,
        resume: bool = True,
        conflate: Conflate | None = None,
        max_rate: float | None = None,
        buffer_size: int = 1_000,
        on_event: Callable[[Any], None] | None = None,
        on_loss: Callable[[Loss], None] | None = None,
        on_error: Callable[[GatewayError], None] | None = None,
    ) -> Subscription[Any]:
        """Subscribes to symbols (``"AAPL"``, ``["AAPL", "BTC-*"]``), now or as soon as there is a connection, and after each reconnect.

        ``snapshot``: begin with the last event of each symbol, also after a loss that cannot be resumed. ``resume``: after a lost
        connection, ask for what was missed; needs workers that number their events. ``conflate``: let a newer event replace one
        that waits, ``"aggregate"`` with the totals of those replaced. ``max_rate``: at most this many events a second of each
        symbol, 0.1 to 1000. ``buffer_size``: events that wait for the loop, at most; then the oldest are dropped and told as a
        loss. ``on_error``: the subscription was refused, or the connection is closed for good; the loop raises the same.
        """
        subscription: Subscription[Any] = Subscription(self._owner, buffer_size, on_event, on_loss, on_error)
        if self._ended:
            subscription.end(self._ended)
            return subscription
        self._subscriptions[subscription] = None
        terms = Terms(snapshot, resume, conflate, max_rate)
        asked = []
        names = dict.fromkeys([symbols] if isinstance(symbols, str) else symbols)
        for kind in [types] if isinstance(types, str) else types:
            for symbol in names:
                topic = self._topics.want(kind, symbol, terms)
                topic.users[subscription] = None
                last = self._topics.last(kind, topic.symbol)
                if topic.accepted and last and conflate is None and max_rate is None:
                    # Known already: no need to ask.
                    if snapshot:
                        self._loop.call_soon(subscription.deliver, replace(last.event, snapshot=True))
                else:
                    topic.terms = terms
                    asked.append(topic)
        if self._connection.is_open:
            self._subscribe(asked)
        self._settle([subscription])
        return subscription

    def latest(self, symbol: str, type: str = "trade", interval: str = "") -> Latest | None:
        """The last event of a symbol that this client has got, and whether it may be shown as current. ``interval`` is for candles."""
        last = self._topics.last(type, symbol, interval)
        if last is None:
            return None
        fresh = self.state.fresh and last.epoch == self._topics.epoch
        return Latest(last.event, self._connection.clock.now_ms() - last.received_at_ms, fresh)

    async def close(self) -> None:
        """Ends all subscriptions and the connection, and waits until nothing of it is left."""
        self._connection.close()
        await self._connection.wait_closed()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def _take_id(self) -> int:
        id, self._next_id = self._next_id, self._next_id + 1
        return id

    def _opened(self) -> None:
        self._subscribe(self._topics.all())
        if self._desk:
            self._desk.opened()

    def _subscribe(self, topics: Iterable[Topic]) -> None:
        """Sends the requests for these topics: one for each type and terms."""
        groups: dict[tuple[str, Terms], list[Topic]] = {}
        for topic in topics:
            groups.setdefault((topic.type, topic.terms), []).append(topic)
        for group in groups.values():
            for begin in range(0, len(group), SYMBOLS_PER_REQUEST):
                self._request("subscribe", group[begin : begin + SYMBOLS_PER_REQUEST])

    def _request(self, action: Literal["subscribe", "unsubscribe"], topics: list[Topic]) -> None:
        kind, terms = topics[0].type, topics[0].terms
        id = self._take_id()
        self._requests[id] = _Request(action, topics)
        request: dict[str, Any] = {"action": action, "symbols": [topic.symbol for topic in topics], "types": [kind]}
        if action == "subscribe":
            if terms.snapshot:
                request["snapshot"] = True
            if self._heartbeat:
                request["heartbeat"] = True
            resume = self._seqs(topics) if terms.resume else {}
            if resume:
                request["resume"] = resume
            if terms.conflate is not None:
                request["conflate"] = terms.conflate
            if terms.max_rate is not None:
                request["maxRate"] = terms.max_rate
            if self._on_slow:
                request["onSlow"] = self._on_slow
        self._connection.send({**request, "id": id})

    def _seqs(self, topics: Iterable[Topic]) -> dict[str, int]:
        """The last number of each topic that has one. A candle's numbers are those of its interval, which a resume cannot name."""
        lasts = {topic.symbol: self._topics.last(topic.type, topic.symbol) for topic in topics if topic.type != "candle"}
        return {symbol: last.seq for symbol, last in lasts.items() if last and last.seq is not None}

    def _take(self, message: Message) -> None:
        kind = message["type"]
        request = self._requests.pop(message.get("id"), None)
        if request:
            if kind == "success":
                self._accepted(request, message.get("data") or {})
            else:
                self._refused(request, message)
        elif kind == "status":
            self._status(Status(message.get("event", ""), message.get("data") or {}, message.get("timestamp", 0)))
        elif kind in self._topics.types and "data" in message:
            self._event(message)
        if self._desk:
            self._desk.take(message)

    def _event(self, message: Message) -> None:
        event = event_of(message)
        self._topics.note(event, self._connection.clock.now_ms())
        for subscription in self._topics.users(event.type, event.symbol):
            subscription.deliver(event)

    def _status(self, status: Status) -> None:
        data = status.data
        if status.event == "gap":
            gap = Gap(data["type"], data["symbol"], data["from"], data["to"])
            self._lose(gap, self._topics.users(gap.type, gap.symbol))
        elif status.event == "skipped":
            skipped = Skipped(data["type"], data["symbol"], data["count"])
            self._lose(skipped, self._topics.users(skipped.type, skipped.symbol))
        elif status.event == "replayEnd":
            self._topics.confirm(data["type"], data["symbols"])
        elif status.event == "feed":
            # Whatever came before may be older than what is missing.
            self._topics.epoch += 1
            if data.get("gapMs"):
                self._lose(FeedLost(data["gapMs"]), list(self._subscriptions))
        self._tell("status", status)

    def _accepted(self, request: _Request, data: dict[str, Any]) -> None:
        if request.action != "subscribe":
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
                self._lose(NotRecovered(topic.type, topic.symbol), list(topic.users))
            topic.lost = False
            settled.update(topic.users)
        self._connection.set_feed_if_unknown()
        self._settle(settled)

    def _settle(self, subscriptions: Iterable[Subscription[Any]]) -> None:
        """Tells subscriptions of which all topics are accepted that they are."""
        pending = {user for topic in self._topics.all() if not topic.accepted for user in topic.users}
        for subscription in subscriptions:
            if subscription not in pending:
                subscription.accept()

    def _refused(self, request: _Request, message: Message) -> None:
        error = error_of(message)
        if error.is_busy or request.action == "unsubscribe":
            self._tell("error", error)
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
                self._request("subscribe", own)
            else:
                self._drop(user)
                user.end(error)
                self._tell("error", error)

    def _later(self, ms: float, request: _Request) -> None:
        """Sends a request again, unless the connection or the wish has gone by then."""

        def again() -> None:
            self._timers.discard(timer)
            still = [topic for topic in request.topics if bool(topic.users) == (request.action == "subscribe")]
            if still:
                self._request(request.action, still)

        timer = self._connection.clock.call_later(ms, again)
        self._timers.add(timer)

    def _drop(self, subscription: Subscription[Any]) -> None:
        if subscription not in self._subscriptions:
            return
        del self._subscriptions[subscription]
        asked = {topic for request in self._requests.values() for topic in request.topics}
        gone = [topic for topic in self._topics.drop(subscription) if topic.accepted or topic in asked]
        if not self._connection.is_open:
            return
        for kind in dict.fromkeys(topic.type for topic in gone):
            leaves = [topic for topic in gone if topic.type == kind]
            self._request("unsubscribe", leaves)
            # To leave "*" is to leave every symbol of the type: what is still wanted is asked for again.
            if any(topic.symbol == "*" for topic in leaves):
                rest = [topic for topic in self._topics.all() if topic.type == kind and topic.accepted]
                for topic in rest:
                    topic.accepted, topic.lost = False, True
                self._subscribe(rest)

    def _lost(self) -> None:
        self._topics.epoch += 1
        self._forget()
        for topic in self._topics.all():
            topic.lost = topic.lost or topic.accepted
            topic.accepted = False
        if self._desk:
            self._desk.lost()

    def _closed(self, error: GatewayError | None) -> None:
        self._ended = error or GatewayError("CLOSED", "This client is closed: make a new one.")
        self._topics.epoch += 1
        self._forget()
        for subscription in list(self._subscriptions):
            subscription.end(error)
        self._subscriptions.clear()
        if self._desk:
            self._desk.closed(error)
        if error:
            self._tell("error", error)

    def _forget(self) -> None:
        """Forgets the requests that were made on a connection."""
        self._requests.clear()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _lose(self, loss: Loss, subscriptions: Iterable[Subscription[Any]]) -> None:
        for subscription in subscriptions:
            subscription.lose(loss)
        self._tell("loss", loss)

    def _tell(self, event: Told, value: Any) -> None:
        callbacks = self._callbacks.get(event, [])
        if event == "error" and not callbacks:
            log.warning("%s", value)
        for callback in list(callbacks):
            try:
                callback(value)
            except Exception as raised:
                text = f"A callback for {event} raised: {raised!r}"
                # A callback for errors that raises has nobody left to tell.
                if event == "error":
                    log.exception("%s", text)
                else:
                    self._tell("error", GatewayError("CALLBACK", text, raised))


connect = Client
"""Connects to a gateway: ``connect("wss://prices.example.com/ws")``."""
