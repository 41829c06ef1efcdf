"""The client with the gateway as users run it: prices flow, and come again after a restart, a crash and a silence."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import hmac
import json
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from ws_gateway import Client, GatewayError, Loss, NotRecovered, Trade, connect

from .gateway import Address, Gateway, needs_gateway, run

pytestmark = needs_gateway
HEADER = b'{"alg":"HS256"}'


class Told:
    """What a client has told so far, and a way to wait for the next of it."""

    def __init__(self, url: str, **options: Any) -> None:
        self.trades: list[Trade] = []
        self.losses: list[Loss] = []
        self.client = Client(url, backoff_base_ms=50, **options)
        self.wake = asyncio.Event()
        for event in ("state", "status"):
            self.client.on(event, lambda _: self.wake.set())
        self.client.on("loss", self.add_loss)
        self.subscription = self.client.subscribe("AAPL", on_event=self.add)

    def add(self, trade: Trade) -> None:
        self.trades.append(trade)
        self.wake.set()

    def add_loss(self, loss: Loss) -> None:
        self.losses.append(loss)
        self.wake.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits until that holds; the test's own limit ends what never comes."""
        while not holds():
            self.wake.clear()
            await self.wake.wait()

    @property
    def fresh(self) -> bool:
        """The last price may be shown as current."""
        latest = self.client.latest("AAPL")
        return latest is not None and latest.fresh


def test_prices_flow_and_come_again_after_a_restart_of_the_gateway() -> None:
    async def scene() -> None:
        gateway = await Gateway.start()
        address = Address(gateway)
        told = Told(await address.open(), backoff_max_ms=200)
        await told.subscription.ready()
        await gateway.trade("AAPL", 150.25, 1)
        await told.until(lambda: len(told.trades) == 1)
        assert str(told.trades[0].price) == "150.25"
        assert told.fresh

        await asyncio.gather(gateway.stop(signal.SIGTERM), told.until(lambda: told.client.state.code == 1012))
        assert not told.fresh
        address.gateway = following = await Gateway.start()
        # The new gateway knows nothing of what came before.
        await told.until(lambda: told.client.state.fresh and len(told.losses) == 1)
        assert told.losses == [NotRecovered("trade", "AAPL")]
        assert not told.fresh
        await following.trade("AAPL", 151, 2)
        await told.until(lambda: len(told.trades) == 2)
        assert told.fresh
        await told.client.close()
        await address.close()
        await following.stop()

    run(scene)


def test_a_gateway_that_stands_still_is_noticed_and_what_came_meanwhile_is_resumed() -> None:
    async def scene() -> None:
        gateway = await Gateway.start()
        other = Told(gateway.url)
        times = {"stale_after_ms": 1_500, "mute_after_ms": 3_000, "connect_timeout_ms": 1_000, "backoff_max_ms": 200}
        told = Told(gateway.url, **times)
        await asyncio.gather(told.subscription.ready(), other.subscription.ready())
        await gateway.trade("AAPL", 1, 1)
        await told.until(lambda: len(told.trades) == 1)
        gateway.send_signal(signal.SIGSTOP)
        await told.until(lambda: told.client.state.status == "open" and not told.client.state.fresh)
        assert not told.fresh
        await told.until(lambda: told.client.state.status == "waiting")
        # The kernel takes it, so the gateway finds it when it goes on: before the client is back, or behind.
        published = asyncio.create_task(gateway.trade("AAPL", 2, 2))
        gateway.send_signal(signal.SIGCONT)
        await published
        await told.until(lambda: len(told.trades) == 2)
        await told.until(lambda: told.fresh)
        assert [trade.seq for trade in told.trades] == [1, 2]
        assert told.losses == []
        await told.client.close()
        await other.client.close()
        await gateway.stop()

    run(scene)


def test_a_symbol_that_the_gateway_refuses_is_told_in_its_words() -> None:
    async def scene() -> None:
        gateway = await Gateway.start()
        async with connect(gateway.url) as client:
            with pytest.raises(GatewayError, match="printable ASCII") as raised:
                await client.subscribe("no,good").ready()
            assert raised.value.code == "INVALID_INPUT"
        await gateway.stop()

    run(scene)


def test_a_gateway_with_keys_serves_a_client_with_a_good_token_and_no_other() -> None:
    def sign(key: str) -> str:
        def part(value: bytes) -> str:
            return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

        claims = {"sub": "user-1", "exp": int(time.time()) + 600}
        signed = f"{part(HEADER)}.{part(json.dumps(claims).encode())}"
        return f"{signed}.{part(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest())}"

    async def scene() -> None:
        secret = "a secret of thirty-two bytes or more"
        gateway = await Gateway.start(JWT_SECRET_KEY=secret)

        async def good(_: str) -> str:
            return sign(secret)

        async with connect(gateway.url, token=good) as client, client.subscribe("AAPL") as trades:
            await trades.ready()
            await gateway.trade("AAPL", 150.25, 1)
            assert str((await anext(aiter(trades))).price) == "150.25"
        async with connect(gateway.url, token=lambda _: sign("another secret of thirty-two bytes")) as client:
            with pytest.raises(GatewayError, match="UNAUTHORIZED"):
                await client.subscribe("AAPL").ready()
            assert client.state.status != "open"
        await gateway.stop()

    run(scene)


def test_a_refused_handshake_tells_its_status() -> None:
    async def scene() -> None:
        gateway = await Gateway.start()
        told = Told(gateway.url.replace("/ws", "/nowhere"), backoff_max_ms=200)
        await told.until(lambda: told.client.state.attempts == 2)
        assert told.client.state.reason == "refused with HTTP 404"
        await told.client.close()
        await gateway.stop()

    run(scene)


def test_a_program_that_ends_without_closing_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def program(url: str) -> None:
        client = connect(url)
        await client.subscribe("AAPL").ready()

    async def scene() -> None:
        gateway = await Gateway.start()
        await asyncio.to_thread(asyncio.run, program(gateway.url))
        await gateway.stop()

    run(scene)
    gc.collect()
    assert caplog.records == []
