//! permessage-deflate (RFC 7692): messages compressed, each by itself. Pure.
//!
//! Both sides go without context: a message is compressed and read without regard to those before it. So a compressed message is the same
//! for every client, and no connection keeps a state. A thread has one for each direction, made when it is first needed and reset for each
//! message; the result depends on the message alone.
//!
//! What is sent ends in a sync flush whose last four bytes are cut off (section 7.2.1), never in a final block: a widely used client reads
//! the message behind such a one wrongly.

use std::cell::{Cell, RefCell};

use thiserror::Error;
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use super::header::{frame_bytes, payload, write_header};

/// In the first byte of a frame: the message is compressed (RFC 7692 section 6).
const RSV1: u8 = 0x40;

/// The end of a sync flush, which no message has and every reader adds (section 7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// What is read behind a message: the end of the flush, and a final block without content. So a message that is cut off is noticed.
const TAIL_AND_END: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// The window, as a power of two: the largest there is.
const WINDOW_BITS: u8 = 15;

/// Bytes that are inflated at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Which messages are compressed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The least payload that is compressed, in bytes.
    pub threshold_bytes: usize,
    /// 1 (fast) to 9 (small).
    pub level: u32,
}

/// Compresses messages for clients that have agreed on it, and counts them.
#[derive(Debug, Default)]
pub struct Compressor {
    /// `None`: nothing is compressed.
    compression: Option<Compression>,
    counts: Cell<Counts>,
}

/// Messages for clients that have agreed on compression. One that several clients share counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that were compressed.
    pub compressed: u64,
    /// Those that were left as they are: too short, or not shorter afterwards.
    pub uncompressed: u64,
    /// Bytes of the payloads that were compressed.
    pub bytes_in: u64,
    /// Bytes that they became.
    pub bytes_out: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            compressed: self.compressed + other.compressed,
            uncompressed: self.uncompressed + other.uncompressed,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
        }
    }
}

impl Compressor {
    /// One that compresses so.
    pub fn new(compression: Option<Compression>) -> Self {
        Self { compression, counts: Cell::default() }
    }

    /// Whether a payload of so many bytes is long enough.
    pub fn is_worth(&self, payload_bytes: usize) -> bool {
        self.compression.is_some_and(|compression| payload_bytes >= compression.threshold_bytes)
    }

    /// The compressed frame of a message, which is given as a complete frame; `None` where it stays as it is.
    pub fn compress(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let payload = payload(frame);
        let compression = self.compression.filter(|_| self.is_worth(payload.len()));
        let compressed = compression.and_then(|compression| deflate(payload, compression.level));
        let mut counts = self.counts.get();
        let frame = compressed.map(|compressed| {
            counts.compressed += 1;
            counts.bytes_in += payload.len() as u64;
            counts.bytes_out += compressed.len() as u64;
            framed(frame, &compressed)
        });
        counts.uncompressed += u64::from(frame.is_none());
        self.counts.set(counts);
        frame
    }

    /// Replaces the frame that begins at `start`, the last one of `out`, by its compressed one, unless it stays as it is.
    pub fn compress_last(&self, out: &mut Vec<u8>, start: usize) {
        if let Some(frame) = self.compress(&out[start..]) {
            out.truncate(start);
            out.extend_from_slice(&frame);
        }
    }

    /// Replaces each of several frames by its compressed one, unless it stays as it is.
    pub fn compress_each(&self, frames: &mut Vec<u8>) {
        let plain = std::mem::take(frames);
        let mut rest = &plain[..];
        while !rest.is_empty() {
            let (frame, behind) = rest.split_at(frame_bytes(rest).min(rest.len()));
            let start = frames.len();
            frames.extend_from_slice(frame);
            self.compress_last(frames, start);
            rest = behind;
        }
    }

    /// A message that a client gets uncompressed, whatever its length.
    pub fn count_uncompressed(&self) {
        let counts = self.counts.get();
        self.counts.set(Counts { uncompressed: counts.uncompressed + 1, ..counts });
    }

    /// What it has compressed so far.
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }
}

