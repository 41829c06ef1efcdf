//! What an upstream event costs: checked and framed, and routed when nobody wants it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ws_gateway::ingest::history::HistoryConfig;
use ws_gateway::ingest::router::{Routed, Router};
use ws_gateway::market::event::Checker;
use ws_gateway::market::{Kind, Kinds, Subject, SymbolCase};
use ws_gateway::protocol::native::event::{self as frame, Marker, Openings};

const TRADE: &str =
    r#"{"symbol":"AAPL","price":150.25,"volume":100,"timestamp":1234567890123,"exchange":"NASDAQ"}"#;
/// Of a topic that nobody wants.
const GOOGL: &str =
    r#"{"symbol":"GOOGL","price":150.25,"volume":100,"timestamp":1234567890123,"exchange":"NASDAQ"}"#;

fn event(c: &mut Criterion) {
    let mut group = c.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    group.bench_function("check", |b| {
        let checker = Checker::with_max_bytes(65_536);
        b.iter(|| checker.check(Kind::TRADE, black_box(TRADE.as_bytes()), b"AAPL").is_ok());
    });
    group.bench_function("frame", |b| {
        let openings = Openings::new(&Kinds::default());
        let mut out = Vec::with_capacity(1_024);
        b.iter(|| {
            out.clear();
            let opening = openings.of(black_box(Kind::TRADE));
            frame::write_event(&mut out, opening, black_box(TRADE), 1_234_567_890_123, Marker::NONE);
        });
    });
    group.bench_function("route, wanted by two shards", |b| {
        let mut router = router(2);
        b.iter(|| route_to_two(&mut router));
    });
    group.bench_function("route, matched by a pattern of two shards", |b| {
        let mut router = Router::new(2, 65_536);
        let everything = Subject::parse(Kind::TRADE, b"*", SymbolCase::Upper).into_iter();
        everything.for_each(|everything| (0..2).for_each(|shard| _ = router.want(shard, &everything)));
        b.iter(|| route_to_two(&mut router));
    });
    group.bench_function("route, wanted by nobody, beside three patterns", |b| {
        let mut router = router(2);
        for pattern in ["BTC-*", "ETH-*", "A*"] {
            let pattern = Subject::parse(Kind::TRADE, pattern.as_bytes(), SymbolCase::Upper);
            pattern.iter().for_each(|pattern| _ = router.want(0, pattern));
        }
        b.iter(|| route(&mut router, b"GOOGL", GOOGL.as_bytes()));
    });
    group.bench_function("route, wanted by nobody", |b| {
        let mut router = router(2);
        b.iter(|| route(&mut router, b"GOOGL", GOOGL.as_bytes()));
    });
    // What remembering costs: the same with nothing remembered, with a `seq`, and spread over a thousand topics.
    group.bench_function("route, wanted by nobody, nothing remembered", |b| {
        let history = HistoryConfig { max_topics: 0, ..HistoryConfig::default() };
        let mut router = Router::with_history(2, true, &history);
        b.iter(|| router.route(Kind::TRADE, black_box(b"GOOGL"), black_box(GOOGL.as_bytes()), 1));
    });
    group.bench_function("route, wanted by nobody, numbered", |b| {
        let mut router = router(2);
        let mut event = Numbered::new("GOOGL");
        b.iter(|| router.route(Kind::TRADE, black_box(b"GOOGL"), event.next(), 1_234_567_890_123));
    });
    group.bench_function("route, a thousand topics that nobody wants, numbered", |b| {
        let mut router = router(2);
        let symbols: Vec<_> = (1_000..2_000).map(|n| format!("X{n}")).collect();
        let mut events: Vec<_> = symbols.iter().map(|symbol| Numbered::new(symbol)).collect();
        let mut turn = 0;
        b.iter(|| {
            turn = (turn + 1) % symbols.len();
            router.route(Kind::TRADE, symbols[turn].as_bytes(), events[turn].next(), 1_234_567_890_123)
        });
    });
    group.finish();
}

fn route(router: &mut Router, name: &[u8], payload: &[u8]) -> Routed {
    router.route(Kind::TRADE, black_box(name), black_box(payload), 1_234_567_890_123)
}

/// Routes to two shards, which take what there is before it becomes much.
fn route_to_two(router: &mut Router) {
    route(router, b"AAPL", TRADE.as_bytes());
    if router.building_bytes() > 200_000 {
        (0..2).for_each(|shard| drop(router.take(shard, 1)));
    }
}

/// Trades with a `seq` that goes up.
struct Numbered {
    payload: Vec<u8>,
    seq: u64,
    at: usize,
}

impl Numbered {
    fn new(symbol: &str) -> Self {
        let seq = 1_000_000_000;
        let before =
            format!(r#"{{"symbol":"{symbol}","price":150.25,"volume":100,"timestamp":1234567890123,"seq":"#);
        let payload = format!("{before}{seq}}}").into_bytes();
        Self { payload, seq, at: before.len() }
    }

    fn next(&mut self) -> &[u8] {
        self.seq += 1;
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(self.seq).as_bytes();
        self.payload[self.at..self.at + digits.len()].copy_from_slice(digits);
        black_box(&self.payload)
    }
}

/// A thousand wanted topics, `AAPL` among them.
fn router(shards: usize) -> Router {
    let mut router = Router::new(shards, 65_536);
    let names = (0..999).map(|n| format!("S{n}")).chain(["AAPL".to_owned()]);
    let subject = |name: String| Subject::parse(Kind::TRADE, name.as_bytes(), SymbolCase::Upper);
    let subjects: Vec<Subject> = names.filter_map(subject).collect();
    for shard in 0..shards {
        for subject in &subjects {
            router.want(shard, subject);
        }
    }
    router
}

criterion_group!(benches, event);
criterion_main!(benches);
