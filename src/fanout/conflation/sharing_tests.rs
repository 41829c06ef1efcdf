//! Clients share what is worked out for a run of events. Each of them must see what it would see alone.

use bytes::Bytes;
use proptest::prelude::*;
use slotmap::SlotMap;

use super::*;
use crate::bus::{Frames, Seqs};
use crate::fanout::batch::{BacklogBytes, Batch};
use crate::fanout::outbox::Scratch;
use crate::protocol::native::event::{Marker, TRADE_OPENING, write_event};

const CLIENTS: usize = 4;

#[derive(Debug, Clone)]
enum Op {
    /// The events of one batch, all of one topic: whether each can be added up.
    Events {
        can_be_added: Vec<bool>,
        is_late: bool,
    },
    /// A boundary of the client's phase, if it has one.
    Boundary(usize),
    Write(usize, usize),
    /// The client gets every event, then fewer again.
    Change(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let addable = prop::bool::weighted(0.9);
    prop_oneof![
        6 => prop::collection::vec(addable, 1..5)
            .prop_map(|can_be_added| Op::Events { can_be_added, is_late: false }),
        2 => addable.prop_map(|can_be_added| Op::Events { can_be_added: vec![can_be_added], is_late: true }),
        2 => (0..CLIENTS).prop_map(Op::Boundary),
        3 => (0..CLIENTS, 0usize..1_500).prop_map(|(client, room)| Op::Write(client, room)),
        1 => (0..CLIENTS).prop_map(Op::Change),
    ]
}

struct Client {
    conflation: Conflation,
    outbox: Outbox,
    wire: Vec<u8>,
    /// Those with an odd number have a rate.
    number: usize,
}

impl Client {
    fn new(number: usize, topic: TopicId) -> Self {
        let mut client =
            Self { conflation: Conflation::default(), outbox: Outbox::default(), wire: Vec::new(), number };
        client.change(topic, Conflate::Aggregate);
        client
    }

    fn change(&mut self, topic: TopicId, conflate: Conflate) {
        let is_on = conflate != Conflate::Off && self.number % 2 == 1;
        let max_rate = is_on.then(|| MaxRate::new(1_000.0).unwrap());
        let subscription = [(topic, Kind::TRADE, Form::JSON)].into_iter();
        self.conflation.change(&mut self.outbox, subscription, Change { conflate: Some(conflate), max_rate });
    }

    fn write(&mut self, mut room: usize) {
        let mut scratch = Scratch::with_capacity(1_024);
        while room > 0 && !self.outbox.is_empty() {
            let chunk = self.outbox.chunk(&mut scratch, &|_, _| panic!("nothing is skipped"));
            let taken = chunk.len().min(room);
            self.wire.extend_from_slice(&chunk[..taken]);
            room -= taken;
            self.outbox.advance(&scratch, taken);
        }
    }
}

/// What each client gets, with one run for all of them or a run of its own for each.
fn wires(ops: &[Op], is_shared: bool) -> Vec<Vec<u8>> {
    let topic: TopicId = SlotMap::with_key().insert(());
    let backlog = BacklogBytes::default();
    let mut clients: Vec<_> = (0..CLIENTS).map(|number| Client::new(number, topic)).collect();
    let (mut number, mut now_us) = (0, 1);
    for op in ops {
        now_us += 1_000;
        match op {
            Op::Events { can_be_added, is_late } => {
                let (mut bytes, mut table) = (Vec::new(), Vec::new());
                for is_addable in can_be_added {
                    number += 1;
                    let price = if *is_addable { format!("{}.5", number % 7) } else { "1e99".to_owned() };
                    let object = format!(r#"{{"price":{price},"volume":{number},"timestamp":{number}}}"#);
                    write_event(&mut bytes, TRADE_OPENING, &object, 7, Marker::NONE);
                    table.push(crate::bus::Entry { end: bytes.len() as u32, topic });
                }
                let to = can_be_added.len() as u32;
                let mut seqs = Seqs::default();
                seqs.set(0, 1, *is_late);
                let frames = Frames { bytes: Bytes::from(bytes), table, seqs, ..Frames::default() };
                let batch = |frames: &Frames| Batch::shared(frames.clone(), &backlog);
                if is_shared {
                    let batch = batch(&frames);
                    let run = TopicRun::new(&batch, topic, 0, to);
                    clients.iter_mut().for_each(|Client { conflation, outbox, .. }| {
                        conflation.queue(outbox, &run, topic);
                    });
                } else {
                    for Client { conflation, outbox, .. } in &mut clients {
                        let batch = batch(&frames);
                        conflation.queue(outbox, &TopicRun::new(&batch, topic, 0, to), topic);
                    }
                }
            }
            Op::Boundary(client) => {
                let Client { conflation, outbox, .. } = &mut clients[*client];
                conflation.boundary(outbox, 1_000, now_us);
            }
            Op::Write(client, room) => clients[*client].write(*room),
            Op::Change(client) => {
                clients[*client].change(topic, Conflate::Off);
                clients[*client].change(topic, Conflate::Aggregate);
            }
        }
    }
    for _ in 0..2 {
        now_us += 1_000;
        for client in &mut clients {
            client.conflation.boundary(&mut client.outbox, 1_000, now_us);
            client.write(usize::MAX);
        }
    }
    clients.into_iter().map(|client| client.wire).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_client_sees_what_it_would_see_alone(ops in prop::collection::vec(op(), 1..60)) {
        for (shared, alone) in wires(&ops, true).iter().zip(wires(&ops, false)) {
            prop_assert_eq!(String::from_utf8_lossy(shared), String::from_utf8_lossy(&alone));
        }
    }
}

/// The sums and the frame of a range of trades exist once, whoever waits for it.
#[test]
fn clients_that_wait_for_the_same_trades_have_the_same_frame() {
    let topic: TopicId = SlotMap::with_key().insert(());
    let backlog = BacklogBytes::default();
    // Without a rate, so that frames are queued at once.
    let mut clients: Vec<_> = (0..4).map(|_| Client::new(0, topic)).collect();
    for number in 0..10 {
        let mut bytes = Vec::new();
        let object = format!(r#"{{"price":1,"volume":2,"timestamp":{number}}}"#);
        write_event(&mut bytes, TRADE_OPENING, &object, 7, Marker::NONE);
        let table = vec![crate::bus::Entry { end: bytes.len() as u32, topic }];
        let batch = Batch::shared(Frames { bytes: bytes.into(), table, ..Frames::default() }, &backlog);
        let run = TopicRun::new(&batch, topic, 0, 1);
        // Two of them have subscribed behind the first trade.
        for (at, Client { conflation, outbox, .. }) in clients.iter_mut().enumerate() {
            if number > 0 || at < 2 {
                conflation.queue(outbox, &run, topic);
            }
        }
    }
    let pending = |at: usize| {
        let position = clients[at].conflation.pending[&topic].position;
        clients[at].outbox.pending(position, topic).unwrap().0
    };
    assert!(Rc::ptr_eq(pending(0), pending(1)) && Rc::ptr_eq(pending(2), pending(3)));
    assert!(!Rc::ptr_eq(pending(1), pending(2)), "the second two have a trade less");
    let frame_bytes = [0, 2].map(|at| pending(at).frame(0).len());
    assert_eq!(backlog.bytes(), frame_bytes[0] + frame_bytes[1], "nothing else is kept alive");
}
