"""Live prices from a ws-gateway: see README.md."""

from .client import Client, SubscribeOptions, connect
from .connection import TokenProvider
from .errors import GatewayError
from .events import (
    AnyEvent,
    Candle,
    Conflated,
    ConnectionState,
    Custom,
    Event,
    FeedLost,
    Gap,
    Halt,
    Latest,
    Loss,
    News,
    NotRecovered,
    Overflow,
    Quote,
    Skipped,
    Status,
    Trade,
)
from .subscription import Subscription

__all__ = [
    "AnyEvent",
    "Candle",
    "Client",
    "Conflated",
    "ConnectionState",
    "Custom",
    "Event",
    "FeedLost",
    "Gap",
    "GatewayError",
    "Halt",
    "Latest",
    "Loss",
    "News",
    "NotRecovered",
    "Overflow",
    "Quote",
    "Skipped",
    "Status",
    "SubscribeOptions",
    "Subscription",
    "TokenProvider",
    "Trade",
    "connect",
]
