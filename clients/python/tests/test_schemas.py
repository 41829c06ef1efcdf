"""docs/asyncapi.yaml is what the gateway sends: its recorded bytes and documented conversations, which tests in Rust hold it to, and
a session with the gateway itself. The client's types have the fields that the schemas have."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from signal import Signals
from typing import Any

import jsonschema
import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from ws_gateway import Candle, Chat, Conflated, Event, FeedLost, Gap, Halt, Members, News, Quote, RoomMessage, Skipped, Trade

from .gateway import Gateway, needs_gateway, run
from .test_behaviour import snake

ROOT = Path(__file__).resolve().parents[3]
COMPONENTS = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text())["components"]
SCHEMAS = COMPONENTS["schemas"]
PROTOCOL = (ROOT / "docs/protocol.md").read_text()


def validator(name: str) -> jsonschema.Draft202012Validator:
    """What checks a value by one of the schemas."""
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": COMPONENTS})


FROM_GATEWAY = validator("FromGateway")
AT_DESK = validator("AtDesk")
OF_DESK = ("user_joined", "user_left", "room_message", "typing", "chat", "presence", "response")


def documented() -> Iterator[dict[str, Any]]:
    """Messages of the gateway in docs/protocol.md."""
    for text in re.findall(r"^(?:< )?(\{\"type\":.*\})$", PROTOCOL, re.MULTILINE):
        yield json.loads(text)
    # The table of statuses.
    for event, cell in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (`\{.*?\}`(?:, `\{.*?\}`)*) \|", PROTOCOL, re.MULTILINE):
        for name in re.findall(r"\w+", event):
            for data in re.findall(r"`(\{.*?\})`(?=,|$)", cell):
                yield {"type": "status", "event": name, "data": json.loads(data), "timestamp": 1}


def recorded(file: str = "golden_bytes.txt") -> Iterator[dict[str, Any]]:
    """Text frames of the gateway in a record. Long runs of one letter are shortened there, in strings only; times are zeros."""
    for text in re.findall(r"^(?:\w+ )?< 81[0-9a-f]* (\s*\{.*)$", (ROOT / "tests/guarantees" / file).read_text(), re.MULTILINE):
        yield json.loads(re.sub(r":0+(?=[,}])", ":0", text))


def kind(message: dict[str, Any]) -> str:
    """What kind of message it is."""
    return f"status {message['event']}" if message["type"] == "status" else message["type"]


def test_every_message_that_is_documented_or_recorded_is_described() -> None:
    messages = [*documented(), *recorded()]
    assert len(messages) > 100
    for message in messages:
        FROM_GATEWAY.validate(message)
    seen = {kind(message) for message in messages}
    statuses = {f"status {event}" for event in SCHEMAS["Status"]["properties"]["event"]["enum"]}
    assert seen >= statuses | {"success", "error", "pong", "trade", "quote", "candle", "order_book"}


def test_every_message_of_the_desk_that_is_recorded_is_described() -> None:
    seen = set()
    for message in recorded("golden_desk_bytes.txt"):
        (FROM_GATEWAY if message["type"] in ("success", "error", "pong", "status") else AT_DESK).validate(message)
        seen |= {kind(message), *(name for name in ("message_id", "queued") if name in message)}
    workers_own = {"case_updated", "maintenance", "task_status_update"}
    assert seen >= {*OF_DESK, *workers_own, "success", "error", "pong", "message_id", "queued"} - {"response"}


def test_a_worker_may_not_take_a_word_of_the_gateways() -> None:
    for word in (*OF_DESK, "trade", "success", "message", "connected"):
        assert not validator("Notification").is_valid({"type": word}), word


def test_a_field_that_is_not_described_is_noticed() -> None:
    for message in documented():
        assert not FROM_GATEWAY.is_valid({**message, "stranger": 1}), message
        if message["type"] in ("status", "success"):
            assert not FROM_GATEWAY.is_valid({**message, "data": {**message["data"], "stranger": 1}}), message


def test_every_request_and_every_workers_event_that_is_documented_is_described() -> None:
    requests = [json.loads(text) for text in re.findall(r"^> (\{.*\})$", PROTOCOL, re.MULTILINE)]
    assert {request["action"] for request in requests} == {"subscribe", "unsubscribe", "list", "ping"}
    for request in requests:
        validator(request["action"].capitalize()).validate(request)
    events = re.findall(r"^PUBLISH channel:(\w+):\S+ (\{.*\})$", PROTOCOL, re.MULTILINE)
    assert len(events) > 20
    for name, text in events:
        validator(name.capitalize() if name.capitalize() in SCHEMAS else "Custom").validate(json.loads(text))


@pytest.mark.parametrize("symbol", ["", " A", "A ", "A,B", "A*B", 'A"', "A\\", "Ä", "A" * 65])
def test_a_symbol_that_is_none_is_refused_by_the_schema_as_by_the_gateway(symbol: str) -> None:
    assert not validator("Symbol").is_valid(symbol)


@pytest.mark.parametrize("symbol", ["A", "M&M.NS", "$SPX", "AAPL  240119C00190000", "BTC/USDT", "ES1!", "A" * 64])
def test_symbols_of_all_markets_fit(symbol: str) -> None:
    validator("Symbol").validate(symbol)
    validator("SymbolOrPattern").validate(symbol)


@needs_gateway
def test_what_the_gateway_sends_is_as_described() -> None:
    async def scene() -> None:
        gateway = await Gateway.start(CHANNEL_TYPES="trade,news,halt,order_book", MAX_SYMBOLS_PER_CLIENT="10")
        async with connect(gateway.url, subprotocols=[Subprotocol("md.v1.json")]) as client:
            for request in (
                {"action": "auth", "token": "any", "id": "a"},
                {"action": "subscribe", "symbols": ["AAPL", "X-*"], "types": ["trade", "news", "halt", "order_book"], "id": 1},
                {"action": "subscribe", "symbols": ["AAPL"], "snapshot": True, "resume": {"AAPL": 1}, "heartbeat": True},
                {"action": "list", "id": "list"},
                {"action": "ping", "stats": True, "id": 1.5},
                {"action": "subscribe", "symbols": ["no,good"], "id": 2},
                {"action": "subscribe", "symbols": list("ABCDEFGHIJK"), "id": 3},
                {"action": "sell", "id": 4},
                {"action": "unsubscribe", "symbols": ["X-*"], "types": ["news"]},
            ):
                await client.send(json.dumps(request))
            await client.send("{")
            seen = await _until(client, "error", "INVALID_JSON")
            await gateway.trade("AAPL", 150.25, 7)
            await gateway.trade("AAPL", 150.25, 9)
            await gateway.publish("channel:news:AAPL", {"headline": "h", "timestamp": 1})
            await gateway.publish("channel:halt:AAPL", {"symbol": "AAPL", "status": "halted", "timestamp": 1})
            await gateway.publish("channel:order_book:X-1", {"bids": [[1, 2]]})
            seen |= await _until(client, "order_book", None)
            seen |= await _until(client, "status heartbeat", None)
            ending = asyncio.create_task(gateway.stop(Signals.SIGTERM))
            seen |= await _until(client, "status shutdown", None)
        await ending
        wanted = {"success", "error", "pong", "trade", "news", "halt", "order_book"}
        assert seen >= wanted | {f"status {event}" for event in ("gap", "snapshotEnd", "replayEnd", "heartbeat", "shutdown")}

    run(scene)


@needs_gateway
def test_what_the_gateway_sends_in_arrays_at_the_desk_and_over_http_is_as_described() -> None:
    async def scene() -> None:
        gateway = await Gateway.start(DESK="true", REQUESTS="true", REQUEST_TIMEOUT="1s", MAX_ROOMS_PER_USER="1")
        room, batch, request = {"room_id": "r"}, validator("Batch"), validator("DeskRequest")
        asked: list[dict[str, Any]] = [
            {"type": "join_room", "payload": room, "id": 1},
            {"type": "room_message", "payload": {**room, "message": [1.5, None]}},
            {"type": "typing", "payload": room, "id": 2},
            {"type": "presence", "payload": room, "id": 3},
            {"type": "chat", "payload": {"to": "bob", "message": "hi"}, "id": 4},
            {"type": "join_room", "payload": {"room_id": "s"}},
            {"type": "typing", "payload": {"room_id": "s"}, "id": 5},
            {"type": "ping"},
            {"type": "request", "requestId": "q", "payload": {}},
            {"type": "leave_room", "payload": room, "id": 6},
        ]
        seen: set[str] = set()
        async with connect(f"{gateway.url}?batch=1") as client:
            for one in asked:
                request.validate(one)
                await client.send(json.dumps(one))
            while not {"user_left", "error TIMEOUT"} <= seen:
                array = json.loads(await client.recv())
                batch.validate(array)
                for message in array:
                    (AT_DESK if message["type"] in OF_DESK else FROM_GATEWAY).validate(message)
                    seen.add(" ".join(str(message[name]) for name in ("type", "code") if name in message))
            await gateway.publish("channel:broadcast", {"type": "maintenance"})
            array = json.loads(await client.recv())
            batch.validate(array)
            AT_DESK.validate(array[0])
            await client.send(json.dumps({"action": "subscribe", "symbols": ["AAPL"]}))
            batch.validate(json.loads(await client.recv()))
            await gateway.trade("AAPL", 150.25, 7)
            batch.validate(json.loads(await client.recv()))
        wanted = {*OF_DESK, "success", "pong", "error FORBIDDEN", "error ROOM_LIMIT_EXCEEDED", "error TIMEOUT"}
        assert wanted - seen == {"response", "typing"}
        last = await _get(gateway, "/v1/last/AAPL")
        validator("Event").validate(json.loads(last))
        validator("Last").validate(json.loads(await _get(gateway, "/v1/last?symbols=AAPL,NEWCO")))
        FROM_GATEWAY.validate(json.loads(await _get(gateway, "/v1/last/NEWCO")))
        stream = await _get(gateway, "/sse?symbols=no*good")
        name, data = re.findall(r"^event: (\w+)\n(?:.*\n)*?data: (.*)$", stream, re.MULTILINE)[0]
        assert name == "refused"
        validator("Error").validate(json.loads(data))
        await gateway.stop()

    run(scene)


async def _get(gateway: Gateway, path: str) -> str:
    """The body of an answer over HTTP."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer.partition("\r\n\r\n")[2]


