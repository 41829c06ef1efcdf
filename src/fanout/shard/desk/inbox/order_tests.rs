//! A client's part of its user's inbox against a naive model of everything around it: whenever chats are said and told, parts are read and pongs come, the client
//! gets the oldest first, each once, and all that the inbox has kept for it.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// Entries that are read at once, fewer than a gateway reads.
const BATCH: usize = 16;

/// An inbox in Redis, a client of its user, and what is on its way between them.
#[derive(Debug)]
struct Scene {
    client: Inbox,
    stored: VecDeque<u64>,
    stored_max: usize,
    said: u64,
    /// Told to no gateway so far.
    untold: VecDeque<u64>,
    /// A part that was read, and is on its way to the shard: what is in it, its end, and whether that is the inbox's.
    reading: Option<(Vec<u64>, u64, bool)>,
    got: Vec<u64>,
    /// What has left the inbox unconfirmed: older ones give way.
    gone: BTreeSet<u64>,
}

fn kept(n: u64) -> Kept {
    Kept::of_worker(EntryId { ms: n, seq: 0 })
}

fn object() -> Bytes {
    Bytes::from_static(b"{}")
}

impl Scene {
    /// `before` chats were said while the user was away.
    fn new(before: u64, stored_max: usize) -> Self {
        let client = Inbox { stage: Stage::Asked, ..Inbox::default() };
        let (stored, untold) = (VecDeque::new(), VecDeque::new());
        let (got, gone) = (Vec::new(), BTreeSet::new());
        let mut scene = Self { client, stored, stored_max, said: 0, untold, reading: None, got, gone };
        (0..before).for_each(|_| scene.say());
        scene.untold.clear();
        scene
    }

    fn say(&mut self) {
        self.said += 1;
        self.stored.push_back(self.said);
        self.untold.push_back(self.said);
        if self.stored.len() > self.stored_max {
            self.gone.extend(self.stored.pop_front());
        }
    }

    fn tell(&mut self) {
        let Some(n) = self.untold.pop_front() else { return };
        if self.client.said(object(), kept(n)).is_some() {
            self.got.push(n);
            self.client.pings += 1;
        }
    }

    fn read(&mut self) {
        if self.client.stage == Stage::Asked && self.reading.is_none() {
            let behind = self.client.upto.ms;
            let rest: Vec<_> = self.stored.iter().copied().filter(|n| *n > behind).collect();
            let part = rest[..rest.len().min(BATCH)].to_vec();
            let upto = part.last().copied().unwrap_or(behind);
            self.reading = Some((part, upto, rest.len() < BATCH));
        }
    }

    fn take(&mut self) {
        let Some((part, upto, is_last)) = self.reading.take() else { return };
        let entries = part.into_iter().map(|n| (object(), kept(n))).collect();
        let sent = self.client.take(entries, kept(upto).id, is_last);
        self.got.extend(sent.iter().map(|(_, kept)| kept.id.ms));
        if sent.is_empty() {
            self.read_on();
        } else {
            self.client.pings += 1;
        }
    }

    fn read_on(&mut self) {
        if self.client.stage == Stage::Partly {
            self.client.stage = Stage::Asked;
        }
    }

    fn pong(&mut self) {
        let confirmed = self.client.confirm(self.client.pings);
        self.stored.retain(|n| !confirmed.contains(&kept(*n)));
        if self.client.unconfirmed.is_empty() {
            self.read_on();
        }
    }

    /// Nothing more is said, and everything arrives.
    fn settle(&mut self) {
        while self.client.stage != Stage::Live || !self.untold.is_empty() {
            self.tell();
            self.read();
            self.take();
            self.pong();
        }
        self.pong();
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Say,
    Tell,
    Read,
    Take,
    Pong,
}

/// Some of a kind behind each other: so what waits comes to its bounds.
fn steps() -> impl Strategy<Value = Vec<(Step, usize)>> {
    let step =
        prop_oneof![Just(Step::Say), Just(Step::Tell), Just(Step::Read), Just(Step::Take), Just(Step::Pong)];
    prop::collection::vec((step, prop_oneof![1..3_usize, 1..400_usize]), 0..60)
}

proptest! {
    #[test]
    fn the_oldest_come_first_and_each_once(
        before in 0..150_u64,
        stored_max in prop_oneof![Just(100_usize), 1..500_usize],
        steps in steps(),
    ) {
        let mut scene = Scene::new(before, stored_max);
        for (step, times) in steps {
            for _ in 0..times {
                match step {
                    Step::Say => scene.say(),
                    Step::Tell => scene.tell(),
                    Step::Read => scene.read(),
                    Step::Take => scene.take(),
                    Step::Pong => scene.pong(),
                }
            }
        }
        scene.settle();
        prop_assert!(scene.got.is_sorted_by(|one, next| one < next), "{:?}", scene.got);
        let got: BTreeSet<_> = scene.got.iter().copied().collect();
        let lost = (1..=scene.said).find(|n| !got.contains(n) && !scene.gone.contains(n));
        prop_assert_eq!(lost, None);
        prop_assert!(scene.stored.iter().all(|n| got.contains(n)));
    }
}
