//! What clients ask for, and how the shard answers.

use std::collections::HashSet;

use super::Shard;
use super::auth::held_by;
use super::conn::{Conn, ConnKey, FeedNews};
use super::subscriptions::{Pending, Purpose};
use crate::bus::{HistoryReply, HistoryRequest, TopicId};
use crate::identity::{Grant, Granted, Identity};
use crate::market::{Form, Name, Subject, Symbol};
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::reply::Reply;
use crate::protocol::request::{Action, Chosen, Id, Request, Selection, Subscribe};
use crate::rate::Rate;
use crate::websocket::close::CloseCode;

/// Requests refused for their rate, in a row, after which the client is closed (1008).
const RATE_STRIKES_MAX: u8 = 100;

impl Shard {
    /// Answers a message of a client, unless it comes faster than the client may send.
    pub(super) fn answer(&mut self, key: ConnKey, message: Result<Request, Refusal>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if let Some(rate) = self.config.message_rate
            && let Err(retry_after_s) = conn.take_message(rate, self.clocks.now.us)
        {
            return self.refuse_rate(key, rate, retry_after_s, message);
        }
        conn.rate_strikes = 0;
        let is_known = conn.identity.is_some();
        match message {
            Ok(Request { action: action @ (Action::Auth(_) | Action::Ping { .. }), id }) => {
                self.act(key, action, id);
            }
            Ok(Request { action, id }) if is_known => self.act(key, action, id),
            Err(refusal) if is_known || refusal.code == ErrorCode::InvalidJson => self.refuse(key, &refusal),
            Ok(Request { id, .. }) | Err(Refusal { id, .. }) => {
                self.refuse(key, &Refusal::unauthenticated(id));
            }
        }
    }

    fn act(&mut self, key: ConnKey, action: Action, id: Option<Id>) {
        match action {
            Action::Subscribe(request) => self.subscribe(key, request, id),
            Action::Unsubscribe(selection) => self.unsubscribe(key, &selection, id.as_ref()),
            Action::Auth(token) => self.verify(key, token, id),
            Action::List => self.list(key, id.as_ref()),
            Action::SetCombined(is_combined) => self.set_combined(key, is_combined, id),
            Action::IsCombined => self.say(key, &Reply::Combined { id: id.as_ref() }),
            Action::Enter => self.enter(key, id.as_ref()),
            Action::Desk(request) => self.ask_desk(key, *request, id),
            Action::Ping { stats } => {
                let stats = if stats { self.stats(key) } else { None };
                self.say(key, &Reply::Pong { stats, id: id.as_ref() });
            }
        }
    }

    /// All or nothing: either the client may have every subject, or nothing changes. Subjects that this shard has no interest in yet
    /// are asked of ingest; the reply waits for its answer, so that no event published after it is missed.
    pub(super) fn subscribe(&mut self, key: ConnKey, mut request: Subscribe, id: Option<Id>) {
        let Some(conn) = self.conns.get(key) else { return };
        let Some(Identity { rights, .. }) = conn.identity.as_deref() else {
            return self.refuse(key, &Refusal::unauthenticated(id));
        };
        if let Some(terms) = conn.session.as_ref().and_then(|session| session.terms()) {
            request.options = request.options.or(terms);
        }
        let index = &mut self.subscriptions.index;
        let granted = match rights.grant(&request.selection, conn.form(), &self.config.grammar.kinds) {
            Ok(granted) => granted,
            Err(refusal) => return self.refuse(key, &Refusal { id, ..refusal }),
        };
        let count = match conn.narrowed() {
            Some(narrowed) => narrowed.count_with(granted.written()),
            None => index.count_with(key, &granted.subjects),
        };
        let max_symbols = rights.max_symbols_in(conn.dialect);
        if count > max_symbols {
            let held = held_by(conn, index, key).len();
            let refusal = Refusal::symbol_limit(max_symbols, held, id);
            return self.refuse(key, &refusal);
        }
        let Granted { subjects, grants } = granted;
        if request.is_return {
            // A client may say that it has seen what it is not subscribed to.
            let kind = request.selection.types.first().copied();
            request.resume.retain(|(symbol, _)| {
                subjects.iter().any(|subject| Some(subject.kind) == kind && subject.name.covers(symbol))
            });
        }
        let newly_held = index.hold_all(&subjects);
        let history = history_request(&request, request.selection.form(conn.form()));
        // Only ingest knows the history, also of topics that are live on this shard.
        let asked = if history.is_some() { subjects.clone() } else { newly_held };
        let must_wait = !asked.is_empty() || !index.all_live(&subjects);
        let purpose = Purpose::Subscribe { request, grants, id };
        let pending = Pending { ticket: self.subscriptions.next_ticket(), key, subjects, purpose };
        self.ask(pending, must_wait, asked, history);
    }

