"""What the behaviour table cannot say, since each language has a form of its own for it: loops, cancellation, callbacks, types."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, Literal

import pytest
from typing_extensions import assert_type

from ws_gateway import AnyEvent, Candle, Client, Custom, GatewayError, Latest, Loss, Overflow, Quote, Subscription, Trade, connect

from .world import FakeClock, Server, settle


class World:
    """A client that is connected to the scripted server."""

    def __init__(self) -> None:
        self.server = Server()
        self.clock = FakeClock()
        self.client = connect("ws://gateway.test/ws", socket=self.server.connect, clock=self.clock)

    def trade(self, price: float, symbol: str = "AAPL") -> None:
        """A trade comes."""
        data = {"symbol": symbol, "price": price, "volume": 1, "timestamp": 1}
        self.server.send({"type": "trade", "data": data, "timestamp": 1})


def connected(scene: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that begins with a connection, and has to leave nothing behind."""

    @functools.wraps(scene)
    def test() -> None:
        async def play() -> None:
            world = World()
            await settle()
            world.server.accept()
            await scene(world)
            await world.client.close()
            await settle()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert not world.clock.timers

        asyncio.run(play(), debug=True)

    # What pytest would take for a fixture is the scene's own.
    del test.__wrapped__
    return test


@connected
async def test_a_loop_gets_every_event_in_order_and_leaving_it_unsubscribes(world: World) -> None:
    prices: list[Decimal] = []

    async def loop() -> None:
        async for trade in world.client.subscribe("AAPL"):
            prices.append(trade.price)
            if trade.price == 3:
                break

    looping = asyncio.create_task(loop())
    await settle()
    for price in (1, 2, 3, 4):
        world.trade(price)
    await looping
    gc.collect()
    await settle()
    assert prices == [1, 2, 3]
    assert [frame["action"] for frame in world.server.frames] == ["subscribe", "unsubscribe"]


@connected
async def test_a_task_that_is_cancelled_unsubscribes_at_once(world: World) -> None:
    async def loop() -> None:
        async with world.client.subscribe("AAPL") as trades:
            async for _ in trades:
                await asyncio.sleep(3600)

    looping = asyncio.create_task(loop())
    await settle()
    world.trade(1)
    await settle()
    looping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looping
    assert [frame["action"] for frame in world.server.frames] == ["subscribe", "unsubscribe"]


@connected
async def test_what_comes_before_the_loop_begins_waits_for_it(world: World) -> None:
    subscription = world.client.subscribe("AAPL")
    reply = {"type": "success", "message": "", "data": {"subscribed": ["AAPL"]}, "timestamp": 1, "id": 1}
    world.server.send(reply)
    world.trade(1)
    await subscription.ready()
    await settle()
    assert (await anext(aiter(subscription))).price == 1


@connected
async def test_a_loop_that_is_too_slow_loses_the_oldest_and_is_told_how_many(world: World) -> None:
    losses: list[Loss] = []
    subscription = world.client.subscribe("AAPL", buffer_size=2, on_loss=losses.append)
    for price in (1, 2, 3):
        world.trade(price)
    await settle()
    assert losses == []
    loop = aiter(subscription)
    for price in (4, 5):
        world.trade(price)
    await settle()
    assert losses == [Overflow(3)]
    assert (await anext(loop)).price == 4
    assert (await anext(loop)).price == 5
    with pytest.raises(RuntimeError, match="subscribe once for each loop"):
        aiter(subscription)


@connected
async def test_a_callback_that_raises_costs_nobody_else_an_event_and_is_told(world: World) -> None:
    errors: list[str] = []
    seen: list[Decimal] = []

    def fails(_: Trade) -> None:
        raise ZeroDivisionError

    world.client.on("error", lambda error: errors.append(error.code))
    world.client.subscribe("AAPL", on_event=fails)
    world.client.subscribe("AAPL", on_event=lambda trade: seen.append(trade.price))
    world.trade(1)
    assert seen == [1]
    assert errors == ["CALLBACK"]


