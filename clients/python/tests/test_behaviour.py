"""Runs the behaviour table (clients/behaviour, its README says what the steps mean) against the scripted server, each case with
three kinds of luck in the back-off. No time passes but the fake clock's."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ws_gateway import (
    Chat,
    Client,
    ConnectionState,
    Custom,
    Event,
    Gap,
    GatewayError,
    Loss,
    Members,
    Notification,
    Room,
    RoomMessage,
    Status,
    Subscription,
)

from .world import FakeClock, Server, settle

TABLE = Path(__file__).resolve().parents[2] / "behaviour"
HAS = {"http_status", "desk"}
"""What this client has of what a case may need: it is in no page, and sees the status of a refused handshake."""
TIMESTAMP = 1_234_567_890


class Loader(yaml.SafeLoader):
    """YAML 1.2, as the table is written: `on` is a word."""


Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


class Run:
    """One case with one kind of luck."""

    def __init__(self, case: Mapping[str, Any], chance: float) -> None:
        self.clock = FakeClock()
        self.tasks = asyncio.all_tasks()
        self.server = Server()
        self.tokens: list[str | None] | None = list(case["tokens"]) if "tokens" in case else None
        self.attempts = 0
        self.last_id: object = None
        self.subscriptions: dict[str, Subscription[Any]] = {}
        self.loops: dict[str, Any] = {}
        self.events: list[tuple[str, Event]] = []
        self.losses: list[Loss] = []
        self.errors: list[GatewayError] = []
        self.statuses: list[Status] = []
        self.states: list[ConnectionState] = []
        self.streams: dict[str, Subscription[Any]] = {}
        self.at_desk: list[dict[str, Any]] = []
        self.members: list[tuple[str, Members]] = []
        self.stream_losses: list[tuple[str, Loss]] = []
        self.outcomes: list[dict[str, Any]] = []
        self.last_question: object = None
        self.waiting: list[asyncio.Future[None]] = []
        options = {snake(name): value for name, value in case.get("options", {}).items()}
        if self.tokens is not None:
            options["token"] = self.token
        self.listen(Client("ws://gateway.test/ws", clock=self.clock, socket=self.server.connect, chance=lambda: chance, **options))
        if case.get("desk"):
            assert self.client.desk

    def listen(self, client: Client) -> None:
        """Notes what the client tells."""
        self.client = client
        self.client.on("loss", self.losses.append)
        self.client.on("error", self.errors.append)
        self.client.on("status", self.statuses.append)
        self.client.on("state", self.states.append)

    def token(self, why: str) -> str:
        """The next token."""
        assert self.tokens, "the client asked for more tokens than the table has"
        token = self.tokens.pop(0)
        if token is None:
            raise RuntimeError("no token today")
        return token

    async def take(self, file: str, case: dict[str, Any]) -> None:
        """Takes the steps of a case, one after the other; an error names the one that fails."""
        for number, step in enumerate(case["steps"], 1):
            verb, value = (step, None) if isinstance(step, str) else next(iter(step.items()))
            try:
                await self.step(verb, value)
            except (AssertionError, IndexError, TimeoutError) as error:
                raise AssertionError(f"{file}, {case['name']!r}, step {number} ({verb}): {error!r}") from error

    async def step(self, verb: str, value: Any) -> None:
        """Makes one step of the table."""
        does: Callable[[Any], Awaitable[None] | None] | None = getattr(self, f"step_{verb}", None)
        assert does, f"the table has a step that this runner does not know: {verb}"
        await settle()
        outcome = does(value)
        if outcome is not None:
            await outcome
        await settle()

    def step_subscribe(self, value: dict[str, Any]) -> None:
        options = {snake(name): option for name, option in value.items()}
        name, symbols, types = options.pop("as", "a"), options.pop("symbols"), options.pop("types", "trade")
        options["on_event"] = lambda event: self.events.append((name, event))
        self.subscriptions[name] = self.client.subscribe(symbols, types, **options)

    def step_unsubscribe(self, name: str) -> None:
        self.subscriptions[name].unsubscribe()

    def step_join(self, value: dict[str, Any]) -> None:
        name, room = value.get("as", "a"), value["room"]

        def told(kind: str) -> Callable[[str], None]:
            return lambda user: self.at_desk.append({"on": name, "type": kind, "user_id": user, "room_id": room})

        self.streams[name] = self.client.desk.join(
            room,
            on_message=lambda message: self.at_desk.append({"on": name, **wire(message)}),
            on_joined=told("user_joined"),
            on_left=told("user_left"),
            on_typing=told("typing"),
            on_loss=lambda loss: self.stream_losses.append((name, loss)),
            on_members=(lambda now: self.members.append((name, now))) if value.get("members") else None,
        )

    def step_inbox(self, value: dict[str, Any]) -> None:
        name = value["as"]
        self.streams[name] = self.client.desk.inbox(
            on_message=lambda message: self.at_desk.append({"on": name, **wire(message)}),
            on_loss=lambda loss: self.stream_losses.append((name, loss)),
        )

    def step_leave(self, name: str) -> None:
        self.room(name).leave()

    def step_say(self, value: dict[str, Any]) -> None:
        self.await_outcome(self.room(value.get("on", "a")).send(value["message"]))

    def step_typing(self, name: str) -> None:
        self.await_outcome(self.room(name).typing())

    def step_chat(self, value: dict[str, Any]) -> None:
        self.await_outcome(self.client.desk.chat(value["to"], value["message"]))

    def step_ask_workers(self, payload: object) -> None:
        self.await_outcome(self.client.desk.request(payload))

    def room(self, name: str) -> Room:
        """The room that the table calls so."""
        room = self.streams[name]
        assert isinstance(room, Room)
        return room

    def await_outcome(self, asked: Coroutine[Any, Any, Any]) -> None:
        """Notes what becomes of a request."""

        async def wait() -> None:
            try:
                value = await asked
            except GatewayError as error:
                retry = {} if error.retry_after is None else {"retry_after": error.retry_after}
                self.outcomes.append({"code": error.code, **retry})
            else:
                self.outcomes.append({} if value is None else {"value": value})

        self.waiting.append(asyncio.ensure_future(wait()))

    async def step_close_client(self, _: None) -> None:
        await self.client.close()

    def step_machine_sleeps_ms(self, ms: float) -> None:
        self.clock.now += ms

    async def step_advance_ms(self, ms: float) -> None:
        await self.clock.advance(ms)

    async def step_subscribed(self, _: None) -> None:
        symbols = ["AAPL"]
        frame = {"action": "subscribe", "symbols": symbols, "types": ["trade"], "snapshot": True, "heartbeat": True}
        await self.step("subscribe", {"symbols": symbols})
        await self.step("expect_attempt", None)
        await self.step("accept", None)
        await self.step("expect_frame", frame)
        await self.step("reply", {"subscribed": symbols})

    async def step_greeted(self, _: None) -> None:
        await self.step("expect_frame", {"type": "leave_room", "payload": {"room_id": "nowhere"}})
        await self.step("reply", {"room_id": "nowhere"})

    async def step_in_room(self, _: None) -> None:
        joined = {"type": "user_joined", "user_id": "alice", "room_id": "room-1"}
        await self.step("join", {"room": "room-1"})
        await self.step("expect_attempt", None)
        await self.step("accept", None)
        await self.step("greeted", None)
        await self.step("expect_frame", {"type": "join_room", "payload": {"room_id": "room-1"}})
        await self.step("send", joined)
        await self.step("reply", {"room_id": "room-1"})
        await self.step("expect_at_desk", joined)

    def step_accept(self, _: None) -> None:
        self.server.accept()

    def step_refuse(self, value: int | dict[str, Any]) -> None:
        status, seconds = (value, None) if isinstance(value, int) else (value["status"], value["retry_after_s"])
        self.server.last.end(1006, f"refused with HTTP {status}", status, None if seconds is None else seconds * 1_000.0)

    def step_send(self, message: Any) -> None:
        self.server.send([complete(one) for one in message] if isinstance(message, list) else complete(message))

    def step_send_text(self, text: str) -> None:
        self.server.send(text)

    def step_reply(self, data: dict[str, Any]) -> None:
        current = {"currentSubscriptions": data["subscribed"]} if "subscribed" in data else {}
        self.server.send(complete({"type": "success", "message": "", "data": {**current, **data}, "id": self.last_id}))

    def step_reply_error(self, error: dict[str, Any]) -> None:
        self.server.send(complete({"type": "error", "message": error["code"], **error, "id": self.last_id}))

    def step_reply_presence(self, presence: dict[str, Any]) -> None:
        self.server.send({"type": "presence", **presence, "id": self.last_id})

    def step_respond(self, payload: object) -> None:
        self.server.send({"type": "response", "requestId": self.last_question, "payload": payload})

    def step_respond_error(self, error: dict[str, Any]) -> None:
        self.server.send(complete({"type": "error", **error, "requestId": self.last_question}))

    def step_close(self, close: dict[str, Any]) -> None:
        self.server.last.end(close["code"], close["reason"])

    def step_drop(self, _: None) -> None:
        self.server.last.end(1006, "")

    def step_send_on_old(self, message: Any) -> None:
        self.server.attempts[-2].listener.message(json.dumps(complete(message)))

    def step_close_old(self, close: dict[str, Any]) -> None:
        self.server.attempts[-2].end(close["code"], close["reason"])

    async def step_expect_attempt(self, value: dict[str, Any] | None) -> None:
        value = value or {}
        least, most = value.get("within_ms", [0, 0])
        start = self.clock.now
        until = start + most
        while len(self.server.attempts) == self.attempts and (self.clock.now < until or self.clock.is_due(until)):
            await self.clock.step(until)
        self.attempts += 1
        assert len(self.server.attempts) == self.attempts, "attempts to connect"
        assert least <= self.clock.now - start <= most
        if "offers" in value:
            assert self.server.last.protocols == value["offers"]
        if "desk" in value:
            assert self.server.last.url.endswith("?desk=1") == value["desk"], self.server.last.url

    async def step_expect_no_attempt_ms(self, ms: float) -> None:
        await self.clock.advance(ms)
        assert len(self.server.attempts) == self.attempts, "attempts to connect"

    def step_expect_frame(self, frame: dict[str, Any]) -> None:
        assert self.server.frames, "no frame was sent"
        got = self.server.frames.pop(0)
        self.last_id = got.pop("id", None)
        assert got == frame

    def step_expect_pings(self, _: None) -> None:
        others = [frame for frame in self.server.frames if frame["action"] != "ping"]
        assert len(others) < len(self.server.frames), "no ping was sent"
        self.server.frames[:] = others

    def step_expect_question(self, frame: dict[str, Any]) -> None:
        got = self.server.frames.pop(0)
        self.last_question = got.pop("requestId")
        assert got == frame

    def step_expect_at_desk(self, want: dict[str, Any]) -> None:
        assert_includes(self.at_desk.pop(0), {"on": "a", **want})

    def step_expect_members(self, want: dict[str, Any]) -> None:
        name, members = self.members.pop(0)
        assert_includes({"on": name, "count": members.count, "users": list(members.users)}, {"on": "a", **want})

    def step_expect_outcome(self, want: dict[str, Any]) -> None:
        assert self.outcomes.pop(0) == want

    def step_expect_loss_on(self, want: dict[str, Any]) -> None:
        name, loss = self.stream_losses.pop(0)
        assert {"on": name, "kind": loss.kind, **dataclasses.asdict(loss)} == want

    def step_expect_user(self, user: str) -> None:
        assert self.client.desk.user == user

    def step_expect_event(self, want: dict[str, Any]) -> None:
        want = {"on": "a", "sent_at": TIMESTAMP, **want}
        name, event = self.events.pop(0)
        assert_includes({"on": name, **dataclasses.asdict(event)}, want)
        for field in ("symbol", "seq", "price"):
            if field in want.get("data", {}):
                found = event.data[field] if isinstance(event, Custom) else getattr(event, field)
                assert found == want["data"][field]

    def step_expect_loss(self, want: dict[str, Any]) -> None:
        loss = self.losses.pop(0)
        fields = {"kind": loss.kind, **dataclasses.asdict(loss)}
        names = {"from": "from_seq", "to": "to_seq"} if isinstance(loss, Gap) else {}
        assert fields == {names.get(name, snake(name)): value for name, value in want.items()}

    def step_expect_error(self, want: dict[str, Any]) -> None:
        assert_includes(vars(self.errors.pop(0)), want)

    def step_expect_status(self, want: dict[str, Any]) -> None:
        assert_includes(dataclasses.asdict(self.statuses.pop(0)), want)

    def step_expect_state(self, want: dict[str, Any]) -> None:
        assert_includes(dataclasses.asdict(self.client.state), snakes(want))

    def step_expect_states(self, states: list[dict[str, Any]]) -> None:
        # Each of them, in this order; others may lie between.
        at = 0
        for state in states:
            found = [includes(dataclasses.asdict(one), snakes(state)) for one in self.states[at:]]
            assert any(found), f"no {state} in {self.states}"
            at += found.index(True)
        del self.states[:at]

    def step_expect_latest(self, want: dict[str, Any]) -> None:
        want = dict(want)
        latest = self.client.latest(want.pop("symbol"), want.pop("type", "trade"))
        assert latest
        assert latest.fresh == want.pop("fresh")
        assert_includes(latest.event.data, want)

    async def step_expect_ended(self, want: dict[str, Any]) -> None:
        code = None
        try:
            await anext(aiter({**self.streams, **self.subscriptions}[want.get("on", "a")]))
        except GatewayError as error:
            code = error.code
        except StopAsyncIteration:
            pass
        assert code == want.get("code")

    async def step_expect_ready(self, name: str) -> None:
        waiting = asyncio.ensure_future(self.subscriptions[name].ready())
        await settle()
        is_ready = waiting.done()
        waiting.cancel()
        assert is_ready, f"{name} is not ready"

    def step_expect_token_left(self, count: int) -> None:
        assert self.tokens is not None
        assert len(self.tokens) == count

    async def end(self) -> None:
        """Nothing happened that the table did not expect."""
        left = {"frames": self.server.frames, "events": self.events, "losses": self.losses, "errors": self.errors}
        assert left == {"frames": [], "events": [], "losses": [], "errors": []}
        at_desk = [self.at_desk, self.members, self.stream_losses, self.outcomes]
        assert at_desk == [[], [], [], []]
        assert len(self.server.attempts) == self.attempts, "attempts to connect"
        await self.client.close()
        await asyncio.gather(*self.waiting)
        assert not self.clock.timers, "timers after the client's end"
        assert all(socket.is_over or socket.closed_with for socket in self.server.attempts), "connections after the client's end"
        await settle()
        assert asyncio.all_tasks() == self.tasks, "tasks after the client's end"


def wire(message: RoomMessage | Chat | Notification) -> dict[str, Any]:
    """What was told, by the names that it has on the wire."""
    if isinstance(message, Notification):
        return dict(message.data)
    common = {"from": message.sender, "message": message.message, "timestamp": message.sent_at}
    if isinstance(message, RoomMessage):
        return {"type": "room_message", "room_id": message.room, **common}
    return {"type": "chat", "to": message.to, "message_id": message.message_id, "queued": message.queued, **common}


def snake(name: str) -> str:
    """``backoffBaseMs`` as ``backoff_base_ms``."""
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def snakes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields by their names in Python."""
    return {snake(name): value for name, value in fields.items()}


