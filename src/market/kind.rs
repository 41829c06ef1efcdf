//! Types of events: the five that every gateway knows, and those that this one is configured with. Pure.
//!
//! A new market type is a constant of [`Kind`] and its name here, its fields in [`event`](super::event), and its simulation in
//! [`demo::events`](crate::demo::events).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::SymbolCase;

/// Most types that one gateway carries.
pub const TYPES_MAX: usize = 32;

/// The longest name of a type, in bytes.
pub const TYPE_BYTES_MAX: usize = 32;

/// Words that frames and requests have in the place of a type's name, so no type may have them.
pub const RESERVED_TYPES: [&str; 19] = [
    "success",
    "error",
    "pong",
    "status",
    "snapshot",
    "last",
    "room",
    "user",
    "broadcast",
    "desk",
    "request",
    "response",
    "reply",
    "presence",
    "room_message",
    "chat",
    "typing",
    "user_joined",
    "user_left",
];

/// What the gateway calls an event of its own on streams of server-sent events, beside words of [`RESERVED_TYPES`]: no type may have it either.
pub const REFUSED_EVENT: &str = "refused";

/// A type of events, by its number in the gateway's table of types ([`Kinds`]). The five market types have the same number in every
/// gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(u8);

impl Kind {
    /// A trade: price and volume.
    pub const TRADE: Self = Self(0);
    /// The best bid and ask.
    pub const QUOTE: Self = Self(1);
    /// Open, high, low and close of an interval.
    pub const CANDLE: Self = Self(2);
    /// A headline.
    pub const NEWS: Self = Self(3);
    /// Trading was halted or goes on.
    pub const HALT: Self = Self(4);

    /// The types whose events have a contract, in the order of their numbers.
    pub const MARKET: [Self; 5] = [Self::TRADE, Self::QUOTE, Self::CANDLE, Self::NEWS, Self::HALT];

    /// Its place in arrays that have one for each type.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether it is one of [`Kind::MARKET`]; else it is custom.
    #[inline]
    pub const fn is_market(self) -> bool {
        self.index() < Self::MARKET.len()
    }

    /// The name of a market type; custom types have theirs in [`Kinds`].
    pub const fn market_name(self) -> Option<&'static str> {
        match self {
            Self::TRADE => Some("trade"),
            Self::QUOTE => Some("quote"),
            Self::CANDLE => Some("candle"),
            Self::NEWS => Some("news"),
            Self::HALT => Some("halt"),
            _ => None,
        }
    }

    /// Whether events of one symbol that differ in their `interval` are topics of their own.
    #[inline]
    pub const fn has_intervals(self) -> bool {
        matches!(self, Self::CANDLE)
    }

    /// How names of this type are folded, with that `SYMBOL_CASE`: those of custom types never are.
    #[inline]
    pub const fn case(self, configured: SymbolCase) -> SymbolCase {
        if self.is_market() { configured } else { SymbolCase::Exact }
    }
}

/// A set of types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindSet(u64);

const _: () =
    assert!(Kind::MARKET.len() + TYPES_MAX <= u64::BITS as usize, "a set has one bit for each type");

impl KindSet {
    /// Whether the set has a type.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind.0) != 0
    }

    /// The types of the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        (0..u64::BITS as u8).map(Kind).filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<Kind> for KindSet {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind.0))
    }
}

/// What a gateway promises of a type of events.
///
/// The events of a market type keep the contract that [`Checker`](super::event::Checker) has for it. Those of a custom type are any JSON
/// objects. Their symbols are written as the workers write them.
#[derive(Debug, PartialEq, Eq)]
struct Contract {
    /// As channels, frames and clients name it.
    name: Box<str>,
    /// Whether the gateway carries it.
    is_carried: bool,
}

/// The types of one gateway and their contracts: the market types first, whether they are carried or not, then the custom ones in the
/// order of `CHANNEL_TYPES`. Clones share the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kinds(Arc<[Contract]>);

/// Why a list of types is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTypes {
    /// It names no type.
    #[error("no type is named")]
    None,
    /// It names more than [`TYPES_MAX`].
    #[error("more than {TYPES_MAX} types are named")]
    TooMany,
    /// This is no name of a type.
    #[error(
        "{0:?} is no type: a name has a-z, 0-9 and _, at most {TYPE_BYTES_MAX} characters, a letter first"
    )]
    Name(String),
    /// This name means something else in frames or requests.
    #[error("{0:?} is reserved: it means something else in messages")]
    Reserved(String),
}

/// Whether a name could be that of a type: `[a-z][a-z0-9_]{0,31}`, and none of [`RESERVED_TYPES`] and
/// [`REFUSED_EVENT`].
///
/// # Errors
/// What is wrong with it.
pub fn check_type_name(name: &str) -> Result<(), BadTypes> {
    let is_name = name.len() <= TYPE_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    match is_name {
        false => Err(BadTypes::Name(name.to_owned())),
        true if RESERVED_TYPES.contains(&name) || name == REFUSED_EVENT => {
            Err(BadTypes::Reserved(name.to_owned()))
        }
        true => Ok(()),
    }
}

impl Kinds {
    /// How many types the table has, carried or not: each [`Kind::index`] is below it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: the market types are always there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The type as channels, frames and clients name it.
    pub fn name(&self, kind: Kind) -> &str {
        self.0.get(kind.index()).map_or("", |contract| &contract.name)
    }

