//! What taking a published message off the feed costs.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ws_gateway::resp::{Feed, FeedLimits, FeedParser, Step};

const TRADE: &str =
    r#"{"symbol":"AAPL","price":150.25,"volume":100,"timestamp":1234567890123,"exchange":"NASDAQ"}"#;
const MESSAGES: usize = 1_000;

fn resp(c: &mut Criterion) {
    let message = format!(
        "*4\r\n$8\r\npmessage\r\n$15\r\nchannel:trade:*\r\n$18\r\nchannel:trade:AAPL\r\n${}\r\n{TRADE}\r\n",
        TRADE.len()
    );
    let stream = message.repeat(MESSAGES).into_bytes();
    let limits = FeedLimits { name_bytes_max: 1_024, payload_bytes_max: 65_536, excerpt_bytes: 120 };
    let mut group = c.benchmark_group("resp");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    group.bench_function("pmessage", |b| {
        b.iter(|| {
            let mut parser = FeedParser::new(limits);
            let mut at = 0;
            let mut payload_bytes = 0;
            while let Ok(Step::Said { feed: Feed::Message(message), used_bytes }) =
                parser.next(black_box(&stream[at..]))
            {
                payload_bytes += message.payload.len();
                at += used_bytes;
            }
            payload_bytes
        });
    });
    group.finish();
}

criterion_group!(benches, resp);
criterion_main!(benches);