async def _until(client: ClientConnection, name: str, code: str | None) -> set[str]:
    """Reads until such a message, checks each, and tells the kinds that came."""
    seen: set[str] = set()
    while True:
        message = json.loads(await client.recv())
        FROM_GATEWAY.validate(message)
        seen.add(kind(message))
        if kind(message) == name and message.get("code") == code:
            return seen


ENVELOPE = {field.name for field in dataclasses.fields(Event)}
NAMES = {"from_seq": "from", "to_seq": "to", "timestamp": "timestamp", "sent_at": "timestamp"}


OF_JSON = {"string": str, "number": Decimal, "integer": int, "boolean": bool, "object": Mapping, "array": tuple}
TOLD_AS = {"timestamp": int, "first_timestamp": int, "interval": str}
"""What the client makes of numbers, or of numbers and text: whole milliseconds, and names."""


def values_of(name: str, schema: Any) -> set[Any]:
    """The types that Python has for a field with values of a schema; none where they may be anything."""
    if schema is True:
        return set()
    if name in TOLD_AS:
        return {TOLD_AS[name]}
    if "$ref" in schema:
        of = schema["$ref"].rpartition("/")[2]
        return {Conflated} if of == "Conflated" else values_of(name, SCHEMAS[of])
    if "const" in schema:
        return {type(schema["const"])}
    parts = [values_of(name, part) for part in (*schema.get("allOf", ()), *schema.get("anyOf", ()))]
    kinds = schema.get("type", [])
    return set().union(*parts, {OF_JSON[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)})


