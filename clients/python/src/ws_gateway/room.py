"""One room: what is written in it, for a loop and for callbacks, and who is there. Joining it is the desk's part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import GatewayError
from .events import Loss, Members, RoomMessage, Skipped
from .messages import Message
from .subscription import Owner, Subscription


@dataclass(frozen=True)
class RoomOwner(Owner):
    """What a room needs of its desk."""

    ask: Callable[[str, Mapping[str, Any]], Awaitable[Message]]


class Room(Subscription[RoomMessage]):
    """A room that one is in: loop over what is written in it with ``async for``, or pass callbacks."""

    def __init__(self, owner: RoomOwner, room_id: str, *options: Any) -> None:
        super().__init__(owner, *options)
        self.id = room_id
        self._ask = owner.ask
        self._on_joined: Callable[[str], None] | None = None
        self._on_left: Callable[[str], None] | None = None
        self._on_typing: Callable[[str], None] | None = None
        self._on_members: Callable[[Members], None] | None = None
        self._users: dict[str, None] = {}
        self._count: int | None = None
        # Who has come and gone since the question was sent that waits.
        self._since: list[tuple[bool, str]] = []
        self._question: asyncio.Task[None] | None = None

    def tell(
        self,
        on_joined: Callable[[str], None] | None,
        on_left: Callable[[str], None] | None,
        on_typing: Callable[[str], None] | None,
        on_members: Callable[[Members], None] | None,
    ) -> None:
        """For the desk: who is told what happens beside messages."""
        self._on_joined, self._on_left, self._on_typing, self._on_members = on_joined, on_left, on_typing, on_members

    async def send(self, message: object) -> None:
        """Writes into the room. It comes back in its place among the others. Returns when the gateway has it on its way."""
        await self._ask("room_message", {"message": message})

    async def typing(self) -> None:
        """Tells the others that this user writes something."""
        await self._ask("typing", {})

    async def presence(self) -> Members:
        """Who is there."""
        answer = await self._ask("presence", {})
        return Members(answer["count"], tuple(answer.get("users", ())))

    def leave(self) -> None:
        """Leaves it, and ends the loop over it."""
        self.unsubscribe()

    def enter(self) -> None:
        """For the desk: the gateway has taken this client in."""
        self.accept()
        self._ask_members()

    def lose(self, loss: Loss) -> None:
        """For the desk: messages are missing."""
        super().lose(loss)
        # Somebody may have come or gone among what is missing.
        if isinstance(loss, Skipped) and self._count is not None:
            self._ask_members()

    def end(self, error: GatewayError | None) -> None:
        """For the desk: it is over."""
        super().end(error)
        if self._question:
            self._question.cancel()

    def take(self, message: Message) -> None:
        """For the desk: something has come for the members."""
        kind = message["type"]
        if kind == "room_message":
            self.deliver(RoomMessage(message["from"], message["room_id"], message["message"], message["timestamp"]))
        elif kind == "presence":
            # A large room: only numbers are told.
            if self._count is not None:
                self._show(message["count"])
        elif kind == "typing":
            self._call(self._on_typing, message["user_id"])
        else:
            has_joined = kind == "user_joined"
            self._call(self._on_joined if has_joined else self._on_left, message["user_id"])
            self._move(has_joined, message["user_id"])

    def _ask_members(self) -> None:
        if self._on_members and not self._question:
            self._since.clear()
            self._question = asyncio.get_running_loop().create_task(self._members())

    async def _members(self) -> None:
        try:
            found = await self.presence()
        except GatewayError:
            # The next join asks again.
            return
        finally:
            self._question = None
        self._users, self._count = dict.fromkeys(found.users), found.count
        for moved in self._since:
            self._apply(*moved)
        self._show(self._count)

    def _move(self, has_joined: bool, user: str) -> None:
        if self._question:
            self._since.append((has_joined, user))
        if self._count is None:
            return
        # Where not all names are known, the number can't be told from them.
        if len(self._users) != self._count:
            self._ask_members()
            return
        self._apply(has_joined, user)
        self._show(self._count)

    def _apply(self, has_joined: bool, user: str) -> None:
        is_whole = len(self._users) == self._count
        if has_joined:
            self._users[user] = None
        else:
            self._users.pop(user, None)
        if is_whole:
            self._count = len(self._users)

    def _show(self, count: int) -> None:
        self._count = count
        self._call(self._on_members, Members(count, tuple(self._users)))
