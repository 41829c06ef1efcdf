"""The publisher with a real Redis and a gateway that reads it: what is published arrives, numbered, exact, and once."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from redis.asyncio import Redis as RedisClient

from ws_gateway import Gap, Loss, Status, Trade, connect
from ws_gateway.publisher import Publisher

from .gateway import Gateway, Redis, needs_gateway, run

pytestmark = needs_gateway


def trade(price: object, **further: object) -> dict[str, object]:
    """A trade of AAPL."""
    return {"symbol": "AAPL", "price": price, "volume": 1, **further}


async def reads_of(redis: Redis) -> int:
    """How often Redis has read what clients sent."""
    async with RedisClient.from_url(redis.url) as asking:
        return int((await asking.info("stats"))["total_reads_processed"])


def test_what_is_published_arrives_numbered_in_order_and_exact(tmp_path: Path) -> None:
    async def scene() -> None:
        redis = await Redis.start(tmp_path)
        gateway = await Gateway.start(REDIS_URL=redis.url, CHANNEL_TYPES="trade,candle,news")
        async with connect(gateway.url) as client, Publisher(redis.url, batch=7) as publisher:
            events = client.subscribe("aapl", ["trade", "candle", "news"], snapshot=False)
            await events.ready()
            before = await reads_of(redis)
            with pytest.raises(ValueError, match="JSON"):
                await publisher.publish("trade", trade(Decimal("NaN")))
            numbers = [await publisher.publish("trade", trade(Decimal(f"{n}.250"), note=f'"{n}"')) for n in range(100)]
            for interval in ("1m", "1d", "1m"):
                prices = {"open": 1, "high": 1, "low": 1, "close": 1, "volume": 1}
                await publisher.publish("candle", {"symbol": "AAPL", "interval": interval, "timestamp": 1, **prices})
            await publisher.publish("news", {"headline": "Größe 東京"}, symbol="aapl")
            loop = aiter(events)
            got = [await anext(loop) for _ in range(104)]
            # Seven events a write; Redis reads little else.
            assert await reads_of(redis) - before < 104 / 2
        assert numbers == list(range(1, 101))
        trades = [event for event in got if isinstance(event, Trade)]
        assert [event.seq for event in trades] == numbers
        assert [str(event.price) for event in trades] == [f"{n}.250" for n in range(100)]
        assert trades[7].data["note"] == '"7"'
        assert [event.seq for event in got[100:]] == [1, 1, 2, 1]
        assert got[103].data["headline"] == "Größe 東京"
        assert publisher.published == 104
        await gateway.stop()
        await redis.stop()

    run(scene)


PRICES = {"open": 1, "high": 1, "low": 1, "close": 1, "volume": 1, "timestamp": 1}
BAD: list[tuple[str, dict[str, object]]] = [
    ("trade", trade("150.25", timestamp=1)),
    ("trade", trade(True, timestamp=1)),
    ("trade", trade(1, timestamp="1")),
    ("trade", {"symbol": "AAPL", "price": 1, "volume": [1], "timestamp": 1}),
    ("trade", {"symbol": "AAPL", "price": 1, "volume": None, "timestamp": 1}),
    ("trade", {"symbol": "MSFT", "price": 1, "volume": 1, "timestamp": 1}),
    ("quote", {"symbol": "AAPL", "bidPrice": 1, "askPrice": "2", "timestamp": 1}),
    ("candle", {"symbol": "AAPL", "interval": True, **PRICES}),
    ("candle", {"symbol": "AAPL", "interval": "m" * 33, **PRICES}),
    ("news", {"headline": 7, "timestamp": 1}),
    ("halt", {"symbol": "AAPL", "status": {}, "timestamp": 1}),
    ("alert", {"symbol": 7}),
    ("alert", {"timestamp": "now"}),
]


def test_what_the_gateway_would_drop_is_refused_and_takes_no_number(tmp_path: Path) -> None:
    async def scene() -> None:
        redis = await Redis.start(tmp_path)
        types = ["trade", "quote", "candle", "news", "halt", "alert"]
        gateway = await Gateway.start(REDIS_URL=redis.url, CHANNEL_TYPES=",".join(types), MAX_SYMBOLS_PER_CLIENT="20")
        async with connect(gateway.url) as client, Publisher(redis.url) as publisher, RedisClient.from_url(redis.url) as raw:
            events = client.subscribe("AAPL", types, snapshot=False)
            await events.ready()
            for type, event in BAD:
                with pytest.raises(ValueError, match=r"has to be|has to have|the channel's symbol"):
                    await publisher.publish(type, event, symbol="AAPL")
                # The gateway is of the same opinion.
                await raw.publish(f"channel:{type}:AAPL", json.dumps(event))
            loop = aiter(events)
            good: list[tuple[str, dict[str, object]]] = [
                ("trade", trade(Decimal("1.5"))),
                ("candle", {"symbol": "aapl", "interval": 60, **PRICES}),
                ("alert", {"level": "high"}),
            ]
            for type, event in good:
                assert await publisher.publish(type, event, symbol="AAPL") == 1
                got = await anext(loop)
                assert (got.type, got.data["seq"]) == (type, 1)
        await gateway.stop()
        await redis.stop()

    run(scene)


def test_a_time_in_seconds_is_taken_and_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        redis = await Redis.start(tmp_path)
        async with Publisher(redis.url) as publisher:
            for timestamp in (1, 1_795_799_443_000, 1_795_799_443, 1_795_799_443.5):
                await publisher.publish("trade", trade(1, timestamp=timestamp))
        await redis.stop()

    run(scene)
    assert [record.getMessage() for record in caplog.records] == [
        "the timestamp 1795799443 of an event of type trade looks like seconds: milliseconds are meant"
    ]


def test_the_first_event_waits_for_a_redis_that_is_away(tmp_path: Path) -> None:
    async def scene() -> None:
        redis = await Redis.start(tmp_path)
        await redis.stop()
        async with Publisher(redis.url, last_value_key="last:{type}:") as publisher:
            first = asyncio.create_task(publisher.publish("trade", trade(1)))
            again = await Redis.start(tmp_path)
            assert await first == 1
        await again.stop()

    run(scene)


def test_a_worker_that_starts_again_goes_on_with_its_numbers_and_its_last_values_are_found(tmp_path: Path) -> None:
    async def scene() -> None:
        redis = await Redis.start(tmp_path)
        for price in ("1.50", "2.50"):
            async with Publisher(redis.url, last_value_key="last:{type}:") as publisher:
                await publisher.publish("trade", trade(Decimal(price)) | {"symbol": "aapl"})
        async with RedisClient.from_url(redis.url) as raw:
            assert json.loads(await raw.get("last:trade:AAPL") or "{}")["seq"] == 2
        # A gateway that has just started knows of no event yet, but for what workers keep.
        gateway = await Gateway.start(REDIS_URL=redis.url, LAST_VALUE_KEY="last:{type}:")
        async with connect(gateway.url) as client, client.subscribe("AAPL") as trades:
            event = await anext(aiter(trades))
            assert (str(event.price), event.seq, event.snapshot) == ("2.50", 2, True)
        await gateway.stop()
        await redis.stop()

    run(scene)


def test_while_redis_is_away_events_wait_and_none_is_lost_or_comes_twice(tmp_path: Path) -> None:
    async def scene() -> None:
        redis = await Redis.start(tmp_path)
        gateway = await Gateway.start(REDIS_URL=redis.url)
        losses: list[Loss] = []
        async with connect(gateway.url) as client, Publisher(redis.url, waiting_max=10) as publisher:
            client.on("loss", losses.append)
            up = asyncio.Event()

            def heard(status: Status) -> None:
                if status.data.get("state") == "up":
                    up.set()

            client.on("status", heard)
            events = client.subscribe("AAPL")
            await events.ready()
            await publisher.publish("trade", trade(1))
            await publisher.flush()
            await redis.stop()
            for price in range(2, 12):
                await publisher.publish("trade", trade(price))
            # There is room for ten.
            full = asyncio.create_task(publisher.publish("trade", trade(12)))
            await asyncio.sleep(0)
            assert not full.done()
            again = await Redis.start(tmp_path)
            await full
            await publisher.flush()
            await up.wait()
            # What came before the gateway was back is not there for it; what is missing is told by the next number.
            await publisher.publish("trade", trade(13))
            seen: list[int] = []
            async for event in events:
                seen.append(event.seq or 0)
                if event.seq == 13:
                    break
        missing = [seq for loss in losses if isinstance(loss, Gap) for seq in range(loss.from_seq, loss.to_seq + 1)]
        assert sorted(seen + missing) == list(range(1, 14))
        await gateway.stop()
        await again.stop()

    run(scene)


def test_what_the_gateway_would_drop_is_refused_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        publisher = Publisher(f"unix://{tmp_path}/none")
        with pytest.raises(ValueError, match="has to have price"):
            await publisher.publish("trade", {"symbol": "AAPL", "volume": 1})
        with pytest.raises(ValueError, match="needs a symbol"):
            await publisher.publish("order_book", {"bids": []})
        for price in (Decimal("NaN"), float("inf")):
            with pytest.raises(ValueError, match=r"JSON"):
                await publisher.publish("trade", trade(price))
        with pytest.raises(ValueError, match="JSON"):
            await publisher.publish("alert", {"level": object()}, symbol="AAPL")
        await publisher.close()

    run(scene)
