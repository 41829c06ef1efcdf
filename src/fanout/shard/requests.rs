//! What clients ask for, and what becomes of it: requests, their replies, and interest in topics.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::super::batch::Batch;
use super::Shard;
use super::conn::{Conn, ConnKey, Phase};
use crate::bus::{HistoryReply, HistoryRequest, Ticket, TopicId, Wish};
use crate::limits;
use crate::market::{Name, Subject, Symbol};
use crate::protocol::native::write as reply;
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::request::{Action, Id, Request, Selection, Subscribe};
use crate::websocket::close::CloseCode;

/// Requests refused for their rate, in a row, after which the client is closed (1008).
const RATE_STRIKES_MAX: u8 = 100;

/// A subscribe that waits for ingest.
pub(super) struct Pending {
    /// That of the wish that ingest is to answer.
    ticket: Ticket,
    key: ConnKey,
    request: Subscribe,
    /// What the request's selection means.
    subjects: Vec<Subject>,
    id: Option<Id>,
}

/// What a request asks of the history; `None` = nothing.
fn history_request(request: &Subscribe) -> Option<Box<HistoryRequest>> {
    let snapshot = request.options.snapshot;
    if !snapshot && request.resume.is_empty() {
        return None;
    }
    // A request that resumes names one type.
    let event_type = *request.selection.types.first()?;
    let subject = |symbol: &Symbol| Subject { event_type, name: Name::Symbol(symbol.clone()) };
    let resume = request.resume.iter().map(|(symbol, seen)| (subject(symbol), *seen)).collect();
    Some(Box::new(HistoryRequest { snapshot, resume }))
}

impl Shard {
    pub(super) fn answer(&mut self, key: ConnKey, message: Result<Request, Refusal>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if let Err(retry_after_s) =
            conn.allowance.take(self.config.max_messages_per_second, self.clock.now_us)
        {
            return self.refuse_rate(key, retry_after_s, message);
        }
        conn.rate_strikes = 0;
        match message {
            Err(refusal) => self.refuse(key, &refusal),
            Ok(Request { action, id }) => self.act(key, action, id),
        }
    }

    fn act(&mut self, key: ConnKey, action: Action, id: Option<Id>) {
        let frame = match action {
            Action::Subscribe(request) => return self.subscribe(key, request, id),
            Action::Unsubscribe(selection) => return self.unsubscribe(key, &selection, id.as_ref()),
            Action::List => {
                let held: Vec<_> = self.index.subjects_of(key).collect();
                reply::list(&held, id.as_ref(), self.clock.unix_ms)
            }
            Action::Ping { stats } => {
                let stats = if stats { self.stats(key) } else { None };
                reply::pong(stats.as_ref(), id.as_ref(), self.clock.unix_ms)
            }
        };
        let frame = Batch::own(frame, &self.ledger);
        self.queue_own(key, frame);
    }

    /// All or nothing: either every subject fits, or nothing changes. Subjects that this shard has no interest in yet
    /// are asked of ingest; the reply waits for its answer, so that no event published after it is missed.
    pub(super) fn subscribe(&mut self, key: ConnKey, request: Subscribe, id: Option<Id>) {
        let max_symbols = self.config.max_symbols;
        let subjects = request.selection.subjects();
        if self.index.count_with(key, &subjects) > max_symbols {
            return self.refuse(key, &Refusal::symbol_limit(max_symbols, id));
        }
        let newly_held = self.index.hold_all(&subjects);
        let history = history_request(&request);
        // Only ingest knows the history, also of topics that are live on this shard.
        let asked = if history.is_some() { subjects.clone() } else { newly_held };
        let ticket = self.last_ticket.next();
        let pending = Pending { ticket, key, request, subjects, id };
        if asked.is_empty() && self.index.all_live(&pending.subjects) {
            return self.complete(pending, None);
        }
        self.last_ticket = ticket;
        if let Some(conn) = self.conns.get_mut(key) {
            conn.phase = Phase::Waiting;
        }
        self.pending.push_back(pending);
        self.links.wishes.send(Wish::Want { shard: self.links.id, ticket, subjects: asked, history });
    }

