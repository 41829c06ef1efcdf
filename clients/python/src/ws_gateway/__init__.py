"""Live prices from a ws-gateway: see README.md."""

from .client import Client, SubscribeOptions, connect
from .connection import TokenProvider
from .desk import Desk
from .errors import GatewayError
from .events import (
    AnyEvent,
    Candle,
    Chat,
    Conflated,
    ConnectionState,
    Custom,
    Event,
    FeedLost,
    Gap,
    Halt,
    Latest,
    Loss,
    Members,
    News,
    Notification,
    NotRecovered,
    Overflow,
    Quote,
    RoomMessage,
    Skipped,
    Status,
    Trade,
)
from .room import Room
from .subscription import Subscription

__all__ = [
    "AnyEvent",
    "Candle",
    "Chat",
    "Client",
    "Conflated",
    "ConnectionState",
    "Custom",
    "Desk",
    "Event",
    "FeedLost",
    "Gap",
    "GatewayError",
    "Halt",
    "Latest",
    "Loss",
    "Members",
    "News",
    "NotRecovered",
    "Notification",
    "Overflow",
    "Quote",
    "Room",
    "RoomMessage",
    "Skipped",
    "Status",
    "SubscribeOptions",
    "Subscription",
    "TokenProvider",
    "Trade",
    "connect",
]
