//! Delayed feeds: what came, kept as it came until it is due. Pure; the clock comes in as milliseconds.
//!
//! For each of `FEED_DELAYS` there is a ring of events and of what became of the upstream. Once an entry is as old as the delay, ingest takes it out and
//! treats it as if it came then, in a pass of its own through the router: with interest, sequence numbers, last values and a log that
//! belong to that delay. So whatever a client of a delayed feed can see is as old as the delay, and clients of the real-time feed pay for
//! a copy of each event and nothing more.
//!
//! | bound | what happens at it |
//! |---|---|
//! | `DELAY_MAX_BYTES` for each delay | events that come are lost until the oldest are due, counted by topic and told where they would have stood. If instead the oldest made room, a ring that is too small for its delay would never deliver anything |
//! | [`limits::DELAY_LOST_TOPICS_MAX`] topics with such losses | losses of further topics aren't counted: clients of that feed who may be concerned are closed |

mod ring;

use std::collections::HashMap;
use std::num::NonZeroU32;

use foldhash::quality::RandomState;

use self::ring::{Label, Ring};
use crate::bus::Feed;
use crate::limits;
use crate::market::{Delay, Delays, Kind, Kinds, Symbol};

/// What is kept, for all delays.
#[derive(Debug, Default)]
pub(super) struct DelayedFeeds {
    feeds: Vec<DelayedFeed>,
    /// By their index.
    kinds: Vec<Kind>,
}

/// What is kept for one delay.
#[derive(Debug)]
pub(super) struct DelayedFeed {
    pub(super) delay: Delay,
    delay_ms: u64,
    ring: Ring,
    /// How many events are in it.
    events: usize,
    losses: Losses,
}

/// Events that the ring had no room for, behind all that is in it.
#[derive(Debug, Default)]
struct Losses {
    counts: HashMap<(Kind, Symbol), u64, RandomState>,
    /// There are more than are counted.
    are_more: bool,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due<'r> {
    /// An event.
    Event {
        kind: Kind,
        /// As its channel has it.
        name: &'r [u8],
        payload: &'r [u8],
    },
    /// The upstream was lost, or was back.
    Feed(Feed),
    /// The ring had no room for so many events of that topic. `key` is its symbol, with its interval if it has one.
    Lost { kind: Kind, key: &'r [u8], count: u64 },
    /// It had none for events of further topics.
    LostUncounted,
}

/// The labels of what is in a ring.
const EVENT: u8 = 0;
const DOWN: u8 = 1;
const UP: u8 = 2;
const LOST: u8 = 3;
const LOST_UNCOUNTED: u8 = 4;

impl DelayedFeeds {
    /// Nothing is kept yet. Each ring holds `max_bytes`.
    pub(super) fn new(delays: &Delays, max_bytes: usize, kinds: &Kinds) -> Self {
        let feed = |(delay, delay_ms): (Delay, NonZeroU32)| DelayedFeed {
            delay,
            delay_ms: u64::from(delay_ms.get()),
            ring: Ring::new(max_bytes),
            events: 0,
            losses: Losses::default(),
        };
        Self { feeds: delays.iter().map(feed).collect(), kinds: kinds.iter().collect() }
    }

    /// Whether there is no delayed feed.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.feeds.is_empty()
    }

    /// Keeps an event that has come. `key` says which topic it is of, if it is a good one; it is asked only if a ring has no room.
    /// Returns how many rings had none.
    pub(super) fn keep(
        &mut self,
        kind: Kind,
        name: &[u8],
        payload: &[u8],
        now_ms: u64,
        key: impl FnOnce() -> Option<Symbol>,
    ) -> u64 {
        let mut lost_by = 0_u64;
        let label = Label { tag: EVENT, kind: kind.index() as u8 };
        let mut key = Some(key);
        let mut topic = None;
        for feed in &mut self.feeds {
            if feed.has_told_losses(now_ms) && feed.ring.push(label, name, payload, now_ms, false) {
                feed.events += 1;
                continue;
            }
            if let Some(key) = key.take() {
                topic = key();
            }
            if let Some(topic) = &topic {
                feed.losses.count(kind, topic);
                lost_by += 1;
            }
        }
        lost_by
    }

    /// Keeps that the upstream was lost or is back. There is always room for it: that happens a few times a second at most.
    pub(super) fn keep_feed(&mut self, feed: Feed, now_ms: u64) {
        let (tag, content) = match feed {
            Feed::Down => (DOWN, [0; 8]),
            Feed::Up { gap_ms } => (UP, gap_ms.to_le_bytes()),
        };
        for delayed in &mut self.feeds {
            delayed.has_told_losses(now_ms);
            delayed.ring.push(Label { tag, kind: 0 }, b"", &content, now_ms, true);
        }
    }