    /// Ingest has found topics that our patterns match.
    pub(super) fn opened(&mut self, topics: Vec<(Subject, TopicId)>) {
        for (subject, topic) in topics {
            self.index.topic_opened(subject, topic);
        }
        self.release_unwanted();
    }

    /// Ingest has taken back topics that were idle: their ids end here. What clients are kept by them is queued, and what waits then
    /// gets a mark behind it, so that whatever is skipped of it is announced by name, and before the symbol comes again.
    pub(super) fn closed(&mut self, topics: &[TopicId]) {
        let (ledger, now_us) = (self.ledger.clone(), self.clock.now_us);
        for topics in topics.chunks(limits::TOPICS_PER_MARK) {
            let mut waiting = HashSet::<ConnKey, RandomState>::default();
            for &topic in topics {
                self.for_each_subscriber(topic, |key, conn, _| {
                    if let Some(extras) = &mut conn.extras {
                        extras.topic_retired(&mut conn.outbox, topic, &ledger, now_us);
                    }
                    if !conn.outbox.is_empty() {
                        waiting.insert(key);
                    }
                });
            }
            if !waiting.is_empty() {
                let named = |topic: &TopicId| Some((*topic, self.index.subject(*topic)?.clone()));
                let closed: Vec<_> = topics.iter().filter_map(named).collect();
                let mark = Batch::mark(&closed, &self.ended_names, &ledger);
                for key in waiting {
                    if let Some(conn) = self.conns.get_mut(key) {
                        conn.outbox.push_mark(&mark);
                    }
                }
            }
            topics.iter().for_each(|topic| self.index.topic_retired(*topic));
        }
    }

    /// Ingest has answered the oldest request: from here on, the events of its topics come.
    pub(super) fn granted(
        &mut self,
        ticket: Ticket,
        topics: Vec<(Subject, TopicId)>,
        history: Option<Box<HistoryReply>>,
    ) {
        for (subject, topic) in topics {
            self.index.grant(subject, topic);
        }
        let Some(pending) = self.pending.pop_front() else { return };
        debug_assert_eq!(pending.ticket, ticket, "ingest answers in the order of asking");
        self.replay_bytes_taken += history.as_deref().map_or(0, |history| history.replay.bytes.len()) as u64;
        let key = pending.key;
        match self.conns.get_mut(key) {
            Some(conn) if conn.phase == Phase::Waiting => conn.phase = Phase::Open,
            _ => {
                self.index.drop_holds(&pending.subjects);
                return self.release_unwanted();
            }
        }
        self.complete(pending, history);
        self.greet(key);
        if self.conns.get(key).is_some_and(Conn::has_input) {
            self.unfinished.push(key);
        }
    }

    fn complete(&mut self, pending: Pending, history: Option<Box<HistoryReply>>) {
        let Pending { ticket: _, key, request, subjects, id } = pending;
        self.index.subscribe(key, &subjects);
        self.set_options(key, &subjects, &request.options);
        if subjects.iter().any(|subject| matches!(subject.name, Name::Pattern(_)))
            && let Some(conn) = self.conns.get_mut(key)
        {
            // A topic may come to this client by several subscriptions: that takes a place to remember it in.
            conn.extras.get_or_insert_default();
        }
        let held: Vec<_> = self.index.subjects_of(key).collect();
        let recovered = history.as_deref().map_or(&[][..], |history| &history.recovered);
        let recovered: Vec<_> =
            request.resume.iter().map(|(symbol, _)| symbol.clone()).zip(recovered.iter().copied()).collect();
        let names = &request.selection.names;
        let frame = reply::subscribed(names, &held, &recovered, id.as_ref(), self.clock.unix_ms);
        let frame = Batch::own(frame, &self.ledger);
        self.queue_own(key, frame);
        if let Some(history) = history {
            self.queue_history(key, &request, *history);
        }
    }

