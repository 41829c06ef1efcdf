//! Subscribe, unsubscribe, disconnect: what they cost beside 10 to 100,000 other subscribers of the same topic. And finding those
//! that an event goes to, by its symbol or by a pattern.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slotmap::{DefaultKey, SlotMap};
use ws_gateway::bus::TopicId;
use ws_gateway::fanout::index::Index;
use ws_gateway::market::{Kind, Subject, SymbolCase};

const SUBSCRIBERS: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

struct World {
    index: Index<DefaultKey>,
    clients: SlotMap<DefaultKey, ()>,
    subjects: Vec<Subject>,
}

impl World {
    /// What a request for all subjects does before it is answered.
    fn hold_all(&mut self) {
        for subject in &self.subjects {
            self.index.hold(subject);
        }
    }
}

/// Five topics, all with as many subscribers.
fn world(subscribers: usize) -> World {
    let mut topics: SlotMap<TopicId, ()> = SlotMap::with_key();
    let subjects: Vec<Subject> = ["AAPL", "GOOGL", "MSFT", "TSLA", "AMZN"]
        .iter()
        .filter_map(|name| Subject::parse(Kind::TRADE, name.as_bytes(), SymbolCase::Upper))
        .collect();
    let mut world = World { index: Index::default(), clients: SlotMap::new(), subjects };
    for subject in &world.subjects {
        world.index.hold(subject);
        world.index.grant(subject.clone(), topics.insert(()));
    }
    for _ in 0..subscribers {
        let client = world.clients.insert(());
        world.hold_all();
        world.index.subscribe(client, &world.subjects);
    }
    world
}

fn index(c: &mut Criterion) {
    let mut group = c.benchmark_group("index");
    group.throughput(Throughput::Elements(5));
    for subscribers in SUBSCRIBERS {
        let mut world = world(subscribers);
        group.bench_function(BenchmarkId::new("subscribe and unsubscribe 5", subscribers), |b| {
            let client = world.clients.insert(());
            b.iter(|| {
                world.hold_all();
                world.index.subscribe(client, &world.subjects);
                world.index.unsubscribe(client, &world.subjects)
            });
        });
        group.bench_function(BenchmarkId::new("disconnect with 5", subscribers), |b| {
            let world = std::cell::RefCell::new(&mut world);
            let connect = || {
                let world = &mut **world.borrow_mut();
                let client = world.clients.insert(());
                world.hold_all();
                world.index.subscribe(client, &world.subjects);
                client
            };
            b.iter_batched(
                connect,
                |client| world.borrow_mut().index.disconnect(client),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// A thousand topics, of which one client wants all.
fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("index");
    group.throughput(Throughput::Elements(1_000));
    let symbols: Vec<Subject> = (0..1_000)
        .filter_map(|n| Subject::parse(Kind::TRADE, format!("S{n}").as_bytes(), SymbolCase::Upper))
        .collect();
    let everything: Vec<Subject> = Subject::parse(Kind::TRADE, b"*", SymbolCase::Upper).into_iter().collect();
    for (name, wanted) in [("by symbol", &symbols), ("by *", &everything)] {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let mut index = Index::default();
        for subject in wanted {
            index.hold(subject);
            index.grant(subject.clone(), ids.insert(()));
        }
        let client: DefaultKey = SlotMap::new().insert(());
        index.subscribe(client, wanted);
        if index.has_patterns() {
            symbols.iter().for_each(|symbol| index.topic_opened(symbol.clone(), ids.insert(())));
        }
        let topics: Vec<TopicId> = ids
            .keys()
            .filter(|id| index.subject(*id).is_some_and(|subject| subject.name.symbol().is_some()))
            .collect();
        group.bench_function(BenchmarkId::new("find the subscriber of 1000 topics", name), |b| {
            b.iter(|| {
                let mut found = |id: TopicId| {
                    let mut found = index.subscribers(id).len();
                    if index.has_patterns() {
                        let pattern = index.touch(id).first().copied();
                        found += pattern.map_or(0, |pattern| index.subscribers(pattern).len());
                    }
                    found
                };
                topics.iter().map(|id| found(*id)).sum::<usize>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, index, find);
criterion_main!(benches);