    /// Takes the next thing that is due, with the feed that it is of.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<(Delay, Due<'_>)> {
        let Self { feeds, kinds } = self;
        feeds.iter_mut().for_each(|feed| _ = feed.has_told_losses(now_ms));
        let oldest_first =
            feeds.iter_mut().filter_map(|feed| Some((feed.ring.oldest_ms()? + feed.delay_ms, feed)));
        let (_, feed) = oldest_first.min_by_key(|(due_ms, _)| *due_ms)?;
        let entry = feed.ring.pop(whole_ticks(now_ms).checked_sub(feed.delay_ms)?)?;
        let kind = kinds.get(usize::from(entry.label.kind)).copied().unwrap_or(Kind::TRADE);
        let due = match entry.label.tag {
            DOWN => Due::Feed(Feed::Down),
            UP => Due::Feed(Feed::Up { gap_ms: number(entry.content) }),
            LOST => Due::Lost { kind, key: entry.name, count: number(entry.content) },
            LOST_UNCOUNTED => Due::LostUncounted,
            _ => {
                feed.events -= 1;
                Due::Event { kind, name: entry.name, payload: entry.content }
            }
        };
        Some((feed.delay, due))
    }

    /// When something is due again, in milliseconds; `None` if nothing is kept.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let due = self.feeds.iter().filter_map(|feed| Some(feed.ring.oldest_ms()? + feed.delay_ms));
        due.min().map(|due_ms| due_ms.next_multiple_of(limits::DELAY_TICK_MS))
    }

    /// Bytes of memory that the rings take.
    pub(super) fn bytes(&self) -> usize {
        self.feeds.iter().map(|feed| feed.ring.bytes()).sum()
    }

    /// How many events are kept, in each ring.
    pub(super) fn events(&self) -> usize {
        self.feeds.iter().map(|feed| feed.events).sum()
    }
}

/// Time as the release of entries goes by it: what is due within a tick is released together.
fn whole_ticks(now_ms: u64) -> u64 {
    now_ms - now_ms % limits::DELAY_TICK_MS
}

impl DelayedFeed {
    /// Puts what was lost behind what is kept, now that there is room; `false` if there is none. Losses are told in the order of their
    /// topics' names only: they stand between the same events.
    fn has_told_losses(&mut self, now_ms: u64) -> bool {
        let Self { ring, losses, .. } = self;
        if losses.counts.is_empty() && !losses.are_more {
            return true;
        }
        if ring.is_full() {
            return false;
        }
        for ((kind, key), count) in losses.counts.drain() {
            let label = Label { tag: LOST, kind: kind.index() as u8 };
            ring.push(label, key.as_bytes(), &count.to_le_bytes(), now_ms, true);
        }
        if std::mem::take(&mut losses.are_more) {
            ring.push(Label { tag: LOST_UNCOUNTED, kind: 0 }, b"", b"", now_ms, true);
        }
        true
    }
}

impl Losses {
    fn count(&mut self, kind: Kind, topic: &Symbol) {
        if let Some(count) = self.counts.get_mut(&(kind, topic.clone())) {
            *count += 1;
        } else if self.counts.len() < limits::DELAY_LOST_TOPICS_MAX {
            self.counts.insert((kind, topic.clone()), 1);
        } else {
            self.are_more = true;
        }
    }
}

