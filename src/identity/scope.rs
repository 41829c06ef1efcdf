//! A set of names that somebody may have: symbols, and patterns that end in a star. Pure.
//!
//! A request is intersected with it once, when a client subscribes. Both are lists of symbols and prefixes, and so is what they have in
//! common: of two patterns, one begins with the other or nothing begins with both.

use crate::market::{Kind, Name, Pattern, Subject, Symbol, SymbolCase};

/// Names that somebody may have. None of them is covered by another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Sorted; no pattern matches any.
    symbols: Vec<Symbol>,
    /// Sorted; none begins with another one.
    patterns: Vec<Pattern>,
}

/// The names that somebody may have, as each type of events writes them: those of custom types are never folded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes {
    of_market: Scope,
    /// Of the market types whose topics have intervals.
    of_intervals: Scope,
    of_custom: Scope,
}

impl Scopes {
    /// The scopes of names as somebody wrote them; `None` if one of them is no name. `case` is `SYMBOL_CASE`.
    pub fn new(names: &[&str], case: SymbolCase) -> Option<Self> {
        let read = |case| -> Option<Vec<_>> {
            names.iter().map(|name| Name::parse(name.as_bytes(), case)).collect()
        };
        let of_market = read(case)?;
        let of_intervals = of_market.iter().cloned().map(|name| Subject::new(Kind::CANDLE, name).name);
        Some(Self {
            of_intervals: Scope::new(of_intervals),
            of_market: Scope::new(of_market),
            of_custom: Scope::new(read(SymbolCase::Exact)?),
        })
    }

    /// The scope of a type, with names as its subjects have them ([`Subject::new`]).
    pub const fn of(&self, kind: Kind) -> &Scope {
        match kind.is_market() {
            true if kind.has_intervals() => &self.of_intervals,
            true => &self.of_market,
            false => &self.of_custom,
        }
    }
}

impl Scope {
    /// The scope of those names.
    pub fn new(names: impl IntoIterator<Item = Name>) -> Self {
        let (mut symbols, mut patterns) = (Vec::new(), Vec::<Pattern>::new());
        for name in names {
            match name {
                Name::Symbol(symbol) => symbols.push(symbol),
                Name::Pattern(pattern) => patterns.push(pattern),
            }
        }
        // What begins with a pattern's prefix stands right behind it.
        patterns.sort_unstable();
        patterns.dedup_by(|longer, shorter| shorter.matches(longer.prefix()));
        let mut scope = Self { symbols: Vec::new(), patterns };
        symbols.retain(|symbol: &Symbol| scope.pattern_of(symbol.as_bytes()).is_none());
        symbols.sort_unstable();
        symbols.dedup();
        scope.symbols = symbols;
        scope
    }

    /// What a name and the scope have in common: nothing, the name itself, or, of a pattern, the names of the scope that it covers.
    /// No name of the answer covers another one.
    pub fn intersect(&self, name: &Name) -> Vec<Name> {
        if self.has_all_of(name) {
            return vec![name.clone()];
        }
        let Name::Pattern(pattern) = name else { return Vec::new() };
        let symbols = beginning_with(&self.symbols, Symbol::as_bytes, pattern.prefix()).iter().cloned();
        let patterns = beginning_with(&self.patterns, Pattern::prefix, pattern.prefix()).iter().cloned();
        symbols.map(Name::Symbol).chain(patterns.map(Name::Pattern)).collect()
    }

    /// Whether all that a name stands for is in the scope.
    fn has_all_of(&self, name: &Name) -> bool {
        match name {
            Name::Symbol(symbol) => {
                self.pattern_of(symbol.as_bytes()).is_some() || self.symbols.binary_search(symbol).is_ok()
            }
            Name::Pattern(pattern) => self.pattern_of(pattern.prefix()).is_some(),
        }
    }

    /// The pattern that a text begins with: there is at most one.
    fn pattern_of(&self, text: &[u8]) -> Option<&Pattern> {
        // Of those that are not behind the text, the last one: whatever stands between a beginning of the text and the text
        // begins as that does, and would be covered by it.
        let behind = self.patterns.partition_point(|pattern| pattern.prefix() <= text);
        self.patterns[..behind].last().filter(|pattern| pattern.matches(text))
    }
}

/// Those of a sorted list that begin with a prefix.
fn beginning_with<'l, T>(list: &'l [T], bytes: impl Fn(&T) -> &[u8], prefix: &[u8]) -> &'l [T] {
    let from = list.partition_point(|each| bytes(each) < prefix);
    let count = list[from..].partition_point(|each| bytes(each).starts_with(prefix));
    &list[from..from + count]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes(), SymbolCase::Exact).unwrap()
    }

    /// Whether a name stands for a symbol.
    fn covers(name: &Name, symbol: &str) -> bool {
        match name {
            Name::Symbol(one) => one.as_str() == symbol,
            Name::Pattern(pattern) => pattern.matches(symbol.as_bytes()),
        }
    }

    #[test]
    fn names_and_prefixes_intersect_to_names_and_prefixes() {
        let scope = Scope::new(["BTC-*", "ETH-USD", "ETH-EUR", "AAPL"].map(name));
        let common =
            |text: &str| -> Vec<_> { scope.intersect(&name(text)).iter().map(ToString::to_string).collect() };
        assert_eq!(common("AAPL"), ["AAPL"]);
        assert_eq!(common("MSFT"), [""; 0]);
        assert_eq!(common("BTC-USD"), ["BTC-USD"]);
        assert_eq!(common("BTC-U*"), ["BTC-U*"]);
        assert_eq!(common("ETH-*"), ["ETH-EUR", "ETH-USD"]);
        assert_eq!(common("*"), ["AAPL", "ETH-EUR", "ETH-USD", "BTC-*"]);
        assert_eq!(common("X*"), [""; 0]);
        assert_eq!(Scope::default().intersect(&name("*")), []);
    }

    proptest! {
        /// Against the sets of all short symbols that they stand for.
        #[test]
        fn what_is_common_stands_for_what_both_stand_for(
            names in prop::collection::vec("[AB]{1,3}|[AB]{0,3}\\*", 0..8),
            asked in "[AB]{1,3}|[AB]{0,3}\\*",
        ) {
            let names: Vec<_> = names.iter().map(|text| name(text)).collect();
            let asked = name(&asked);
            let scope = Scope::new(names.clone());
            let common = scope.intersect(&asked);
            let symbols = (1..=5_u32).flat_map(|length| {
                (0..1_u32 << length).map(move |bits| {
                    (0..length).map(|at| if bits >> at & 1 == 0 { 'A' } else { 'B' }).collect::<String>()
                })
            });
            for symbol in symbols {
                let is_common = covers(&asked, &symbol) && names.iter().any(|name| covers(name, &symbol));
                let by = common.iter().filter(|name| covers(name, &symbol)).count();
                prop_assert_eq!(by, usize::from(is_common), "{}", symbol);
            }
        }
    }
}
