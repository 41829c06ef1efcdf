//! Questions of clients to workers: on their way until a response comes, or the time for it is up.

use std::collections::{HashMap, VecDeque};

use foldhash::quality::RandomState;
use slotmap::{Key, KeyData};

use super::super::Shard;
use super::super::conn::ConnKey;
use super::namespaces::namespaces_of;
use super::requests::What;
use crate::bus::DeskOrder;
use crate::desk::event::Told;
use crate::desk::{DeskId, REPLY, REQUEST};
use crate::limits::REQUESTS_MAX;
use crate::protocol::desk::RequestId;
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::request::Id;
use crate::protocol::socketio::write;

/// Deadlines of answered questions kept until due: this many, plus one per waiting question.
const ANSWERED_MAX: usize = 1_024;

/// Questions that wait for their responses.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Those of each client.
    of: HashMap<ConnKey, HashMap<RequestId, Question, RandomState>, RandomState>,
    /// How many there are.
    count: usize,
    /// When the time of each is up, in microseconds since the gateway was built, in order. Some are answered.
    due: VecDeque<(u64, ConnKey, RequestId)>,
}

/// A question.
#[derive(Debug)]
struct Question {
    /// When the time for it is up.
    due_us: u64,
    /// The client's own mark.
    id: Option<Id>,
}

impl Questions {
    /// The client has gone.
    pub(super) fn forget(&mut self, key: ConnKey) {
        self.count -= self.of.remove(&key).map_or(0, |questions| questions.len());
    }

    fn add(&mut self, key: ConnKey, request_id: &RequestId, due_us: u64, id: Option<Id>) {
        self.of.entry(key).or_default().insert(request_id.clone(), Question { due_us, id });
        self.count += 1;
        self.due.push_back((due_us, key, request_id.clone()));
        // Those that are answered leave when their time is up, or when they are many.
        if self.due.len() > 2 * self.count + ANSWERED_MAX {
            let mut due = std::mem::take(&mut self.due);
            due.retain(|(due_us, key, request_id)| self.is_due(*key, request_id, *due_us));
            self.due = due;
        }
    }

    /// Whether a question waits, and this is when its time is up.
    fn is_due(&self, key: ConnKey, request_id: &RequestId, due_us: u64) -> bool {
        let question = self.of.get(&key).and_then(|known| known.get(request_id));
        question.is_some_and(|question| question.due_us == due_us)
    }

    /// A question that waits no longer; `None` if none does.
    fn settle(&mut self, key: ConnKey, request_id: &RequestId) -> Option<Question> {
        let questions = self.of.get_mut(&key)?;
        let question = questions.remove(request_id);
        self.count -= usize::from(question.is_some());
        if questions.is_empty() {
            self.of.remove(&key);
        }
        question
    }
}

impl Shard {
    /// When the time of a question is up, in microseconds since the gateway was built.
    pub(in super::super) fn next_question_us(&self) -> Option<u64> {
        self.desk.as_ref()?.questions.due.front().map(|(due_us, ..)| *due_us)
    }

