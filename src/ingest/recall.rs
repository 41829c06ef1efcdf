//! What a shard is told of the past, with the answer to its wish: the replay of what a client has missed, and last values.

use std::collections::HashSet;

use super::history::{Replay, Resumed};
use super::router::Router;
use crate::fanout::Past;
use crate::fanout::batch::{Frames, TopicId};
use crate::market::{Name, Subject};

/// What a request asks of the past.
#[derive(Debug, Clone, Default)]
pub struct Recall {
    /// `"snapshot":true`: the last value of each subject that is not recovered.
    pub snapshot: bool,
    /// The last `seq` that the client has seen of these.
    pub resume: Vec<(Subject, u64)>,
}

impl Router {
    /// Recalls what a request for `subjects`, all of which the shard wants, asks of the past. Topics that a pattern among
    /// them matches and that have a last value are opened: [`Router::take_opened`] has them.
    pub fn recall(&mut self, subjects: &[Subject], recall: &Recall, now_us: u64) -> Past {
        let mut past = Past::default();
        let mut settled = HashSet::new();
        let mut replay = Replay::default();
        for (subject, seen) in &recall.resume {
            let topic = self.topic_of(subject);
            let resumed = topic.map(|(id, slot)| (id, self.history.resume(slot, *seen, id, &mut replay)));
            past.recovered.push(matches!(resumed, Some((_, Resumed::Whole | Resumed::Ahead))));
            match resumed {
                Some((id, Resumed::Whole)) => {
                    settled.insert(id);
                }
                Some((id, Resumed::Ahead)) => {
                    settled.insert(id);
                    past.floors.push((id, *seen));
                }
                Some((_, Resumed::Lost)) | None => {}
            }
        }
        let Replay { bytes, table } = replay;
        past.replay = Frames { bytes: bytes.into(), table, arrived_us: now_us };
        if recall.snapshot {
            for subject in subjects {
                for id in self.topics_with_value(subject) {
                    if settled.insert(id)
                        && let Some(frame) = self.snapshot(id)
                    {
                        past.snapshots.push((id, frame));
                    }
                }
            }
        }
        past
    }

    /// The topics that a subject stands for and that may have a last value, in order.
    fn topics_with_value(&mut self, subject: &Subject) -> Vec<TopicId> {
        let event_type = subject.event_type;
        let Name::Pattern(pattern) = &subject.name else {
            return self.topic_of(subject).map(|(id, _)| id).into_iter().collect();
        };
        let known = self.history.known(event_type, pattern.prefix());
        let topics = known.into_iter().map(|symbol| {
            let id = self.topic_or_new(&Subject { event_type, name: Name::Symbol(symbol) });
            self.open(id);
            id
        });
        topics.collect()
    }
}
