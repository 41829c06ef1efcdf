//! What the server under test speaks: the gateway's protocol with Redis behind it, or, to compare, nats-server's own on
//! both sides. Everything else of a run is the same.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::crowd::write_request;
use super::{frames, nats};

/// A protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dialect {
    /// JSON requests and trades, published by Redis' PUBLISH.
    #[default]
    Gateway,
    /// nats-server's, in WebSocket frames for subscribers; published to its TCP port.
    Nats,
}

impl Dialect {
    /// Who is published to.
    pub const fn upstream(self) -> &'static str {
        match self {
            Self::Gateway => "Redis",
            Self::Nats => "nats-server",
        }
    }

    /// The most symbols that a connection can ask for in the one frame that it asks with.
    pub const fn subscribed_max(self) -> u32 {
        match self {
            // A subscribe to more would not fit into the 64 KiB that servers take.
            Self::Gateway => 5_000,
            // 22 to 26 bytes each.
            Self::Nats => 2_400,
        }
    }

    /// Whether events may come before the reply to their subscribe.
    pub const fn has_early_events(self) -> bool {
        matches!(self, Self::Nats)
    }

    /// The kind of frame that requests travel in.
    pub const fn opcode(self) -> u8 {
        match self {
            Self::Gateway => frames::TEXT,
            Self::Nats => frames::BINARY,
        }
    }

    /// Writes what a connection says once the handshake is over: whatever introduces it, and its subscribe.
    pub fn write_opening(self, out: &mut String, symbols: &[u32]) {
        match self {
            Self::Gateway => write_request(out, "subscribe", symbols),
            Self::Nats => nats::write_opening(out, symbols),
        }
    }

    /// Writes the request that subscribes to one more symbol.
    pub fn write_subscribe(self, out: &mut String, symbol: u32) {
        match self {
            Self::Gateway => write_request(out, "subscribe", &[symbol]),
            Self::Nats => nats::write_subscribe(out, symbol),
        }
    }

    /// Writes the request that unsubscribes from one.
    pub fn write_unsubscribe(self, out: &mut String, symbol: u32) {
        match self {
            Self::Gateway => write_request(out, "unsubscribe", &[symbol]),
            Self::Nats => nats::write_unsubscribe(out, symbol),
        }
    }
}
