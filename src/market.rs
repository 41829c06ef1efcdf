//! The market's terms: types of events, symbols, and what clients subscribe to. Pure.
//!
//! Names that clients and channels give are normalised in the same way, so with `SYMBOL_CASE=upper` `aapl` and `AAPL` are one
//! symbol.

pub mod event;
pub mod patterns;
mod symbol;

use std::fmt;

pub use self::symbol::{Name, Pattern, SYMBOL_BYTES_MAX, SYMBOL_RULE, Symbol, SymbolCase, normalize_symbol};

/// What an event is about, and the second part of its channel's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventType {
    /// A trade: price and volume.
    Trade,
    /// The best bid and ask.
    Quote,
    /// Open, high, low and close of an interval.
    Candle,
    /// A headline.
    News,
    /// Trading was halted or goes on.
    Halt,
}

impl EventType {
    /// All types, in the order of their discriminants.
    pub const ALL: [Self; 5] = [Self::Trade, Self::Quote, Self::Candle, Self::News, Self::Halt];

    /// The type as channels, frames and clients name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::Quote => "quote",
            Self::Candle => "candle",
            Self::News => "news",
            Self::Halt => "halt",
        }
    }

    /// The type of that name; names are lower case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|event_type| event_type.as_str().as_bytes() == name)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of types: those of `CHANNEL_TYPES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTypes(u8);

impl EventTypes {
    /// Trades alone: what is carried without configuration.
    pub const TRADE: Self = Self(1 << EventType::Trade as u8);

    /// Whether the set has a type.
    pub const fn contains(self, event_type: EventType) -> bool {
        self.0 & (1 << event_type as u8) != 0
    }

    /// The types of the set, in their own order.
    pub fn iter(self) -> impl Iterator<Item = EventType> {
        EventType::ALL.into_iter().filter(move |event_type| self.contains(*event_type))
    }
}

impl FromIterator<EventType> for EventTypes {
    fn from_iter<I: IntoIterator<Item = EventType>>(types: I) -> Self {
        Self(types.into_iter().fold(0, |set, event_type| set | 1 << event_type as u8))
    }
}

impl fmt::Display for EventTypes {
    /// As `CHANNEL_TYPES` has it: `trade,quote`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(EventType::as_str).collect();
        f.write_str(&names.join(","))
    }
}

/// `SEQ`: how workers number events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Numbering {
    /// By one a topic: a jump is a gap.
    #[default]
    Contiguous,
    /// In any steps upwards: nanoseconds, or one counter for many topics.
    Monotonic,
}

impl Numbering {
    /// The way of numbering as settings name it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Contiguous => "contiguous",
            Self::Monotonic => "monotonic",
        }
    }
}

/// What a client subscribes to: a name within a type of events. `MAX_SYMBOLS_PER_CLIENT` counts these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The type of the events.
    pub event_type: EventType,
    /// The symbol, or the pattern.
    pub name: Name,
}

impl Subject {
    /// A name as a client writes it, within a type; `None` if it is none.
    pub fn parse(event_type: EventType, name: &[u8], case: SymbolCase) -> Option<Self> {
        Name::parse(name, case).map(|name| Self { event_type, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_types_read_as_they_are_configured() {
        let types: EventTypes = [EventType::Quote, EventType::Trade, EventType::Quote].into_iter().collect();
        assert_eq!(types.to_string(), "trade,quote");
        assert!(types.contains(EventType::Quote) && !types.contains(EventType::Halt));
        assert_eq!(
            EventType::ALL.map(|each| EventType::parse(each.as_str().as_bytes())),
            EventType::ALL.map(Some)
        );
        assert_eq!(EventType::parse(b"Trade"), None);
    }
}
