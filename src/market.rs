//! The market's terms: types of events, symbols, and what clients subscribe to. Pure.
//!
//! Names that clients and channels give are upper-cased the same way, so `aapl` and `AAPL` are one symbol.

pub mod event;
pub mod patterns;

use std::fmt;

use smallvec::SmallVec;

/// The longest symbol, in bytes.
pub const SYMBOL_BYTES_MAX: usize = 64;

/// What a symbol must be, for messages.
pub const SYMBOL_RULE: &str = "1-64 characters of A-Z 0-9 . _ - / : = ^ + @ #";

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

/// An instrument's name: 1–64 bytes of `A-Z 0-9 . _ - / : = ^ + @ #`, already upper-cased.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(SmallVec<[u8; 16]>);

impl Symbol {
    /// Upper-cases (ASCII) and checks a name that a client or a channel gave; `None` if it is no symbol.
    pub fn parse(name: &[u8]) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        upper_cased(name).map(Self)
    }

    /// The symbol as text; it is ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The symbol as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every symbol that begins with a prefix: `BTC-*`, or `*` for every symbol there is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(SmallVec<[u8; 16]>);

impl Pattern {
    /// What matching symbols begin with; empty for `*`.
    pub fn prefix(&self) -> &[u8] {
        &self.0
    }

    /// Whether a symbol begins so.
    pub fn matches(&self, symbol: &[u8]) -> bool {
        symbol.starts_with(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*", std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// A name in a client's request: one symbol, or all that begin alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// One symbol.
    Symbol(Symbol),
    /// All that begin alike.
    Pattern(Pattern),
}

impl Name {
    /// Upper-cases and checks what a client wrote; a trailing star makes it a pattern. `None` if it is neither.
    pub fn parse(name: &[u8]) -> Option<Self> {
        match name {
            [prefix @ .., b'*'] => upper_cased(prefix).map(|prefix| Self::Pattern(Pattern(prefix))),
            _ => Symbol::parse(name).map(Self::Symbol),
        }
    }

    /// The symbol, if it is one.
    pub fn symbol(&self) -> Option<&Symbol> {
        match self {
            Self::Symbol(symbol) => Some(symbol),
            Self::Pattern(_) => None,
        }
    }

    /// Whether this is `*`.
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::Pattern(pattern) if pattern.prefix().is_empty())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(symbol) => symbol.fmt(f),
            Self::Pattern(pattern) => pattern.fmt(f),
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
    pub fn parse(event_type: EventType, name: &[u8]) -> Option<Self> {
        Name::parse(name).map(|name| Self { event_type, name })
    }
}

/// What a byte of a name is in a symbol: upper-cased if it is allowed there.
fn symbol_byte(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' | b'0'..=b'9' => Some(byte),
        b'a'..=b'z' => Some(byte.to_ascii_uppercase()),
        b'.' | b'_' | b'-' | b'/' | b':' | b'=' | b'^' | b'+' | b'@' | b'#' => Some(byte),
        _ => None,
    }
}

fn upper_cased(name: &[u8]) -> Option<SmallVec<[u8; 16]>> {
    if name.len() > SYMBOL_BYTES_MAX {
        return None;
    }
    let mut upper = SmallVec::with_capacity(name.len());
    for &byte in name {
        upper.push(symbol_byte(byte)?);
    }
    Some(upper)
}

/// Writes the symbol of a channel into `buffer` and returns it, upper-cased, without allocating; `None` if the
/// name is no symbol. The hot path's form of [`Symbol::parse`].
pub fn normalize_symbol<'b>(name: &[u8], buffer: &'b mut [u8; SYMBOL_BYTES_MAX]) -> Option<&'b [u8]> {
    if name.is_empty() || name.len() > SYMBOL_BYTES_MAX {
        return None;
    }
    let out = &mut buffer[..name.len()];
    for (to, &from) in out.iter_mut().zip(name) {
        *to = symbol_byte(from)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_upper_cased_and_bounded() {
        assert_eq!(Symbol::parse(b"btc-usd").unwrap().as_str(), "BTC-USD");
        assert_eq!(Symbol::parse(b"A/B:C=^+@#._-9").unwrap().as_str(), "A/B:C=^+@#._-9");
        for bad in [&b""[..], b"A B", b"A*", b"\xc3\xa4", &[b'A'; 65]] {
            assert!(Symbol::parse(bad).is_none(), "{bad:?}");
            assert!(normalize_symbol(bad, &mut [0; SYMBOL_BYTES_MAX]).is_none());
        }
        assert!(Symbol::parse(&[b'a'; 64]).is_some());
    }

    #[test]
    fn a_trailing_star_makes_a_pattern() {
        let Some(Name::Pattern(pattern)) = Name::parse(b"btc-*") else { panic!("no pattern") };
        assert_eq!(pattern.to_string(), "BTC-*");
        assert!(pattern.matches(b"BTC-USD") && pattern.matches(b"BTC-") && !pattern.matches(b"BTC"));
        assert!(Name::parse(b"*").unwrap().is_everything());
        assert!(!Name::parse(b"A*").unwrap().is_everything());
        for bad in [&b"*A"[..], b"**", b"A*B", b" *", &[b'*'; 66]] {
            assert!(Name::parse(bad).is_none(), "{bad:?}");
        }
        let longest = [&[b'A'; SYMBOL_BYTES_MAX][..], b"*"].concat();
        assert!(Name::parse(&longest).is_some());
    }

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
