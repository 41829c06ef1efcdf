"""One connection to the gateway, made again whenever it is lost: attempts and their times, the token, the watchdog, the state.
It knows nothing of subscriptions."""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Union

from .closing import UNAUTHORIZED_STATUS, backoff_ms, why_final
from .environment import Clock, Socket, SocketFactory, Timer
from .errors import GatewayError
from .events import ConnectionState
from .messages import Message, messages_of

TokenProvider = Callable[[Literal["connect", "expiring"]], Union[str, Awaitable[str]]]
"""Gives a token: at each connect, and again when the gateway says that the token is about to expire. It may be a coroutine function."""

_AUTH_ID = "auth"


@dataclass(frozen=True)
class ConnectionOptions:
    """What a connection can be told. All times are milliseconds."""

    token: str | TokenProvider | None
    batch: bool
    heartbeat: bool
    stale_after_ms: float
    mute_after_ms: float
    connect_timeout_ms: float
    backoff_base_ms: float
    backoff_max_ms: float
    stable_after_ms: float
    socket: SocketFactory
    clock: Clock
    chance: Callable[[], float] = random.random


@dataclass(frozen=True)
class Listener:
    """Who is told what the connection does."""

    opened: Callable[[], None]
    """It is open, and authenticated where there is a token."""
    message: Callable[[Message], None]
    lost: Callable[[], None]
    """It was open, and is no more."""
    closed: Callable[[Union[GatewayError, None]], None]
    """It is closed for good."""
    state: Callable[[ConnectionState], None]
    error: Callable[[GatewayError], None]


class _Attempt:
    """What one socket tells, as long as its connection listens to it."""

    def __init__(self, connection: Connection, token: str | None) -> None:
        self.connection: Connection | None = connection
        self.token = token

    def opened(self) -> None:
        if self.connection:
            self.connection.on_socket_open(self.token)

    def message(self, text: str | bytes) -> None:
        if self.connection:
            self.connection.on_text(text, self)

    def closed(self, code: int, reason: str, http_status: int | None = None, retry_after_ms: float | None = None) -> None:
        if self.connection:
            self.connection.on_socket_closed(code, reason, http_status, retry_after_ms)


