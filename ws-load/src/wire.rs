//! What the coordinator and its worker processes tell each other: JSON, one object a line.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::crowd::Crowd;
use super::latency::Latency;
use super::ledger::Counts;

/// Reasons of failures that are told apart; all others are one.
const REASONS_MAX: usize = 8;

/// Coordinator → worker, on its standard input. When that ends, so does the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Open these connections of the crowd, and subscribe them. Comes first, and once.
    Open {
        /// All connections, of all workers.
        crowd: Crowd,
        /// The first one of this worker.
        first: u32,
        /// How many are this worker's.
        count: u32,
        /// A token for each of them, or none at all.
        tokens: Vec<String>,
    },
    /// What arrives in between counts for rates, what was sent in between for latencies. Churn begins now and ends
    /// with the window; so does talk, which begins at its own time.
    Measure {
        /// When the first message is due.
        start_ns: u64,
        /// What is measured.
        window: Window,
    },
    /// Nothing more is published. Wait for what is still on its way, then report.
    Finish {
        /// Each symbol's last sequence number.
        last: Vec<u64>,
        /// How long nothing may come before the rest counts as lost.
        patience_ns: u64,
    },
}

/// A stretch of the monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first nanosecond.
    pub from_ns: u64,
    /// The first one after it.
    pub to_ns: u64,
}

impl Window {
    /// Whether a time lies in it.
    #[inline]
    pub fn contains(self, time_ns: u64) -> bool {
        (self.from_ns..self.to_ns).contains(&time_ns)
    }

    /// Its length in seconds.
    pub fn seconds(self) -> f64 {
        self.to_ns.saturating_sub(self.from_ns) as f64 / 1e9
    }
}

/// Worker → coordinator, on its standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// How things stand, twice a second.
    Progress(Progress),
    /// Every connection is subscribed, or has failed.
    Opened(Progress),
    /// All is said: how often each talker has talked that is a connection of this worker's; 0 for the others.
    Said(Vec<u64>),
    /// The end.
    Done(Box<Outcome>),
}

/// How things stand in one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Connections that are subscribed.
    pub open: u32,
    /// Connections that could not be opened, or ended.
    pub failed: u32,
    /// What became of events so far.
    pub counts: Counts,
}

/// What one worker has found, or several together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Connections that were subscribed once.
    pub opened: u32,
    /// Connections that could not be opened, by reason.
    pub failed: Reasons,
    /// Connections that ended although nobody had asked for it, by reason.
    pub lost: Reasons,
    /// Error replies, and messages that could not be understood.
    pub complaints: Reasons,
    /// How often a connection heard that the server had lost its upstream.
    pub feed_lost: u64,
    /// What became of events.
    pub counts: Counts,
    /// Deliveries that the held symbols called for.
    pub expected: u64,
    /// Deliveries that arrived in the window.
    pub delivered_in_window: u64,
    /// Bytes that arrived in the window.
    pub bytes_in_window: u64,
    /// From intended sending to reading, of trades sent in the window.
    pub latency: Latency,
    /// From connect to the 101 answer.
    pub handshakes: Latency,
    /// From a subscribe or unsubscribe to its reply, in the window.
    pub replies: Latency,
    /// Subscribes and unsubscribes that were left out because no connection was free for one.
    pub churn_missed: u64,
    /// Messages that connections said in the window, and how late they were.
    pub said_in_window: u64,
    /// From when a message was due to when it was said.
    pub lateness: Latency,
    /// Messages that were left out because their talker had too many under way, or had gone.
    pub unsaid: u64,
    /// The order in which the members of each room heard all that they heard; `None` if two of them differ. Members that were told
    /// of a loss don't count.
    pub orders: BTreeMap<u32, Option<u64>>,
}

impl Outcome {
    /// One more member of a room, or several that agree, or don't.
    pub fn heard_in_order(&mut self, room: u32, order: Option<u64>) {
        let known = self.orders.entry(room).or_insert(order);
        if *known != order {
            *known = None;
        }
    }
}

impl AddAssign<&Self> for Outcome {
    fn add_assign(&mut self, other: &Self) {
        self.opened += other.opened;
        self.failed.add_all(&other.failed);
        self.lost.add_all(&other.lost);
        self.complaints.add_all(&other.complaints);
        self.feed_lost += other.feed_lost;
        self.counts += other.counts;
        self.expected += other.expected;
        self.delivered_in_window += other.delivered_in_window;
        self.bytes_in_window += other.bytes_in_window;
        self.latency.add(&other.latency);
        self.handshakes.add(&other.handshakes);
        self.replies.add(&other.replies);
        self.churn_missed += other.churn_missed;
        self.said_in_window += other.said_in_window;
        self.lateness.add(&other.lateness);
        self.unsaid += other.unsaid;
        other.orders.iter().for_each(|(&room, &order)| self.heard_in_order(room, order));
    }
}

/// Reasons and how often each occurred; their number is bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reasons(pub BTreeMap<String, u32>);

impl Reasons {
    /// Once more; the word for it is made only where it is kept.
    pub fn add(&mut self, reason: &str, times: u32) {
        if let Some(count) = self.0.get_mut(reason) {
            *count += times;
        } else {
            let reason = if self.0.len() < REASONS_MAX { reason } else { "other reasons" };
            *self.0.entry(reason.to_owned()).or_default() += times;
        }
    }

    /// All those of others.
    pub fn add_all(&mut self, others: &Self) {
        others.0.iter().for_each(|(reason, &times)| self.add(reason, times));
    }

    /// How many in all.
    pub fn total(&self) -> u32 {
        self.0.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::crowd::tests::crowd;
    use super::*;

    #[test]
    fn a_line_carries_what_it_was_given() {
        let open = Command::Open { crowd: crowd(3, 2, 1), first: 1, count: 2, tokens: vec!["x".to_owned()] };
        let line = serde_json::to_string(&open).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Command>(&line).unwrap(), open);
        let done = Report::Done(Box::new(Outcome { opened: 3, feed_lost: 1, ..Outcome::default() }));
        let line = serde_json::to_string(&done).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), done);
    }

    #[test]
    fn members_that_heard_otherwise_are_noticed_in_whichever_process() {
        let of = |orders: &[(u32, u64)]| {
            let mut outcome = Outcome::default();
            orders.iter().for_each(|&(room, order)| outcome.heard_in_order(room, Some(order)));
            outcome
        };
        let mut sum = of(&[(0, 5), (0, 5), (1, 6), (1, 7)]);
        sum += &of(&[(0, 5), (1, 6), (2, 8)]);
        assert_eq!(sum.orders, BTreeMap::from([(0, Some(5)), (1, None), (2, Some(8))]));
        sum += &of(&[(2, 9)]);
        assert_eq!(sum.orders[&2], None);
    }

    #[test]
    fn reasons_are_counted_and_bounded() {
        let mut reasons = Reasons::default();
        for n in 0..100 {
            reasons.add(&format!("reason {}", n % 50), 1);
        }
        assert_eq!(reasons.0.len(), REASONS_MAX + 1);
        let mut sum = Reasons::default();
        sum.add_all(&reasons);
        sum.add_all(&reasons);
        assert_eq!((sum.total(), sum.0["reason 0"]), (200, 4));
    }

    #[test]
    fn a_window_has_its_beginning_and_not_its_end() {
        let window = Window { from_ns: 5, to_ns: 1_000_000_005 };
        assert_eq!(
            [4, 5, 1_000_000_004, 1_000_000_005].map(|ns| window.contains(ns)),
            [false, true, true, false]
        );
        assert!((window.seconds() - 1.0).abs() < 1e-9);
    }
}
