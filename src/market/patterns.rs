//! The patterns in use, and which of them match a symbol. Pure.
//!
//! A pattern is a prefix, so whatever matches a symbol is found by looking up the symbol's own beginnings: one look-up for
//! each length of prefix that is in use, however many patterns there are.

use std::borrow::Borrow;
use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::{Form, Kind, Pattern, TYPES_MAX};

impl Borrow<[u8]> for Pattern {
    fn borrow(&self) -> &[u8] {
        self.prefix()
    }
}

/// Patterns of each type in each form, with something kept for each.
#[derive(Debug)]
pub struct Patterns<V>(Vec<OfType<V>>);

/// Places of one form: one for each type.
const PLACES: usize = Kind::MARKET.len() + TYPES_MAX;

const fn place(kind: Kind, form: Form) -> usize {
    (form.delay().index() * Form::COUNT + form.index()) * PLACES + kind.index()
}

#[derive(Debug)]
struct OfType<V> {
    by_prefix: HashMap<Pattern, V, RandomState>,
    /// The lengths of prefixes in use, the longest first, and how many patterns have each.
    lengths: Vec<(usize, usize)>,
}

impl<V> Default for OfType<V> {
    fn default() -> Self {
        Self { by_prefix: HashMap::default(), lengths: Vec::new() }
    }
}

impl<V> Default for Patterns<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Patterns<V> {
    /// The forms without a delay that have, or have had, patterns, and perhaps some others.
    #[inline]
    pub fn forms(&self) -> impl Iterator<Item = Form> + use<V> {
        Form::ALL.into_iter().take(self.0.len().div_ceil(PLACES))
    }

    /// Whether no type has any.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|of_type| of_type.lengths.is_empty())
    }

    /// What is kept for a pattern.
    pub fn get(&self, kind: Kind, form: Form, pattern: &Pattern) -> Option<&V> {
        self.0.get(place(kind, form))?.by_prefix.get(pattern)
    }

    /// What is kept for a pattern.
    pub fn get_mut(&mut self, kind: Kind, form: Form, pattern: &Pattern) -> Option<&mut V> {
        self.0.get_mut(place(kind, form))?.by_prefix.get_mut(pattern)
    }

    /// What is kept for the pattern of a prefix.
    pub fn of_prefix_mut(&mut self, kind: Kind, form: Form, prefix: &[u8]) -> Option<&mut V> {
        self.0.get_mut(place(kind, form))?.by_prefix.get_mut(prefix)
    }

    /// Adds a pattern, or replaces what is kept for it.
    pub fn insert(&mut self, kind: Kind, form: Form, pattern: Pattern, value: V) {
        let place = place(kind, form);
        if self.0.len() <= place {
            self.0.resize_with(place + 1, OfType::default);
        }
        let OfType { by_prefix, lengths } = &mut self.0[place];
        let length = pattern.prefix().len();
        if by_prefix.insert(pattern, value).is_some() {
            return;
        }
        match lengths.binary_search_by(|(each, _)| length.cmp(each)) {
            Ok(at) => lengths[at].1 += 1,
            Err(at) => lengths.insert(at, (length, 1)),
        }
    }

    /// Takes a pattern out.
    pub fn remove(&mut self, kind: Kind, form: Form, pattern: &Pattern) -> Option<V> {
        let OfType { by_prefix, lengths } = self.0.get_mut(place(kind, form))?;
        let value = by_prefix.remove(pattern)?;
        let length = pattern.prefix().len();
        if let Ok(at) = lengths.binary_search_by(|(each, _)| length.cmp(each)) {
            lengths[at].1 -= 1;
            if lengths[at].1 == 0 {
                lengths.remove(at);
            }
        }
        Some(value)
    }

    /// What is kept for the patterns that match a symbol, the longest first.
    #[inline]
    pub fn matching(&self, kind: Kind, form: Form, symbol: &[u8]) -> impl Iterator<Item = &V> {
        let of_type = self.0.get(place(kind, form)).filter(|of_type| {
            // Most types have no pattern in most forms.
            !of_type.lengths.is_empty() && form.suits(kind, symbol)
        });
        of_type.into_iter().flat_map(|OfType { by_prefix, lengths }| {
            lengths.iter().filter_map(|(length, _)| by_prefix.get(symbol.get(..*length)?))
        })
    }

    /// What is kept for the longest pattern that matches a symbol.
    pub fn longest_mut(&mut self, kind: Kind, form: Form, symbol: &[u8]) -> Option<&mut V> {
        if !form.suits(kind, symbol) {
            return None;
        }
        let OfType { by_prefix, lengths } = self.0.get_mut(place(kind, form))?;
        let beginnings = lengths.iter().filter_map(|(length, _)| symbol.get(..*length));
        let longest = beginnings.into_iter().find(|beginning| by_prefix.contains_key(*beginning))?;
        by_prefix.get_mut(longest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;
    use crate::market::{Delays, Name, SymbolCase};

    fn pattern(text: &str) -> Pattern {
        match Name::parse(text.as_bytes(), SymbolCase::Upper) {
            Some(Name::Pattern(pattern)) => pattern,
            other => panic!("{text}: {other:?}"),
        }
    }

    proptest! {
        /// Against a plain map that is searched from end to end.
        #[test]
        fn a_symbol_is_matched_by_its_beginnings_the_longest_first(
            steps in prop::collection::vec((any::<bool>(), 0..5usize, "[AB]{0,4}"), 1..60),
            symbol in "[AB]{1,6}",
        ) {
            let delays = Delays::new([NonZeroU32::MIN]).unwrap();
            let delay = delays.at_least(1).unwrap();
            let places = [
                (Kind::TRADE, Form::JSON),
                (Kind::HALT, Form::JSON),
                (Kind::TRADE, Form::SSE),
                (Kind::HALT, Form::JSON_BATCH),
                (Kind::TRADE, Form::JSON.delayed(delay)),
            ];
            let mut patterns = Patterns::default();
            let mut model: BTreeMap<((Kind, Form), String), usize> = BTreeMap::new();
            for (step, (add, at, prefix)) in steps.into_iter().enumerate() {
                let (kind, form) = places[at];
                let pattern = pattern(&format!("{prefix}*"));
                if add {
                    patterns.insert(kind, form, pattern, step);
                    model.insert(((kind, form), prefix), step);
                } else {
                    let removed = patterns.remove(kind, form, &pattern);
                    prop_assert_eq!(removed, model.remove(&((kind, form), prefix)));
                }
                prop_assert_eq!(patterns.is_empty(), model.is_empty());
                prop_assert!(model.keys().filter(|((_, form), _)| form.delay().is_none()).all(|((_, form), _)| patterns.forms().any(|each| each == *form)));
                for (kind, form) in places {
                    let matches = |(each, prefix): &&((Kind, Form), String)| {
                        *each == (kind, form) && symbol.starts_with(prefix.as_str())
                    };
                    let mut expected: Vec<_> = model.keys().filter(matches).collect();
                    expected.sort_by_key(|(_, prefix)| std::cmp::Reverse(prefix.len()));
                    let expected: Vec<usize> = expected.into_iter().map(|key| model[key]).collect();
                    let found: Vec<usize> = patterns.matching(kind, form, symbol.as_bytes()).copied().collect();
                    prop_assert_eq!(&found, &expected);
                    let longest = patterns.longest_mut(kind, form, symbol.as_bytes());
                    prop_assert_eq!(longest.copied(), expected.first().copied());
                }
            }
        }
    }
}
