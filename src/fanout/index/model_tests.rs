//! The index against a naive model: two plain maps that are searched from end to end. Patterns are among the subscriptions, and the
//! bound on topics that only patterns want is so low that some retire all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;
use slotmap::{DefaultKey, SlotMap};

use super::*;
use crate::market::{Delay, Form, Kind, Name, Symbol, SymbolCase, TOPIC_KEY_BYTES_MAX};

const OPENED_MAX: usize = 3;
/// Beside symbols: the patterns `*` and `S5*`. Those from 62 on are candles: `*`, names, and topics of two
/// intervals. Those from 82 on are those from 50 on in another form, those from 98 on the same with a delay.
const NUMBERS: u8 = 82 + 2 * 16;

#[derive(Debug, Clone)]
enum Op {
    Connect,
    Subscribe(usize, Vec<u8>),
    /// A client disconnects between ingest's answer and its subscription.
    Abandon(Vec<u8>),
    Unsubscribe(usize, Vec<u8>),
    Disconnect(usize),
    /// Ingest finds symbols that patterns match.
    Open(Vec<u8>),
    /// Ingest confirms the topics that are retiring.
    Retire,
}

fn op() -> impl Strategy<Value = Op> {
    let symbols =
        || prop::collection::btree_set(0u8..NUMBERS, 1..45).prop_map(|set| set.into_iter().collect());
    let shuffled = move || Strategy::prop_shuffle(symbols());
    prop_oneof![
        2 => Just(Op::Connect),
        6 => (any::<usize>(), shuffled()).prop_map(|(client, symbols)| Op::Subscribe(client, symbols)),
        1 => shuffled().prop_map(Op::Abandon),
        4 => (any::<usize>(), shuffled()).prop_map(|(client, symbols)| Op::Unsubscribe(client, symbols)),
        1 => any::<usize>().prop_map(Op::Disconnect),
        4 => shuffled().prop_map(Op::Open),
        2 => Just(Op::Retire),
    ]
}

/// Parsed once: the model asks for them all the time.
static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(|| (0..NUMBERS).map(parsed).collect());

fn subject(number: u8) -> &'static Subject {
    &SUBJECTS[usize::from(number)]
}

fn subjects(numbers: &[u8]) -> Vec<Subject> {
    numbers.iter().map(|number| subject(*number).clone()).collect()
}

fn parsed(number: u8) -> Subject {
    if number >= 98 {
        return parsed(number - 98 + 50).in_form(Form::JSON.delayed(Delay::ALL[1]));
    }
    if number >= 82 {
        return parsed(number - 82 + 50).in_form(Form::SSE);
    }
    let (kind, name) = match number {
        60 => (Kind::TRADE, "*".to_owned()),
        61 => (Kind::TRADE, "S5*".to_owned()),
        62 => (Kind::CANDLE, "*".to_owned()),
        63..70 => (Kind::CANDLE, format!("S{}", number - 63)),
        70.. => {
            let mut buffer = [0; TOPIC_KEY_BYTES_MAX];
            let (symbol, interval) = (format!("S{}", number % 6), ["1m", "1d"][usize::from(number / 6 % 2)]);
            let key = Symbol::key_with_interval(symbol.as_bytes(), interval, &mut buffer);
            return Subject::literal(Kind::CANDLE, Name::Symbol(Symbol::of_topic(key)));
        }
        _ => (Kind::TRADE, format!("S{number}")),
    };
    Subject::parse(kind, name.as_bytes(), SymbolCase::Upper).unwrap()
}

fn is_match(pattern: &Subject, topic: &Subject) -> bool {
    match (&pattern.name, topic.name.symbol()) {
        (Name::Pattern(name), Some(symbol)) => {
            (pattern.kind, pattern.form) == (topic.kind, topic.form) && name.matches(symbol.as_bytes())
        }
        _ => false,
    }
}

struct World {
    index: Index<DefaultKey>,
    ingest: SlotMap<TopicId, Subject>,
    clients: SlotMap<DefaultKey, ()>,
    model: BTreeMap<DefaultKey, Vec<u8>>,
    /// Given back, and ingest has not confirmed it yet.
    retiring: Vec<TopicId>,
}

impl World {
    fn new() -> Self {
        Self {
            index: Index::bounded(0, OPENED_MAX),
            ingest: SlotMap::with_key(),
            clients: SlotMap::new(),
            model: BTreeMap::new(),
            retiring: Vec::new(),
        }
    }