    /// The type of that name, if the gateway carries it.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<Kind> {
        let is_it = |contract: &Contract| contract.name.as_bytes() == name && contract.is_carried;
        self.0.iter().position(is_it).map(|place| Kind(place as u8))
    }

    /// Whether the gateway carries a type.
    pub fn carries(&self, kind: Kind) -> bool {
        self.0.get(kind.index()).is_some_and(|contract| contract.is_carried)
    }

    /// All types of the table, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = Kind> + use<> {
        (0..self.0.len() as u8).map(Kind)
    }

    /// The types that the gateway carries, in the order of their numbers.
    pub fn carried(&self) -> impl Iterator<Item = Kind> {
        self.iter().filter(|kind| self.carries(*kind))
    }

    fn new(market: KindSet, custom: Vec<Box<str>>) -> Self {
        let of_market = Kind::MARKET.into_iter().map(|kind| Contract {
            name: kind.market_name().unwrap_or_default().into(),
            is_carried: market.contains(kind),
        });
        let custom = custom.into_iter().map(|name| Contract { name, is_carried: true });
        Self(of_market.chain(custom).collect())
    }
}

impl Default for Kinds {
    /// Trades alone are carried.
    fn default() -> Self {
        [Kind::TRADE].into_iter().collect()
    }
}

impl FromIterator<Kind> for Kinds {
    /// A gateway that carries these market types and no other.
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self::new(kinds.into_iter().collect(), Vec::new())
    }
}

impl FromStr for Kinds {
    type Err = BadTypes;

    /// As `CHANNEL_TYPES` has them: names with commas between them.
    fn from_str(text: &str) -> Result<Self, BadTypes> {
        let (mut market, mut custom) = (Vec::new(), Vec::<Box<str>>::new());
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            check_type_name(name)?;
            match Kind::MARKET.into_iter().find(|kind| kind.market_name() == Some(name)) {
                Some(kind) if !market.contains(&kind) => market.push(kind),
                None if !custom.iter().any(|known| **known == *name) => custom.push(name.into()),
                _ => {}
            }
            if market.len() + custom.len() > TYPES_MAX {
                return Err(BadTypes::TooMany);
            }
        }
        match market.is_empty() && custom.is_empty() {
            true => Err(BadTypes::None),
            false => Ok(Self::new(market.into_iter().collect(), custom)),
        }
    }
}

impl fmt::Display for Kinds {
    /// As `CHANNEL_TYPES` has them: `trade,quote,order_book`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.carried().map(|kind| self.name(kind)).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_as_it_is_configured() {
        let kinds: Kinds = " quote, trade,order_book,quote,x,order_book ".parse().unwrap();
        assert_eq!(kinds.to_string(), "trade,quote,order_book,x");
        assert_eq!(kinds.to_string().parse(), Ok(kinds.clone()));
        assert_eq!(kinds.find(b"quote"), Some(Kind::QUOTE));
        assert_eq!((kinds.find(b"halt"), kinds.find(b"Trade"), kinds.find(b"y")), (None, None, None));
        let custom = kinds.find(b"order_book").unwrap();
        assert_eq!((custom.index(), custom.is_market(), kinds.name(custom)), (5, false, "order_book"));
        assert_eq!(kinds.name(Kind::HALT), "halt", "a market type has its name also where it isn't carried");
        assert_eq!((kinds.len(), kinds.carried().count()), (7, 4));
        assert_eq!(Kinds::default().to_string(), "trade");
        let market: Kinds = [Kind::QUOTE, Kind::TRADE, Kind::QUOTE].into_iter().collect();
        assert_eq!(market, "quote,trade".parse().unwrap());
    }

    #[test]
    fn names_of_types_are_told_from_others() {
        let parse = |text: &str| text.parse::<Kinds>().unwrap_err();
        assert_eq!((parse(""), parse(" , ")), (BadTypes::None, BadTypes::None));
        let long = "a".repeat(TYPE_BYTES_MAX + 1);
        for bad in ["Trade", "1x", "_x", "order-book", "a b", "ä", "x:y", &long] {
            assert_eq!(parse(&format!("trade,{bad}")), BadTypes::Name(bad.to_owned()));
        }
        for reserved in RESERVED_TYPES.into_iter().chain([REFUSED_EVENT]) {
            let refused = parse(&format!("trade,{reserved}"));
            assert_eq!(refused, BadTypes::Reserved(reserved.to_owned()));
            assert!(refused.to_string().contains(reserved), "{refused}");
        }
        assert!(long[1..].parse::<Kinds>().is_ok());
        let names = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(names(TYPES_MAX).parse::<Kinds>().unwrap().len(), 5 + TYPES_MAX);
        assert_eq!(parse(&names(TYPES_MAX + 1)), BadTypes::TooMany);
        assert_eq!(parse(&format!("trade,{}", names(TYPES_MAX))), BadTypes::TooMany);
    }

    #[test]
    fn only_names_of_market_types_are_folded() {
        let custom = "mine".parse::<Kinds>().unwrap().find(b"mine").unwrap();
        assert_eq!(Kind::TRADE.case(SymbolCase::Upper), SymbolCase::Upper);
        assert_eq!(Kind::TRADE.case(SymbolCase::Exact), SymbolCase::Exact);
        assert_eq!(custom.case(SymbolCase::Upper), SymbolCase::Exact);
    }
}
