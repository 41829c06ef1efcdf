//! Symbols, and the patterns that stand for several of them.

use std::borrow::Borrow;
use std::fmt;

use smallvec::SmallVec;

/// The longest symbol, in bytes.
pub const SYMBOL_BYTES_MAX: usize = 64;

/// What a symbol must be, for messages.
pub const SYMBOL_RULE: &str =
    r#"1-64 printable ASCII characters without " \ , * and without a space at either end"#;

const _: () = assert!(SYMBOL_BYTES_MAX == 64, "SYMBOL_RULE names it");

/// The longest interval of a candle, in bytes.
pub const INTERVAL_BYTES_MAX: usize = 32;

/// The longest [`Symbol`] with an interval, in bytes.
pub const TOPIC_KEY_BYTES_MAX: usize = SYMBOL_BYTES_MAX + 1 + INTERVAL_BYTES_MAX;

/// Stands between a symbol and an interval: a byte that no symbol has.
const INTERVAL_MARK: u8 = 0x1f;

/// `SYMBOL_CASE`: whether `aapl` is `AAPL`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SymbolCase {
    /// It is: names are upper-cased.
    #[default]
    Upper,
    /// It is another symbol: names stay as they are.
    Exact,
}

impl SymbolCase {
    /// For each byte what it is in a symbol; 0 = it is in none.
    const fn bytes(self) -> &'static [u8; 256] {
        const UPPER: [u8; 256] = symbol_bytes(true);
        const EXACT: [u8; 256] = symbol_bytes(false);
        match self {
            Self::Upper => &UPPER,
            Self::Exact => &EXACT,
        }
    }

    /// The case as settings and the page name it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Upper => "upper",
            Self::Exact => "exact",
        }
    }

    /// Whether a name is that symbol.
    pub fn matches(self, name: &str, symbol: &[u8]) -> bool {
        match self {
            Self::Upper => name.as_bytes().eq_ignore_ascii_case(symbol),
            Self::Exact => name.as_bytes() == symbol,
        }
    }
}

/// The table of [`SymbolCase::bytes`].
const fn symbol_bytes(is_upper_cased: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        table[byte as usize] = match byte {
            b'"' | b'\\' | b',' | b'*' => 0,
            _ if is_upper_cased => byte.to_ascii_uppercase(),
            _ => byte,
        };
        byte += 1;
    }
    table
}

/// An instrument's name, normalised: see [`SYMBOL_RULE`]. None of its characters needs an escape in JSON. The symbol of a topic may have
/// an interval behind it, which clients never see.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(SmallVec<[u8; 16]>);

impl Symbol {
    /// Checks and normalises a name that a client or a channel gave; `None` if it is no symbol.
    pub fn parse(name: &[u8], case: SymbolCase) -> Option<Self> {
        let mut buffer = [0; SYMBOL_BYTES_MAX];
        normalize_symbol(name, case, &mut buffer).map(|symbol| Self(SmallVec::from_slice(symbol)))
    }

    /// The symbol of a topic: one that is normalised, or what [`Symbol::key_with_interval`] has made of it.
    pub(crate) fn of_topic(key: &[u8]) -> Self {
        Self(SmallVec::from_slice(key))
    }

    /// Writes a normalised symbol and an interval into `buffer` as the key of their topic, without allocating. An interval of more than
    /// [`INTERVAL_BYTES_MAX`] bytes is cut off.
    pub(crate) fn key_with_interval<'b>(
        symbol: &[u8],
        interval: &str,
        buffer: &'b mut [u8; TOPIC_KEY_BYTES_MAX],
    ) -> &'b [u8] {
        let parts = symbol.iter().chain(&[INTERVAL_MARK]).chain(interval.as_bytes());
        let length = buffer.iter_mut().zip(parts).map(|(to, from)| *to = *from).count();
        &buffer[..length]
    }

    /// The symbol as text, without the interval; it is ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(name_of(&self.0)).unwrap_or_default()
    }

    /// The interval, if the topic has one: as the worker wrote it, a string without its quotes.
    pub fn interval(&self) -> Option<&str> {
        interval_of(&self.0).and_then(|interval| std::str::from_utf8(interval).ok())
    }

    /// The symbol of the topic that it has with an interval of at most [`INTERVAL_BYTES_MAX`] bytes.
    #[must_use]
    pub fn with_interval(&self, interval: &str) -> Self {
        Self::of_topic(Self::key_with_interval(&self.0, interval, &mut [0; TOPIC_KEY_BYTES_MAX]))
    }

    /// The symbol as bytes, with the interval if the topic has one.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Symbol {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
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

