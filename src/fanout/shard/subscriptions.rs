//! Which topics this shard wants, and how it agrees on that with ingest.
//!
//! Ingest owns interest: it knows which shard wants which topic, and gives topics their ids. The shard asks with a
//! [`Wish`]; the answer travels in the same queue as the events, so its place among them is exact.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::super::batch::Batch;
use super::super::index::Index;
use super::Shard;
use super::conn::{Conn, ConnKey, Phase};
use crate::bus::{HistoryReply, HistoryRequest, Ticket, TopicId, UserSeat, Wish};
use crate::identity::{Grant, Identity};
use crate::limits;
use crate::market::Subject;
use crate::protocol::request::{Id, Subscribe};

/// A shard's part of the index, and its requests to ingest.
pub(super) struct Subscriptions {
    /// Which client is subscribed to what.
    pub(super) index: Index<ConnKey>,
    /// The number of the last call of [`Shard::for_each_subscriber`], so that a client with several subscriptions to a topic is called once: see
    /// [`is_first_offer`](crate::fanout::extras::Extras::is_first_offer).
    pub(super) offers: u64,
    /// Requests that wait for ingest, in the order in which it answers. At most one for each connection.
    pub(super) pending: VecDeque<Pending>,
    /// Bytes of replays that ingest has ever sent: see [`ReplayBudget`](crate::bus::ReplayBudget).
    pub(super) replay_bytes_taken: u64,
    last_ticket: Ticket,
}

impl Subscriptions {
    pub(super) fn new(max_clients: usize, max_opened_topics: usize) -> Self {
        Self {
            index: Index::bounded(max_clients, max_opened_topics),
            offers: 0,
            pending: VecDeque::new(),
            replay_bytes_taken: 0,
            last_ticket: Ticket::default(),
        }
    }

    /// The next ticket for a request to ingest or the control side.
    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.last_ticket = self.last_ticket.next();
        self.last_ticket
    }
}

/// A request that waits for ingest.
pub(super) struct Pending {
    /// That of the wish.
    pub(super) ticket: Ticket,
    /// The client.
    pub(super) key: ConnKey,
    /// What it is to be subscribed to.
    pub(super) subjects: Vec<Subject>,
    /// What comes of it then.
    pub(super) purpose: Purpose,
}

/// What a request is for.
pub(super) enum Purpose {
    /// A subscribe.
    Subscribe {
        /// What the client asked for.
        request: Subscribe,
        /// What that comes to, for a client whose rights cover some names only.
        grants: Vec<Grant>,
        /// The client's own mark.
        id: Option<Id>,
    },
    /// The client has shown who it is.
    Renewal(Box<Renewal>),
}

/// What a token changes.
pub(super) struct Renewal {
    /// Who the client is, and what it may have from now on.
    pub(super) identity: Arc<Identity>,
    /// Its place among the connections of its user, if it gets one now.
    pub(super) seat: Option<Arc<UserSeat>>,
    /// What is left of its subscriptions.
    pub(super) grants: Vec<Grant>,
    /// Whether the client may no longer have all that it was subscribed to.
    pub(super) has_lost_some: bool,
    /// The client's own mark.
    pub(super) id: Option<Id>,
}

impl Shard {
    /// Takes ingest's answer to the oldest request: from here on, the events of its topics come.
    pub(super) fn on_granted(
        &mut self,
        ticket: Ticket,
        topics: Vec<(Subject, TopicId)>,
        history: Option<Box<HistoryReply>>,
    ) {
        for (subject, topic) in topics {
            self.subscriptions.index.grant(subject, topic);
        }
        let Some(pending) = self.subscriptions.pending.pop_front() else { return };
        debug_assert_eq!(pending.ticket, ticket, "ingest answers in the order of asking");
        let replay_bytes = history.as_deref().map_or(0, |history| history.replay.bytes.len());
        self.subscriptions.replay_bytes_taken += replay_bytes as u64;
        let key = pending.key;
        match self.conns.get_mut(key) {
            Some(conn) if conn.phase == Phase::Waiting => conn.phase = Phase::Open,
            _ => {
                // The client has gone meanwhile.
                self.subscriptions.index.drop_holds(&pending.subjects);
                return self.release_unwanted();
            }
        }
        self.complete(pending, history);
        self.tell_feed_once(key);
        self.ask_inbox_once(key);
        if self.conns.get(key).is_some_and(Conn::has_input) {
            self.input.unfinished.push(key);
        }
    }

