//! Forms: how the events of a subscription are written. Pure.
//!
//! The form is a part of the topic: the same symbol in another form is another topic, with an id of its own. So whatever goes by
//! topics (index, outboxes, conflation, patterns) needs no look at forms. Ingest writes an event once in each form that somebody wants.
//! The [`Delay`] with which the events come belongs to the form as well.
//!
//! Some forms have the candles of one interval only: a dialect that names them `bars` or `dailyBars` has a form for each. So a symbol of candles in
//! such a form is one topic, and a pattern matches only topics of that interval.
//!
//! The market doesn't know what a form looks like: [`protocol::form`](crate::protocol::form) does.

use super::symbol::interval_of;
use super::{Delay, Kind};

/// A form, by its number, and a delay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Form {
    number: u8,
    delay: Delay,
}

/// What the bytes of a form are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A text frame with one JSON object.
    Json,
    /// The same object as a part of an array, without a frame of its own.
    JsonBatch,
    /// An event of a server-sent event stream.
    Sse,
    /// A part of an array as Alpaca sends it: JSON.
    AlpacaJson(AlpacaChannel),
    /// The same: MessagePack.
    AlpacaMsgpack(AlpacaChannel),
    /// A part of an array as Massive (Polygon) sends it.
    Massive(MassiveMarket, MassiveChannel),
    /// A part of an array as Finnhub sends it.
    Finnhub,
    /// A text frame with one object as Binance sends it.
    Binance(BinanceShape, BinanceStream),
    /// A text frame with an event of Socket.IO, in that namespace.
    SocketIo(Namespace),
}

/// The namespaces of Socket.IO: a client may be in several, with one connection, and each has its own subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// `/`.
    Root,
    /// `/events`.
    Events,
    /// `/messaging`.
    Messaging,
}

/// Which of Massive's markets a form is for: they have words of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MassiveMarket {
    /// `stocks`.
    Stocks,
    /// `crypto`.
    Crypto,
    /// `forex`.
    Forex,
}

/// What of Massive's channels a form has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MassiveChannel {
    /// All but candles.
    Others,
    /// Aggregates of a minute.
    Minutes,
    /// Aggregates of a second.
    Seconds,
}

/// How Binance's connections write events: with or without the stream's name around them, and in which unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinanceShape {
    /// The object alone, times in milliseconds.
    Raw,
    /// The stream's name and the object, times in milliseconds.
    Combined,
    /// The object alone, times in microseconds.
    RawMicros,
    /// The stream's name and the object, times in microseconds.
    CombinedMicros,
}

/// What of Binance's streams a form has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinanceStream {
    /// All but trades: each type has one stream, and a stream of candles is that of its topic's interval.
    Others,
    /// `@trade`.
    Trades,
    /// `@aggTrade`.
    AggTrades,
}

/// What of Alpaca's channels a form has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlpacaChannel {
    /// All but candles, each type by its own name.
    Others,
    /// `bars`.
    Bars,
    /// `updatedBars`.
    UpdatedBars,
    /// `dailyBars`.
    DailyBars,
}

/// How many forms there are.
const COUNT: usize = SOCKETIO as usize + 2 * Namespace::ALL.len();

/// Where those of Socket.IO begin: one for each namespace, then the same with long events compressed. They stay the last: a new form takes this
/// number, and they move.
const SOCKETIO: u8 = 34;

impl Form {
    /// One JSON object in a text frame.
    pub const JSON: Self = Self::real_time(0);
    /// JSON objects, several of them in a text frame.
    pub const JSON_BATCH: Self = Self::real_time(1);
    /// Server-sent events.
    pub const SSE: Self = Self::real_time(2);
    /// As [`Form::JSON`], with long events compressed.
    pub const JSON_DEFLATED: Self = Self::real_time(21);

    /// Every form without a delay, in the order of their numbers.
    pub const ALL: [Self; COUNT] = {
        let mut all = [Self::real_time(0); COUNT];
        let mut number = 0;
        while number < COUNT {
            all[number] = Self::real_time(number as u8);
            number += 1;
        }
        all
    };

    /// How many there are.
    pub const COUNT: usize = COUNT;

    /// Those whose events have the gateway's own object.
    pub const OURS: [Self; 6] = [
        Self::JSON,
        Self::JSON_BATCH,
        Self::SSE,
        Self::JSON_DEFLATED,
        Self::socketio(Namespace::Root),
        Self::socketio(Namespace::Events).deflated(),
    ];

