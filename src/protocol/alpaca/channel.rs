//! Alpaca's channels: its names for types of events. Pure.

use crate::market::{AlpacaChannel, Encoding, Form, Kind};

/// How a connection's messages are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// JSON in text messages.
    Json,
    /// MessagePack in binary messages.
    Msgpack,
}

/// A channel that the gateway has events for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// As requests and replies name it.
    pub name: &'static str,
    /// The type of its events.
    pub kind: Kind,
    of: AlpacaChannel,
}

/// The channels.
pub const CHANNELS: [Channel; 7] = [
    channel("trades", Kind::TRADE, AlpacaChannel::Others),
    channel("quotes", Kind::QUOTE, AlpacaChannel::Others),
    channel("bars", Kind::CANDLE, AlpacaChannel::Bars),
    channel("updatedBars", Kind::CANDLE, AlpacaChannel::UpdatedBars),
    channel("dailyBars", Kind::CANDLE, AlpacaChannel::DailyBars),
    channel("statuses", Kind::HALT, AlpacaChannel::Others),
    channel("news", Kind::NEWS, AlpacaChannel::Others),
];

/// Channels that come with `trades`, without an event of their own: their names are taken and repeated, no more.
pub const WITH_TRADES: [&str; 2] = ["corrections", "cancelErrors"];

/// Channels that the gateway has no events for: who asks for one is refused, and a reply has them empty.
pub const UNKNOWN: [&str; 3] = ["lulds", "orderbooks", "imbalances"];

/// The names in a `subscription`, in Alpaca's order; those that only its other feeds have come last.
pub const LISTED: [&str; 12] = [
    "trades",
    "quotes",
    "bars",
    "updatedBars",
    "dailyBars",
    "statuses",
    "lulds",
    "corrections",
    "cancelErrors",
    "news",
    "orderbooks",
    "imbalances",
];

const fn channel(name: &'static str, kind: Kind, of: AlpacaChannel) -> Channel {
    Channel { name, kind, of }
}

impl Channel {
    /// The form of its events.
    pub const fn form(self, wire: Wire) -> Form {
        wire.form(self.of)
    }

    /// The channel of a type in a form.
    pub fn of(kind: Kind, form: Form) -> Option<Self> {
        let (Encoding::AlpacaJson(of) | Encoding::AlpacaMsgpack(of)) = form.encoding() else { return None };
        CHANNELS.into_iter().find(|channel| channel.kind == kind && channel.of == of)
    }
}

impl Wire {
    /// The form of a channel's events.
    pub const fn form(self, channel: AlpacaChannel) -> Form {
        match self {
            Self::Json => Form::alpaca_json(channel),
            Self::Msgpack => Form::alpaca_msgpack(channel),
        }
    }
}
