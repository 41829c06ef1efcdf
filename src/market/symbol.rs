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

/// An instrument's name, normalised: see [`SYMBOL_RULE`]. None of its characters needs an escape in JSON.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(SmallVec<[u8; 16]>);

impl Symbol {
    /// Checks and normalises a name that a client or a channel gave; `None` if it is no symbol.
    pub fn parse(name: &[u8], case: SymbolCase) -> Option<Self> {
        let mut buffer = [0; SYMBOL_BYTES_MAX];
        normalize_symbol(name, case, &mut buffer).map(|symbol| Self(SmallVec::from_slice(symbol)))
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

/// Every symbol that begins with a prefix: `BTC-*`, or `*` for every symbol there is.
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