    /// A channel of Alpaca's in JSON.
    pub const fn alpaca_json(channel: AlpacaChannel) -> Self {
        Self::real_time(3 + channel as u8)
    }

    /// The same in MessagePack.
    pub const fn alpaca_msgpack(channel: AlpacaChannel) -> Self {
        Self::real_time(7 + channel as u8)
    }

    /// A channel of one of Massive's markets.
    pub const fn massive(market: MassiveMarket, channel: MassiveChannel) -> Self {
        Self::real_time(11 + 3 * market as u8 + channel as u8)
    }

    /// Trades in Finnhub's words.
    pub const FINNHUB: Self = Self::real_time(20);

    /// Binance's streams of a sort, in that shape.
    pub const fn binance(shape: BinanceShape, stream: BinanceStream) -> Self {
        Self::real_time(22 + 3 * shape as u8 + stream as u8)
    }

    /// Whether trades that one event stands for are added up in it, for clients that conflate: it is what such an event is for.
    pub const fn adds_up(self) -> bool {
        matches!(self.encoding(), Encoding::Binance(_, BinanceStream::AggTrades))
    }

    /// Events of a namespace of Socket.IO.
    pub const fn socketio(namespace: Namespace) -> Self {
        Self::real_time(SOCKETIO + namespace as u8)
    }

    /// The namespace of Socket.IO whose events it has, if it is such a form.
    pub const fn namespace(self) -> Option<Namespace> {
        match self.encoding() {
            Encoding::SocketIo(namespace) => Some(namespace),
            _ => None,
        }
    }

    const fn real_time(number: u8) -> Self {
        Self { number, delay: Delay::NONE }
    }

    /// The form in which a client gets these events that has agreed on compression. Where events are parts of messages, that is the same
    /// one: what is compressed is the message.
    #[must_use]
    pub const fn deflated(self) -> Self {
        match self.encoding() {
            Encoding::Json => Self { number: Self::JSON_DEFLATED.number, ..self },
            Encoding::SocketIo(namespace) => {
                Self { number: SOCKETIO + Namespace::ALL.len() as u8 + namespace as u8, ..self }
            }
            _ => self,
        }
    }

    /// Whether long events are compressed.
    #[inline]
    pub const fn is_deflated(self) -> bool {
        self.number == Self::JSON_DEFLATED.number || self.number >= SOCKETIO + Namespace::ALL.len() as u8
    }

    /// Its place in arrays that have one for each form, whatever its delay.
    #[inline]
    pub const fn index(self) -> usize {
        self.number as usize
    }

    /// With which delay its events come.
    #[inline]
    pub const fn delay(self) -> Delay {
        self.delay
    }

    /// The same with another delay.
    #[must_use]
    pub const fn delayed(self, delay: Delay) -> Self {
        Self { delay, ..self }
    }

    /// The same without a delay: what its events look like.
    #[must_use]
    pub const fn undelayed(self) -> Self {
        self.delayed(Delay::NONE)
    }

    /// What its bytes are.
    #[inline]
    pub const fn encoding(self) -> Encoding {
        match self.number {
            1 => Encoding::JsonBatch,
            2 => Encoding::Sse,
            3..=6 => Encoding::AlpacaJson(AlpacaChannel::ALL[self.number as usize - 3]),
            7..=10 => Encoding::AlpacaMsgpack(AlpacaChannel::ALL[self.number as usize - 7]),
            11..=19 => {
                let place = self.number as usize - 11;
                Encoding::Massive(MassiveMarket::ALL[place / 3], MassiveChannel::ALL[place % 3])
            }
            20 => Encoding::Finnhub,
            22..=33 => {
                let place = self.number as usize - 22;
                Encoding::Binance(BinanceShape::ALL[place / 3], BinanceStream::ALL[place % 3])
            }
            SOCKETIO.. => {
                Encoding::SocketIo(Namespace::ALL[(self.number - SOCKETIO) as usize % Namespace::ALL.len()])
            }
            _ => Encoding::Json,
        }
    }

