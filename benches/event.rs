//! What an upstream event costs: checked and framed, and routed when nobody wants it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ws_gateway::frame::{self, Marker};
use ws_gateway::ingest::router::Router;
use ws_gateway::market::event::check;
use ws_gateway::market::{EventType, Subject};

const TRADE: &str =
    r#"{"symbol":"AAPL","price":150.25,"volume":100,"timestamp":1234567890123,"exchange":"NASDAQ"}"#;

fn event(c: &mut Criterion) {
    let mut group = c.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    group.bench_function("check", |b| {
        b.iter(|| check(EventType::Trade, black_box(TRADE.as_bytes()), b"AAPL", 65_536).is_ok());
    });
    group.bench_function("frame", |b| {
        let mut out = Vec::with_capacity(1_024);
        b.iter(|| {
            out.clear();
            frame::write_event(&mut out, EventType::Trade, black_box(TRADE), 1_234_567_890_123, Marker::None);
        });
    });
    group.bench_function("route, wanted by two shards", |b| {
        let mut router = router(2);
        b.iter(|| {
            router.route(
                EventType::Trade,
                black_box(b"AAPL"),
                black_box(TRADE.as_bytes()),
                1_234_567_890_123,
            );
            if router.building_bytes() > 200_000 {
                (0..2).for_each(|shard| drop(router.take(shard, 1)));
            }
        });
    });
    group.bench_function("route, matched by a pattern of two shards", |b| {
        let mut router = Router::new(2, 65_536);
        let everything = Subject::parse(EventType::Trade, b"*").into_iter();
        everything.for_each(|everything| (0..2).for_each(|shard| _ = router.want(shard, &everything)));
        b.iter(|| {
            router.route(
                EventType::Trade,
                black_box(b"AAPL"),
                black_box(TRADE.as_bytes()),
                1_234_567_890_123,
            );
            if router.building_bytes() > 200_000 {
                (0..2).for_each(|shard| drop(router.take(shard, 1)));
            }
        });
    });
    group.bench_function("route, wanted by nobody, beside three patterns", |b| {
        let mut router = router(2);
        for pattern in ["BTC-*", "ETH-*", "A*"] {
            let pattern = Subject::parse(EventType::Trade, pattern.as_bytes());
            pattern.iter().for_each(|pattern| _ = router.want(0, pattern));
        }
        b.iter(|| {
            router.route(
                EventType::Trade,
                black_box(b"GOOGL"),
                black_box(TRADE.as_bytes()),
                1_234_567_890_123,
            )
        });
    });
    group.bench_function("route, wanted by nobody", |b| {
        let mut router = router(2);
        b.iter(|| {
            router.route(
                EventType::Trade,
                black_box(b"GOOGL"),
                black_box(TRADE.as_bytes()),
                1_234_567_890_123,
            )
        });
    });
    group.finish();
}

/// A thousand wanted topics, `AAPL` among them.
fn router(shards: usize) -> Router {
    let mut router = Router::new(shards, 65_536);
    let names = (0..999).map(|n| format!("S{n}")).chain(["AAPL".to_owned()]);
    let subject = |name: String| Subject::parse(EventType::Trade, name.as_bytes());
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
