//! Compressed messages of events. A message is compressed by itself, so clients for whom the same events wait in the same order get the same
//! bytes: they are compressed for the first of them, and kept until the shard has written to all.
//!
//! What a client may have is its own choice of symbols, so there may be as many different messages as clients. Beyond
//! [`DEFLATED_LISTS_MAX`] in a turn they are sent as they are.

use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::super::batch::{BacklogBytes, Batch};
use super::Run;
use crate::limits::DEFLATED_LISTS_MAX;

/// Adjacent frames of a batch, which is known by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Piece {
    batch: *const Batch,
    from: u32,
    to: u32,
}

/// A message that has been compressed.
#[derive(Debug)]
struct Known {
    /// `None`: it would not be shorter.
    frame: Option<Rc<Batch>>,
    /// Those of the pieces: as long as they are there, no other batch has the address of one.
    _batches: Box<[Rc<Batch>]>,
}

/// The messages that have been compressed in this turn. A shard has one, for all its clients.
#[derive(Debug, Default)]
pub(super) struct DeflatedMessages {
    backlog: BacklogBytes,
    known: HashMap<Box<[Piece]>, Known, RandomState>,
    /// The pieces of the message that is looked up.
    pieces: Vec<Piece>,
}

/// A compressed message of which a byte is written.
#[derive(Debug, Clone)]
pub(super) struct BegunDeflated {
    frame: Rc<Batch>,
    written_bytes: u32,
}

impl DeflatedMessages {
    /// Nothing is compressed yet. What is counts in that backlog, and is compressed as its compressor does.
    pub(super) fn new(backlog: BacklogBytes) -> Self {
        Self { backlog, ..Self::default() }
    }

    /// The frame of a message with these runs of events, whose payload has so many bytes; `None` if it goes as it is. `write` appends
    /// that frame.
    pub(super) fn frame<'r>(
        &mut self,
        payload_bytes: usize,
        runs: impl Iterator<Item = (&'r Run, u32, u32)> + Clone,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Rc<Batch>> {
        let Self { backlog, known, pieces } = self;
        let compressor = backlog.compressor();
        if !compressor.is_worth(payload_bytes) {
            compressor.count_uncompressed();
            return None;
        }
        pieces.clear();
        for (run, from, to) in runs.clone() {
            let batch = Rc::as_ptr(&run.batch);
            match pieces.last_mut() {
                Some(last) if (last.batch, last.to) == (batch, from) => last.to = to,
                _ => pieces.push(Piece { batch, from, to }),
            }
        }
        if let Some(known) = known.get(&pieces[..]) {
            return known.frame.clone();
        }
        if known.len() >= DEFLATED_LISTS_MAX {
            compressor.count_uncompressed();
            return None;
        }
        let mut plain = Vec::new();
        write(&mut plain);
        let frame = compressor.compress(&plain).map(|frame| Batch::own(frame, backlog));
        let batches = runs.map(|(run, ..)| Rc::clone(&run.batch)).collect();
        known.insert(pieces.as_slice().into(), Known { frame: frame.clone(), _batches: batches });
        frame
    }

    /// A turn begins, or has written to everybody for whom something waited.
    pub(super) fn end_turn(&mut self, is_all_written: bool) {
        if is_all_written || self.known.len() >= DEFLATED_LISTS_MAX {
            self.known.clear();
        }
    }
}

impl BegunDeflated {
    /// Nothing of it is written yet.
    pub(super) fn new(frame: &Rc<Batch>) -> Self {
        Self { frame: Rc::clone(frame), written_bytes: 0 }
    }

    /// What is left of it.
    pub(super) fn rest(&self) -> &[u8] {
        self.frame.slice(self.written_bytes, self.frame.start(1))
    }

    /// More of it is written; `true`: all of it.
    pub(super) fn advance(&mut self, written: usize) -> bool {
        self.written_bytes += written as u32;
        self.written_bytes == self.frame.start(1)
    }
}
