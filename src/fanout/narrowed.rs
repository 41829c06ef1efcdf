//! What a client has asked for whose rights cover only some names, and what it is subscribed to in its place. Pure.
//!
//! A client that may have `BTC-*` and asks for `*` is subscribed to `BTC-*`, and told that it has `*`. The index knows the parts that a
//! client is subscribed to; this list knows what the client wrote. Clients whose rights cover every name have no such list.

use std::collections::{HashMap, HashSet};

use crate::identity::Grant;
use crate::market::Subject;

/// The subscriptions of one client as it wrote them.
#[derive(Debug, Default)]
pub struct Narrowed {
    /// In the order in which they were first subscribed.
    grants: Vec<Grant>,
    /// How many grants have a part.
    parts: HashMap<Subject, u32>,
}

impl Narrowed {
    /// What the client wrote, in the order in which it was first subscribed.
    pub fn written(&self) -> impl Iterator<Item = &Subject> {
        self.grants.iter().map(|grant| &grant.written)
    }

    /// How many subscriptions the client would have with those (which have no repeats).
    pub fn count_with<'s>(&self, subjects: impl Iterator<Item = &'s Subject>) -> usize {
        let held: HashSet<_> = self.written().collect();
        held.len() + subjects.filter(|subject| !held.contains(subject)).count()
    }

    /// What the client wrote, each with one of the parts that it is subscribed to in its place.
    pub fn parts(&self) -> impl Iterator<Item = (&Subject, &Subject)> {
        self.grants.iter().filter_map(|grant| Some((&grant.written, grant.parts.first()?)))
    }

    /// Adds those that the client doesn't have.
    pub fn add(&mut self, grants: Vec<Grant>) {
        let held: HashSet<_> = self.written().cloned().collect();
        for grant in grants.into_iter().filter(|grant| !held.contains(&grant.written)) {
            for part in &grant.parts {
                *self.parts.entry(part.clone()).or_default() += 1;
            }
            self.grants.push(grant);
        }
    }

    /// Removes what the client wrote, as far as it has it. Returns that, in the order of `written` (which has no repeats), and the parts
    /// that no other subscription of the client has.
    pub fn remove(&mut self, written: &[Subject]) -> (Vec<Subject>, Vec<Subject>) {
        let named: HashSet<_> = written.iter().collect();
        let is_named = |grant: &mut Grant| named.contains(&grant.written);
        let removed: HashMap<_, _> =
            self.grants.extract_if(.., is_named).map(|grant| (grant.written, grant.parts)).collect();
        let left = written.iter().filter(|subject| removed.contains_key(*subject)).cloned().collect();
        let mut ended = Vec::new();
        for part in removed.into_values().flatten() {
            let Some(count) = self.parts.get_mut(&part) else { continue };
            *count -= 1;
            if *count == 0 {
                self.parts.remove(&part);
                ended.push(part);
            }
        }
        (left, ended)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::market::{Kind, SymbolCase};

    fn subject(text: &str) -> Subject {
        Subject::parse(Kind::TRADE, text.as_bytes(), SymbolCase::Upper).unwrap()
    }

    fn grant(number: usize) -> Grant {
        const GRANTS: [(&str, &[&str]); 5] =
            [("*", &["AAPL", "B*", "C"]), ("B*", &["B*"]), ("C", &["C"]), ("C*", &["C"]), ("BTC", &["BTC"])];
        let (written, parts) = GRANTS[number];
        Grant { written: subject(written), parts: parts.iter().map(|part| subject(part)).collect() }
    }

    proptest! {
        /// Against a list that is gone through from end to end.
        #[test]
        fn a_part_ends_with_the_last_subscription_that_has_it(
            steps in prop::collection::vec((any::<bool>(), prop::collection::btree_set(0..5_usize, 1..4)), 1..30),
        ) {
            let (mut narrowed, mut model) = (Narrowed::default(), Vec::<usize>::new());
            for (is_added, numbers) in steps {
                let parts = |held: &[usize]| -> BTreeSet<Subject> {
                    held.iter().flat_map(|number| grant(*number).parts).collect()
                };
                if is_added {
                    let new: Vec<_> = numbers.iter().copied().filter(|number| !model.contains(number)).collect();
                    let written: Vec<_> = numbers.iter().map(|number| grant(*number).written).collect();
                    prop_assert_eq!(narrowed.count_with(written.iter()), model.len() + new.len());
                    narrowed.add(numbers.iter().map(|number| grant(*number)).collect());
                    model.extend(new);
                } else {
                    let before = parts(&model);
                    let written: Vec<_> = numbers.iter().map(|number| grant(*number).written).collect();
                    let expected: Vec<_> = numbers.iter().filter(|number| model.contains(number)).collect();
                    let expected: Vec<_> = expected.into_iter().map(|number| grant(*number).written).collect();
                    let (left, ended) = narrowed.remove(&written);
                    model.retain(|number| !numbers.contains(number));
                    prop_assert_eq!(left, expected);
                    let gone: BTreeSet<_> = before.difference(&parts(&model)).cloned().collect();
                    prop_assert_eq!(ended.len(), gone.len());
                    prop_assert_eq!(ended.into_iter().collect::<BTreeSet<_>>(), gone);
                }
                let written: Vec<_> = model.iter().map(|number| grant(*number).written).collect();
                prop_assert_eq!(narrowed.written().cloned().collect::<Vec<_>>(), written);
            }
        }
    }
}
