"""Runs clients/behaviour/gateway (its README says what the steps mean): a gateway as users run it is brought to what the behaviour
table has a scripted server do, and time passes as it does."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from signal import Signals
from typing import Any

import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect

from ws_gateway import Client, Status

from .gateway import PATIENCE_S, Gateway, needs_gateway, run
from .test_behaviour import HAS, TABLE, Loader, Run, assert_includes, names, snake
from .test_desk import SECRET, token_of

SCENES = TABLE / "gateway"
MAY_COME = {
    "expect_state",
    "expect_states",
    "expect_latest",
    "expect_user",
    "expect_token_left",
    "expect_last_error",
    "expect_last_loss",
    "expect_last_loss_on",
    "expect_announced_wait",
}
"""What is looked at again until it holds. All else comes as it is, or not at all."""
FLOOD, FLOOD_BYTES = 4_000, 50_000
USUAL = {"heartbeat", "snapshotEnd", "replayEnd"}
"""Statuses that the client asks for itself."""


class Way:
    """The way to the gateway: an address that stays while gateways come and go, and on which things happen."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None
        self.mode = "open"
        self.answer = ""
        """To the newest handshake."""
        self.connections: list[tuple[asyncio.StreamWriter, asyncio.Event]] = []
        self.opened = asyncio.Event()

    async def listen(self) -> str:
        """Listens, and tells where."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1")
        return f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/ws"

    def set(self, mode: str) -> None:
        """See the table's README."""
        if mode in ("cut", "shut"):
            for writer, _ in self.connections:
                writer.transport.abort()
            self.connections.clear()
        if mode == "held":
            for _, passes in self.connections:
                passes.clear()
        mode = "open" if mode == "cut" else mode
        if mode == "open":
            for _, passes in self.connections:
                passes.set()
            self.opened.set()
        else:
            self.opened.clear()
        self.mode = mode

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "silent":
            await self.opened.wait()
        try:
            assert self.gateway
            assert self.mode != "shut"
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        except (AssertionError, OSError):
            writer.transport.abort()
            return
        passes = asyncio.Event()
        passes.set()
        for end in (writer, to_writer):
            self.connections.append((end, passes))
        await asyncio.gather(self._pass_on(reader, to_writer, passes, True), self._pass_on(to_reader, writer, passes, False))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event, is_up: bool) -> None:
        with contextlib.suppress(OSError):
            is_first = True
            while some := await reader.read(65_536):
                await passes.wait()
                if is_first and not is_up:
                    self.answer = some.decode("latin1").lower()
                is_first = False
                # Of a client that is not heard only the handshake comes through.
                if not (is_up and self.mode == "unheard") or some.startswith(b"GET "):
                    writer.write(some)
                    await writer.drain()
        writer.close()