@connected
async def test_ready_tells_when_the_gateway_has_accepted(world: World) -> None:
    first, second = world.client.subscribe("AAPL"), world.client.subscribe("MSFT")
    ids = [frame["id"] for frame in world.server.frames]
    world.server.send({"type": "success", "message": "", "data": {"subscribed": ["AAPL"]}, "timestamp": 1, "id": ids[0]})
    await first.ready()
    error = {"type": "error", "message": "would exceed", "code": "SYMBOL_LIMIT_EXCEEDED", "timestamp": 1, "id": ids[1]}
    world.server.send(error)
    with pytest.raises(GatewayError, match="would exceed") as raised:
        await second.ready()
    assert raised.value.code == "SYMBOL_LIMIT_EXCEEDED"


@connected
async def test_numbers_are_exactly_what_the_worker_wrote(world: World) -> None:
    subscription = world.client.subscribe(["AAPL"], ["trade", "quote", "candle", "order_book"])
    events = aiter(subscription)
    for kind, data in {
        "trade": '{"symbol":"AAPL","price":150.250,"volume":9007199254740993,"timestamp":1.0,"seq":7,"exchange":"NASDAQ"}',
        "quote": '{"symbol":"AAPL","bidPrice":1e2,"askPrice":0.1,"timestamp":1}',
        "candle": '{"symbol":"AAPL","interval":1,"open":1,"high":2.0,"low":0.5,"close":1.5,"volume":3,"timestamp":1}',
        "order_book": '{"bids":[[1.10,2]]}',
    }.items():
        world.server.send(f'{{"type":"{kind}","data":{data},"timestamp":5}}')
    trade, quote, candle, book = [await anext(events) for _ in range(4)]
    assert isinstance(trade, Trade)
    assert [str(trade.price), str(trade.volume), trade.timestamp, trade.seq] == ["150.250", "9007199254740993", 1, 7]
    assert trade.data["exchange"] == "NASDAQ"
    assert isinstance(quote, Quote)
    assert [quote.bid_price, quote.ask_price] == [Decimal(100), Decimal("0.1")]
    assert isinstance(candle, Candle)
    assert (candle.interval, str(candle.high)) == ("1", "2.0")
    assert isinstance(book, Custom)
    assert (book.symbol, str(book.data["bids"][0][0])) == (None, "1.10")


@connected
async def test_what_is_not_what_its_type_says_is_told_and_the_next_is_taken(world: World) -> None:
    errors: list[GatewayError] = []
    world.client.on("error", errors.append)
    events = aiter(world.client.subscribe("AAPL"))
    world.server.send({"type": "trade", "data": {"symbol": "AAPL"}, "timestamp": 1})
    world.server.send({"type": "trade", "data": 7, "timestamp": 1})
    world.server.send('{"type":"trade","data":{"symbol":"AAPL","price":NaN}}')
    world.server.send("[" * 100_000)
    world.trade(2)
    assert (await anext(events)).price == 2
    assert [error.code for error in errors] == ["BAD_FRAME"] * 4


@connected
async def test_events_have_the_types_that_were_asked_for(world: World) -> None:
    # Checked by mypy.
    assert_type(world.client.subscribe("AAPL", conflate="aggregate", max_rate=4), Subscription[Trade])
    assert_type(world.client.subscribe("AAPL", "quote"), Subscription[Quote])
    assert_type(world.client.subscribe("AAPL", ["trade", "quote"]), Subscription[AnyEvent])
    assert_type(world.client.latest("AAPL"), Latest[Trade] | None)
    assert_type(world.client.latest("AAPL", "candle", interval="1m"), Latest[Candle] | None)
    assert_type(world.client.latest("AAPL", "order_book"), Latest[AnyEvent] | None)
    assert_type(world.client.state.feed, Literal["up", "down", "unknown"])


def test_an_address_that_is_none_is_refused_at_once() -> None:
    async def play() -> None:
        for address in ("here", "http://localhost:8080/ws"):
            with pytest.raises(ValueError, match="begins with ws://"):
                Client(address)

    asyncio.run(play())


def test_a_client_that_is_closed_refuses_what_is_asked_of_it() -> None:
    async def play() -> None:
        world = World()
        await world.client.close()
        with pytest.raises(GatewayError, match="make a new one"):
            await world.client.subscribe("AAPL").ready()

    asyncio.run(play())


@connected
async def test_options_that_the_client_sets_itself_are_refused_by_their_names(world: World) -> None:
    for name in ("max_size", "ping_interval", "subprotocols"):
        with pytest.raises(ValueError, match=f"^connect_options may not have {name}: this client sets that itself$"):
            connect("ws://gateway.test/ws", socket=world.server.connect, connect_options={"ssl": None, name: 1})