    /// Ingest has granted what a request is for, or needs not be asked. Live events are queued only after this returns.
    pub(super) fn complete(&mut self, pending: Pending, history: Option<Box<HistoryReply>>) {
        let Pending { ticket: _, key, subjects, purpose } = pending;
        match purpose {
            Purpose::Subscribe { request, grants, id } => {
                self.complete_subscribe(key, subjects, &request, grants, id.as_ref(), history);
            }
            Purpose::Renewal(renewal) => self.complete_renewal(key, &subjects, *renewal),
        }
    }

    /// Subscribes the client, replies, and queues the history that it asked for.
    fn complete_subscribe(
        &mut self,
        key: ConnKey,
        subjects: Vec<Subject>,
        request: &Subscribe,
        grants: Vec<Grant>,
        id: Option<&Id>,
        history: Option<Box<HistoryReply>>,
    ) {
        self.subscriptions.index.subscribe(key, &subjects);
        self.set_options(key, &subjects, &request.options);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let subscribed_to_nothing = subjects.is_empty();
        conn.has_subscribed |= !subscribed_to_nothing;
        if subjects.iter().any(|subject| subject.name.is_wildcard()) {
            // A topic may come to this client by several subscriptions: `Extras` remember the last offer, so that it comes once.
            conn.extras.get_or_insert_default();
        }
        if let Some(narrowed) = conn.narrowed_mut() {
            let are_literal = grants.is_empty();
            let literal = subjects.into_iter().filter(|_| are_literal).map(Grant::literal);
            narrowed.add(literal.chain(grants).collect());
        }
        let recovered = recovered(request, history.as_deref());
        let held = held_by(conn, &self.subscriptions.index, key);
        let reply =
            Reply::Subscribed { selection: &request.selection, held: &held, recovered: &recovered, id };
        let reply = self.output.write(conn, &reply, self.clocks.now.unix_ms);
        self.output.queue(key, conn, reply);
        let is_first = conn.feed_news == FeedNews::BehindSubscription && !subscribed_to_nothing;
        if is_first {
            conn.feed_news = FeedNews::Due;
        }
        if let Some(history) = history {
            self.queue_history(key, request, *history);
        }
        if is_first {
            self.tell_feed_once(key);
            // Its token may end soon.
            self.arm(key);
        }
    }

    fn unsubscribe(&mut self, key: ConnKey, selection: &Selection, id: Option<&Id>) {
        let written = self.named(key, selection);
        let left = self.end_written(key, &written);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let held = held_by(conn, &self.subscriptions.index, key);
        let reply = Reply::Unsubscribed { left: &left, held: &held, id };
        let reply = self.output.write(conn, &reply, self.clocks.now.unix_ms);
        self.output.queue(key, conn, reply);
        self.trim_backfill(key);
        self.release_unwanted();
    }

    /// Ends what a client has written, without a word to it.
    pub(super) fn give_up(&mut self, key: ConnKey, written: &[Subject]) {
        self.end_written(key, written);
        self.trim_backfill(key);
        self.release_unwanted();
    }

    /// Ends what a client has written, as far as it has that, and returns it.
    fn end_written(&mut self, key: ConnKey, written: &[Subject]) -> Vec<Subject> {
        let narrowed = self.conns.get_mut(key).and_then(Conn::narrowed_mut);
        match narrowed.map(|narrowed| narrowed.remove(written)) {
            Some((left, parts)) => {
                self.end(key, &parts);
                left
            }
            None => self.end(key, written),
        }
    }

    /// Ends subscriptions of a client, as far as it has them, and returns those. What is skipped of them is announced before what is
    /// queued next.
    pub(super) fn end(&mut self, key: ConnKey, subjects: &[Subject]) -> Vec<Subject> {
        let queued = self.queued_by_patterns(key, subjects);
        let left = self.subscriptions.index.unsubscribe(key, subjects);
        let subjects = left.iter().map(|left| left.subject.clone()).collect();
        let left = left.into_iter().map(|left| (left.topic, left.subject)).collect();
        let ended = self.leave(key, left, queued);
        if let Some(conn) = self.conns.get_mut(key) {
            self.output.mark_ended(conn, &ended);
        }
        subjects
    }

