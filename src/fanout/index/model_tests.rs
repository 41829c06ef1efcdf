//! The index against a naive model: two plain maps that are searched from end to end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use slotmap::{DefaultKey, SlotMap};

use super::*;
use crate::market::EventType;

#[derive(Debug, Clone)]
enum Op {
    Connect,
    Subscribe(usize, Vec<u8>),
    /// The client goes away between ingest's answer and its subscription.
    Abandon(Vec<u8>),
    Unsubscribe(usize, Vec<u8>),
    Disconnect(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let symbols = || prop::collection::btree_set(0u8..60, 1..45).prop_map(|set| set.into_iter().collect());
    let shuffled = move || Strategy::prop_shuffle(symbols());
    prop_oneof![
        2 => Just(Op::Connect),
        6 => (any::<usize>(), shuffled()).prop_map(|(client, symbols)| Op::Subscribe(client, symbols)),
        1 => shuffled().prop_map(Op::Abandon),
        4 => (any::<usize>(), shuffled()).prop_map(|(client, symbols)| Op::Unsubscribe(client, symbols)),
        1 => any::<usize>().prop_map(Op::Disconnect),
    ]
}

fn subject(number: u8) -> Subject {
    Subject::parse(EventType::Trade, format!("S{number}").as_bytes()).unwrap()
}

#[derive(Default)]
struct World {
    index: Index<DefaultKey>,
    ingest: SlotMap<TopicId, Subject>,
    clients: SlotMap<DefaultKey, ()>,
    model: BTreeMap<DefaultKey, Vec<u8>>,
}

impl World {
    fn client(&self, pick: usize) -> Option<DefaultKey> {
        let count = self.model.len();
        (count > 0).then(|| *self.model.keys().nth(pick % count).unwrap())
    }

    fn hold(&mut self, symbols: &[u8]) -> Vec<Subject> {
        let symbols: Vec<Subject> = symbols.iter().map(|number| subject(*number)).collect();
        let asked: Vec<_> = symbols.iter().filter(|symbol| self.index.hold(symbol)).cloned().collect();
        for symbol in asked {
            assert!(!self.index.all_live(std::slice::from_ref(&symbol)));
            let id = self.ingest.insert(symbol.clone());
            self.index.grant(symbol, id);
        }
        symbols
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Connect => {
                self.model.insert(self.clients.insert(()), Vec::new());
            }
            Op::Subscribe(pick, numbers) => {
                let Some(client) = self.client(*pick) else { return };
                let symbols = self.hold(numbers);
                let held = self.model.get_mut(&client).unwrap();
                held.extend(
                    numbers.iter().filter(|number| !held.contains(number)).copied().collect::<Vec<_>>(),
                );
                assert_eq!(self.index.count_with(client, &symbols), held.len());
                self.index.subscribe(client, &symbols);
            }
            Op::Abandon(numbers) => {
                let symbols = self.hold(numbers);
                self.index.release(&symbols);
            }
            Op::Unsubscribe(pick, numbers) => {
                let Some(client) = self.client(*pick) else { return };
                let symbols: Vec<Subject> = numbers.iter().map(|number| subject(*number)).collect();
                let left = self.index.unsubscribe(client, &symbols);
                let held = self.model.get_mut(&client).unwrap();
                let expected: Vec<Subject> =
                    numbers.iter().filter(|n| held.contains(n)).map(|n| subject(*n)).collect();
                held.retain(|number| !numbers.contains(number));
                assert_eq!(left.iter().map(|left| left.subject.clone()).collect::<Vec<_>>(), expected);
            }
            Op::Disconnect(pick) => {
                let Some(client) = self.client(*pick) else { return };
                self.model.remove(&client);
                self.clients.remove(client);
                self.index.disconnect(client);
            }
        }
        self.forget();
    }

    /// Ingest frees what the index gives back: exactly what nobody holds.
    fn forget(&mut self) {
        for id in self.index.take_unwanted() {
            assert!(self.ingest.remove(id).is_some(), "released twice, or never granted");
        }
    }

    fn check(&self) {
        let wanted: BTreeSet<u8> = self.model.values().flatten().copied().collect();
        assert_eq!(self.ingest.len(), wanted.len(), "ingest knows the wanted topics and no other");
        assert_eq!(self.index.topics(), wanted.len());
        assert_eq!(self.index.subscriptions(), self.model.values().map(Vec::len).sum::<usize>());
        for (id, name) in &self.ingest {
            let subscribers: BTreeSet<_> = self.index.subscribers(id).iter().copied().collect();
            let of_model = self.model.iter().filter(|(_, held)| held.iter().any(|n| subject(*n) == *name));
            assert_eq!(subscribers, of_model.map(|(client, _)| *client).collect());
            assert_eq!(subscribers.len(), self.index.subscribers(id).len(), "nobody twice");
        }
        for (client, held) in &self.model {
            let symbols: Vec<_> = self.index.subjects_of(*client).cloned().collect();
            assert_eq!(symbols, held.iter().map(|number| subject(*number)).collect::<Vec<_>>());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_index_is_two_plain_maps(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::default();
        for op in &ops {
            world.apply(op);
            world.check();
        }
    }
}