    fn unsubscribe(&mut self, key: ConnKey, selection: &Selection, id: Option<&Id>) {
        let subjects = self.named(key, selection);
        let queued = self.queued_by_patterns(key, &subjects);
        let left = self.index.unsubscribe(key, &subjects);
        let mut named = HashSet::new();
        let names: Vec<_> =
            left.iter().map(|left| &left.subject.name).filter(|name| named.insert(*name)).collect();
        let held: Vec<_> = self.index.subjects_of(key).collect();
        let frame = reply::unsubscribed(&names, &held, id, self.clock.unix_ms);
        let ended =
            self.ended(key, left.into_iter().map(|left| (left.topic, left.subject)).collect(), queued);
        self.mark_ended(key, &ended);
        let frame = Batch::own(frame, &self.ledger);
        self.queue_own(key, frame);
        self.trim_backfill(key);
        self.release_unwanted();
    }

    /// Marks in a client's outbox that topics end for it, if anything waits there: what is skipped of them is announced, by name, before
    /// what is queued from now on.
    pub(super) fn mark_ended(&mut self, key: ConnKey, ended: &[(TopicId, Subject)]) {
        let Some(conn) = self.conns.get_mut(key).filter(|conn| !conn.outbox.is_empty()) else { return };
        for some in ended.chunks(limits::TOPICS_PER_MARK) {
            conn.outbox.push_mark(&Batch::mark(some, &self.ended_names, &self.ledger));
        }
    }

    /// What waits for a client and has come by patterns that it is about to leave: what is skipped of it has to be announced
    /// by name even when the topic goes with the pattern.
    fn queued_by_patterns(&mut self, key: ConnKey, subjects: &[Subject]) -> Vec<(TopicId, Subject)> {
        let is_pattern = |subject: &&Subject| matches!(subject.name, Name::Pattern(_));
        if !subjects.iter().any(|subject| is_pattern(&subject)) {
            return Vec::new();
        }
        // A client may name thousands that it doesn't hold.
        let held = self.index.topics_of(key);
        let patterns = subjects.iter().filter(is_pattern).filter_map(|subject| self.index.topic(subject));
        let left: HashSet<_> = patterns.filter(|pattern| held.contains(pattern)).collect();
        let Self { conns, index, .. } = self;
        let Some(conn) = conns.get(key).filter(|_| !left.is_empty()) else { return Vec::new() };
        let queued = conn.outbox.topics().into_iter().filter_map(|topic| {
            let is_by_pattern = index.patterns_of(topic).iter().any(|pattern| left.contains(pattern));
            is_by_pattern.then(|| Some((topic, index.subject(topic)?.clone())))?
        });
        queued.collect()
    }

    /// What an unsubscribe means: with `*` all that the client holds of the types.
    fn named(&self, key: ConnKey, selection: &Selection) -> Vec<Subject> {
        if !selection.names.iter().any(Name::is_everything) {
            return selection.subjects();
        }
        let held = self.index.subjects_of(key);
        held.filter(|subject| selection.types.contains(&subject.event_type)).cloned().collect()
    }

    /// Gives back to ingest what nobody here wants any more, and what is idle of too many topics that patterns have opened.
    pub(super) fn release_unwanted(&mut self) {
        let shard = self.links.id;
        let topics = self.index.take_unwanted();
        if !topics.is_empty() {
            self.links.wishes.send(Wish::Release { shard, topics });
        }
        let topics = self.index.take_retiring();
        if !topics.is_empty() {
            self.links.wishes.send(Wish::Retire { shard, topics });
        }
    }

    pub(super) fn refuse(&mut self, key: ConnKey, refusal: &Refusal) {
        self.metrics.errors_sent.add(1);
        let frame = Batch::own(reply::error(refusal, self.clock.unix_ms), &self.ledger);
        self.queue_own(key, frame);
    }

    fn refuse_rate(&mut self, key: ConnKey, retry_after_s: u64, message: Result<Request, Refusal>) {
        let id = message.map_or_else(|refusal| refusal.id, |request| request.id);
        let text = format!("Too many messages: at most {} a second", self.config.max_messages_per_second);
        let refusal = Refusal {
            retry_after_s: Some(retry_after_s),
            id,
            ..Refusal::new(ErrorCode::RateLimitExceeded, text)
        };
        self.refuse(key, &refusal);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.rate_strikes += 1;
        if conn.rate_strikes >= RATE_STRIKES_MAX {
            self.close(key, CloseCode::Policy, "message rate broken again and again");
        }
    }
}
