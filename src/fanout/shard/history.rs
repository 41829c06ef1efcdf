//! What the shard sends a client of its topics' history, and what it tells of their sequence numbers.

use super::super::backfill::Backfill;
use super::super::batch::Batch;
use super::Shard;
use super::conn::{Conn, ConnKey};
use crate::bus::{HistoryReply, LookedUp, SeqChange, TopicId};
use crate::market::{Form, Kind, Name, Subject};
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::Subscribe;

impl Shard {
    /// Queues, behind the reply, what the client has missed and then, as there is room, last values. Live events are queued only after
    /// this returns.
    pub(super) fn queue_history(&mut self, key: ConnKey, request: &Subscribe, history: HistoryReply) {
        let HistoryReply { recovered: _, floors, replay, snapshots, awaited } = history;
        let types = &request.selection.types;
        let Some(form) = self.conns.get(key).map(|conn| request.selection.form(conn.form())) else { return };
        if let (false, Some(kind)) = (request.resume.is_empty(), types.first()) {
            let frames = replay.table.len() as u32;
            let batch = Batch::shared(replay, &self.output.backlog);
            if let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live() && frames > 0) {
                conn.outbox.push_events(&batch, 0, frames, batch.start(frames));
            }
            let names: Vec<_> =
                request.resume.iter().map(|(symbol, _)| Name::Symbol(symbol.clone())).collect();
            self.forget_floors(key, *kind, form, &names);
            let names: Vec<_> = names.iter().collect();
            self.say(key, &Reply::Status(Status::ReplayEnd { names: &names, kind: *kind, form }));
        }
        let Self { conns, output, clocks, .. } = self;
        let Some(conn) = conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        let asked = if request.options.wants_snapshot() { &types[..] } else { &[] };
        let ends: Vec<_> = asked
            .iter()
            .map(|kind| {
                let names = request.selection.names_of(*kind);
                let end = Reply::Status(Status::SnapshotEnd { names: &names, kind: *kind, form });
                output.write(conn, &end, clocks.now.unix_ms)
            })
            .filter(|end| end.start(1) > 0)
            .collect();
        if floors.is_empty() && ends.is_empty() {
            return;
        }
        let extras = conn.extras.get_or_insert_default();
        for (topic, _) in &snapshots {
            extras.conflation.supersede(&mut conn.outbox, *topic);
        }
        let backfill = extras.backfill.get_or_insert_with(|| Box::new(Backfill::new(&output.backlog)));
        floors.into_iter().for_each(|(topic, seq)| backfill.set_floor(topic, seq, clocks.now.us));
        backfill.push(snapshots, awaited, ends);
        output.mark_dirty(key, conn);
    }

    /// Drops the floors of topics that the client resumes again.
    fn forget_floors(&mut self, key: ConnKey, kind: Kind, form: Form, names: &[Name]) {
        let Self { conns, subscriptions, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return };
        let Some(backfill) = conn.backfill() else { return };
        let topic_of =
            |name: &Name| subscriptions.index.topic(&Subject::new(kind, name.clone()).in_form(form));
        for topic in names.iter().filter_map(topic_of) {
            backfill.clear_floor(topic);
        }
    }

    /// Last values have been looked up: the clients that wait for them get them.
    pub(super) fn on_looked_up(&mut self, values: &[LookedUp]) {
        let now_us = self.clocks.now.us;
        for value in values {
            self.for_each_subscriber(value.awaited, |_, conn, _| {
                if let Some(backfill) = conn.backfill() {
                    backfill.looked_up(value, now_us);
                }
            });
        }
    }

    /// A client has left topics: last values of theirs that still wait are not sent any more.
    pub(super) fn trim_backfill(&mut self, key: ConnKey) {
        let Self { conns, subscriptions, .. } = self;
        let Some(backfill) = conns.get_mut(key).and_then(Conn::backfill) else { return };
        let index = &mut subscriptions.index;
        let held = index.topics_of(key);
        backfill.retain(|topic| {
            held.contains(&topic) || index.patterns_of(topic).iter().any(|id| held.contains(id))
        });
    }

    /// Takes note of a change in a topic's sequence numbers: subscribers are told of a gap; after a restart no floor holds.
    pub(super) fn tell_seq_change(&mut self, topic: TopicId, change: SeqChange) {
        match change {
            SeqChange::Restarted => {
                let mut skipped = 0;
                self.for_each_subscriber(topic, |_, conn, _| {
                    if let Some(extras) = &mut conn.extras {
                        skipped += extras.seq_restarted(&mut conn.outbox, topic);
                    }
                });
                self.metrics.events_skipped.add(skipped);
            }
            SeqChange::Gap { from, to } => {
                let Some(subject) = self.subscriptions.index.subject(topic).cloned() else { return };
                let (mut subscribers, mut ahead) = (Vec::new(), Vec::new());
                self.for_each_subscriber(topic, |key, conn, _| {
                    match conn.backfill().and_then(|backfill| backfill.floor(topic)) {
                        Some(floor) if floor >= from => ahead.push((key, floor)),
                        _ => subscribers.push(key),
                    }
                });
                let gap = |from| Reply::Status(Status::Gap { subject: &subject, from, to });
                self.say_to_all(&subscribers, &gap(from));
                // Another gateway has delivered what this client has seen.
                for (key, floor) in ahead.into_iter().filter(|(_, floor)| *floor < to) {
                    self.say_to_all(&[key], &gap(floor + 1));
                }
            }
        }
    }
}