def complete(message: Any) -> Any:
    """A message with the outer timestamp that every message has."""
    return {"timestamp": TIMESTAMP, **message} if isinstance(message, dict) else message


def includes(got: Any, want: Any) -> bool:
    """All that is wanted is there, and perhaps more."""
    if isinstance(want, dict):
        return isinstance(got, Mapping) and all(name in got and includes(got[name], value) for name, value in want.items())
    return bool(got == want)


def assert_includes(got: Any, want: Any) -> None:
    assert includes(got, want), f"{got}, not {want}"


def names() -> set[str]:
    """The cases of the table that a gateway can be brought to as well."""
    cases = [case for path in TABLE.glob("*.yaml") for case in yaml.load(path.read_text(), Loader)["cases"]]
    return {case["name"] for case in cases if "only_scripted" not in case}


def cases() -> Iterator[Any]:
    """Every case of the table that this client has to pass."""
    for path in sorted(TABLE.glob("*.yaml")):
        table = yaml.load(path.read_text(), Loader)
        for case in table["cases"]:
            if not HAS.issuperset([*table.get("needs", []), *case.get("needs", [])]):
                continue
            for chance in (0, 0.5, 0.999_999):
                yield pytest.param(path.name, case, chance, id=f"{table['subject']}: {case['name']} (chance {chance})")


@pytest.mark.parametrize(("file", "case", "chance"), list(cases()))
def test_behaviour(file: str, case: dict[str, Any], chance: float) -> None:
    async def play() -> None:
        run = Run(case, chance)
        await run.take(file, case)
        await run.end()

    asyncio.run(asyncio.wait_for(play(), 30), debug=True)