    fn list(&mut self, key: ConnKey, id: Option<&Id>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let held = held_by(conn, &self.subscriptions.index, key);
        let reply = Reply::List { held: &held, id };
        let reply = self.output.write(conn, &reply, self.clocks.now.unix_ms);
        self.output.queue(key, conn, reply);
    }

    /// Sets whether the stream's name is written around the client's events. A change is refused once the client has been subscribed to
    /// something: the form of subscriptions can't change, and events of those that it has left may wait to be written.
    fn set_combined(&mut self, key: ConnKey, is_combined: bool, id: Option<Id>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let dialect = conn.dialect.combined(is_combined);
        if dialect != conn.dialect && conn.has_subscribed {
            let message = "combined can be set before the first SUBSCRIBE only";
            return self.refuse(key, &Refusal { id, ..Refusal::new(ErrorCode::InvalidInput, message) });
        }
        conn.dialect = dialect;
        self.say(key, &Reply::CombinedSet { id: id.as_ref() });
    }

    /// What an unsubscribe means: with `*` everything that the client holds of the types.
    fn named(&self, key: ConnKey, selection: &Selection) -> Vec<Subject> {
        let Some(conn) = self.conns.get(key) else { return Vec::new() };
        if !selection.names.iter().any(Chosen::is_all) {
            return selection.subjects(conn.form());
        }
        let held = held_by(conn, &self.subscriptions.index, key).into_iter();
        held.filter(|subject| selection.types.contains(&subject.kind)).cloned().collect()
    }

    /// Topics with queued events that the client gets only by patterns that it now leaves. Their names are kept: later skips of these events
    /// are still announced.
    fn queued_by_patterns(&mut self, key: ConnKey, subjects: &[Subject]) -> Vec<(TopicId, Subject)> {
        let is_pattern = |subject: &&Subject| matches!(subject.name, Name::Pattern(_));
        if !subjects.iter().any(|subject| is_pattern(&subject)) {
            return Vec::new();
        }
        let index = &mut self.subscriptions.index;
        // A client may name thousands that it doesn't hold.
        let held = index.topics_of(key);
        let patterns = subjects.iter().filter(is_pattern).filter_map(|subject| index.topic(subject));
        let left: HashSet<_> = patterns.filter(|pattern| held.contains(pattern)).collect();
        let Some(conn) = self.conns.get(key).filter(|_| !left.is_empty()) else { return Vec::new() };
        let queued = conn.outbox.topics().into_iter().filter_map(|topic| {
            let is_by_pattern = index.patterns_of(topic).iter().any(|pattern| left.contains(pattern));
            is_by_pattern.then(|| Some((topic, index.subject(topic)?.clone())))?
        });
        queued.collect()
    }

    fn refuse_rate(
        &mut self,
        key: ConnKey,
        rate: Rate,
        retry_after_s: u64,
        message: Result<Request, Refusal>,
    ) {
        let id = message.map_or_else(|refusal| refusal.id, |request| request.id);
        let text = format!("Too many messages: at most {rate}");
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

/// Whether what the client has missed is in the history, by name; of a client that comes back, of all its names.
fn recovered(request: &Subscribe, history: Option<&HistoryReply>) -> Vec<(Name, bool)> {
    let are_recovered = history.map_or(&[][..], |history| &history.recovered).iter();
    // Of the other types nothing is resumed.
    let is_whole = request.selection.types.len() == 1;
    let resumed = request.resume.iter().map(|(symbol, _)| Name::Symbol(symbol.clone()));
    let mut recovered: Vec<_> =
        resumed.zip(are_recovered.map(|is_recovered| *is_recovered && is_whole)).collect();
    if request.is_return {
        let resumed = recovered.len();
        for name in request.selection.names() {
            if !recovered[..resumed].iter().any(|(each, _)| each == name) {
                recovered.push((name.clone(), false));
            }
        }
    }
    recovered
}

/// What a request asks of the history of its topics, in that form; `None` = nothing.
fn history_request(request: &Subscribe, form: Form) -> Option<Box<HistoryRequest>> {
    let snapshot = request.options.wants_snapshot();
    if !snapshot && request.resume.is_empty() {
        return None;
    }
    let kind = *request.selection.types.first()?;
    let subject = |symbol: &Symbol| Subject::new(kind, Name::Symbol(symbol.clone())).in_form(form);
    let resume = request.resume.iter().map(|(symbol, seen)| (subject(symbol), *seen)).collect();
    Some(Box::new(HistoryRequest { snapshot, resume }))
}