/// The symbol in the key of a topic, without the interval.
pub(super) fn name_of(key: &[u8]) -> &[u8] {
    memchr::memchr(INTERVAL_MARK, key).map_or(key, |end| &key[..end])
}

/// The interval in the key of a topic, if it has one.
pub(super) fn interval_of(key: &[u8]) -> Option<&[u8]> {
    memchr::memchr(INTERVAL_MARK, key).map(|end| &key[end + 1..])
}

/// Every symbol that begins with a prefix: `BTC-*`, or `*` for every symbol there is. Or all intervals of one symbol.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(SmallVec<[u8; 16]>);

impl Pattern {
    /// Checks and normalises a prefix; `None` if no symbol begins so. Unlike a symbol it may end in a space: `AAPL  *` stands
    /// for the options of AAPL.
    fn parse(prefix: &[u8], case: SymbolCase) -> Option<Self> {
        if prefix.len() > SYMBOL_BYTES_MAX || prefix.first() == Some(&b' ') {
            return None;
        }
        let table = case.bytes();
        let byte = |byte: &u8| Some(table[usize::from(*byte)]).filter(|byte| *byte != 0);
        prefix.iter().map(byte).collect::<Option<_>>().map(Self)
    }

    /// The topics of a symbol, one for each interval. As a name it is the symbol.
    pub fn of_intervals(symbol: &Symbol) -> Self {
        let mut prefix = symbol.0.clone();
        prefix.push(INTERVAL_MARK);
        Self(prefix)
    }

    /// The symbol that clients know it as, if it stands for the intervals of one.
    pub fn symbol_of_intervals(&self) -> Option<&[u8]> {
        self.0.strip_suffix(&[INTERVAL_MARK])
    }

    /// Whether it stands for the intervals of one symbol.
    pub fn is_of_intervals(&self) -> bool {
        self.symbol_of_intervals().is_some()
    }

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
        let star = if self.is_of_intervals() { "" } else { "*" };
        write!(f, "{}{star}", std::str::from_utf8(name_of(&self.0)).unwrap_or_default())
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
    /// Checks and normalises what a client wrote; a trailing star makes it a pattern. `None` if it is neither.
    pub fn parse(name: &[u8], case: SymbolCase) -> Option<Self> {
        match name {
            [prefix @ .., b'*'] => Pattern::parse(prefix, case).map(Self::Pattern),
            _ => Symbol::parse(name, case).map(Self::Symbol),
        }
    }

    /// The symbol, if it is one.
    pub fn symbol(&self) -> Option<&Symbol> {
        match self {
            Self::Symbol(symbol) => Some(symbol),
            Self::Pattern(_) => None,
        }
    }

    /// What clients write, without a pattern's star: ASCII that needs no escape in JSON.
    pub fn text(&self) -> &[u8] {
        match self {
            Self::Symbol(symbol) => name_of(&symbol.0),
            Self::Pattern(pattern) => name_of(&pattern.0),
        }
    }

    /// Whether it is that symbol, stands for its intervals, or matches it.
    pub fn covers(&self, symbol: &Symbol) -> bool {
        match self {
            Self::Symbol(name) => name == symbol,
            Self::Pattern(pattern) => match pattern.symbol_of_intervals() {
                Some(name) => name == symbol.as_bytes(),
                None => pattern.matches(symbol.as_bytes()),
            },
        }
    }