    fn wanted(&self) -> BTreeSet<&'static Subject> {
        self.model.values().flatten().map(|number| subject(*number)).collect()
    }

    /// Ingest opens a symbol to the shard if a pattern there matches it and the shard doesn't have it already.
    fn open(&mut self, number: u8) {
        let symbol = subject(number);
        let is_matched = self.wanted().iter().any(|pattern| is_match(pattern, symbol));
        if is_matched && !self.ingest.values().any(|known| known == symbol) {
            let id = self.ingest.insert(symbol.clone());
            self.index.topic_opened(symbol.clone(), id);
        }
    }

    fn retire(&mut self) {
        for id in self.retiring.drain(..) {
            assert!(self.index.subject(id).is_some(), "events that came until now can be delivered");
            self.ingest.remove(id);
            self.index.topic_retired(id);
        }
    }

    fn client(&self, pick: usize) -> Option<DefaultKey> {
        let count = self.model.len();
        (count > 0).then(|| *self.model.keys().nth(pick % count).unwrap())
    }

    fn hold(&mut self, symbols: &[u8]) -> Vec<Subject> {
        let symbols = subjects(symbols);
        let asked: Vec<_> = symbols.iter().filter(|symbol| self.index.hold(symbol)).cloned().collect();
        // Ingest answers in order: first it confirms what was given back before.
        self.retire();
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
                self.index.drop_holds(&symbols);
            }
            Op::Unsubscribe(pick, numbers) => {
                let Some(client) = self.client(*pick) else { return };
                let left = self.index.unsubscribe(client, &subjects(numbers));
                let held = self.model.get_mut(&client).unwrap();
                let expected: Vec<_> =
                    numbers.iter().filter(|n| held.contains(n)).map(|n| subject(*n)).collect();
                held.retain(|number| !numbers.contains(number));
                assert_eq!(left.iter().map(|left| &left.subject).collect::<Vec<_>>(), expected);
            }
            Op::Open(numbers) => numbers.iter().for_each(|number| self.open(*number)),
            Op::Retire => self.retire(),
            Op::Disconnect(pick) => {
                let Some(client) = self.client(*pick) else { return };
                self.model.remove(&client);
                self.clients.remove(client);
                self.index.disconnect(client);
            }
        }
        self.forget();
    }

    /// Ingest frees the topics that the index has ended: exactly those that nobody wants.
    fn forget(&mut self) {
        self.retiring.extend(self.index.take_retiring());
        for id in self.index.take_unwanted() {
            assert!(self.ingest.remove(id).is_some(), "released twice, or never granted");
        }
    }

    fn check(&mut self) {
        self.index.check_lists();
        let wanted = self.wanted();
        assert_eq!(self.index.topics(), self.ingest.len(), "ingest knows the live topics and no other");
        let known: BTreeSet<_> = self.ingest.values().collect();
        assert!(known.is_superset(&wanted), "and these are the wanted ones");
        let opened = known.len() - wanted.len() - self.retiring.len();
        assert!(opened <= limits::OPENED_TOPICS_FACTOR * OPENED_MAX, "and {opened} that patterns match");
        for (id, topic) in &self.ingest {
            let looked_up = self.index.patterns_of(id);
            let patterns: BTreeSet<_> = looked_up.iter().copied().collect();
            let matching = self.ingest.iter().filter(|(_, pattern)| is_match(pattern, topic));
            assert_eq!(patterns, matching.map(|(id, _)| id).collect());
            // Touching would keep topics from retiring: every other one is.
            if id.data().as_ffi() % 2 == 0 {
                assert_eq!(self.index.touch(id), &*looked_up, "what was looked up before still holds");
            }
            let is_wanted = wanted.contains(topic) || !patterns.is_empty();
            assert!(is_wanted || self.retiring.contains(&id), "{topic:?} is live and nobody wants it");
        }
        assert_eq!(self.index.subscriptions(), self.model.values().map(Vec::len).sum::<usize>());
        for (id, name) in &self.ingest {
            let subscribers: BTreeSet<_> = self.index.subscribers(id).iter().copied().collect();
            let of_model = self.model.iter().filter(|(_, held)| held.iter().any(|n| subject(*n) == name));
            assert_eq!(subscribers, of_model.map(|(client, _)| *client).collect());
            assert_eq!(subscribers.len(), self.index.subscribers(id).len(), "nobody twice");
        }
        for (client, held) in &self.model {
            let symbols: Vec<_> = self.index.subjects_of(*client).collect();
            assert_eq!(symbols, held.iter().map(|number| subject(*number)).collect::<Vec<_>>());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_index_is_two_plain_maps(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
    }
}
