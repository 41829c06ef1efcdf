//! A batch: frames that ingest handed to a shard in one go, or one frame that the shard has made itself. Outboxes hold runs of it.
//!
//! Frames are never copied into an outbox. Every client that waits for a frame of a batch keeps the whole batch alive, so what all of
//! them keep alive is counted ([`BacklogBytes`]) and bounded by the shard.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use slotmap::Key;

use crate::bus::{Entry, Frames, TopicId};
use crate::market::{Form, Subject};
use crate::websocket::deflate::Compressor;

/// Counts the bytes that wait for the clients of one shard: every live [`Batch`] and every [`BacklogShare`]. Clones share the count. It also has
/// what compresses the shard's messages, for batches that are made from others.
#[derive(Debug, Clone, Default)]
pub struct BacklogBytes(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    bytes: Cell<usize>,
    compressor: Compressor,
}

impl BacklogBytes {
    /// No bytes. Messages are compressed so.
    pub fn with_compressor(compressor: Compressor) -> Self {
        Self(Rc::new(Shared { bytes: Cell::default(), compressor }))
    }

    /// The bytes that wait now.
    pub fn bytes(&self) -> usize {
        self.0.bytes.get()
    }

    /// What compresses the shard's messages.
    pub fn compressor(&self) -> &Compressor {
        &self.0.compressor
    }

    fn change(&self, less: usize, more: usize) {
        self.0.bytes.set(self.0.bytes.get() - less + more);
    }
}

/// Memory other than batches that waits for one client, counted in the shard's [`BacklogBytes`] as long as this lives.
#[derive(Debug)]
pub struct BacklogShare {
    bytes: usize,
    backlog: BacklogBytes,
}

impl BacklogShare {
    /// A share of 0 bytes.
    pub fn new(backlog: &BacklogBytes) -> Self {
        Self { bytes: 0, backlog: backlog.clone() }
    }

    /// Replaces the share by `bytes`.
    pub fn set(&mut self, bytes: usize) {
        self.backlog.change(self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for BacklogShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The names of topics whose ids have ended while events of them waited in outboxes: an announcement of what is skipped of them needs the
/// name. A name is known as long as an outbox has a [mark](Batch::mark) of the topic's end. Clones share the names.
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

    /// How many names are known.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether no name is known.
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

/// The topics that end at a mark. Their names are known as long as this lives.
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

/// Frames on a shard, alive as long as an outbox holds a run of them. Their bytes are counted in the shard's [`BacklogBytes`].
#[derive(Debug)]
pub struct Batch {
    frames: Frames,
    /// How many events each frame tells of: more than 1 only in a frame with the totals of an aggregate, 0 in a frame that is no
    /// event. A field rather than a variant: every write of every client asks for it.
    event_count: u64,
    /// Of a mark, whose one frame has 0 bytes and is never sent: the topics that end at its place in an outbox.
    ended: Option<Ended>,
    backlog: BacklogBytes,
}

impl Batch {
    /// The events that ingest has framed.
    pub fn shared(frames: Frames, backlog: &BacklogBytes) -> Rc<Self> {
        Self::new(frames, 1, None, backlog)
    }

    /// One frame that is no event: a reply, a status, a close.
    pub fn own(frame: Vec<u8>, backlog: &BacklogBytes) -> Rc<Self> {
        Self::new(frame_of(frame, TopicId::null(), 0), 0, None, backlog)
    }

    /// Marks the place in an outbox where topics end, for one client or for the whole shard. Events of them that are skipped in front of the
    /// mark are announced before it, by the names given here. One mark may be in any number of outboxes.
    pub fn mark(ended: &[(TopicId, Subject)], names: &EndedNames, backlog: &BacklogBytes) -> Rc<Self> {
        let ended = Some(Ended::new(ended, names));
        Self::new(frame_of(Vec::new(), TopicId::null(), 0), 0, ended, backlog)
    }

    fn new(frames: Frames, event_count: u64, ended: Option<Ended>, backlog: &BacklogBytes) -> Rc<Self> {
        backlog.change(0, frames.bytes.len());
        Rc::new(Self { frames, event_count, ended, backlog: backlog.clone() })
    }

    /// A batch of events `from..to` alone, copied: they live on when the rest of this batch is dropped.
    pub fn extract(&self, from: u32, to: u32) -> Rc<Self> {
        let start = self.start(from);
        let entries = self.table()[from as usize..to as usize].iter();
        let frames = Frames {
            form: self.form(),
            bytes: Bytes::copy_from_slice(self.slice(start, self.start(to))),
            table: entries.map(|entry| Entry { end: entry.end - start, ..*entry }).collect(),
            arrived_us: self.frames.arrived_us,
            ..Frames::default()
        };
        Self::new(frames, self.event_count(), None, &self.backlog)
    }

    /// A batch of `frame` alone, compressed where that is worth it and the form is one that is. It takes the place of event `index` and tells of
    /// `event_count` events.
    pub fn with_frame(&self, index: u32, mut frame: Vec<u8>, event_count: u64) -> Rc<Self> {
        if self.form().is_deflated() {
            self.backlog.compressor().compress_last(&mut frame, 0);
        }
        let frames = frame_of(frame, self.topic(index), self.frames.arrived_us);
        Self::new(Frames { form: self.form(), ..frames }, event_count, None, &self.backlog)
    }

    /// How many events each frame tells of: more than 1 only in a frame with the totals of an aggregate, 0 if it is no event.
    pub fn event_count(&self) -> u64 {
        self.event_count
    }

    /// The form of the events.
    pub fn form(&self) -> Form {
        self.frames.form
    }

    /// The entries of the frames.
    pub fn table(&self) -> &[Entry] {
        &self.frames.table
    }

    /// When the first of the events was read, in microseconds since the gateway was built; 0 for a frame that is no event.
    pub fn arrived_us(&self) -> u64 {
        self.frames.arrived_us
    }

    /// The worker's sequence number of event `index`, if it has one. A frame of the shard's own making has none.
    pub fn seq(&self, index: u32) -> Option<u64> {
        self.frames.seqs.get(index)
    }

    /// Whether event `index` is late: older than one of its topic that came before it. An event that was copied out of its batch isn't.
    #[inline]
    pub fn is_late(&self, index: u32) -> bool {
        self.frames.seqs.is_late(index)
    }

    /// Where the run of events that begins with `from` ends, at most at `to`: a late event is a run of its own.
    #[inline]
    pub fn end_of_run(&self, from: u32, to: u32) -> u32 {
        if !self.frames.seqs.has_late() {
            return to;
        }
        let next_late = (from + 1..to).find(|index| self.is_late(*index));
        if self.is_late(from) { from + 1 } else { next_late.unwrap_or(to) }
    }

    /// The topics that end here, if this is a mark.
    pub fn ended_topics(&self) -> &[TopicId] {
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

    /// The topic of event `index`; null if the frame is no event.
    #[inline]
    pub fn topic(&self, index: u32) -> TopicId {
        self.frames.table[index as usize].topic
    }

    /// Whether this is no batch of events, but a frame that is none, or a mark.
    #[inline]
    pub fn is_own(&self) -> bool {
        self.event_count == 0
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
        self.backlog.change(self.frames.bytes.len(), 0);
    }
}

fn frame_of(frame: Vec<u8>, topic: TopicId, arrived_us: u64) -> Frames {
    let table = vec![Entry { end: frame.len() as u32, topic }];
    Frames { bytes: frame.into(), table, arrived_us, ..Frames::default() }
}
