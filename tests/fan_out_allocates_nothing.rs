//! Queuing a lone trade for a client and writing it off again allocates nothing, whether it is a frame or a part of a message; and an
//! outbox that is empty again owns no memory. Measured with a counting allocator, on the pure parts that do it.

use std::rc::Rc;

use slotmap::SlotMap;
use ws_gateway::bus::{Entry, Frames, TopicId};
use ws_gateway::fanout::batch::{BacklogBytes, Batch};
use ws_gateway::fanout::outbox::{Outbox, Scratch};
use ws_gateway::protocol::wrapping::Wrapping;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const CLIENTS: usize = 1_000;

/// What the test harness' own thread may allocate meanwhile: little beside one block for each client.
const HARNESS_BLOCKS: usize = 32;

#[test]
fn a_lone_trade_costs_a_client_no_allocation() {
    // The frames as they are; or a header of 4 bytes, brackets, and the second event's comma; or the header and an array's length.
    for (wrapping, bytes) in
        [(None, 360), (Some(Wrapping::Array), 4 + 361), (Some(Wrapping::Msgpack), 4 + 361)]
    {
        check(wrapping, bytes);
    }
}

fn check(wrapping: Option<Wrapping>, bytes: usize) {
    let topic: TopicId = SlotMap::with_key().insert(());
    let backlog = BacklogBytes::default();
    let frames = || Frames {
        bytes: vec![b'x'; 360].into(),
        table: vec![Entry { end: 180, topic }, Entry { end: 360, topic }],
        arrived_us: 1,
        ..Frames::default()
    };
    let announce = |_, _| Batch::own(Vec::new(), &backlog);
    let mut scratch = Scratch::with_capacity(64 * 1024);
    let mut outboxes: Vec<Outbox> = (0..CLIENTS).map(|_| Outbox::new(wrapping, false)).collect();

    let profiler = dhat::Profiler::builder().testing().build();
    for _ in 0..10 {
        let batch = Batch::shared(frames(), &backlog);
        for outbox in &mut outboxes {
            outbox.push_events(&batch, 0, 1, 180);
            outbox.push_events(&batch, 1, 2, 180);
        }
        assert_eq!(Rc::strong_count(&batch), CLIENTS + 1, "adjacent frames are one run");
        for outbox in &mut outboxes {
            let written = outbox.chunk(&mut scratch, &announce).len();
            assert_eq!((written, outbox.advance(&scratch, written).frames), (bytes, 2));
        }
    }
    let stats = dhat::HeapStats::get();
    assert!(
        stats.total_blocks <= 10 * 6,
        "{} allocations for 10 batches to {CLIENTS} clients",
        stats.total_blocks
    );

    // A backlog of several runs needs memory, and gives it back.
    let live_blocks = dhat::HeapStats::get().curr_blocks;
    for outbox in &mut outboxes {
        for _ in 0..50 {
            outbox.push_events(&Batch::shared(frames(), &backlog), 0, 2, 360);
        }
        while !outbox.is_empty() {
            let written = outbox.chunk(&mut scratch, &announce).len();
            outbox.advance(&scratch, written);
        }
    }
    let kept_blocks = dhat::HeapStats::get().curr_blocks.saturating_sub(live_blocks);
    assert!(kept_blocks <= HARNESS_BLOCKS, "{kept_blocks} blocks kept by {CLIENTS} empty outboxes");
    drop(profiler);
}
