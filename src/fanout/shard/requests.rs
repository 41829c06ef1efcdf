//! What clients ask for, and what becomes of it: requests, their replies, and interest in topics.

use super::super::batch::{Batch, TopicId};
use super::Shard;
use crate::conn::close::CloseCode;
use crate::conn::session::{Action, ErrorCode, Id, Refusal, Request};
use crate::conn::{Conn, ConnKey, Phase, reply};
use crate::ingest;
use crate::market::Symbol;

/// Requests refused for their rate, in a row, after which the client is closed (1008).
const RATE_STRIKES_MAX: u8 = 100;

/// A subscribe that waits for ingest.
pub(super) struct Pending {
    key: ConnKey,
    symbols: Vec<Symbol>,
    id: Option<Id>,
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
            Ok(Request { action: Action::Ping, id }) => {
                let frame = reply::pong(id.as_ref(), self.clock.unix_ms);
                let frame = Batch::own(frame, &self.ledger);
                self.queue_own(key, frame);
            }
            Ok(Request { action: Action::Subscribe(symbols), id }) => self.subscribe(key, symbols, id),
            Ok(Request { action: Action::Unsubscribe(symbols), id }) => {
                self.unsubscribe(key, &symbols, id.as_ref());
            }
        }
    }

    /// All or nothing: either every symbol fits, or nothing changes. Symbols that this shard has no interest in yet
    /// are asked of ingest; the reply waits for its answer, so that no event published after it is missed.
    pub(super) fn subscribe(&mut self, key: ConnKey, symbols: Vec<Symbol>, id: Option<Id>) {
        let max_symbols = self.config.max_symbols;
        if self.index.count_with(key, &symbols) > max_symbols {
            return self.refuse(key, &Refusal::symbol_limit(max_symbols, id));
        }
        let asked: Vec<_> = symbols.iter().filter(|symbol| self.index.hold(symbol)).cloned().collect();
        let pending = Pending { key, symbols, id };
        if asked.is_empty() && self.index.all_live(&pending.symbols) {
            return self.complete(pending);
        }
        if let Some(conn) = self.conns.get_mut(key) {
            conn.phase = Phase::Waiting;
        }
        self.pending.push_back(pending);
        self.ask_ingest(ingest::Command::Want { shard: self.links.id, symbols: asked });
    }

    /// Ingest has answered the oldest request: from here on, the events of its topics come.
    pub(super) fn granted(&mut self, topics: Vec<(Symbol, TopicId)>) {
        for (symbol, topic) in topics {
            self.index.grant(symbol, topic);
        }
        let Some(pending) = self.pending.pop_front() else { return };
        let key = pending.key;
        match self.conns.get_mut(key) {
            Some(conn) if conn.phase == Phase::Waiting => conn.phase = Phase::Open,
            _ => {
                let unwanted = self.index.release(&pending.symbols);
                return self.release_topics(unwanted);
            }
        }
        self.complete(pending);
        self.greet(key);
        if self.conns.get(key).is_some_and(Conn::has_input) {
            self.unfinished.push(key);
        }
    }

    fn complete(&mut self, pending: Pending) {
        let Pending { key, symbols, id } = pending;
        self.index.subscribe(key, &symbols);
        let current = self.index.symbols_of(key);
        let frame = reply::subscribed(&symbols, current, id.as_ref(), self.clock.unix_ms);
        let frame = Batch::own(frame, &self.ledger);
        self.queue_own(key, frame);
    }

    fn unsubscribe(&mut self, key: ConnKey, symbols: &[Symbol], id: Option<&Id>) {
        let left = self.index.unsubscribe(key, symbols);
        let names: Vec<&Symbol> = left.iter().map(|left| &left.symbol).collect();
        let frame = reply::unsubscribed(&names, self.index.symbols_of(key), id, self.clock.unix_ms);
        let ends = left.iter().map(|left| left.topic).collect();
        let unwanted = left.iter().filter(|left| left.last).map(|left| left.topic).collect();
        if let Some(conn) = self.conns.get_mut(key) {
            for left in left {
                conn.outbox.remember(left.topic, left.symbol);
            }
        }
        let frame = Batch::farewell(frame, ends, &self.ledger);
        self.queue_own(key, frame);
        self.release_topics(unwanted);
    }

    pub(super) fn release_topics(&self, topics: Vec<TopicId>) {
        if !topics.is_empty() {
            self.ask_ingest(ingest::Command::Release { shard: self.links.id, topics });
        }
    }

    fn ask_ingest(&self, command: ingest::Command) {
        // Ingest ends after the shards do; without it there is nothing left to want.
        let _ = self.links.ingest.send(command, 0);
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
