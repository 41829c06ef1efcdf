"""The desk with the gateway as users run it: rooms, chat, presence, notifications, refusals, questions to workers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from ws_gateway import Chat, Client, GatewayError, Members, Notification, NotRecovered, RoomMessage, connect

from .gateway import Address, Gateway, needs_gateway, run

SECRET = "a secret of thirty-two bytes or more"


def token_of(user: str, **claims: object) -> str:
    """A token of a gateway with that secret."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    body = {"sub": user, "exp": int(time.time()) + 600, **claims}
    signed = f"{part(json.dumps({'alg': 'HS256'}).encode())}.{part(json.dumps(body).encode())}"
    return f"{signed}.{part(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}"


def user_of(gateway: Gateway, user: str, **claims: object) -> Client:
    """A client of that user."""
    return connect(gateway.url, token=lambda why: token_of(user, **claims), backoff_base_ms=50)


@needs_gateway
def test_two_users_talk_in_a_room_see_who_is_there_and_write_to_each_other() -> None:
    async def scene() -> None:
        gateway = await Gateway.start(DESK="true", JWT_SECRET_KEY=SECRET)
        members: asyncio.Queue[Members] = asyncio.Queue()
        typing: asyncio.Queue[str] = asyncio.Queue()
        async with user_of(gateway, "alice") as alice, user_of(gateway, "bob") as bob:
            first = alice.desk.join("room-123", on_members=members.put_nowait, on_typing=typing.put_nowait)
            await first.ready()
            second = bob.desk.join("room-123")
            await second.ready()
            while set((await members.get()).users) != {"alice", "bob"}:
                pass
            assert alice.desk.user == "alice"
            loops = [aiter(first), aiter(second)]
            await first.send({"text": "Hello everyone!"})
            for loop in loops:
                message = await anext(loop)
                assert isinstance(message, RoomMessage)
                assert (message.sender, message.room, message.message) == ("alice", "room-123", {"text": "Hello everyone!"})
            await second.typing()
            assert await typing.get() == "bob"
            assert await second.presence() == Members(2, ("alice", "bob"))

            inbox = aiter(bob.desk.inbox())
            await alice.desk.chat("bob", "Hi there!")
            chat = await anext(inbox)
            assert isinstance(chat, Chat)
            assert (chat.sender, chat.to, chat.message) == ("alice", "bob", "Hi there!")
            await gateway.publish("channel:user:bob", {"type": "task_done", "event_id": "7"})
            assert await anext(inbox) == Notification("task_done", {"type": "task_done", "event_id": "7"})
            await gateway.publish("channel:broadcast", {"type": "maintenance"})
            assert await anext(inbox) == Notification("maintenance", {"type": "maintenance"})
            second.leave()
            while (await members.get()).count != 1:
                pass
        await gateway.stop()

    run(scene)


@needs_gateway
def test_after_a_restart_the_room_goes_on_and_says_that_something_may_be_missing() -> None:
    async def scene() -> None:
        gateway = await Gateway.start(DESK="true")
        address = Address(gateway)
        losses: asyncio.Queue[Any] = asyncio.Queue()
        async with connect(await address.open(), backoff_base_ms=50, backoff_max_ms=200) as client:
            room = client.desk.join("room-123", on_loss=losses.put_nowait)
            await room.ready()
            await gateway.stop()
            address.gateway = await Gateway.start(DESK="true")
            assert await losses.get() == NotRecovered("room", "room-123")
            await room.send("again")
            assert (await anext(aiter(room))).message == "again"
        await address.gateway.stop()
        await address.close()

    run(scene)


@needs_gateway
def test_what_the_gateway_refuses_is_raised_in_its_words() -> None:
    async def scene() -> None:
        gateway = await Gateway.start(DESK="true", JWT_SECRET_KEY=SECRET, MAX_ROOMS_PER_USER="1")
        async with user_of(gateway, "alice", rooms=["team-*"]) as client:
            rooms = (("other", "FORBIDDEN"), ("team-1", None), ("team-2", "ROOM_LIMIT_EXCEEDED"), ("team-\n", "INVALID_INPUT"))
            for room, code in rooms:
                joined = client.desk.join(room).ready()
                if code is None:
                    await joined
                    continue
                with pytest.raises(GatewayError) as refused:
                    await joined
                assert refused.value.code == code
            with pytest.raises(GatewayError, match="UNKNOWN_ACTION"):
                await client.desk.request({"q": 1})
        await gateway.stop()
        plain = await Gateway.start()
        async with connect(plain.url) as client:
            with pytest.raises(GatewayError, match="NO_DESK"):
                await client.desk.join("room-123").ready()
        await plain.stop()

    run(scene)
