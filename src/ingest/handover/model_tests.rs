//! The router and the handover against two shards that take their messages at any time, and now and then stand still: what a shard
//! was delivered, and what it was told that it lost, is what was published, in order, for every topic.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::tests::{Shard, World, world};
use super::*;
use crate::market::Kind;

const SYMBOLS: [&str; 5] = ["A", "B", "C", "D", "E"];
/// Some six events.
const INBOX_BYTES: usize = 1_000;

#[derive(Debug, Clone, Copy)]
enum Op {
    Publish(&'static str),
    HandOver,
    /// A shard takes this many messages.
    Take(usize, u8),
    /// A client of a shard subscribes to a symbol.
    Want(usize, &'static str),
    /// A shard gives back a topic that its pattern matches.
    Retire(usize, &'static str),
    Feed(bool),
    /// Events are lost before they are routed, as when a delayed feed has no room: how many.
    Lose(&'static str, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let symbol = || proptest::sample::select(&SYMBOLS[..]);
    prop_oneof![
        12 => symbol().prop_map(Op::Publish),
        6 => Just(Op::HandOver),
        3 => (0..2usize, 1..6u8).prop_map(|(shard, count)| Op::Take(shard, count)),
        1 => (0..2usize, symbol()).prop_map(|(shard, symbol)| Op::Want(shard, symbol)),
        2 => (0..2usize, symbol()).prop_map(|(shard, symbol)| Op::Retire(shard, symbol)),
        1 => any::<bool>().prop_map(Op::Feed),
        1 => (symbol(), 1..5u64).prop_map(|(symbol, count)| Op::Lose(symbol, count)),
    ]
}

struct Model {
    world: World,
    published: HashMap<&'static str, u64>,
    feed: Vec<Feed>,
    /// Lost before they were routed.
    unrouted: u64,
}

impl Model {
    fn apply(&mut self, op: Op) {
        let World { router, handover, shards, .. } = &mut self.world;
        match op {
            Op::Publish(symbol) => {
                let count = self.published.entry(symbol).or_default();
                *count += 1;
                self.world.route(symbol, *count);
            }
            Op::HandOver => {
                let pauses = self.world.pauses.load(Ordering::Relaxed);
                let behind: Vec<_> = (0..2).map(|shard| self.world.router.is_behind(shard)).collect();
                self.world.hand_over();
                let ready = behind.iter().filter(|behind| !**behind).count() as u32;
                let paused = self.world.pauses.load(Ordering::Relaxed) - pauses;
                assert!(paused <= ready * limits::HANDOVER_PAUSES, "waits for a shard that is behind");
            }
            Op::Take(shard, count) => (0..count).for_each(|_| _ = shards[shard].take()),
            Op::Want(shard, symbol) => _ = self.world.want(shard, symbol),
            Op::Retire(shard, symbol) => {
                let known = shards[shard].names.iter().find(|(_, name)| *name == symbol);
                if let Some((id, _)) = known {
                    let id = *id;
                    handover.retire(router, shard, vec![id], 1);
                }
            }
            Op::Lose(symbol, count) => {
                *self.published.entry(symbol).or_default() += count;
                self.unrouted += count;
                handover.hand_over(router, 1);
                router.lose(Delay::NONE, Kind::TRADE, symbol.as_bytes(), count);
                handover.tell_losses(router);
            }
            Op::Feed(up) => {
                let is_up = matches!(self.feed.last(), Some(Feed::Up { .. }));
                if up != is_up {
                    let feed = if up { Feed::Up { gap_ms: 1 } } else { Feed::Down };
                    self.feed.push(feed);
                    handover.tell_feed(router, Delay::NONE, feed);
                }
            }
        }
    }

    /// Everything arrives.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.world.hand_over();
            self.world.shards.iter_mut().for_each(Shard::take_all);
        }
        assert!(!self.world.router.is_any_behind());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn delivered_and_lost_is_published(ops in prop::collection::vec(op(), 1..200)) {
        let mut world = world(2);
        world.handover.inbox_bytes_max = INBOX_BYTES;
        world.want(0, "*");
        world.want(1, "*");
        // One of them has a second form.
        world.want(1, "*/2");
        let mut model = Model { world, published: HashMap::new(), feed: Vec::new(), unrouted: 0 };
        for op in ops {
            model.apply(op);
        }
        model.settle();
        for shard in &model.world.shards {
            for (symbol, count) in &model.published {
                prop_assert_eq!(shard.accounted.get(*symbol), Some(count), "{}", symbol);
            }
            for (topic, count) in shard.accounted.iter().filter(|(topic, _)| topic.ends_with("/2")) {
                let symbol = topic.trim_end_matches("/2");
                prop_assert_eq!(model.published.get(symbol), Some(count), "{}", topic);
            }
            let is_up = |feed: Option<&Feed>| matches!(feed, Some(Feed::Up { .. }));
            prop_assert_eq!(is_up(shard.feed.last()), is_up(model.feed.last()));
            prop_assert!(shard.feed.windows(2).all(|pair| is_up(pair.first()) != is_up(pair.last())));
        }
        let lost: u64 = model.world.shards.iter().map(|shard| shard.lost).sum();
        // Each of the three patterns has lost those that were not routed.
        let dropped = model.world.handover.state.metrics.ingest.events_dropped.get();
        prop_assert_eq!(dropped + 3 * model.unrouted, lost);
    }
}
