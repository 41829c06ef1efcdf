"""The gateway as users run it, for tests: on free ports, with its embedded broker."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

PATIENCE_S = 60
BINARY = os.path.abspath(os.environ["WS_GATEWAY"]) if "WS_GATEWAY" in os.environ else None
needs_gateway = pytest.mark.skipif(BINARY is None, reason="WS_GATEWAY is not set: scripts/test sets it")

RUNNING: list[asyncio.subprocess.Process] = []


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs it with a limit of twice what a step may take, so that nothing hangs, and ends the gateways that a failure has left."""

    async def bounded() -> None:
        # On a busy machine any step may take long; the log is for faults.
        asyncio.get_running_loop().slow_callback_duration = float("inf")
        try:
            await asyncio.wait_for(scene(), 2 * PATIENCE_S)
        finally:
            for process in RUNNING:
                if process.returncode is None:
                    process.kill()
                    await process.communicate()
            RUNNING.clear()

    asyncio.run(bounded(), debug=True)


class Gateway:
    """A running gateway."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, broker_port: int) -> None:
        self.process, self.port, self.broker_port = process, port, broker_port
        RUNNING.append(process)

    @classmethod
    async def start(cls, **settings: str) -> Gateway:
        """Starts it on free ports and waits until it is ready."""
        assert BINARY
        process = await asyncio.create_subprocess_exec(
            BINARY,
            *("--ws-host", "127.0.0.1", "--ws-port", "0", "--embedded-redis-port", "0"),
            env={"RUST_LOG": "info", **settings},
            cwd=tempfile.gettempdir(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr
        said = ""
        while "initialized and ready" not in said:
            line = (await process.stderr.readline()).decode()
            assert line, f"the gateway ended: {said}"
            said += line
        port = re.search(r"listening on port (\d+)", said)
        broker = re.search(r"embedded on [\d.]+:(\d+)", said)
        assert port
        return cls(process, int(port[1]), int(broker[1]) if broker else 0)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def redis_url(self) -> str:
        """Where workers publish."""
        return f"redis://127.0.0.1:{self.broker_port}"

    def send_signal(self, number: Signals) -> None:
        """Sends it a signal. Once SIGSTOP has been sent it does nothing more."""
        self.process.send_signal(number)
        if number is Signals.SIGSTOP:
            # It is on its way: until then threads go on.
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    async def stop(self, number: Signals = Signals.SIGKILL) -> None:
        """Ends it, and waits for that."""
        self.send_signal(number)
        await self.process.communicate()

    async def counted(self, name: str) -> float:
        """What a counter of its metrics has, over all shards."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        metrics = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(name))

    async def publish(self, channel: str, data: dict[str, Any]) -> None:
        """Publishes, and waits until the broker has it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.broker_port)
        words = ["PUBLISH", channel, json.dumps(data)]
        writer.write(f"*3\r\n{''.join(f'${len(word)}{chr(13)}{chr(10)}{word}{chr(13)}{chr(10)}' for word in words)}".encode())
        await reader.readline()
        writer.close()
        await writer.wait_closed()

    async def trade(self, symbol: str, price: float, seq: int) -> None:
        """Publishes one trade."""
        data = {"symbol": symbol, "price": price, "volume": 100, "timestamp": seq, "seq": seq}
        await self.publish(f"channel:trade:{symbol}", data)


class Redis:
    """A redis-server on a socket of its own."""

    def __init__(self, process: asyncio.subprocess.Process, path: Path) -> None:
        self.process, self.path = process, path

    @classmethod
    async def start(cls, directory: Path) -> Redis:
        """Starts it and waits until it is ready."""
        path = directory / "redis.sock"
        process = await asyncio.create_subprocess_exec(
            *("redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", directory),
            stdout=asyncio.subprocess.PIPE,
        )
        RUNNING.append(process)
        assert process.stdout
        while b"eady to accept connections" not in (line := await process.stdout.readline()):
            assert line, "redis-server ended"
        return cls(process, path)

    @property
    def url(self) -> str:
        """Its address."""
        return f"unix://{self.path}"

    async def stop(self) -> None:
        """Ends it."""
        self.process.kill()
        await self.process.communicate()


class Address:
    """An address that stays while gateways come and go: nobody else can take their port between two of them."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.server: asyncio.Server | None = None

    async def open(self) -> str:
        """Listens, and tells where."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1")
        return f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/ws"

    async def close(self) -> None:
        """Listens no more."""
        assert self.server
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass_on(reader, to_writer), _pass_on(to_reader, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
