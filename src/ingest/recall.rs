//! What a shard is told of the past, with the answer to its wish: the replay of what a client has missed, and last values.

use std::collections::HashSet;

use super::history::{LookUp, Replay, Resumed};
use super::last_value::Found;
use super::router::Router;
use crate::bus::{Frames, HistoryReply, HistoryRequest, LookedUp, TopicId};
use crate::market::{Name, Subject};

impl Router {
    /// Recalls what a request for `subjects`, all of which the shard wants, asks of the reply. Topics that a pattern among
    /// them matches and that have a last value are opened: [`Router::take`] has them. Of what was missed, at most
    /// `room_bytes` are replayed.
    pub fn recall(
        &mut self,
        subjects: &[Subject],
        request: &HistoryRequest,
        room_bytes: usize,
        now_us: u64,
    ) -> HistoryReply {
        let mut reply = HistoryReply::default();
        let mut settled = HashSet::new();
        let mut replay = Replay::with_room(room_bytes);
        for (subject, seen) in &request.resume {
            let topic = self.topic_of(subject);
            let resumed = topic.map(|(id, slot)| (id, self.history.resume(slot, *seen, id, &mut replay)));
            reply.recovered.push(matches!(resumed, Some((_, Resumed::Whole | Resumed::Ahead))));
            match resumed {
                Some((id, Resumed::Whole)) => {
                    settled.insert(id);
                }
                Some((id, Resumed::Ahead)) => {
                    settled.insert(id);
                    reply.floors.push((id, *seen));
                }
                Some((_, Resumed::Lost)) | None => {}
            }
        }
        let Replay { bytes, table, .. } = replay;
        reply.replay = Frames { bytes: bytes.into(), table, arrived_us: now_us, ..Frames::default() };
        if request.snapshot {
            for subject in subjects {
                for id in self.topics_with_value(subject) {
                    if settled.insert(id) {
                        match self.snapshot(id) {
                            Some(frame) => reply.snapshots.push((id, frame)),
                            None if self.look_up(subject) => reply.awaited.push(id),
                            None => {}
                        }
                    }
                }
            }
        }
        reply
    }

    /// Has a topic's last value looked up where workers keep it; `false` if they don't, or it has been.
    fn look_up(&mut self, subject: &Subject) -> bool {
        let Some((_, slot)) = self.topic_of(subject) else { return false };
        let look_up = self.history.look_up(slot);
        if look_up == LookUp::Begin {
            self.look_ups.push(subject.clone());
        }
        look_up != LookUp::Unavailable
    }

    /// What is to be looked up and was not asked for before.
    pub fn take_look_ups(&mut self) -> Vec<Subject> {
        std::mem::take(&mut self.look_ups)
    }

    /// Takes what was looked up; a value counts if it keeps the contract and no event came first. Returns what to tell the shards.
    pub fn looked_up(&mut self, found: &[Found], failed: bool, now_ms: u64) -> Vec<LookedUp> {
        let values = found.iter().filter_map(|(subject, payload)| {
            let symbol = subject.name.symbol()?;
            let seq = self.history.looked_up(subject.kind, symbol, payload.as_deref(), failed, now_ms);
            let (topic, slot) = self.topic_of(subject)?;
            Some(LookedUp { topic, frame: self.history.snapshot(slot), seq })
        });
        values.collect()
    }

    /// The topics that a subject stands for and that may have a last value, in order.
    fn topics_with_value(&mut self, subject: &Subject) -> Vec<TopicId> {
        let kind = subject.kind;
        let Name::Pattern(pattern) = &subject.name else {
            return self.topic_of(subject).map(|(id, _)| id).into_iter().collect();
        };
        let known = self.history.known(kind, pattern.prefix());
        let topics = known.into_iter().map(|symbol| {
            let id = self.topic_or_new(&Subject { kind, name: Name::Symbol(symbol) });
            self.open(id);
            id
        });
        topics.collect()
    }
}
