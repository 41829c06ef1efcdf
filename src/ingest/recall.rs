//! What a request is answered from the history: the replay of what a client has missed, and last values.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::history::{LookUp, LookingUp, Replay, Resumed, Slot};
use super::look_up::Found;
use super::router::Router;
use crate::bus::{Frames, HistoryReply, HistoryRequest, LookedUp, TopicId};
use crate::market::{Delay, Form, Kind, Name, Pattern, Subject};

impl Router {
    /// Recalls what a request for `subjects`, all of which the shard wants, asks of the reply. Topics that a pattern among
    /// them matches and that have a last value are opened: [`Router::take`] returns them. Of what was missed, at most
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
        // A request that resumes is for one form.
        let form = request.resume.first().map_or_else(Form::default, |(subject, _)| subject.form);
        let mut replay = Replay::with_room(room_bytes, form);
        for (subject, seen) in &request.resume {
            let topic = self.topic_to_resume(subject);
            let resumed =
                topic.map(|(id, slot)| (id, self.history(form.delay()).resume(slot, *seen, id, &mut replay)));
            // Of candles, the client may have seen an interval that this gateway has not.
            let resumed = resumed.filter(|(_, how)| *how != Resumed::Ahead || !subject.kind.has_intervals());
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
        let form = form.undelayed();
        reply.replay = Frames { form, bytes: bytes.into(), table, arrived_us: now_us, ..Frames::default() };
        if request.snapshot {
            for subject in subjects {
                let topics = self.topics_with_value(subject);
                if topics.is_empty() {
                    reply.awaited.extend(self.look_up_symbol(subject).filter(|id| settled.insert(*id)));
                }
                for id in topics {
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
        let look_up = self.history(subject.form.delay()).look_up(slot);
        if look_up == LookUp::Begin {
            self.look_ups.push(subject.clone());
        }
        look_up != LookUp::Unavailable
    }

    /// Has the value looked up that workers keep of a symbol of candles, of which no interval is known; returns what waits for it.
    fn look_up_symbol(&mut self, subject: &Subject) -> Option<TopicId> {
        let Name::Pattern(pattern) = &subject.name else { return None };
        if !pattern.is_of_intervals() || !self.history(subject.form.delay()).is_looked_up(subject.kind) {
            return None;
        }
        let id = self.pattern_of(subject.kind, subject.form, pattern)?;
        // Somebody else may have asked for the symbol in another form.
        let others = Form::ALL.into_iter().filter_map(|form| self.pattern_of(subject.kind, form, pattern));
        let others: SmallVec<[TopicId; 1]> = others.filter(|other| *other != id).collect();
        let known = others.into_iter().filter_map(|other| self.looking_up(other).copied());
        let known = known.filter(|known| *known != LookingUp::NotYet).last();
        let looking_up = self.looking_up(id)?;
        *looking_up = known.unwrap_or(*looking_up);
        let look_up = looking_up.begin();
        if look_up == LookUp::Begin {
            self.look_ups.push(subject.clone());
        }
        (look_up != LookUp::Unavailable).then_some(id)
    }

    /// What is to be looked up and was not asked for before.
    pub fn take_look_ups(&mut self) -> Vec<Subject> {
        std::mem::take(&mut self.look_ups)
    }

    /// Takes what was looked up, which is for the real-time feed alone; a value counts if it keeps the contract and no event came first. Returns what to tell the shards.
    pub fn looked_up(&mut self, found: &[Found], failed: bool, now_ms: u64) -> Vec<LookedUp> {
        let mut values = Vec::new();
        for (subject, payload) in found {
            let (kind, payload) = (subject.kind, payload.as_deref());
            let symbol = match &subject.name {
                Name::Symbol(symbol) => symbol,
                Name::Pattern(of) => {
                    values.extend(self.looked_up_symbol(kind, of, payload, failed, now_ms));
                    continue;
                }
            };
            let seq = self.history(Delay::NONE).looked_up(kind, symbol, payload, failed, now_ms);
            for topic in self.topics_of(kind, symbol) {
                values.push(LookedUp { awaited: topic, topic, frame: self.snapshot(topic), seq });
            }
        }
        values
    }

    /// Takes what was looked up of a symbol of candles: it says itself which interval it is. One value for each form in which the symbol is
    /// still wanted.
    fn looked_up_symbol(
        &mut self,
        kind: Kind,
        of: &Pattern,
        payload: Option<&[u8]>,
        failed: bool,
        now_ms: u64,
    ) -> Vec<LookedUp> {
        let awaited = Form::ALL.into_iter().filter_map(|form| Some((form, self.pattern_of(kind, form, of)?)));
        let awaited: SmallVec<[(Form, TopicId); 1]> = awaited.collect();
        for (_, id) in &awaited {
            self.looking_up(*id).into_iter().for_each(|looking_up| looking_up.end(failed));
        }
        let nothing = |awaited| LookedUp { awaited, topic: awaited, frame: None, seq: None };
        let interval = payload.and_then(|payload| self.interval_of(kind, of, payload));
        let Some(symbol) = interval.filter(|_| !awaited.is_empty()) else {
            return awaited.into_iter().map(|(_, id)| nothing(id)).collect();
        };
        let subject = Subject::literal(kind, Name::Symbol(symbol.clone()));
        let topics = awaited.into_iter().map(|(form, awaited)| {
            let topic = self.topic_or_new(&subject.clone().in_form(form));
            self.open(topic);
            (awaited, topic)
        });
        let topics: SmallVec<[(TopicId, TopicId); 1]> = topics.collect();
        // An event of the interval that came first wins.
        let is_first = topics.first().is_some_and(|(_, topic)| self.look_up_first(*topic));
        let history = self.history(Delay::NONE);
        let seq = is_first.then(|| history.looked_up(kind, &symbol, payload, failed, now_ms)).flatten();
        let value = |(awaited, topic)| match is_first {
            true => LookedUp { awaited, topic, frame: self.snapshot(topic), seq },
            false => nothing(awaited),
        };
        topics.into_iter().map(value).collect()
    }

    /// Whether nothing is known of a topic yet, so that what was looked up becomes its value.
    fn look_up_first(&mut self, topic: TopicId) -> bool {
        self.snapshot(topic).is_none()
            && self
                .slot_of(topic)
                .is_some_and(|slot| self.history(Delay::NONE).look_up(slot) != LookUp::Unavailable)
    }

    /// The topic that a client means that has seen a certain `seq` of a subject: of a symbol of candles the interval, if there is but one.
    fn topic_to_resume(&mut self, subject: &Subject) -> Option<(TopicId, Slot)> {
        let of = match &subject.name {
            Name::Pattern(pattern) if pattern.is_of_intervals() => pattern,
            _ => return self.topic_of(subject).or_else(|| self.opened_by_pattern(subject)),
        };
        let mut intervals = self.history(subject.form.delay()).intervals(of);
        let (Some(only), None) = (intervals.next().cloned(), intervals.next()) else { return None };
        drop(intervals);
        let subject = Subject { name: Name::Symbol(only), ..*subject };
        let id = self.topic_or_new(&subject);
        self.open(id);
        self.topic_of(&subject)
    }

    /// A topic that nobody has named, if a pattern matches it.
    fn opened_by_pattern(&mut self, subject: &Subject) -> Option<(TopicId, Slot)> {
        let symbol = subject.name.symbol()?;
        if self.matched_in(subject.kind, subject.form, symbol.as_bytes()) == 0 {
            return None;
        }
        let id = self.topic_or_new(subject);
        self.open(id);
        self.topic_of(subject)
    }

    /// The topics that a subject stands for and that may have a last value, in order.
    fn topics_with_value(&mut self, subject: &Subject) -> Vec<TopicId> {
        let &Subject { kind, form, ref name } = subject;
        let Name::Pattern(pattern) = name else {
            return self.topic_of(subject).map(|(id, _)| id).into_iter().collect();
        };
        let known = self.history(form.delay()).known(kind, pattern.prefix());
        let known = known.into_iter().filter(|symbol| form.suits(kind, symbol.as_bytes()));
        let topics = known.map(|symbol| {
            let id = self.topic_or_new(&Subject { kind, form, name: Name::Symbol(symbol) });
            self.open(id);
            id
        });
        topics.collect()
    }
}
