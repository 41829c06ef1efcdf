"""The client without asyncio: in a thread of its own, with what it keeps as a frame of pandas."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ws_gateway import GatewayError, Overflow, Trade
from ws_gateway.sync import Client, Watch

from .gateway import Gateway, needs_gateway, run


@needs_gateway
def test_a_notebook_watches_and_gets_a_frame() -> None:
    async def scene() -> None:
        gateway = await Gateway.start()
        client = await asyncio.to_thread(Client, gateway.url)
        watch = await asyncio.to_thread(client.watch, "AAPL", keep=3)
        for seq in (1, 2, 3, 4):
            await gateway.trade("AAPL", seq + 0.25, seq)
        assert await asyncio.to_thread(watch.wait, 4, 20)
        assert [event.seq for event in watch.events()] == [2, 3, 4]
        assert [event.seq for event in watch.events(1)] == [4]
        frame = watch.frame(2)
        assert list(frame.price) == [3.25, 4.25]
        assert list(frame.index.strftime("%s.%f")) == ["0.003000", "0.004000"]
        latest = client.latest("AAPL")
        assert latest
        assert latest.fresh
        assert client.state.status == "open"
        for event in watch:
            assert event.seq == 2
            break
        with pytest.raises(GatewayError, match="printable ASCII"):
            client.watch("no,good")
        watch.unsubscribe()
        client.close()
        client.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "ws_gateway"]
        await gateway.stop()

    run(scene)


def test_a_loop_that_is_too_slow_for_what_is_kept_is_told() -> None:
    watch = Watch(2)
    events = [
        Trade(type="trade", data={}, sent_at=1, symbol="AAPL", timestamp=1, seq=seq, price=1, volume=1)  # type: ignore[arg-type]
        for seq in range(5)
    ]
    watch.add(events[0])
    loop = iter(watch)
    assert next(loop).seq == 0
    for event in events[1:]:
        watch.add(event)
    assert [next(loop).seq, next(loop).seq] == [3, 4]
    assert watch.losses() == [Overflow(2)]


def test_an_address_that_is_none_leaves_no_thread() -> None:
    with pytest.raises(ValueError, match="begins with ws://"):
        Client("here")
    assert not [thread for thread in threading.enumerate() if thread.name == "ws_gateway"]
