"""The client: subscriptions on a connection that comes and goes. After each connect it subscribes again and resumes; every event and
loss goes to the subscriptions that it concerns."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union, overload
from urllib.parse import urlsplit

from .connection import Connection, ConnectionOptions, Listener, TokenProvider
from .desk import Desk, Link
from .environment import OWN_CONNECT_OPTIONS, Clock, SocketFactory, SystemClock, SystemSocket
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
    Quote,
    Skipped,
    Status,
    Trade,
)
from .messages import Message, event_of
from .requests import Asker, Requests
from .subscription import Owner, Subscription
from .topics import Terms, Topics

if TYPE_CHECKING:
    from typing_extensions import Unpack

log = logging.getLogger("ws_gateway")

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
        connect_options = dict(connect_options or {})
        if own := sorted(OWN_CONNECT_OPTIONS & connect_options.keys()):
            raise ValueError(f"connect_options may not have {', '.join(own)}: this client sets that itself")
        self._topics = Topics()
        self._subscriptions: dict[Subscription[Any], None] = {}
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
            socket=socket or partial(SystemSocket, **connect_options),
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
        self._url = url
        self._connection = Connection(self._address, options, listener)
        asker = Asker(self._take_id, self._lose, self._drop, partial(self._tell, "error"))
        constant = {**({"heartbeat": True} if heartbeat else {}), **({"onSlow": on_slow} if on_slow else {})}
        self._requests = Requests(self._connection, self._topics, asker, constant)

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
            self._requests.subscribe(asked)
        self._requests.settle([subscription])
        return subscription

    @overload
    def latest(self, symbol: str, type: Literal["trade"] = ..., interval: str = ...) -> Latest[Trade] | None: ...
    @overload
    def latest(self, symbol: str, type: Literal["quote"], interval: str = ...) -> Latest[Quote] | None: ...
    @overload
    def latest(self, symbol: str, type: Literal["candle"], interval: str = ...) -> Latest[Candle] | None: ...
    @overload
    def latest(self, symbol: str, type: Literal["news"], interval: str = ...) -> Latest[News] | None: ...
    @overload
    def latest(self, symbol: str, type: Literal["halt"], interval: str = ...) -> Latest[Halt] | None: ...
    @overload
    def latest(self, symbol: str, type: str, interval: str = ...) -> Latest[AnyEvent] | None: ...
    def latest(self, symbol: str, type: str = "trade", interval: str = "") -> Latest[Any] | None:
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

    def _address(self) -> str:
        """Where to connect to. A client that uses the desk says so: then what is told to everyone comes from the first moment."""
        if self._desk is None:
            return self._url
        return f"{self._url}{'&' if urlsplit(self._url).query else '?'}desk=1"

    def _take_id(self) -> int:
        id, self._next_id = self._next_id, self._next_id + 1
        return id

    def _opened(self) -> None:
        self._requests.subscribe(self._topics.all())
        if self._desk:
            self._desk.opened()

    def _take(self, message: Message) -> None:
        kind = message["type"]
        if self._requests.take(message):
            pass
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

    def _drop(self, subscription: Subscription[Any]) -> None:
        if subscription in self._subscriptions:
            del self._subscriptions[subscription]
            self._requests.leave(subscription)

    def _lost(self) -> None:
        self._topics.epoch += 1
        self._requests.forget()
        for topic in self._topics.all():
            topic.lost = topic.lost or topic.accepted
            topic.accepted = False
        if self._desk:
            self._desk.lost()

    def _closed(self, error: GatewayError | None) -> None:
        self._ended = error or GatewayError("CLOSED", "This client is closed: make a new one.")
        self._topics.epoch += 1
        self._requests.forget()
        for subscription in list(self._subscriptions):
            subscription.end(error)
        self._subscriptions.clear()
        if self._desk:
            self._desk.closed(error)
        if error:
            self._tell("error", error)

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