class Scene(Run):
    """One scene."""

    def __init__(self, scene: Mapping[str, Any]) -> None:
        super().__init__({"name": scene["name"]}, 0)
        self.way = Way()
        self.upstream: Gateway | None = None
        self.others: dict[str, ClientConnection] = {}

    async def step(self, verb: str, value: Any) -> None:
        """Makes a step, and waits until what it expects has come."""
        does: Callable[[Any], Any] | None = getattr(self, f"step_{verb}", None)
        assert does, f"the table has a step that this runner does not know: {verb}"
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                outcome = does(value)
                if outcome is not None:
                    await asyncio.wait_for(outcome, PATIENCE_S)
                return
            except (AssertionError, IndexError) as error:
                is_early = isinstance(error, IndexError) or verb in MAY_COME
                if not is_early or time.monotonic() > until:
                    raise
                await asyncio.sleep(0.01)

    async def step_gateway(self, settings: dict[str, str]) -> None:
        texts = {name: str(value) for name, value in settings.items()}
        if self.upstream:
            texts["REDIS_URL"] = self.upstream.redis_url
        self.way.gateway = await Gateway.start(JWT_LEEWAY="0", **texts)

    async def step_upstream(self, _: None) -> None:
        self.upstream = await Gateway.start()

    async def step_stop(self, signal: str) -> None:
        assert self.way.gateway
        gateway, self.way.gateway = self.way.gateway, None
        await gateway.stop(Signals[signal])

    def step_pause(self, which: str | None) -> None:
        self.named(which).send_signal(Signals.SIGSTOP)

    def step_go_on(self, which: str | None) -> None:
        self.named(which).send_signal(Signals.SIGCONT)

    def named(self, which: str | None) -> Gateway:
        """The gateway, or its upstream."""
        gateway = self.upstream if which == "upstream" else self.way.gateway
        assert gateway
        return gateway

    async def step_publish(self, value: dict[str, Any]) -> None:
        await (self.upstream or self.gateway).publish(f"channel:{value['on']}", value["data"])

    async def step_flood(self, value: dict[str, Any]) -> None:
        """Far more than a connection and the kernel's buffers hold."""
        for n in range(1, FLOOD + 1):
            data = {"type": "task", "symbol": "AAPL", "price": n, "volume": 1, "timestamp": n, "seq": n, "pad": "x" * FLOOD_BYTES}
            await self.gateway.publish(f"channel:{value['on']}", data)
            if await self.gateway.counted(value["until"]) > 0:
                return
        raise AssertionError(f"{value['until']} stays 0")

    async def step_sleep_ms(self, ms: float) -> None:
        await asyncio.sleep(ms / 1_000)

    def step_way(self, mode: str) -> None:
        self.way.set(mode)

    async def step_other(self, value: dict[str, Any]) -> None:
        """Another client says that, and is answered."""
        user = value["user"]
        if user not in self.others:
            self.others[user] = await connect(f"{self.gateway.url}?desk=1&token={token_of(user)}")
        other = self.others[user]
        for frame in value.get("says", []):
            await other.send(json.dumps({**frame, "id": "other"}))
            while json.loads(await other.recv()).get("id") != "other":
                pass
        if value.get("leaves"):
            await self.others.pop(user).close()

    async def step_client(self, value: dict[str, Any]) -> None:
        await self.client.close()
        url = await self.way.listen()
        if "user" in value:
            url += f"?token={token_of(value['user'])}"
        if "in_url" in value:
            url += f"?token={signed(value['in_url'])}"
        options = {snake(name): option for name, option in value.get("options", {}).items()}
        self.tokens, self.renews = value.get("tokens"), value.get("renews", True)
        if self.tokens is not None:
            options["token"] = self.token
        if "token" in value:
            options["token"] = signed(value["token"])
        if "chance" in value:
            options["chance"] = lambda: value["chance"]
        self.listen(Client(url, **{"backoff_base_ms": 50, "backoff_max_ms": 200, **options}))
        self.client.on("status", self.forget_usual)

    def forget_usual(self, status: Status) -> None:
        """What the client asks for itself is not looked at."""
        if status.event in USUAL:
            self.statuses.pop()

    def token(self, why: str) -> str:
        """The next token, signed."""
        if why == "expiring" and not self.renews:
            raise RuntimeError("no other token")
        assert self.tokens, "the client asked for more tokens than the table has"
        token: Any = self.tokens.pop(0)
        if token is None:
            raise RuntimeError("no token today")
        return signed(token)

    def step_expect_event(self, want: dict[str, Any]) -> None:
        name, event = self.events.pop(0)
        assert_includes({"on": name, **dataclasses.asdict(event)}, {"on": "a", **want})

    def step_expect_at_desk(self, want: dict[str, Any]) -> None:
        got = self.at_desk.pop(0)
        assert_includes(got, {"on": "a", **want})

    def step_expect_announced_wait(self, want: dict[str, Any]) -> None:
        status = self.statuses[0]
        assert_includes(dataclasses.asdict(status), want)
        wait_ms = status.data["reconnectAfterMs"]
        waits = [state.retry_in_ms for state in self.states if state.status == "waiting"]
        assert wait_ms in waits, f"no wait of {wait_ms} ms in {waits}"
        self.statuses.pop(0)

    def step_expect_protocol(self, name: str) -> None:
        assert f"sec-websocket-protocol: {name}\r\n" in self.way.answer

    def step_expect_last_error(self, want: dict[str, Any]) -> None:
        # Others may have come before.
        assert_includes(vars(self.errors[-1]), want)
        self.errors.clear()

    def step_expect_last_loss(self, want: dict[str, Any]) -> None:
        loss = self.losses[-1]
        assert_includes({"kind": loss.kind, **dataclasses.asdict(loss)}, want)
        self.losses.clear()

    def step_expect_last_loss_on(self, want: dict[str, Any]) -> None:
        name, loss = self.stream_losses[-1]
        assert_includes({"on": name, "kind": loss.kind, **dataclasses.asdict(loss)}, want)
        self.stream_losses.clear()

    def step_forget(self, what: str) -> None:
        lists: dict[str, list[Any]] = {"events": self.events, "errors": self.errors, "losses": self.losses, "at_desk": self.at_desk}
        lists[what].clear()

    async def step_expect_ready(self, name: str) -> None:
        await {**self.streams, **self.subscriptions}[name].ready()

    @property
    def gateway(self) -> Gateway:
        """The one that runs."""
        assert self.way.gateway
        return self.way.gateway

    async def end(self) -> None:
        """Nothing happened that the table did not expect."""
        left = {"events": self.events, "losses": self.losses, "errors": self.errors, "at_desk": self.at_desk, "outcomes": self.outcomes}
        assert left == {name: [] for name in left}

    async def leave(self) -> None:
        """Nothing goes on behind the scene."""
        await self.client.close()
        await asyncio.gather(*self.waiting)
        for other in self.others.values():
            await other.close()
        self.way.set("shut")
        self.way.server.close()


def signed(token: Any) -> str:
    """A token with these claims, `exp` in so many seconds."""
    claims = dict(token)
    if "expires_in_s" in claims:
        claims["exp"] = int(time.time()) + claims.pop("expires_in_s")
    secret = claims.pop("secret", SECRET)
    return token_of("alice", **claims) if secret == SECRET else "not.a.token"


def scenes() -> Iterator[Any]:
    """Every scene that this client has to pass."""
    for path in sorted(SCENES.glob("*.yaml")):
        for scene in yaml.load(path.read_text(), Loader)["scenes"]:
            if HAS.issuperset(scene.get("needs", [])):
                yield pytest.param(path.name, scene, id=scene["name"])


@needs_gateway
@pytest.mark.parametrize(("file", "scene"), list(scenes()))
def test_scene(file: str, scene: dict[str, Any]) -> None:
    async def play() -> None:
        running = Scene(scene)
        try:
            await running.take(file, scene)
            await running.end()
        finally:
            await running.leave()

    run(play)


def test_every_case_of_the_table_is_shown_with_a_gateway_or_says_why_not() -> None:
    shown = [
        name for path in SCENES.glob("*.yaml") for scene in yaml.load(path.read_text(), Loader)["scenes"] for name in scene["shows"]
    ]
    assert set(shown) == names()