    /// The interval of the candles that it has, if it has those of one only.
    pub const fn interval(self) -> Option<&'static str> {
        match self.encoding() {
            Encoding::Json
            | Encoding::JsonBatch
            | Encoding::Sse
            | Encoding::Finnhub
            | Encoding::Binance(..)
            | Encoding::SocketIo(_) => None,
            Encoding::Massive(_, channel) => match channel {
                MassiveChannel::Others => None,
                MassiveChannel::Minutes => Some("1m"),
                MassiveChannel::Seconds => Some("1s"),
            },
            Encoding::AlpacaJson(channel) | Encoding::AlpacaMsgpack(channel) => match channel {
                AlpacaChannel::Others => None,
                AlpacaChannel::Bars | AlpacaChannel::UpdatedBars => Some("1m"),
                AlpacaChannel::DailyBars => Some("1d"),
            },
        }
    }

    /// Whether topics of that type and symbol may have it: not those of another interval.
    #[inline]
    pub fn suits(self, kind: Kind, symbol: &[u8]) -> bool {
        !kind.has_intervals()
            || self.interval().is_none_or(|interval| interval_of(symbol) == Some(interval.as_bytes()))
    }
}

impl AlpacaChannel {
    /// Every one, in their order.
    pub const ALL: [Self; 4] = [Self::Others, Self::Bars, Self::UpdatedBars, Self::DailyBars];
}

impl BinanceShape {
    /// Every one, in their order.
    pub const ALL: [Self; 4] = [Self::Raw, Self::Combined, Self::RawMicros, Self::CombinedMicros];

    /// Whether the stream's name stands around each event.
    pub const fn is_combined(self) -> bool {
        matches!(self, Self::Combined | Self::CombinedMicros)
    }

    /// Whether times are in microseconds.
    pub const fn is_micros(self) -> bool {
        matches!(self, Self::RawMicros | Self::CombinedMicros)
    }

    /// That shape.
    pub const fn of(is_combined: bool, is_micros: bool) -> Self {
        match (is_combined, is_micros) {
            (false, false) => Self::Raw,
            (true, false) => Self::Combined,
            (false, true) => Self::RawMicros,
            (true, true) => Self::CombinedMicros,
        }
    }
}

impl BinanceStream {
    /// Every one, in their order.
    pub const ALL: [Self; 3] = [Self::Others, Self::Trades, Self::AggTrades];
}

impl Namespace {
    /// Every one, in their order.
    pub const ALL: [Self; 3] = [Self::Root, Self::Events, Self::Messaging];
}

impl MassiveMarket {
    /// Every one, in their order.
    pub const ALL: [Self; 3] = [Self::Stocks, Self::Crypto, Self::Forex];
}

impl MassiveChannel {
    /// Every one, in their order.
    pub const ALL: [Self; 3] = [Self::Others, Self::Minutes, Self::Seconds];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_a_number_of_its_own() {
        assert_eq!(Form::ALL.map(Form::index), std::array::from_fn(|number| number));
        for channel in AlpacaChannel::ALL {
            assert_eq!(Form::alpaca_json(channel).encoding(), Encoding::AlpacaJson(channel));
            assert_eq!(Form::alpaca_msgpack(channel).encoding(), Encoding::AlpacaMsgpack(channel));
        }
        for market in MassiveMarket::ALL {
            for channel in MassiveChannel::ALL {
                assert_eq!(Form::massive(market, channel).encoding(), Encoding::Massive(market, channel));
            }
        }
        assert_eq!(Form::FINNHUB.encoding(), Encoding::Finnhub);
        for shape in BinanceShape::ALL {
            assert_eq!(BinanceShape::of(shape.is_combined(), shape.is_micros()), shape);
            for stream in BinanceStream::ALL {
                assert_eq!(Form::binance(shape, stream).encoding(), Encoding::Binance(shape, stream));
            }
        }
        for namespace in Namespace::ALL {
            let form = Form::socketio(namespace);
            assert_eq!((form.encoding(), form.is_deflated()), (Encoding::SocketIo(namespace), false));
            let deflated = form.deflated();
            assert_eq!((deflated.encoding(), deflated.is_deflated()), (form.encoding(), true));
            assert_eq!(deflated.namespace(), Some(namespace));
        }
        assert!(Form::JSON_DEFLATED.is_deflated() && Form::JSON_DEFLATED.namespace().is_none());
    }

    #[test]
    fn a_form_of_one_interval_suits_its_topics_only() {
        let (minute, day) = (b"AAPL\x1f1m", b"AAPL\x1f1d");
        let bars = Form::alpaca_json(AlpacaChannel::Bars);
        assert!(bars.suits(Kind::CANDLE, minute) && !bars.suits(Kind::CANDLE, day));
        assert!(!bars.suits(Kind::CANDLE, b"AAPL"), "a topic of candles has an interval");
        assert!(Form::JSON.suits(Kind::CANDLE, day) && bars.suits(Kind::TRADE, b"AAPL"));
        assert!(Form::alpaca_msgpack(AlpacaChannel::DailyBars).suits(Kind::CANDLE, day));
    }
}
