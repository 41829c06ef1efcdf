"""The client without asyncio: in a thread of its own, with what it keeps as a frame of pandas."""

from __future__ import annotations

import asyncio
import queue
import threading

import pytest

from ws_gateway import Chat, GatewayError, Members, Notification, Overflow, Trade
from ws_gateway.sync import Client, Watch

from .gateway import Gateway, needs_gateway, run
from .test_desk import SECRET, token_of


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


def trade(seq: int) -> Trade:
    """A trade of that number."""
    return Trade(type="trade", data={}, sent_at=1, symbol="AAPL", timestamp=1, seq=seq, price=1, volume=1)  # type: ignore[arg-type]


def test_a_frame_of_no_event_has_its_columns() -> None:
    async def scene() -> None:
        gateway = await Gateway.start()

        def notebook() -> None:
            with Client(gateway.url) as client:
                frame = client.watch(["AAPL", "MSFT"]).frame()
                assert len(frame.groupby("symbol").price.last()) == 0

        await asyncio.to_thread(notebook)
        await gateway.stop()

    run(scene)


def test_a_gateway_that_is_not_there_is_told() -> None:
    with Client("ws://127.0.0.1:1/ws") as client, pytest.raises(GatewayError, match=r"NOT_CONNECTED: .* within 0\.2 s"):
        client.watch("AAPL", timeout_s=0.2)


def test_a_loop_that_is_too_slow_for_what_is_kept_is_told() -> None:
    watch = Watch(2)
    events = [trade(seq) for seq in range(5)]
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


@needs_gateway
def test_two_notebooks_talk_in_a_room() -> None:
    async def scene() -> None:
        gateway = await Gateway.start(DESK="true")
        await asyncio.to_thread(talk, gateway.url)
        await gateway.stop()

    def talk(url: str) -> None:
        joined: queue.Queue[str] = queue.Queue()
        with Client(url) as alice, Client(url) as bob:
            ours = alice.desk.join("lobby", keep=2, on_joined=joined.put)
            assert joined.get(timeout=20) == alice.desk.user
            theirs = bob.desk.join("lobby")
            assert joined.get(timeout=20) == bob.desk.user
            assert alice.desk.user != bob.desk.user
            assert ours.presence() == Members(2, tuple(sorted([str(alice.desk.user), str(bob.desk.user)])))
            for text in ("one", "two", "three"):
                ours.send({"text": text})
            theirs.typing()
            assert theirs.wait(3, 20)
            assert [message.message["text"] for message in theirs.messages()] == ["one", "two", "three"]
            assert ours.wait(3, 20)
            assert [(message.sender, message.message["text"]) for message in ours.messages()] == [
                (alice.desk.user, "two"),
                (alice.desk.user, "three"),
            ]
            assert list(theirs.frame(1).message) == [{"text": "three"}]
            theirs.leave()
            # The loop yields what is kept, and ends as no more will come.
            assert [message.message["text"] for message in theirs] == ["one", "two", "three"]
            assert not theirs.wait(4, 20)
            with pytest.raises(GatewayError, match="FORBIDDEN"):
                theirs.send("I have left")
            assert ours.presence().count == 1

    run(scene)


@needs_gateway
def test_a_notebook_has_an_inbox_and_is_told_what_it_is_refused() -> None:
    async def scene() -> None:
        gateway = await Gateway.start(DESK="true", JWT_SECRET_KEY=SECRET)
        client = await asyncio.to_thread(Client, gateway.url, token=lambda why: token_of("alice", rooms=["team-*"]))
        inbox = await asyncio.to_thread(client.desk.inbox)
        await gateway.publish("channel:user:alice", {"type": "task_done", "event_id": "7"})
        await asyncio.to_thread(client.desk.chat, "alice", "a note to myself")
        assert await asyncio.to_thread(inbox.wait, 2, 20)
        task, chat = inbox.messages()
        assert task == Notification("task_done", {"type": "task_done", "event_id": "7"})
        assert isinstance(chat, Chat)
        assert (chat.sender, chat.message) == ("alice", "a note to myself")
        with pytest.raises(GatewayError, match="FORBIDDEN"):
            await asyncio.to_thread(client.desk.join, "other")
        with pytest.raises(GatewayError, match="UNKNOWN_ACTION"):
            await asyncio.to_thread(client.desk.request, {"q": 1})
        client.close()
        # Closing ends the loop over what is kept.
        assert inbox.messages() == list(inbox)
        await gateway.stop()

    run(scene)


@needs_gateway
def test_a_callback_that_waits_for_its_own_client_is_told_instead_of_hanging() -> None:
    async def scene() -> None:
        gateway = await Gateway.start()
        client = await asyncio.to_thread(Client, gateway.url)
        raised: queue.Queue[object] = queue.Queue()

        def waits(event: object) -> None:
            with pytest.raises(RuntimeError, match="in another thread") as error:
                client.latest("AAPL")
            raised.put(error.type)

        watch = await asyncio.to_thread(client.watch, "AAPL", on_event=waits)
        await gateway.trade("AAPL", 1, 1)
        assert await asyncio.to_thread(raised.get, True, 20) is RuntimeError
        assert len(watch.events()) == 1
        client.close()
        with pytest.raises(RuntimeError, match="is closed"):
            client.latest("AAPL")
        await gateway.stop()

    run(scene)


def test_a_loop_yields_what_is_kept_and_then_raises_why_no_more_will_come() -> None:
    watch = Watch(2)
    watch.add(trade(1))
    watch.end(GatewayError("TOKEN_EXPIRED", "The token has expired"))
    watch.end(None)
    loop = iter(watch)
    assert next(loop).seq == 1
    with pytest.raises(GatewayError, match="has expired"):
        next(loop)
    assert not watch.wait(2)
