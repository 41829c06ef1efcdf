"""What the gateway sends to clients of other APIs is as docs/asyncapi.yaml describes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from .gateway import Gateway, needs_gateway, run
from .test_schemas import validator

AT = 1_700_000_000_000
EVENTS: dict[str, dict[str, Any]] = {
    "trade": {"symbol": "AAPL", "price": 1.5, "volume": 2, "timestamp": AT, "seq": 7, "id": 3, "side": "sell"},
    "quote": {"symbol": "AAPL", "bidPrice": 1, "askPrice": 2, "bidSize": 3, "timestamp": AT, "seq": 1},
    "candle": {"symbol": "AAPL", "open": 1, "high": 2, "low": 1, "close": 2, "volume": 3, "timestamp": AT, "interval": "1m"},
    "news": {"headline": "h", "timestamp": AT},
    "halt": {"symbol": "AAPL", "status": "halted", "timestamp": AT},
}
CHANNELS = ("trades", "quotes", "bars", "statuses", "news")
STREAMS = ["aapl@trade", "aapl@aggTrade", "aapl@bookTicker", "aapl@kline_1m"]
ALPACA = (
    "Alpaca",
    "/alpaca/v2/iex",
    [{"action": "auth", "key": "k"}, {"action": "subscribe", **{name: ["AAPL"] for name in CHANNELS}}],
)
MASSIVE = (
    "Massive",
    "/massive/stocks",
    [{"action": "auth", "params": "k"}, {"action": "subscribe", "params": "T.AAPL,Q.AAPL,AM.AAPL"}],
)
FINNHUB = ("Finnhub", "/finnhub", [{"type": "subscribe", "symbol": "AAPL"}])
BINANCE = (
    "Binance",
    "/binance/stream",
    [{"method": "SUBSCRIBE", "params": STREAMS, "id": 1}, {"method": "LIST_SUBSCRIPTIONS", "id": 2}],
)
WANTED = {
    "Alpaca": {"success", "subscription", "error", "t", "q", "b", "s", "n"},
    "Massive": {"status", "T", "Q", "AM"},
    "Finnhub": {"error", "trade"},
    "Binance": {"result", "code", *STREAMS},
}


def kinds(message: Any) -> set[str]:
    """What kinds of messages came."""
    parts = message if isinstance(message, list) else [message]
    names = [part.get("T") or part.get("ev") or part.get("stream") or part.get("type") or next(iter(part)) for part in parts]
    return {str(name) for name in names}


@needs_gateway
@pytest.mark.parametrize(("name", "path", "asked"), [ALPACA, MASSIVE, FINNHUB, BINANCE])
def test_a_dialect_is_as_described(name: str, path: str, asked: list[dict[str, Any]]) -> None:
    async def scene() -> None:
        gateway = await Gateway.start(DIALECTS="alpaca,binance,massive,finnhub", CHANNEL_TYPES=",".join(EVENTS))
        request, described = validator(f"{name}Request"), validator(name)
        seen: set[str] = set()
        async with connect(gateway.url.removesuffix("/ws") + path) as client:
            for one in asked:
                request.validate(one)
                await client.send(json.dumps(one))
            assert not request.is_valid({"of": "nobody"})
            # The refusal is behind all answers.
            await client.send("{}")
            is_refused = False
            while not is_refused:
                message = json.loads(await client.recv())
                described.validate(message)
                seen |= kinds(message)
                is_refused = '"error"' in json.dumps(message) or "code" in message
            for kind, data in EVENTS.items():
                await gateway.publish(f"channel:{kind}:AAPL", data)
            while not seen >= WANTED[name]:
                message = json.loads(await client.recv())
                described.validate(message)
                seen |= kinds(message)
        assert not described.is_valid([{"of": "nobody"}])
        assert not described.is_valid({"of": "nobody"})
        await gateway.stop()

    run(scene)


@needs_gateway
def test_socket_io_is_as_described() -> None:
    async def scene() -> None:
        gateway = await Gateway.start(DIALECTS="socketio", DESK="true")
        request, event, ack = validator("SocketIoRequest"), validator("SocketIoEvent"), validator("SocketIoAck")
        asked: list[list[Any]] = [
            ["subscribe", {"symbols": ["AAPL"], "snapshot": True}],
            ["nothing", {}],
            ["ping"],
            ["join_room", {"room": "r"}],
            ["send_message", {"room": "r", "message": "hi"}],
            ["unsubscribe", {"symbols": ["MSFT"]}],
        ]
        seen: set[str] = set()
        async with connect(gateway.url.removesuffix("/ws") + "/socket.io/?EIO=4&transport=websocket") as client:
            await client.send("40/events,")
            for number, one in enumerate(asked):
                request.validate(one)
                await client.send(f"42/events,{number}{json.dumps(one)}")
            wanted = {"connected", "status", "user_joined", "message", *map(str, range(len(asked)))}
            while not seen >= wanted | {"trade"}:
                packet = await client.recv()
                assert isinstance(packet, str)
                if not packet.startswith(("42", "43")):
                    continue
                value = json.loads(packet[packet.index("[") :])
                (event if packet.startswith("42") else ack).validate(value)
                seen.add(value[0] if packet.startswith("42") else packet[len("43/events,") : packet.index("[")])
                if seen >= wanted:
                    await gateway.trade("AAPL", 150.25, 7)
        assert not event.is_valid(["trade", {"price": 1}])
        assert not ack.is_valid([{"of": "nobody"}])
        await gateway.stop()

    run(scene)