def types_of(hint: Any) -> set[Any]:
    """The types that an annotation allows, without ``None``; none where it is ``Any``."""
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return {typing.get_origin(part) or part for part in parts if part not in (type(None), Any)}


def assert_values(described: type[Any], schema: dict[str, Any], names: dict[str, str]) -> None:
    """The fields of a type allow the values that those of a schema have; ``names`` has those on the wire."""
    of_schema = {snake(name): property for name, property in schema["properties"].items()}
    hints = typing.get_type_hints(described)
    for field in dataclasses.fields(described):
        name = names.get(field.name, field.name)
        if name:
            assert types_of(hints[field.name]) == values_of(name, of_schema[name]), field.name


@pytest.mark.parametrize("event", [Trade, Quote, Candle, News, Halt])
def test_the_types_of_events_have_the_fields_of_the_schemas(event: type[Event]) -> None:
    schema = SCHEMAS[event.__name__]
    own = {field.name for field in dataclasses.fields(event)} - ENVELOPE
    assert own | {"symbol", "timestamp", "seq"} == {snake(name) for name in schema["properties"]}
    hints = typing.get_type_hints(event)
    for name, described in schema["properties"].items():
        if name != "seq":
            is_optional = type(None) in typing.get_args(hints[snake(name)])
            assert is_optional == (name not in schema["required"]), name
            assert types_of(hints[snake(name)]) == values_of(snake(name), described), name


def test_the_types_of_envelopes_and_losses_have_the_fields_of_the_schemas() -> None:
    envelope = set(SCHEMAS["Event"]["properties"]) - {"timestamp"}
    assert {snake(name) for name in envelope} == ENVELOPE - {"sent_at", "symbol", "timestamp", "seq"}
    for described, name in ((Conflated, "Conflated"), (Gap, "Gap"), (Skipped, "Skipped")):
        fields = {NAMES.get(field.name, field.name) for field in dataclasses.fields(described)}
        assert fields == {snake(property) for property in SCHEMAS[name]["properties"]}
        assert_values(described, SCHEMAS[name], NAMES)
    assert_values(Event, SCHEMAS["Event"], {"sent_at": "timestamp", "timestamp": "", "symbol": "", "seq": ""})
    assert [field.name for field in dataclasses.fields(FeedLost)] == ["gap_ms"]


def test_the_types_of_the_desk_have_the_fields_of_the_schemas() -> None:
    names = {"sender": "from", "room": "room_id", "sent_at": "timestamp"}
    for described, name in ((RoomMessage, "RoomMessage"), (Chat, "Chat")):
        fields = {names.get(field.name, field.name) for field in dataclasses.fields(described)}
        assert fields == set(SCHEMAS[name]["properties"]) - {"type"}
        assert_values(described, SCHEMAS[name], names)
    assert_values(Members, SCHEMAS["PresenceCount"], {})
    assert {field.name for field in dataclasses.fields(Members)} == set(SCHEMAS["PresenceCount"]["properties"]) - {
        "type",
        "room_id",
        "id",
    }