    /// Ingest has found topics that patterns of this shard match: their events come next.
    pub(super) fn open_topics(&mut self, topics: Vec<(Subject, TopicId)>) {
        for (subject, topic) in topics {
            self.subscriptions.index.topic_opened(subject, topic);
        }
        self.release_unwanted();
    }

    /// Ingest has taken back idle topics: no more events come under these ids. Events of theirs that conflation still holds back
    /// are queued now, followed by a mark. The mark keeps the symbol's name: if these events are skipped later, they are announced
    /// by it, before the symbol returns under a new id.
    pub(super) fn retire_topics(&mut self, topics: &[TopicId]) {
        let now_us = self.clocks.now.us;
        let backlog = self.output.backlog.clone();
        for topics in topics.chunks(limits::TOPICS_PER_MARK) {
            let mut waiting = HashSet::<ConnKey, RandomState>::default();
            for &topic in topics {
                self.for_each_subscriber(topic, |key, conn, _| {
                    if let Some(extras) = &mut conn.extras {
                        extras.topic_retired(&mut conn.outbox, topic, &backlog, now_us);
                    }
                    if !conn.outbox.is_empty() {
                        waiting.insert(key);
                    }
                });
            }
            if !waiting.is_empty() {
                let named =
                    |topic: &TopicId| Some((*topic, self.subscriptions.index.subject(*topic)?.clone()));
                let retired: Vec<_> = topics.iter().filter_map(named).collect();
                let mark = Batch::mark(&retired, &self.output.ended_names, &backlog);
                for key in waiting {
                    if let Some(conn) = self.conns.get_mut(key) {
                        conn.outbox.push_mark(&mark);
                    }
                }
            }
            topics.iter().for_each(|topic| self.subscriptions.index.topic_retired(*topic));
        }
    }

    /// Has a request wait for ingest's answer, if it must, or completes it at once.
    pub(super) fn ask(
        &mut self,
        pending: Pending,
        must_wait: bool,
        subjects: Vec<Subject>,
        history: Option<Box<HistoryRequest>>,
    ) {
        if !must_wait {
            return self.complete(pending, None);
        }
        if let Some(conn) = self.conns.get_mut(pending.key) {
            conn.phase = Phase::Waiting;
        }
        let ticket = pending.ticket;
        self.subscriptions.pending.push_back(pending);
        self.handles.wishes.send(Wish::Want { shard: self.handles.id, ticket, subjects, history });
    }

    /// Ends all of a client's subscriptions.
    pub(super) fn leave_all(&mut self, key: ConnKey) {
        self.subscriptions.index.disconnect(key);
        self.leave_desk(key);
        if let Some(desk) = &mut self.desk {
            desk.asked_for.remove(&key);
        }
        self.release_unwanted();
    }

    /// Gives back to ingest the topics that no client of this shard wants any more, and, where patterns have opened too many, idle
    /// ones of those.
    pub(super) fn release_unwanted(&mut self) {
        let shard = self.handles.id;
        let topics = self.subscriptions.index.take_unwanted();
        if !topics.is_empty() {
            self.handles.wishes.send(Wish::Release { shard, topics });
        }
        let topics = self.subscriptions.index.take_retiring();
        if !topics.is_empty() {
            self.handles.wishes.send(Wish::Retire { shard, topics });
        }
    }
}
