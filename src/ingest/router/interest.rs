//! Which shard wants which topic: topics get their ids, are found by their symbols, and give the ids back.

use slotmap::Key;
use smallvec::SmallVec;

use super::{Router, Topic};
use crate::bus::TopicId;
use crate::ingest::history::{LookingUp, Slot};
use crate::market::{Delay, Form, Kind, Name, Pattern, Subject, Symbol};

impl Router {
    /// A shard wants a subject: its events come under the id returned from now on. Those that a pattern matches come under
    /// their topics' ids, which [`Router::take`] returns.
    pub fn want(&mut self, shard: usize, subject: &Subject) -> TopicId {
        let id = self.topic_or_new(subject);
        let Some(topic) = self.topics.get_mut(id) else { return id };
        let bit = 1 << shard;
        if topic.wanted_by & bit == 0 && matches!(subject.name, Name::Pattern(_)) {
            self.passes[subject.form.delay().index()].epoch += 1;
        }
        topic.wanted_by |= bit;
        id
    }

    pub(in super::super) fn topic_or_new(&mut self, subject: &Subject) -> TopicId {
        let &Subject { kind, form, ref name } = subject;
        let known = match name {
            Name::Symbol(symbol) => match self.first_of(form.delay(), kind, symbol.as_bytes()) {
                Some(first) => return self.in_form(first, form).unwrap_or_else(|| self.add_to(first, form)),
                None => None,
            },
            Name::Pattern(pattern) => self.pattern_of(kind, form, pattern),
        };
        known.unwrap_or_else(|| self.add(subject.clone()))
    }

    /// The first topic of a symbol that is wanted.
    #[inline]
    pub(super) fn first_of(&self, delay: Delay, kind: Kind, symbol: &[u8]) -> Option<TopicId> {
        self.passes[delay.index()].by_symbol[kind.index()].get(symbol).copied()
    }

    /// A symbol's topic in a form, if it is wanted in it. `first` is the first of its topics.
    pub(super) fn in_form(&self, first: TopicId, form: Form) -> Option<TopicId> {
        self.with_others(first)
            .find(|id| self.topics.get(*id).is_some_and(|topic| topic.subject.form == form))
    }

    /// The first topic of a symbol and those in other forms.
    pub(super) fn with_others(&self, first: TopicId) -> impl Iterator<Item = TopicId> {
        let others = self.topics.get(first).map_or(&[][..], |topic| &topic.others);
        std::iter::once(first).chain(others.iter().copied())
    }

    /// Adds the first topic of a symbol, or a pattern.
    pub(super) fn add(&mut self, subject: Subject) -> TopicId {
        let Subject { kind, form, name } = subject.clone();
        let pass = &mut self.passes[form.delay().index()];
        let history = name.symbol().map(|symbol| pass.history.pin(kind, symbol));
        // Behind the epoch: its first event finds out which patterns match.
        let epoch = pass.epoch.wrapping_sub(1);
        let id = self.topics.insert(Topic {
            subject,
            wanted_by: 0,
            epoch,
            others: Box::default(),
            history,
            looking_up: LookingUp::default(),
        });
        match name {
            Name::Symbol(symbol) => {
                pass.by_symbol[kind.index()].insert(symbol, id);
            }
            Name::Pattern(pattern) => pass.by_pattern.insert(kind, form.undelayed(), pattern, id),
        }
        id
    }

    /// Adds a symbol's topic in another form. `first` is the first of its topics.
    pub(super) fn add_to(&mut self, first: TopicId, form: Form) -> TopicId {
        let Some(Topic { subject, history, .. }) = self.topics.get(first) else { return TopicId::null() };
        let id = self.topics.insert(Topic {
            subject: subject.clone().in_form(form),
            wanted_by: 0,
            epoch: 0,
            others: Box::default(),
            history: *history,
            looking_up: LookingUp::default(),
        });
        if let Some(topic) = self.topics.get_mut(first) {
            topic.others = topic.others.iter().copied().chain([id]).collect();
        }
        id
    }

    /// A shard does not want a topic any more. The last one's leave frees the id.
    pub fn release(&mut self, shard: usize, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        topic.wanted_by &= !(1 << shard);
        if topic.wanted_by == 0 {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: TopicId) {
        let Some(Topic { subject, others, history, .. }) = self.topics.remove(id) else { return };
        let Subject { kind, form, name } = subject;
        let pass = &mut self.passes[form.delay().index()];
        let symbol = match &name {
            Name::Symbol(symbol) => symbol,
            Name::Pattern(pattern) => {
                pass.by_pattern.remove(kind, form.undelayed(), pattern);
                return;
            }
        };
        let Some(first) = pass.by_symbol[kind.index()].get_mut(symbol) else { return };
        let (new_first, others) = match (*first == id, others.split_first()) {
            (true, None) => {
                pass.by_symbol[kind.index()].remove(symbol);
                return history.into_iter().for_each(|slot| pass.history.unpin(slot));
            }
            (true, Some((next, rest))) => (*next, rest.into()),
            (false, _) => {
                let others = self.topics.get(*first).into_iter().flat_map(|topic| &topic.others);
                (*first, others.copied().filter(|other| *other != id).collect())
            }
        };
        *first = new_first;
        if let Some(topic) = self.topics.get_mut(new_first) {
            // Its next event finds out which patterns match.
            topic.epoch = pass.epoch.wrapping_sub(1);
            topic.others = others;
        }
    }

    /// A shard gives a topic back that its patterns still match: it is not sent to it until its next event opens it anew, perhaps
    /// under the same id. What is framed for the shard already has to be handed over before it is told so.
    pub fn retire(&mut self, shard: usize, id: TopicId) {
        let Some(Topic { subject: Subject { kind, form, name }, .. }) = self.topics.get(id) else { return };
        let delay = form.delay();
        let first = name.symbol().and_then(|symbol| self.first_of(delay, *kind, symbol.as_bytes()));
        if let Some(topic) = first.and_then(|first| self.topics.get_mut(first)) {
            topic.epoch = self.passes[delay.index()].epoch.wrapping_sub(1);
        }
        self.release(shard, id);
    }

    /// A live topic's id and its place in the history.
    pub(in super::super) fn topic_of(&self, subject: &Subject) -> Option<(TopicId, Slot)> {
        let symbol = subject.name.symbol()?;
        let first = self.first_of(subject.form.delay(), subject.kind, symbol.as_bytes())?;
        let id = self.in_form(first, subject.form)?;
        Some((id, self.topics.get(id)?.history?))
    }

    /// A live topic's place in the history.
    pub(in super::super) fn slot_of(&self, id: TopicId) -> Option<Slot> {
        self.topics.get(id)?.history
    }

    /// The ids of a symbol's live topics of the real-time feed, one for each form that it is wanted in.
    pub(in super::super) fn topics_of(&self, kind: Kind, symbol: &Symbol) -> SmallVec<[TopicId; 1]> {
        let first = self.first_of(Delay::NONE, kind, symbol.as_bytes());
        first.into_iter().flat_map(|first| self.with_others(first)).collect()
    }

    /// The id of a live pattern.
    pub(in super::super) fn pattern_of(&self, kind: Kind, form: Form, pattern: &Pattern) -> Option<TopicId> {
        self.passes[form.delay().index()].by_pattern.get(kind, form.undelayed(), pattern).copied()
    }

    /// Whether the value that workers keep of a symbol of candles has been looked up.
    pub(in super::super) fn looking_up(&mut self, id: TopicId) -> Option<&mut LookingUp> {
        self.topics.get_mut(id).map(|topic| &mut topic.looking_up)
    }
}
