//! Massive's channels: its names for types of events, which differ from market to market. Pure.

use crate::market::{Encoding, Form, Kind, MassiveChannel, MassiveMarket, Subject};
use crate::protocol::request::Grammar;

/// A channel that the gateway has events for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// What stands before the symbol in requests, and `ev` of its events.
    pub name: &'static str,
    /// The type of its events.
    pub kind: Kind,
    of: MassiveChannel,
}

const fn channel(name: &'static str, kind: Kind, of: MassiveChannel) -> Channel {
    Channel { name, kind, of }
}

/// The channels of a market.
pub const fn channels(market: MassiveMarket) -> &'static [Channel] {
    const STOCKS: [Channel; 4] = [
        channel("T", Kind::TRADE, MassiveChannel::Others),
        channel("Q", Kind::QUOTE, MassiveChannel::Others),
        channel("AM", Kind::CANDLE, MassiveChannel::Minutes),
        channel("A", Kind::CANDLE, MassiveChannel::Seconds),
    ];
    const CRYPTO: [Channel; 4] = [
        channel("XT", Kind::TRADE, MassiveChannel::Others),
        channel("XQ", Kind::QUOTE, MassiveChannel::Others),
        channel("XA", Kind::CANDLE, MassiveChannel::Minutes),
        channel("XAS", Kind::CANDLE, MassiveChannel::Seconds),
    ];
    const FOREX: [Channel; 3] = [
        channel("C", Kind::QUOTE, MassiveChannel::Others),
        channel("CA", Kind::CANDLE, MassiveChannel::Minutes),
        channel("CAS", Kind::CANDLE, MassiveChannel::Seconds),
    ];
    match market {
        MassiveMarket::Stocks => &STOCKS,
        MassiveMarket::Crypto => &CRYPTO,
        MassiveMarket::Forex => &FOREX,
    }
}

impl Channel {
    /// The form of its events.
    pub const fn form(self, market: MassiveMarket) -> Form {
        Form::massive(market, self.of)
    }

    /// The channel of a type in a form.
    pub fn of(kind: Kind, form: Form) -> Option<Self> {
        let Encoding::Massive(market, of) = form.encoding() else { return None };
        channels(market).iter().copied().find(|channel| channel.kind == kind && channel.of == of)
    }
}

/// A subject as requests write it: `T.AAPL`.
pub fn written(subject: &Subject, grammar: &Grammar) -> String {
    let channel = Channel::of(subject.kind, subject.form).map_or("", |channel| channel.name);
    let name = &subject.name;
    match name.symbol() {
        Some(symbol) => format!("{channel}.{}", grammar.spelling.of(symbol)),
        None => format!("{channel}.{name}"),
    }
}
