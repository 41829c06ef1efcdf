//! The market's terms: types of events, symbols, and what clients subscribe to. Pure.
//!
//! Names that clients and channels give are normalised in the same way, so with `SYMBOL_CASE=upper` `aapl` and `AAPL` are one
//! symbol of a market type. Names of custom types are never folded.
//!
//! A candle's topic is its symbol and its interval. So a candle's name stands for several topics, as a pattern does, and inside the
//! gateway it is one: [`Pattern::of_intervals`].

mod delay;
pub mod event;
mod form;
mod kind;
pub mod patterns;
pub mod spelling;
mod symbol;

pub use self::delay::{DELAYS_MAX, Delay, Delays};
pub use self::form::{
    AlpacaChannel, BinanceShape, BinanceStream, Encoding, Form, MassiveChannel, MassiveMarket, Namespace,
};
pub use self::kind::{
    BadTypes, Kind, KindSet, Kinds, REFUSED_EVENT, RESERVED_TYPES, TYPE_BYTES_MAX, TYPES_MAX, check_type_name,
};
pub use self::symbol::{
    INTERVAL_BYTES_MAX, Name, Pattern, SYMBOL_BYTES_MAX, SYMBOL_RULE, Symbol, SymbolCase,
    TOPIC_KEY_BYTES_MAX, normalize_symbol,
};

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

/// A topic, or what a client subscribes to: a name within a type of events, in a form and with its delay. `MAX_SYMBOLS_PER_CLIENT` counts these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The type of the events.
    pub kind: Kind,
    /// How the events are written.
    pub form: Form,
    /// The symbol, with its interval if the topic has one; or the pattern.
    pub name: Name,
}

impl Subject {
    /// What a client means by a name within a type: a symbol of candles stands for all its intervals. In the form [`Form::JSON`].
    pub fn new(kind: Kind, name: Name) -> Self {
        Self::wanted(kind, Form::JSON, name)
    }

    /// What a client means by a name within a type, whose events it gets in that form: a symbol of candles stands for the intervals that the
    /// form has.
    pub fn wanted(kind: Kind, form: Form, name: Name) -> Self {
        let name = match name {
            // One with an interval is a topic already.
            Name::Symbol(symbol) if kind.has_intervals() && symbol.interval().is_none() => {
                match form.interval() {
                    None => Name::Pattern(Pattern::of_intervals(&symbol)),
                    Some(interval) => {
                        let mut buffer = [0; TOPIC_KEY_BYTES_MAX];
                        let key = Symbol::key_with_interval(symbol.as_bytes(), interval, &mut buffer);
                        Name::Symbol(Symbol::of_topic(key))
                    }
                }
            }
            name => name,
        };
        Self { kind, form, name }
    }

    /// A name within a type, in the form [`Form::JSON`]. A symbol of candles has its interval.
    pub const fn literal(kind: Kind, name: Name) -> Self {
        Self { kind, form: Form::JSON, name }
    }

    /// The same in another form.
    #[must_use]
    pub fn in_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// A name as a client writes it, within a type; `None` if it is none. `case` is `SYMBOL_CASE`.
    pub fn parse(kind: Kind, name: &[u8], case: SymbolCase) -> Option<Self> {
        Name::parse(name, kind.case(case)).map(|name| Self::new(kind, name))
    }
}
