//! A batch: what ingest hands to a shard in one go, and what outboxes hold runs of.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;
use slotmap::Key;

use crate::bus::{Entry, Frames, TopicId};
use crate::market::Subject;

/// Bytes of the batches that outboxes keep alive on one shard, and of what else waits for its clients.
#[derive(Debug, Clone, Default)]
pub struct BacklogBytes(Rc<Cell<usize>>);

impl BacklogBytes {
    /// Bytes alive now.
    pub fn bytes(&self) -> usize {
        self.0.get()
    }
}

/// The names of topics that have ended, for a client or on the shard, while something of them waited in outboxes: each for as long
/// as an outbox has a [mark](Batch::mark) of it.
#[derive(Debug, Clone, Default)]
pub struct EndedNames(Rc<RefCell<HashMap<TopicId, EndedName, RandomState>>>);

#[derive(Debug)]
struct EndedName {
    subject: Subject,
    marks: u32,
}

impl EndedNames {
    /// What an ended topic was.
    pub fn get(&self, topic: TopicId) -> Option<Subject> {
        self.0.borrow().get(&topic).map(|name| name.subject.clone())
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    fn insert(&self, topic: TopicId, subject: &Subject) {
        let mut names = self.0.borrow_mut();
        names.entry(topic).or_insert_with(|| EndedName { subject: subject.clone(), marks: 0 }).marks += 1;
    }

    fn remove(&self, topics: &[TopicId]) {
        let mut names = self.0.borrow_mut();
        for topic in topics {
            if let Some(name) = names.get_mut(topic) {
                name.marks -= 1;
                if name.marks == 0 {
                    names.remove(topic);
                }
            }
        }
        if names.is_empty() {
            *names = HashMap::default();
        }
    }
}

/// Topics that end, known by name as long as this lives.
#[derive(Debug)]
struct Ended {
    topics: Box<[TopicId]>,
    names: EndedNames,
}

impl Ended {
    fn new(ended: &[(TopicId, Subject)], names: &EndedNames) -> Self {
        ended.iter().for_each(|(topic, subject)| names.insert(*topic, subject));
        Self { topics: ended.iter().map(|(topic, _)| *topic).collect(), names: names.clone() }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.names.remove(&self.topics);
    }
}

/// Bytes besides batches that wait for a client, counted in a shard's [`BacklogBytes`].
#[derive(Debug)]
pub struct BacklogShare {
    bytes: usize,
    backlog: BacklogBytes,
}

impl BacklogShare {
    /// Nothing yet.
    pub fn new(backlog: &BacklogBytes) -> Self {
        Self { bytes: 0, backlog: backlog.clone() }
    }

    /// It is so many bytes now.
    pub fn set(&mut self, bytes: usize) {
        self.backlog.0.set(self.backlog.0.get() - self.bytes + bytes);
        self.bytes = bytes;
    }
}

impl Drop for BacklogShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Frames on a shard, alive as long as an outbox holds a run of them. Counted in the shard's [`BacklogBytes`].
#[derive(Debug)]
pub struct Batch {
    frames: Frames,
    backlog: BacklogBytes,
    /// Of a mark: what ends with it.
    ended: Option<Ended>,
    /// How many events each frame stands for.
    event_count: u64,
}

impl Batch {
    /// Takes over what ingest built.
    pub fn shared(frames: Frames, backlog: &BacklogBytes) -> Rc<Self> {
        Self::new(frames, None, 1, backlog)
    }

    /// One frame for one client.
    pub fn own(frame: Vec<u8>, backlog: &BacklogBytes) -> Rc<Self> {
        Self::about_none(frame, None, backlog)
    }

    /// A frame without a byte that marks where topics end, for one client or on the shard: what is skipped of them is announced before
    /// it, by these names. It may stand in any number of outboxes.
    pub fn mark(ended: &[(TopicId, Subject)], names: &EndedNames, backlog: &BacklogBytes) -> Rc<Self> {
        Self::about_none(Vec::new(), Some(Ended::new(ended, names)), backlog)
    }

    /// One frame that is no event of a topic.
    fn about_none(frame: Vec<u8>, ended: Option<Ended>, backlog: &BacklogBytes) -> Rc<Self> {
        let table = vec![Entry { end: frame.len() as u32, topic: TopicId::null() }];
        Self::new(Frames { bytes: frame.into(), table, arrived_us: 0 }, ended, 1, backlog)
    }

    fn new(frames: Frames, ended: Option<Ended>, event_count: u64, backlog: &BacklogBytes) -> Rc<Self> {
        backlog.0.set(backlog.0.get() + frames.bytes.len());
        Rc::new(Self { frames, backlog: backlog.clone(), ended, event_count })
    }

    /// A batch of frame `index` alone: what keeps it alive when the rest is dropped.
    pub fn extract(&self, index: u32) -> Rc<Self> {
        self.rebuilt(index, self.frame(index).to_vec(), self.event_count)
    }

    /// A batch of `frame` alone, which takes the place of frame `index` and stands for so many events.
    pub fn rebuilt(&self, index: u32, frame: Vec<u8>, event_count: u64) -> Rc<Self> {
        let table = vec![Entry { end: frame.len() as u32, topic: self.topic(index) }];
        let frames = Frames { bytes: frame.into(), table, arrived_us: self.frames.arrived_us };
        Self::new(frames, None, event_count, &self.backlog)
    }

    /// How many events each frame stands for: more than one only where a client had them added up.
    pub fn event_count(&self) -> u64 {
        self.event_count
    }

    /// The entries of the frames.
    pub fn table(&self) -> &[Entry] {
        &self.frames.table
    }

    /// When the first of the events was read, in microseconds since the gateway was built; 0 for own frames.
    pub fn arrived_us(&self) -> u64 {
        self.frames.arrived_us
    }

    /// Topics for which anything skipped must be announced before this frame.
    pub fn ends(&self) -> &[TopicId] {
        self.ended.as_ref().map_or(&[], |ended| &ended.topics)
    }

    /// Offset of the first byte of frame `index`; for `index` = number of frames, the length.
    #[inline]
    pub fn start(&self, index: u32) -> u32 {
        match index.checked_sub(1) {
            Some(previous) => self.frames.table[previous as usize].end,
            None => 0,
        }
    }

    /// What frame `index` is about; null for an own frame.
    #[inline]
    pub fn topic(&self, index: u32) -> TopicId {
        self.frames.table[index as usize].topic
    }

    /// Whether this is a client's own frame rather than shared events.
    #[inline]
    pub fn is_own(&self) -> bool {
        self.frames.table.first().is_some_and(|entry| entry.topic.is_null())
    }

    /// Frame `index`.
    pub fn frame(&self, index: u32) -> &[u8] {
        self.slice(self.start(index), self.start(index + 1))
    }

    /// The bytes from `start` to `end`.
    #[inline]
    pub fn slice(&self, start: u32, end: u32) -> &[u8] {
        &self.frames.bytes[start as usize..end as usize]
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.backlog.0.set(self.backlog.0.get() - self.frames.bytes.len());
    }
}