class Connection:
    """The connection of one client."""

    def __init__(self, url: Callable[[], str], options: ConnectionOptions, listener: Listener) -> None:
        self.clock = options.clock
        self._url = url
        self._options = options
        self._listener = listener
        self._socket: Socket | None = None
        self._ending: list[Socket] = []
        self._attempt: _Attempt | None = None
        # Rises with every attempt and loss, so that what belongs to an old one is recognised.
        self._generation = 0
        self._state = ConnectionState()
        self._told: ConnectionState | None = None
        self._timer: Timer | None = None
        self._watch_timer: Timer | None = None
        self._renew_timer: Timer | None = None
        self._opened_at = self._heard_at = self._watched_at = 0.0
        self._reconnect_after_ms: float | None = None
        self._last_error: GatewayError | None = None
        # Tokens that the gateway has refused in a row.
        self._refusals = 0
        self._tasks: set[asyncio.Task[None]] = set()
        # Behind the caller's own first steps, so that its listeners hear of the first attempt.
        asyncio.get_running_loop().call_soon(lambda: self._spawn(self._connect()))

    @property
    def state(self) -> ConnectionState:
        """How it is now."""
        state = self._state
        heard = self.clock.now_ms() - self._heard_at < self._options.stale_after_ms
        return replace(state, fresh=state.status == "open" and state.feed == "up" and heard)

    @property
    def is_open(self) -> bool:
        """Requests can be sent."""
        return self._state.status == "open"

    def send(self, request: Mapping[str, Any]) -> None:
        """Sends a request if there is a connection."""
        if self._socket:
            self._socket.send(json.dumps(request, separators=(",", ":")))

    def set_feed_if_unknown(self) -> None:
        """A gateway whose feed is down says so before anything else: one that has said nothing by its first reply has its feed."""
        if self._state.feed == "unknown":
            self._set(feed="up")

    def close(self, error: GatewayError | None = None) -> None:
        """Closes for good."""
        if self._state.status == "closed":
            return
        self._abandon()
        self._cancel(self._timer)
        for task in self._tasks:
            task.cancel()
        reason = error.message if error else "closed by this program"
        self._set(status="closed", feed="unknown", reason=reason, retry_in_ms=None)
        self._listener.closed(error)

    async def wait_closed(self) -> None:
        """Waits until no socket is left."""
        for socket in self._ending:
            await socket.wait_closed()
        self._ending.clear()

    async def _connect(self) -> None:
        if self._state.status == "closed":
            return
        self._generation += 1
        generation = self._generation
        self._reconnect_after_ms = self._last_error = None
        self._set(status="connecting", feed="unknown", slow=False, retry_in_ms=None)
        self._after(self._options.connect_timeout_ms, lambda: self._lost(1006, "the gateway did not answer in time"))
        token = await self._token("connect")
        if generation != self._generation:
            return
        if isinstance(token, GatewayError):
            return self._lost(1006, token.message)
        forms = ["md.v1.json.batch", "md.v1.json"] if self._options.batch else ["md.v1.json"]
        self._attempt = _Attempt(self, token)
        try:
            self._socket = self._options.socket(self._url(), forms, self._attempt)
        except Exception as raised:
            self.close(GatewayError("CLOSED", f"No connection to {self._url()} can be made: {raised}", raised))

    async def _token(self, why: Literal["connect", "expiring"]) -> str | GatewayError | None:
        """The token, ``None`` if there is to be none, or why there is none."""
        token = self._options.token
        try:
            if not callable(token):
                return token
            given = token(why)
            return await given if inspect.isawaitable(given) else given
        except Exception as raised:
            error = GatewayError("TOKEN_PROVIDER", f"The token provider failed: {raised!r}", raised)
            self._listener.error(error)
            return error

    def on_socket_open(self, token: str | None) -> None:
        """The handshake is complete."""
        if token is None:
            self._opened()
        else:
            self.send({"action": "auth", "token": token, "id": _AUTH_ID})

    def on_socket_closed(self, code: int, reason: str, http_status: int | None, retry_after_ms: float | None) -> None:
        """The connection is lost, or was never made."""
        if http_status == UNAUTHORIZED_STATUS:
            self._refused(GatewayError("UNAUTHORIZED", reason))
            return self._lost(1008, reason)
        if retry_after_ms is not None:
            # Full jitter behind it, so that all who were refused do not come back in one moment.
            attempts, options = self._state.attempts, self._options
            jitter_ms = backoff_ms(attempts, options.backoff_base_ms, options.backoff_max_ms, options.chance())
            self._reconnect_after_ms = retry_after_ms + jitter_ms
        self._lost(code, reason)

    def on_text(self, text: str | bytes, attempt: _Attempt) -> None:
        """A frame has come."""
        self._heard_at = self.clock.now_ms()
        for message in messages_of(text):
            # A callback may have closed the client.
            if attempt is not self._attempt:
                return
            try:
                if message is None:
                    raise ValueError("no object with a type")
                self._take(message)
            except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as raised:
                error = GatewayError("BAD_FRAME", f"Not a message of a gateway, {raised!r}: {text[:120]!r}", raised)
                self._listener.error(error)
        self._tell()

    def _opened(self) -> None:
        self._cancel(self._timer)
        self._opened_at = self._heard_at = self._watched_at = self.clock.now_ms()
        self._watch()
        self._set(status="open", code=None, reason=None)
        self._listener.opened()

    def _take(self, message: Message) -> None:
        kind, data = message["type"], message.get("data") or {}
        if message.get("id") == _AUTH_ID:
            return self._authenticated(message)
        if kind == "status":
            self._status(message.get("event"), data)
        elif kind == "error" and "id" not in message and "requestId" not in message:
            self._refused(error_of(message))
        self._listener.message(message)

    def _status(self, event: object, data: Mapping[str, Any]) -> None:
        if event == "feed":
            self._set(feed=data["state"])
        elif event == "heartbeat":
            self._set(feed=data["feed"])
        elif event == "slow":
            self._set(slow=data["policy"] == "conflate")
        elif event == "shutdown":
            self._reconnect_after_ms = data["reconnectAfterMs"]
        elif event == "tokenExpiring":
            self._spawn(self._renew(data["expiresInMs"]))

    def _authenticated(self, message: Message) -> None:
        if message["type"] == "success":
            self._refusals = 0
        else:
            error = error_of(message)
            self._refused(error)
            if error.code == "UNAUTHORIZED":
                return self._lost(1008, error.message)
        if not self.is_open:
            self._opened()

    def _refused(self, error: GatewayError) -> None:
        """An error that belongs to no request: often why the gateway is about to close."""
        self._last_error = error
        if error.code == "UNAUTHORIZED":
            self._refusals += 1
        self._listener.error(error)

    async def _renew(self, left_ms: float) -> None:
        generation = self._generation
        if not callable(self._options.token):
            return
        token = await self._token("expiring")
        if generation != self._generation:
            return
        if isinstance(token, str):
            return self.send({"action": "auth", "token": token, "id": _AUTH_ID})
        # Again while there is time; afterwards the gateway closes, and the next attempt asks for a token anyway.
        in_ms = max(1_000.0, left_ms / 4)
        if left_ms > in_ms:
            again = left_ms - in_ms
            self._renew_timer = self.clock.call_later(in_ms, lambda: self._spawn(self._renew(again)))

    def _lost(self, code: int, reason: str) -> None:
        if self._state.status == "closed":
            return
        cause = self._last_error
        is_token = cause is not None and cause.code == "UNAUTHORIZED"
        has_provider = callable(self._options.token)
        can_renew = has_provider and is_token and self._refusals < 2
        final = None if code == 1008 and can_renew else why_final(code)
        said = cause.message if cause else reason
        if final:
            help = "" if has_provider or not is_token else ". Pass `token` as a function, so that a fresh one can be fetched"
            self._set(code=code)
            text = f"Closed with {code}: {said or final}{help}"
            return self.close(GatewayError(cause.code if cause else "CLOSED", text, cause.data if cause else None))
        was_open = self.is_open
        was_stable = was_open and self.clock.now_ms() - self._opened_at >= self._options.stable_after_ms
        attempts = 0 if was_stable else self._state.attempts
        in_ms = self._reconnect_after_ms
        if in_ms is None:
            options = self._options
            in_ms = backoff_ms(attempts, options.backoff_base_ms, options.backoff_max_ms, options.chance())
        self._abandon()
        self._after(in_ms, lambda: self._spawn(self._connect()))
        self._set(status="waiting", feed="unknown", attempts=attempts + 1, retry_in_ms=in_ms, code=code, reason=said)
        if was_open:
            self._listener.lost()

    def _abandon(self) -> None:
        """Lets go of the socket at once; its own close may take a while where the peer has gone."""
        self._generation += 1
        self._cancel(self._watch_timer)
        self._cancel(self._renew_timer)
        if self._attempt:
            self._attempt.connection = None
            self._attempt = None
        socket, self._socket = self._socket, None
        if socket:
            socket.close()
            self._ending = [*self._ending[-3:], socket]

    def _after(self, ms: float, run: Callable[[], None]) -> None:
        self._cancel(self._timer)
        self._timer = self.clock.call_later(ms, run)

    def _watch(self) -> None:
        """Looks again and again for how long nothing has been heard: asks first, gives up later."""
        self._watch_timer = self.clock.call_later(self._options.stale_after_ms / 3, self._look)

    def _look(self) -> None:
        now, options = self.clock.now_ms(), self._options
        if now - self._watched_at > options.mute_after_ms:
            # A machine that has slept has heard nothing: the gateway gets the time to answer. Until then prices are stale.
            grace_ms = max(options.stale_after_ms, options.mute_after_ms / 2)
            self._heard_at = max(self._heard_at, now - grace_ms)
        self._watched_at = now
        silent_ms = now - self._heard_at
        if silent_ms >= options.mute_after_ms:
            return self._lost(1006, f"nothing heard for {silent_ms:.0f} ms")
        if silent_ms > options.stale_after_ms / 2:
            self.send({"action": "ping"})
        self._tell()
        self._watch()

    def _set(self, **change: Any) -> None:
        self._state = replace(self._state, **change)
        self._tell()

    def _tell(self) -> None:
        """Tells the state if it is not what was told last."""
        state = self.state
        if state != self._told:
            self._told = state
            self._listener.state(state)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _cancel(timer: Timer | None) -> None:
        if timer:
            timer.cancel()


def error_of(message: Message) -> GatewayError:
    """An error of the gateway."""
    return GatewayError(message.get("code", ""), message.get("message", ""), message.get("data"), message.get("retryAfter"))
