"""What a bridge tells its publisher, for tests without a Redis."""

from __future__ import annotations

import asyncio
from typing import Any

from ws_gateway.publisher import REQUIRED


class Told:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.changed = asyncio.Event()

    async def publish(self, type: str, data: dict[str, Any]) -> None:
        """Keeps it, if the gateway would take it."""
        assert {"timestamp": 1, **data}.keys() >= set(REQUIRED[type])
        self.events.append((type, data))
        self.changed.set()

    async def flush(self) -> None:
        """Nothing waits."""
