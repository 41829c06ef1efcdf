"""The desk: rooms, chat, who is there, notifications, questions to workers, on the connection of a client. After each connect it joins
its rooms again; what may have been missed meanwhile is told as a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Union

from .connection import error_of
from .environment import Clock, Timer
from .errors import GatewayError
from .events import Chat, Loss, Notification, NotRecovered, Skipped
from .messages import Message
from .room import Room, RoomOwner
from .subscription import Owner, Subscription

OF_ROOMS = ("room_message", "user_joined", "user_left", "typing", "presence")
"""What has a ``room_id`` because the gateway says so; with another type it is a worker's."""
NOT_FOR_USERS = ("success", "error", "pong", "response", "trade", "quote", "candle", "news", "halt")
"""What is no notification, whatever a client has subscribed to."""
HELLO = "nowhere"
"""To leave a room that one isn't in changes nothing. The answer tells whether this client has a desk here; and where it has connected
before its program looked for the desk, the gateway sends broadcasts from then on."""
IDS_MAX = 4_096
"""More ids of messages are not remembered. A gateway repeats few: those that it had sent and did not know to have arrived."""

InboxMessage = Union[Chat, Notification]
Answer = Callable[[Message], None]


@dataclass(frozen=True)
class Link:
    """What the desk uses of its client."""

    clock: Clock
    is_open: Callable[[], bool]
    next_id: Callable[[], int]
    send: Callable[[Mapping[str, Any]], None]
    report: Callable[[GatewayError], None]
    lose: Callable[[Loss], None]
    is_of_events: Callable[[str], bool]
    """Somebody has subscribed to events of that type."""


@dataclass(eq=False)
class _Place:
    """A room that somebody here is in or wants to be in."""

    rooms: dict[Room, None] = field(default_factory=dict)
    is_in: bool = False
    """The gateway has confirmed it on this connection; ``was_in``: on an earlier one."""
    was_in: bool = False
    joined: str | None = None
    """The user who has joined last since we have asked to."""
    is_next: bool = False
    """The next who joins is us."""


