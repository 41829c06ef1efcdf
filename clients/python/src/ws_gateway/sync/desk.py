"""Rooms, chat and notifications without asyncio."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import desk as aio
from ..events import Chat, Members, Notification, RoomMessage
from ..room import Room as AioRoom
from .background import Background
from .kept import Kept, frame_of

if TYPE_CHECKING:
    import pandas


class Desk:
    """The desk of a client: ``client.desk``."""

    def __init__(self, background: Background, desk: aio.Desk) -> None:
        self._background = background
        self._desk = desk

    @property
    def user(self) -> str | None:
        """The user that this client is, once it has been told that it has joined a room."""
        return self._background.do(lambda: self._desk.user)

    def join(self, room_id: str, *, keep: int = 1_000, **options: Any) -> Room:
        """Joins a room, and keeps its last ``keep`` messages. Further arguments are those of ``ws_gateway.Desk.join``; callbacks run
        in the client's thread. Waits until the gateway has accepted, and raises what it says if it refuses."""
        room = Room(self._background, room_id, keep)

        async def join() -> AioRoom:
            joined = self._desk.join(room_id, **room.told("on_message", options))
            await joined.ready()
            return joined

        room.enter(self._background.wait(join()))
        return room

    def inbox(self, *, keep: int = 1_000, **options: Any) -> Inbox:
        """Chats and notifications for this user, and broadcasts. Further arguments are those of ``ws_gateway.Desk.inbox``. Waits
        until the gateway has said that there is a desk for this client, and raises if there is none."""
        inbox = Inbox(keep)

        async def open_inbox() -> Callable[[], None]:
            opened = self._desk.inbox(**inbox.told("on_message", options))
            await opened.ready()
            return opened.unsubscribe

        self._background.keep(inbox, self._background.wait(open_inbox()))
        return inbox

    def chat(self, to: str, message: object) -> None:
        """Writes to a user. Returns when the gateway has it on its way."""
        self._background.wait(self._desk.chat(to, message))

    def request(self, payload: object) -> Any:
        """Asks the workers (the gateway's ``REQUESTS``), and returns the ``payload`` of their response."""
        return self._background.wait(self._desk.request(payload))


class Room(Kept[RoomMessage]):
    """A room that one is in, and what was written there last."""

    def __init__(self, background: Background, room_id: str, keep: int) -> None:
        super().__init__(keep)
        self.id = room_id
        self._background = background
        self._room: AioRoom

    def enter(self, room: AioRoom) -> None:
        """For the desk: the gateway has taken this client in."""
        self._room = room
        self._background.keep(self, room.leave)

    def messages(self, n: int | None = None) -> list[RoomMessage]:
        """The last ``n`` messages, the newest last; all that are kept if left out."""
        return self._last(n)

    def frame(self, n: int | None = None) -> pandas.DataFrame:
        """The last ``n`` messages as a frame: who wrote what, by time. Needs the extra ``pandas``."""
        messages = self.messages(n)
        rows = [{"sender": message.sender, "message": message.message} for message in messages]
        return frame_of(rows, [message.sent_at for message in messages], ["sender", "message"])

    def send(self, message: object) -> None:
        """Writes into the room. It comes back in its place among the others. Returns when the gateway has it on its way."""
        self._background.wait(self._room.send(message))

    def typing(self) -> None:
        """Tells the others that this user writes something."""
        self._background.wait(self._room.typing())

    def presence(self) -> Members:
        """Who is there."""
        return self._background.wait(self._room.presence())

    def leave(self) -> None:
        """Leaves it, and ends loops over it. What is kept stays."""
        self._leave()


class Inbox(Kept["Chat | Notification"]):
    """The last chats, notifications and broadcasts for this user."""

    def messages(self, n: int | None = None) -> list[Chat | Notification]:
        """The last ``n``, the newest last; all that are kept if left out."""
        return self._last(n)

    def unsubscribe(self) -> None:
        """Ends it, and loops over it. What is kept stays."""
        self._leave()