/// A frame like `plain`, with a payload that is compressed.
fn framed(plain: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + super::header::HEADER_BYTES_MAX);
    write_header(&mut frame, payload.len());
    frame[0] = plain[0] | RSV1;
    frame.extend_from_slice(payload);
    frame
}

/// Whether a complete frame is a compressed message.
pub fn is_compressed(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & RSV1 != 0)
}

thread_local! {
    /// The level, and the state.
    static DEFLATE: RefCell<Option<(u32, Deflate)>> = const { RefCell::new(None) };
    static INFLATE: RefCell<Option<Inflater>> = const { RefCell::new(None) };
}

/// The compressed payload; `None` unless it is shorter.
fn deflate(payload: &[u8], level: u32) -> Option<Vec<u8>> {
    DEFLATE.with_borrow_mut(|state| {
        let (_, deflate) = match state {
            Some(state) if state.0 == level => state,
            _ => state.insert((level, Deflate::new(level as i32, false, WINDOW_BITS))),
        };
        deflate.reset();
        let mut out = vec![0; payload.len() + TAIL.len()];
        deflate.compress(payload, &mut out, DeflateFlush::SyncFlush).ok()?;
        // With room left, all of it has been flushed.
        let (read, written) = (deflate.total_in() as usize, deflate.total_out() as usize);
        let is_shorter = read == payload.len() && written < out.len() && out[..written].ends_with(&TAIL);
        out.truncate(written.saturating_sub(TAIL.len()));
        is_shorter.then_some(out)
    })
}

/// Why a compressed message can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InflateError {
    /// It has more bytes than it may have.
    #[error("message too large")]
    TooLarge,
    /// It is not compressed as RFC 1951 says.
    #[error("compressed data is corrupt")]
    Corrupt,
}

struct Inflater {
    inflate: Inflate,
    chunk: Box<[u8]>,
}

/// Appends what a compressed payload stands for to `out`, which then has at most `max_bytes`.
///
/// # Errors
/// When it would have more, or when the payload is corrupt or cut off. `out` has a part of it then.
pub fn inflate(payload: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
    INFLATE.with_borrow_mut(|state| {
        let inflater = state.get_or_insert_with(|| Inflater {
            inflate: Inflate::new(false, WINDOW_BITS),
            chunk: vec![0; CHUNK_BYTES].into(),
        });
        inflater.read(payload, max_bytes, out)
    })
}

impl Inflater {
    fn read(&mut self, payload: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
        if payload.is_empty() {
            // An empty message should have a byte (section 7.2.3.6), which not every compressor writes.
            return Ok(());
        }
        self.inflate.reset(false);
        let mut rest = payload;
        // A final block within a message is no end of it (section 7.2.3.4): what follows is read from a new state.
        while self.read_stream(&mut rest, max_bytes, out)? {
            if rest.is_empty() {
                return Ok(());
            }
            self.inflate.reset(false);
        }
        let mut rest = &TAIL_AND_END[..];
        let is_whole = self.read_stream(&mut rest, max_bytes, out)? && rest.is_empty();
        if is_whole { Ok(()) } else { Err(InflateError::Corrupt) }
    }

    /// Reads on; `true`: up to the end of a final block, `false`: to the end of the input.
    fn read_stream(
        &mut self,
        rest: &mut &[u8],
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, InflateError> {
        loop {
            let (had_in, had_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(rest, &mut self.chunk, InflateFlush::SyncFlush);
            let status = status.map_err(|_| InflateError::Corrupt)?;
            let read = (self.inflate.total_in() - had_in) as usize;
            let written = (self.inflate.total_out() - had_out) as usize;
            if written > max_bytes.saturating_sub(out.len()) {
                return Err(InflateError::TooLarge);
            }
            *rest = &rest[read..];
            out.extend_from_slice(&self.chunk[..written]);
            match status {
                Status::StreamEnd => return Ok(true),
                // With room left in the chunk, all of the input has been used.
                Status::Ok | Status::BufError if written < self.chunk.len() => return Ok(false),
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;
