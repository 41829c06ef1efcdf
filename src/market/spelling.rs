//! How dialects spell symbols whose workers publish them under other names. Pure.
//!
//! A file has a line for each: the workers' name, `=`, the dialects' (`BTC-USD=BTCUSDT`). Since a symbol may have a `=` in it and a dialect's
//! name may not, the last one of a line separates them. Empty lines and those that begin with `#` are passed over.

use std::collections::HashMap;
use std::sync::Arc;

use super::{SYMBOL_RULE, Symbol, SymbolCase};

/// Names of symbols in dialects. Symbols that it doesn't name are spelled as workers spell them. Clones share the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spelling(Option<Arc<Table>>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    spelled: HashMap<Symbol, Symbol>,
    symbols: HashMap<Symbol, Symbol>,
}

/// What is wrong with a file of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct SpellingError {
    /// The first bad line, counted from 1.
    line: usize,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("the workers' name, = and the dialects' name are expected")]
    NoPair,
    #[error("a name must be {SYMBOL_RULE}")]
    NoSymbol,
    #[error("a name stands in the file twice")]
    Twice,
}

impl Spelling {
    /// Reads a file of names.
    ///
    /// # Errors
    /// The first bad line, and what is wrong with it.
    pub fn parse(text: &str, case: SymbolCase) -> Result<Self, SpellingError> {
        let mut table = Table::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                table.add(line, case).map_err(|fault| SpellingError { line: at + 1, fault })?;
            }
        }
        Ok(Self((!table.symbols.is_empty()).then(|| Arc::new(table))))
    }

    /// A symbol as dialects spell it.
    #[inline]
    pub fn of<'s>(&'s self, symbol: &'s Symbol) -> &'s str {
        let Some(table) = &self.0 else { return symbol.as_str() };
        // A topic's symbol may have an interval behind it.
        table.spelled.get(symbol.as_str().as_bytes()).unwrap_or(symbol).as_str()
    }

    /// The symbol that a dialect's name stands for.
    pub fn symbol(&self, name: Symbol) -> Symbol {
        self.0.as_ref().and_then(|table| table.symbols.get(&name)).cloned().unwrap_or(name)
    }
}

impl Table {
    fn add(&mut self, line: &str, case: SymbolCase) -> Result<(), Fault> {
        let (symbol, name) = line.rsplit_once('=').ok_or(Fault::NoPair)?;
        let read = |text: &str| Symbol::parse(text.trim().as_bytes(), case).ok_or(Fault::NoSymbol);
        let (symbol, name) = (read(symbol)?, read(name)?);
        let is_new = self.spelled.insert(symbol.clone(), name.clone()).is_none();
        let is_new = self.symbols.insert(name, symbol).is_none() && is_new;
        if is_new { Ok(()) } else { Err(Fault::Twice) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: &str) -> Symbol {
        Symbol::parse(name.as_bytes(), SymbolCase::Upper).unwrap()
    }

    #[test]
    fn names_are_changed_both_ways() {
        let spelling =
            Spelling::parse("# ours = theirs\n\nBTC-USD=btcusdt\nES=F = ESF\n", SymbolCase::Upper).unwrap();
        assert_eq!(spelling.of(&symbol("BTC-USD")), "BTCUSDT");
        assert_eq!(spelling.of(&Symbol::of_topic(b"BTC-USD\x1f1m")), "BTCUSDT");
        assert_eq!(spelling.of(&symbol("ES=F")), "ESF");
        assert_eq!(spelling.of(&symbol("AAPL")), "AAPL");
        assert_eq!(spelling.symbol(symbol("BTCUSDT")), symbol("BTC-USD"));
        assert_eq!(spelling.symbol(symbol("AAPL")), symbol("AAPL"));
        assert_eq!(Spelling::default().of(&symbol("AAPL")), "AAPL");
    }

    #[test]
    fn the_first_bad_line_is_named() {
        for (line, fault) in [
            ("BTC-USD", Fault::NoPair),
            ("=A", Fault::NoSymbol),
            ("A*=B", Fault::NoSymbol),
            ("X=Z", Fault::Twice),
            ("Z=Y", Fault::Twice),
        ] {
            let read = Spelling::parse(&format!("X=Y\n{line}\n"), SymbolCase::Upper);
            assert_eq!(read, Err(SpellingError { line: 2, fault }), "{line}");
        }
        assert_eq!(Spelling::parse("#\n", SymbolCase::Upper), Ok(Spelling::default()));
    }
}
