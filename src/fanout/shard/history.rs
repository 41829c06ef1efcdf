//! What has been, as far as a client asked for it, and what happens to topics between their events.

use std::rc::Rc;

use super::super::backfill::Backfill;
use super::super::batch::Batch;
use super::Shard;
use super::conn::{Conn, ConnKey};
use crate::bus::{HistoryReply, LookedUp, SeqChange, TopicId};
use crate::market::{EventType, Name, Subject};
use crate::protocol::native::write as reply;
use crate::protocol::request::Subscribe;

impl Shard {
    /// Behind the reply: what the client has missed, then, as there is room, last values. Live events come behind
    /// this call.
    pub(super) fn queue_history(&mut self, key: ConnKey, request: &Subscribe, history: HistoryReply) {
        let HistoryReply { recovered: _, floors, replay, snapshots, awaited } = history;
        let now_ms = self.clock.unix_ms;
        let types = &request.selection.types;
        if let (false, Some(event_type)) = (request.resume.is_empty(), types.first()) {
            let frames = replay.table.len() as u32;
            let batch = Batch::shared(replay, &self.ledger);
            if let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live() && frames > 0) {
                conn.outbox.push_events(&batch, 0, frames, batch.start(frames));
            }
            let names: Vec<_> =
                request.resume.iter().map(|(symbol, _)| Name::Symbol(symbol.clone())).collect();
            self.forget_floors(key, *event_type, &names);
            let end = Batch::own(reply::replay_end(names.iter(), *event_type, now_ms), &self.ledger);
            self.queue_own(key, end);
        }
        let ends: Vec<_> = types
            .iter()
            .filter(|_| request.options.snapshot)
            .map(|event_type| reply::snapshot_end(request.selection.names.iter(), *event_type, now_ms))
            .map(|end| Batch::own(end, &self.ledger))
            .collect();
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        if floors.is_empty() && ends.is_empty() {
            return;
        }
        let extras = conn.extras.get_or_insert_default();
        for (topic, _) in &snapshots {
            extras.conflation.supersede(&mut conn.outbox, *topic);
        }
        let backfill = extras.backfill.get_or_insert_with(|| Box::new(Backfill::new(&self.ledger)));
        floors.into_iter().for_each(|(topic, seq)| backfill.set_floor(topic, seq));
        backfill.push(snapshots, awaited, ends);
        self.mark_dirty(key);
    }

    /// What a client says it has seen of topics replaces what it has said before.
    fn forget_floors(&mut self, key: ConnKey, event_type: EventType, names: &[Name]) {
        let Self { conns, index, .. } = self;
        let Some(backfill) = conns.get_mut(key).and_then(Conn::backfill) else { return };
        let topic_of = |name: &Name| index.topic(&Subject { event_type, name: name.clone() });
        names.iter().filter_map(topic_of).for_each(|topic| backfill.clear_floor(topic));
    }

    /// Last values have been looked up: whoever waits for them gets them.
    pub(super) fn looked_up(&mut self, values: &[LookedUp]) {
        for value in values {
            self.for_each_subscriber(value.topic, |_, conn, _| {
                if let Some(backfill) = conn.backfill() {
                    backfill.looked_up(value);
                }
            });
        }
    }

    /// A client has left topics: what waits of their past is not sent any more.
    pub(super) fn trim_backfill(&mut self, key: ConnKey) {
        let Self { conns, index, .. } = self;
        let Some(backfill) = conns.get_mut(key).and_then(Conn::backfill) else { return };
        let held = index.topics_of(key);
        backfill.retain(|topic| {
            held.contains(&topic) || index.patterns_of(topic).iter().any(|id| held.contains(id))
        });
    }

    /// Tells the subscribers of a topic of a change in its sequence numbers.
    pub(super) fn tell_seq_change(&mut self, topic: TopicId, change: SeqChange) {
        match change {
            SeqChange::Restarted => self.for_each_subscriber(topic, |_, conn, _| {
                if let Some(backfill) = conn.backfill() {
                    backfill.clear_floor(topic);
                }
            }),
            SeqChange::Gap { from, to } => {
                let Some(subject) = self.index.subject(topic) else { return };
                let status = Batch::own(reply::gap(subject, from, to, self.clock.unix_ms), &self.ledger);
                let mut subscribers = Vec::new();
                self.for_each_subscriber(topic, |key, _, _| subscribers.push(key));
                subscribers.into_iter().for_each(|key| self.queue_own(key, Rc::clone(&status)));
            }
        }
    }
}
