//! What a busy symbol costs when many clients have asked for fewer of its events: an event, and its part of the writes.

use std::rc::Rc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slotmap::SlotMap;
use ws_gateway::bus::{Entry, Frames, TopicId};
use ws_gateway::fanout::batch::{BacklogBytes, Batch};
use ws_gateway::fanout::conflation::{Change, Conflation, TopicRun};
use ws_gateway::fanout::outbox::{Outbox, Scratch};
use ws_gateway::market::{Form, Kind};
use ws_gateway::protocol::native::event::{Marker, TRADE_OPENING, write_event};
use ws_gateway::protocol::terms::{Conflate, MaxRate};

/// Events between two writes of every client, each in a batch of its own.
const EVENTS: usize = 100;
const PERIOD_US: u64 = 250_000;

#[derive(Default)]
struct Client {
    conflation: Conflation,
    outbox: Outbox,
}

struct World {
    topic: TopicId,
    backlog: BacklogBytes,
    batches: Vec<Rc<Batch>>,
    clients: Vec<Client>,
    scratch: Scratch,
    now_us: u64,
}

impl World {
    fn new(clients: usize, conflate: Conflate, max_rate: Option<MaxRate>) -> Self {
        let topic: TopicId = SlotMap::with_key().insert(());
        let backlog = BacklogBytes::default();
        let batches = (0..EVENTS).map(|number| batch(number, topic, &backlog)).collect();
        let change = Change { conflate: Some(conflate), max_rate };
        let mut world = Self {
            topic,
            backlog,
            batches,
            clients: Vec::new(),
            scratch: Scratch::with_capacity(4_096),
            now_us: 1,
        };
        for _ in 0..clients {
            let mut client = Client::default();
            let subscription = [(topic, Kind::TRADE, Form::JSON)].into_iter();
            client.conflation.change(&mut client.outbox, subscription, change);
            world.clients.push(client);
        }
        world
    }

    /// All events come, one after the other; then everything is queued and written.
    fn round(&mut self) {
        for batch in &self.batches {
            let run = TopicRun::new(batch, self.topic, 0, 1);
            for Client { conflation, outbox } in &mut self.clients {
                conflation.queue(outbox, &run, self.topic);
            }
        }
        self.now_us += PERIOD_US;
        let announce = |_, _| Batch::own(Vec::new(), &self.backlog);
        for Client { conflation, outbox } in &mut self.clients {
            conflation.boundary(outbox, PERIOD_US as u32, self.now_us);
            while !outbox.is_empty() {
                let written = outbox.chunk(&mut self.scratch, &announce).len();
                outbox.advance(&self.scratch, written);
            }
            conflation.caught_up();
        }
    }
}

fn batch(number: usize, topic: TopicId, backlog: &BacklogBytes) -> Rc<Batch> {
    let object = format!(
        r#"{{"symbol":"AAPL","price":{}.{:02},"volume":{},"timestamp":{},"exchange":"NASDAQ"}}"#,
        150 + number % 7,
        number,
        100 + number,
        1_234_567_890_123_u64 + number as u64
    );
    let mut frame = Vec::new();
    write_event(&mut frame, TRADE_OPENING, &object, 1_234_567_890_123, Marker::NONE);
    let table = vec![Entry { end: frame.len() as u32, topic }];
    Batch::shared(Frames { bytes: frame.into(), table, arrived_us: 1, ..Frames::default() }, backlog)
}

fn aggregate(c: &mut Criterion) {
    let mut group = c.benchmark_group("aggregate");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let rate = MaxRate::new(1e6 / PERIOD_US as f64);
    for (name, conflate, max_rate) in [
        ("latest, 4 a second", Conflate::Latest, rate),
        ("latest, as the client takes them", Conflate::Latest, None),
        ("aggregate, 4 a second", Conflate::Aggregate, rate),
        ("aggregate, as the client takes them", Conflate::Aggregate, None),
    ] {
        for clients in [10, 1_000] {
            let mut world = World::new(clients, conflate, max_rate);
            group.bench_function(BenchmarkId::new(name, clients), |b| b.iter(|| world.round()));
        }
    }
    group.finish();
}

criterion_group!(benches, aggregate);
criterion_main!(benches);