/// The number that eight bytes are.
fn number(content: &[u8]) -> u64 {
    content.try_into().map(u64::from_le_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::ring::CHUNK_BYTES;
    use super::*;
    use crate::market::DELAYS_MAX;

    const TRADE: &[u8] = br#"{"symbol":"A"}"#;

    fn feeds<const N: usize>(delays_ms: [u32; N], max_bytes: usize) -> DelayedFeeds {
        let delays = Delays::new(delays_ms.into_iter().filter_map(NonZeroU32::new)).unwrap();
        DelayedFeeds::new(&delays, max_bytes, &Kinds::default())
    }

    fn symbol(key: &[u8]) -> Option<Symbol> {
        Some(Symbol::of_topic(key))
    }

    /// What is due, by the number of its feed, with the name and size of an event, or what else it is.
    fn due(feeds: &mut DelayedFeeds, now_ms: u64) -> Vec<(usize, String)> {
        let mut all = Vec::new();
        while let Some((delay, due)) = feeds.next(now_ms) {
            let what = match due {
                Due::Event { name, .. } => String::from_utf8_lossy(name).into_owned(),
                Due::Feed(feed) => format!("{feed:?}"),
                Due::Lost { key, count, .. } => format!("-{count} {}", String::from_utf8_lossy(key)),
                Due::LostUncounted => "-?".to_owned(),
            };
            all.push((delay.index(), what));
        }
        all
    }

    #[test]
    fn each_feed_has_everything_in_order_when_it_is_due() {
        let mut feeds = feeds([5_000, 1_000], 8 * CHUNK_BYTES);
        assert_eq!((feeds.next_ms(), feeds.next(u64::MAX)), (None, None));
        feeds.keep_feed(Feed::Up { gap_ms: 7 }, 100);
        assert_eq!(feeds.keep(Kind::TRADE, b"A", TRADE, 101, || panic!("there is room")), 0);
        feeds.keep_feed(Feed::Down, 102);
        assert_eq!(feeds.keep(Kind::QUOTE, b"B", TRADE, 3_000, || panic!("there is room")), 0);
        assert_eq!(feeds.next_ms(), Some(1_100));
        assert_eq!(due(&mut feeds, 1_099), []);
        assert_eq!(due(&mut feeds, 1_109), [(1, "Up { gap_ms: 7 }".to_owned())], "in steps, never early");
        assert_eq!(feeds.next_ms(), Some(1_110));
        assert_eq!(due(&mut feeds, 1_110), [(1, "A".to_owned()), (1, "Down".to_owned())]);
        assert_eq!(feeds.next_ms(), Some(4_000));
        let names = |index: usize| ["Up { gap_ms: 7 }", "A", "Down"].map(|name| (index, name.to_owned()));
        assert_eq!(due(&mut feeds, 5_120), [vec![(1, "B".to_owned())], names(2).into()].concat());
        assert_eq!((feeds.events(), feeds.next_ms()), (1, Some(8_000)));
    }

    #[test]
    fn what_finds_no_room_is_told_where_it_would_have_stood() {
        let mut feeds = feeds([1_000], 2 * CHUNK_BYTES);
        let payload = vec![b' '; 100_000];
        let (mut kept, mut lost) = (0, 0);
        for n in 0..30 {
            let is_lost = feeds.keep(Kind::TRADE, b"A", &payload, n, || symbol(b"A"));
            assert!(is_lost == 1 || lost == 0, "once some are lost, all are, until there is room for many");
            (kept, lost) = (kept + 1 - is_lost, lost + is_lost);
        }
        assert_eq!((kept, lost), (20, 10));
        assert_eq!(feeds.keep(Kind::TRADE, b"BAD", &payload, 30, || None), 0, "a bad event is none");
        assert_eq!(feeds.keep(Kind::TRADE, b"B", &payload, 30, || symbol(b"B")), 1);
        feeds.keep_feed(Feed::Down, 31);
        let found = due(&mut feeds, 1_020);
        assert_eq!(found, vec![(1, "A".to_owned()); 20]);
        assert_eq!(feeds.keep(Kind::TRADE, b"C", &payload, 1_021, || panic!("there is room")), 0);
        let mut rest = due(&mut feeds, 5_000);
        assert_eq!(rest.remove(0), (1, "Down".to_owned()));
        assert_eq!(rest.pop(), Some((1, "C".to_owned())));
        rest.sort();
        assert_eq!(rest, [(1, "-1 B".to_owned()), (1, "-10 A".to_owned())]);
        assert_eq!((feeds.events(), feeds.next_ms()), (0, None));
    }

    #[test]
    fn losses_of_so_many_topics_are_counted_and_no_more() {
        let mut feeds = feeds([1_000], 2 * CHUNK_BYTES);
        let payload = vec![b' '; 100_000];
        (0..20).for_each(|_| _ = feeds.keep(Kind::TRADE, b"A", &payload, 0, || symbol(b"A")));
        for n in 0..limits::DELAY_LOST_TOPICS_MAX + 1 {
            let key = format!("S{n}");
            assert_eq!(feeds.keep(Kind::TRADE, b"S", &payload, 1, || symbol(key.as_bytes())), 1);
        }
        assert_eq!(due(&mut feeds, 5_000).len(), 20);
        assert_eq!(feeds.next_ms(), Some(6_000), "behind all that was kept, and as late");
        let found = due(&mut feeds, 6_000);
        assert_eq!(found.len(), limits::DELAY_LOST_TOPICS_MAX + 1);
        assert_eq!(found.last(), Some(&(1, "-?".to_owned())));
    }

    #[test]
    fn a_ring_that_is_full_keeps_no_other_from_its_events() {
        let delays_ms: [u32; DELAYS_MAX] = [10_000, 20_000, 30_000, 1_000];
        let mut feeds = feeds(delays_ms, 2 * CHUNK_BYTES);
        let payload = vec![b' '; 100_000];
        let mut lost = 0;
        for second in 0..30_u64 {
            for n in 0..10 {
                lost += feeds.keep(Kind::TRADE, b"A", &payload, second * 1_000 + n, || symbol(b"A"));
            }
            let of_first =
                due(&mut feeds, second * 1_000 + 500).into_iter().filter(|(feed, _)| *feed == 1).count();
            assert_eq!(of_first, if second == 0 { 0 } else { 10 });
        }
        assert!(lost > 0);
        assert!(feeds.bytes() <= DELAYS_MAX * (2 * CHUNK_BYTES + 65_536));
    }
}
