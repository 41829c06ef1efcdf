//! What queuing and writing off cost a client: a lone trade, a burst, several batches that have to be gathered.

use std::rc::Rc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slotmap::SlotMap;
use ws_gateway::bus::{Entry, Frames, TopicId};
use ws_gateway::fanout::batch::{BacklogBytes, Batch};
use ws_gateway::fanout::outbox::{Outbox, Scratch};

const CLIENTS: usize = 1_000;
const FRAME_BYTES: u32 = 180;

fn batch(frames: u32, topic: TopicId, backlog: &BacklogBytes) -> Rc<Batch> {
    let table = (1..=frames).map(|n| Entry { end: n * FRAME_BYTES, topic }).collect();
    let bytes = vec![b'x'; (frames * FRAME_BYTES) as usize].into();
    Batch::shared(Frames { bytes, table, arrived_us: 1, ..Frames::default() }, backlog)
}

fn outbox(c: &mut Criterion) {
    let topic: TopicId = SlotMap::with_key().insert(());
    let backlog = BacklogBytes::default();
    let announce = |_, _| Batch::own(Vec::new(), &backlog);
    let mut scratch = Scratch::with_capacity(64 * 1024);
    let mut outboxes: Vec<Outbox> = (0..CLIENTS).map(|_| Outbox::default()).collect();
    let mut group = c.benchmark_group("outbox");
    for (name, batches, frames) in [("lone trade", 1, 1), ("burst of 100", 1, 100), ("8 batches of 1", 8, 1)]
    {
        group.throughput(Throughput::Elements(CLIENTS as u64 * batches * u64::from(frames)));
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..batches {
                    let batch = batch(frames, topic, &backlog);
                    for outbox in &mut outboxes {
                        outbox.push_events(&batch, 0, frames, frames * FRAME_BYTES);
                    }
                }
                for outbox in &mut outboxes {
                    while !outbox.is_empty() {
                        let written = outbox.chunk(&mut scratch, &announce).len();
                        outbox.advance(&scratch, written);
                    }
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, outbox);
criterion_main!(benches);
