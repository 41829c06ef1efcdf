//! How ingest answers a shard's request for topics.

use super::look_up::Found;
use super::{Ingest, unix_ms};
use crate::bus::{HistoryRequest, Ticket};
use crate::market::Subject;

impl Ingest {
    /// Answers a shard at once: what is framed for it later comes behind the answer.
    pub(super) fn grant(&mut self, shard: usize, ticket: Ticket, subjects: Vec<Subject>) {
        let granted = subjects.into_iter().map(|subject| {
            let topic = self.router.want(shard, &subject);
            (subject, topic)
        });
        let granted = granted.collect();
        self.handover.grant(&mut self.router, shard, ticket, granted, None);
    }

    /// The same with what has been. Everything that is part of it and is framed already goes first: so nothing that the
    /// shard gets behind the answer is in it, and everything before is.
    pub(super) fn grant_with_history(
        &mut self,
        shard: usize,
        ticket: Ticket,
        subjects: Vec<Subject>,
        request: &HistoryRequest,
    ) {
        self.hand_over();
        let ids: Vec<_> = subjects.iter().map(|subject| self.router.want(shard, subject)).collect();
        let now_us = self.state.metrics.uptime_us();
        let reply = self.router.recall(&subjects, request, self.replay_room_bytes(shard), now_us);
        if let Some(sent_bytes) = self.replay_bytes_sent.get_mut(shard) {
            *sent_bytes += reply.replay.bytes.len() as u64;
        }
        let unknown = self.router.take_look_ups();
        if !unknown.is_empty() {
            // The task ends when the gateway drains; then nobody waits for a snapshot.
            let _ = self.helpers.look_ups.send(unknown);
        }
        let resumed = reply.recovered.iter().filter(|recovered| **recovered).count() as u64;
        let metrics = &self.state.metrics.ingest;
        metrics.topics_recovered.add(resumed);
        metrics.topics_not_recovered.add(reply.recovered.len() as u64 - resumed);
        let granted = subjects.into_iter().zip(ids).collect();
        self.handover.grant(&mut self.router, shard, ticket, granted, Some(Box::new(reply)));
    }

    /// How large a replay may be, so that what waits on a shard, and what is on its way there, stays within its part of
    /// `MAX_BACKLOG_BYTES`, however many clients come back at once.
    fn replay_room_bytes(&self, shard: usize) -> usize {
        let sent_bytes = self.replay_bytes_sent.get(shard).copied().unwrap_or_default();
        self.handover.replay_budget(shard).room_bytes(sent_bytes, self.config.max_backlog_bytes)
    }

    /// Last values have been looked up: whoever waits for them is told, behind the events that came meanwhile.
    pub(super) fn looked_up(&mut self, found: &[Found], failed: bool) {
        self.hand_over();
        let values = self.router.looked_up(found, failed, unix_ms());
        self.handover.tell_looked_up(&mut self.router, &values);
    }
}