class Desk:
    """The desk of a client: ``client.desk``."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._places: dict[str, _Place] = {}
        self._inboxes: dict[Subscription[InboxMessage], None] = {}
        self._asked: dict[object, Answer] = {}
        self._timers: set[Timer] = set()
        self._seen: dict[str, None] = {}
        self._user: str | None = None
        self._was_open = False
        # Why there is nothing to be had here.
        self._refused: GatewayError | None = None
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        if link.is_open():
            self.opened()

    @property
    def user(self) -> str | None:
        """The user that this client is, once it has been told that it has joined a room. In an open gateway each connection is a user
        of its own."""
        return self._user

    async def ready(self) -> None:
        """Waits until the gateway has said that there is a desk for this client; raises if there is none."""
        await asyncio.shield(self._ready)

    def join(
        self,
        room_id: str,
        *,
        buffer_size: int = 1_000,
        on_message: Callable[[Any], None] | None = None,
        on_joined: Callable[[str], None] | None = None,
        on_left: Callable[[str], None] | None = None,
        on_typing: Callable[[str], None] | None = None,
        on_members: Callable[[Any], None] | None = None,
        on_loss: Callable[[Loss], None] | None = None,
        on_error: Callable[[GatewayError], None] | None = None,
    ) -> Room:
        """Joins a room, now or as soon as there is a connection, and after each reconnect. ``on_members`` is told who is there: after
        the join, and whenever it has changed. The other arguments are those of ``Client.subscribe``."""
        owner = RoomOwner(
            drop=lambda gone: self._leave(room_id, gone),
            report=self._link.report,
            ask=lambda kind, payload: self._promise(kind, {"room_id": room_id, **payload}),
        )
        room = Room(owner, room_id, buffer_size, on_message, on_loss, on_error)
        room.tell(on_joined, on_left, on_typing, on_members)
        if self._refused:
            room.end(self._refused)
            return room
        place = self._places.get(room_id)
        if place is None:
            place = self._places[room_id] = _Place()
            self._join(room_id, place)
        elif place.is_in:
            self._loop.call_soon(room.enter)
        place.rooms[room] = None
        return room

    def inbox(
        self,
        *,
        buffer_size: int = 1_000,
        on_message: Callable[[Any], None] | None = None,
        on_loss: Callable[[Loss], None] | None = None,
        on_error: Callable[[GatewayError], None] | None = None,
    ) -> Subscription[InboxMessage]:
        """Chats and notifications for this user, and broadcasts, until it is ended. Each comes once, also what the gateway repeats."""

        def drop(gone: Subscription[Any]) -> None:
            self._inboxes.pop(gone, None)

        inbox: Subscription[InboxMessage] = Subscription(Owner(drop, self._link.report), buffer_size, on_message, on_loss, on_error)
        if self._refused:
            inbox.end(self._refused)
            return inbox
        self._inboxes[inbox] = None
        self._ready.add_done_callback(lambda ready: None if ready.cancelled() or ready.exception() else inbox.accept())
        return inbox

    async def chat(self, to: str, message: object) -> None:
        """Writes to a user. Returns when the gateway has it on its way; what it does not confirm may have been delivered, and is not
        sent again."""
        await self._promise("chat", {"to": to, "message": message})

    async def request(self, payload: object) -> Any:
        """Asks the workers (the gateway's ``REQUESTS``), and returns the ``payload`` of their response."""
        request_id = self._link.next_id()
        answer = await self._answer(request_id, {"type": "request", "requestId": request_id, "payload": payload})
        return answer.get("payload")

    def opened(self) -> None:
        """For the client: there is a connection."""
        self._refused = None
        self._send("leave_room", HELLO, self._greeted)
        for room_id, place in list(self._places.items()):
            self._join(room_id, place)

    def take(self, message: Message) -> None:
        """For the client: a message has come."""
        kind = message["type"]
        answered = message.get("id", message.get("requestId"))
        answer = self._asked.pop(answered, None) if isinstance(answered, (int, str)) else None
        if answer:
            answer(message)
        elif kind == "status":
            self._skipped(message.get("data") or {})
        elif kind in OF_ROOMS:
            self._in_room(message)
        elif kind not in NOT_FOR_USERS and not self._link.is_of_events(kind):
            self._for_user(message)

    def lost(self) -> None:
        """For the client: the connection is lost."""
        asked = list(self._asked.values())
        self._asked.clear()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        text = "The connection was lost: it may have been done, and is not tried again"
        for answer in asked:
            answer({"type": "error", "code": "CONNECTION_LOST", "message": text})
        for place in self._places.values():
            place.is_in = False

    def closed(self, error: GatewayError | None) -> None:
        """For the client: it is closed for good."""
        self.lost()
        self._refused = error or GatewayError("CLOSED", "This client is closed: make a new one.")
        if not self._ready.done():
            self._ready.set_exception(self._refused)
        ended: list[Subscription[Any]] = [room for place in self._places.values() for room in place.rooms]
        ended += self._inboxes
        self._places.clear()
        self._inboxes.clear()
        for one in ended:
            one.end(error)

    def _greeted(self, answer: Message) -> None:
        error = error_of(answer) if answer["type"] == "error" else None
        if error is None or error.is_busy:
            if not self._ready.done():
                self._ready.set_result(None)
            if self._was_open and self._inboxes:
                # What came for the user or for all while there was no connection.
                for loss in (NotRecovered("user", self._user or "*"), NotRecovered("broadcast", "*")):
                    self._lose(loss, self._inboxes)
                    self._link.lose(loss)
            self._was_open = True
        elif error.code in ("INVALID_INPUT", "UNKNOWN_ACTION"):
            self.closed(GatewayError("NO_DESK", "This gateway has no desk: it needs DESK=true", error))
        elif error.code != "CONNECTION_LOST":
            self.closed(error)

    def _join(self, room_id: str, place: _Place) -> None:
        place.joined, place.is_next = None, False

        def answered(answer: Message) -> None:
            if self._places.get(room_id) is not place:
                return
            if answer["type"] != "error":
                self._entered(room_id, place)
                return
            error = error_of(answer)
            if error.code == "CONNECTION_LOST":
                return
            self._link.report(error)
            if error.is_busy:
                self._later((error.retry_after or 1) * 1_000, partial(self._join_again, room_id, place))
                return
            del self._places[room_id]
            for room in list(place.rooms):
                room.end(error)

        self._send("join_room", room_id, answered)

    def _join_again(self, room_id: str, place: _Place) -> None:
        if self._places.get(room_id) is place:
            self._join(room_id, place)

    def _entered(self, room_id: str, place: _Place) -> None:
        # Our own join is told right before the answer, or else as the first of the room behind it.
        if place.joined is None:
            place.is_next = True
        else:
            self._user = place.joined
        if place.was_in:
            loss = NotRecovered("room", room_id)
            self._lose(loss, place.rooms)
            self._link.lose(loss)
        place.is_in = place.was_in = True
        for room in list(place.rooms):
            room.enter()

    def _leave(self, room_id: str, gone: Subscription[Any]) -> None:
        place = self._places.get(room_id)
        if place is None or not isinstance(gone, Room) or gone not in place.rooms:
            return
        del place.rooms[gone]
        if place.rooms:
            return
        del self._places[room_id]

        def answered(answer: Message) -> None:
            if answer["type"] == "error" and answer["code"] != "CONNECTION_LOST":
                self._link.report(error_of(answer))

        self._send("leave_room", room_id, answered)

    def _in_room(self, message: Message) -> None:
        room_id = message["room_id"]
        place = self._places.get(room_id)
        if place is None:
            return
        user = message.get("user_id")
        if message["type"] == "user_joined":
            place.joined = user
            if place.is_next:
                self._user, place.is_next = user, False
        is_own_leave = message["type"] == "user_left" and place.is_in and user == self._user
        for room in list(place.rooms):
            room.take(message)
        # Nobody here has left: its rights have become fewer, and it is told so, or it is back.
        if is_own_leave:
            place.is_in = False
            self._join(room_id, place)

    def _for_user(self, message: Message) -> None:
        message_id, queued = message.get("message_id"), message.get("queued") is True
        is_chat = message["type"] == "chat"
        if isinstance(message_id, str):
            # The gateway repeats what it doesn't know to have arrived. A worker's own `message_id` is none of the gateway's.
            is_repeat = message_id in self._seen and (is_chat or queued)
            self._seen.pop(message_id, None)
            self._seen[message_id] = None
            if len(self._seen) > IDS_MAX:
                del self._seen[next(iter(self._seen))]
            if is_repeat:
                return
        found: InboxMessage = Notification(message["type"], message)
        if is_chat:
            found = Chat(message["from"], message["to"], message["message"], message["timestamp"], message_id, queued)
        for inbox in list(self._inboxes):
            inbox.deliver(found)

    def _skipped(self, data: Mapping[str, Any]) -> None:
        kind = data.get("type")
        if kind not in ("room", "user", "broadcast"):
            return
        place = self._places.get(data["symbol"])
        to: Iterable[Subscription[Any]] = self._inboxes if kind != "room" else place.rooms if place else ()
        self._lose(Skipped(data["type"], data["symbol"], data["count"]), to)

    def _lose(self, loss: Loss, to: Iterable[Subscription[Any]]) -> None:
        for one in list(to):
            one.lose(loss)

    def _later(self, ms: float, run: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.discard(timer)
            run()

        timer = self._link.clock.call_later(ms, due)
        self._timers.add(timer)

    def _send(self, kind: str, room_id: str, answer: Answer) -> None:
        if self._link.is_open():
            id = self._link.next_id()
            self._asked[id] = answer
            self._link.send({"type": kind, "payload": {"room_id": room_id}, "id": id})

    async def _promise(self, kind: str, payload: Mapping[str, Any]) -> Message:
        id = self._link.next_id()
        return await self._answer(id, {"type": kind, "payload": payload, "id": id})

    async def _answer(self, id: int, request: Mapping[str, Any]) -> Message:
        if self._refused:
            raise self._refused
        if not self._link.is_open():
            raise GatewayError("NOT_CONNECTED", "There is no connection: nothing was sent")
        future: asyncio.Future[Message] = self._loop.create_future()

        def answered(answer: Message) -> None:
            if future.done():
                return
            if answer["type"] == "error":
                future.set_exception(error_of(answer))
            else:
                future.set_result(answer)

        self._asked[id] = answered
        self._link.send(request)
        return await future