    /// Publishes a client's question.
    pub(super) fn ask_workers(
        &mut self,
        key: ConnKey,
        user: DeskId,
        request_id: &RequestId,
        payload: &str,
        timestamp: Option<&str>,
        id: Option<Id>,
    ) {
        let shard = self.handles.id;
        let Some(desk) = &mut self.desk else { return };
        let about = |refusal: Refusal| Refusal { request_id: Some(Box::new(request_id.clone())), ..refusal };
        let Some(workers) = desk.config.workers.clone() else {
            let message = "Unknown type \"request\": this gateway asks no workers (REQUESTS)";
            return self
                .refuse(key, &about(Refusal { id, ..Refusal::new(ErrorCode::UnknownAction, message) }));
        };
        let asked = desk.questions.of.get(&key);
        if asked.is_some_and(|asked| asked.contains_key(request_id)) {
            let message = format!(
                "Invalid requestId {}: must be another one than those that wait",
                request_id.as_json()
            );
            return self
                .refuse(key, &about(Refusal { id, ..Refusal::new(ErrorCode::InvalidInput, message) }));
        }
        if asked.is_some_and(|asked| asked.len() >= REQUESTS_MAX) {
            let message = format!("Too many requests wait for a response: at most {REQUESTS_MAX}");
            let refusal =
                Refusal { id, retry_after_s: Some(1), ..Refusal::new(ErrorCode::RateLimitExceeded, message) };
            return self.refuse(key, &about(refusal));
        }
        let prefix = &desk.config.channel_prefix;
        let connection = key.data().as_ffi();
        let timestamp = timestamp.map_or_else(|| self.clocks.now.unix_ms.to_string(), str::to_owned);
        let reply_to = format!("{prefix}{REPLY}{}:{shard}-{connection:x}", workers.me);
        let reply_to = serde_json::Value::from(reply_to);
        // No user's name needs an escape.
        let question = format!(
            "{{\"requestId\":{},\"replyTo\":{reply_to},\"user\":\"{user}\",\"payload\":{payload},\"timestamp\":{timestamp}}}",
            request_id.as_json(),
        );
        let channel = format!("{prefix}{REQUEST}");
        let due_us = self.clocks.now.us + workers.timeout.as_micros() as u64;
        desk.questions.add(key, request_id, due_us, id.clone());
        let order = DeskOrder::Publish { channel, payload: question.into_bytes() };
        if !self.publish_bytes(key, user, What::Ask(request_id.clone()), order, id)
            && let Some(desk) = &mut self.desk
        {
            desk.questions.settle(key, request_id);
        }
    }

    /// A worker has answered. A response that no question waits for is counted and dropped.
    pub(super) fn on_response(&mut self, connection: u64, request_id: &RequestId, object: &[u8]) {
        let key = ConnKey::from(KeyData::from_ffi(connection));
        let question = self.desk.as_mut().and_then(|desk| desk.questions.settle(key, request_id));
        let Some(Question { id, .. }) = question else { return self.metrics.responses_unasked.add(1) };
        let Self { conns, output, .. } = self;
        let Some(conn) = conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        match id.as_ref().and_then(|id| write::response(id, object)) {
            Some(acknowledgement) => {
                let frame = output.own_frame(acknowledgement);
                output.queue(key, conn, frame);
            }
            None => self.tell_alone(key, &Told::plain(object), namespaces_of(id.as_ref())),
        }
    }

    /// Tells clients whose time is up.
    pub(in super::super) fn time_out_questions(&mut self) {
        let now_us = self.clocks.now.us;
        while self.next_question_us().is_some_and(|due_us| due_us <= now_us) {
            let Some(desk) = &mut self.desk else { return };
            let Some((due_us, key, request_id)) = desk.questions.due.pop_front() else { return };
            let timeout =
                desk.config.workers.as_ref().map_or(0, |workers| workers.timeout.as_millis() as u64);
            if !desk.questions.is_due(key, &request_id, due_us) {
                continue;
            }
            if let Some(Question { id, .. }) = desk.questions.settle(key, &request_id) {
                let within = if timeout % 1_000 == 0 {
                    format!("{} s", timeout / 1_000)
                } else {
                    format!("{timeout} ms")
                };
                let refusal = Refusal::new(ErrorCode::Timeout, format!("No response within {within}"));
                let request_id = Some(Box::new(request_id));
                self.refuse(key, &Refusal { request_id, id, ..refusal });
            }
        }
    }

    /// A question could not be published: nobody waits for a response.
    pub(super) fn withdraw_question(&mut self, key: ConnKey, request_id: &RequestId) {
        if let Some(desk) = &mut self.desk {
            desk.questions.settle(key, request_id);
        }
    }
}