    /// Whether it is a pattern to clients: a candle's symbol is none.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Pattern(pattern) if !pattern.is_of_intervals())
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

/// Writes the symbol of a channel into `buffer`, normalised, and returns it without allocating; `None` if the name is no
/// symbol. The hot path's form of [`Symbol::parse`].
#[inline]
pub fn normalize_symbol<'b>(
    name: &[u8],
    case: SymbolCase,
    buffer: &'b mut [u8; SYMBOL_BYTES_MAX],
) -> Option<&'b [u8]> {
    let out = buffer.get_mut(..name.len())?;
    if name.first()? == &b' ' || name.last()? == &b' ' {
        return None;
    }
    let table = case.bytes();
    let mut is_symbol = true;
    for (to, &from) in out.iter_mut().zip(name) {
        *to = table[usize::from(from)];
        is_symbol &= *to != 0;
    }
    is_symbol.then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn symbols_of_all_markets_are_symbols() {
        for name in
            ["M&M.NS", "ES1!", "$SPX", "AAPL  240119C00190000", "A/B:C=^+@#._-9", "BRK.B", "~", "a'b", "{x}"]
        {
            assert_eq!(Symbol::parse(name.as_bytes(), SymbolCase::Exact).unwrap().as_str(), name);
            let upper = Symbol::parse(name.as_bytes(), SymbolCase::Upper).unwrap();
            assert_eq!(upper.as_str(), name.to_ascii_uppercase());
        }
        assert_ne!(Symbol::parse(b"AMpB", SymbolCase::Exact), Symbol::parse(b"AMPB", SymbolCase::Exact));
    }

    #[test]
    fn a_trailing_star_makes_a_pattern() {
        let parse = |name: &[u8]| Name::parse(name, SymbolCase::Upper);
        let Some(Name::Pattern(pattern)) = parse(b"btc-*") else { panic!("no pattern") };
        assert_eq!(pattern.to_string(), "BTC-*");
        assert!(pattern.matches(b"BTC-USD") && pattern.matches(b"BTC-") && !pattern.matches(b"BTC"));
        assert!(parse(b"*").unwrap().is_everything());
        assert!(!parse(b"A*").unwrap().is_everything());
        assert_eq!(parse(b"AAPL  *").unwrap().to_string(), "AAPL  *");
        assert_eq!(Name::parse(b"am*", SymbolCase::Exact).unwrap().to_string(), "am*");
        for bad in [&b"*A"[..], b"**", b"A*B", b" *", b" A*", b"A\"*", b"\xc3\xa4*", &[b'*'; 66]] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
        let longest = [&[b'A'; SYMBOL_BYTES_MAX][..], b"*"].concat();
        assert!(parse(&longest).is_some());
    }

    #[test]
    fn an_interval_stands_behind_a_symbol_where_nobody_sees_it() {
        let aapl = Symbol::parse(b"AAPL", SymbolCase::Exact).unwrap();
        let mut buffer = [0; TOPIC_KEY_BYTES_MAX];
        let topic = Symbol::of_topic(Symbol::key_with_interval(b"AAPL", "1m", &mut buffer));
        assert_ne!(topic, aapl);
        assert_eq!((topic.as_str(), topic.to_string()), ("AAPL", "AAPL".to_owned()));
        let all = Pattern::of_intervals(&aapl);
        assert!(all.matches(topic.as_bytes()) && !all.matches(b"AAPL") && !all.matches(b"AAPLX"));
        assert_eq!(all.to_string(), "AAPL");
        assert!(!Name::Pattern(all).is_wildcard() && !Name::Symbol(aapl).is_wildcard());
        let longest = [b'A'; SYMBOL_BYTES_MAX];
        let key = Symbol::key_with_interval(&longest, &"m".repeat(INTERVAL_BYTES_MAX + 1), &mut buffer);
        assert_eq!((key.len(), name_of(key)), (TOPIC_KEY_BYTES_MAX, &longest[..]));
        let Some(Name::Pattern(wildcard)) = Name::parse(b"AA*", SymbolCase::Exact) else { panic!() };
        assert!(wildcard.matches(topic.as_bytes()));
    }

    proptest! {
        /// The rule, as clients are told it.
        #[test]
        fn a_symbol_is_what_the_rule_says(name in prop::collection::vec(prop_oneof![0x1e_u8..0x81, Just(b' '), any::<u8>()], 0..70)) {
            let fits = (1..=64).contains(&name.len())
                && name.iter().all(|byte| (0x20..=0x7e).contains(byte) && !b"\"\\,*".contains(byte))
                && !name.starts_with(b" ")
                && !name.ends_with(b" ");
            for (case, expected) in [(SymbolCase::Upper, name.to_ascii_uppercase()), (SymbolCase::Exact, name.clone())] {
                let symbol = Symbol::parse(&name, case);
                prop_assert_eq!(symbol.as_ref().map(Symbol::as_bytes), fits.then_some(expected.as_slice()));
                if let Some(symbol) = symbol {
                    prop_assert_eq!(serde_json::Value::from(symbol.as_str()).to_string(), format!("\"{symbol}\""));
                    prop_assert!(case.matches(std::str::from_utf8(&name).unwrap(), symbol.as_bytes()));
                }
            }
        }
    }
}
