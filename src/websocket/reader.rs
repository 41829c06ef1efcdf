//! The WebSocket frame reader: turns a client's bytes into messages (RFC 6455 section 5). Pure.
//!
//! All connections of a shard share one read buffer, so the reader parses input where it lies. A whole, unfragmented
//! frame is unmasked in place and handed out as a slice, without a copy or an allocation. Only a frame that is cut off at
//! the end of a read, or a message that comes in fragments, is kept, in a box that is freed with the message. The box
//! grows with the bytes received, never with a length that a header announces.
//!
//! A message that is compressed (RFC 7692) is kept as it comes, and inflated into that box once it is complete: the state for it is
//! the thread's, so it can't wait for the rest of a message.
//!
//! tungstenite parses the frame headers. The fuzz target `frame_reader` compares the whole reader with tungstenite, and
//! `tests/autobahn/run` runs the Autobahn suite against it.

use std::io::Cursor;

use thiserror::Error;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close::CloseCode;
use super::deflate::{InflateError, inflate};

#[cfg(any(test, fuzzing))]
pub mod differential;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

/// The longest header: 2 bytes, 8 of length, 4 of mask.
const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// The state of one connection's input: a null pointer while no message is incomplete.
#[derive(Debug, Default)]
pub struct Reader {
    partial: Option<Box<Partial>>,
}

const _: () = assert!(size_of::<Reader>() == 8, "an idle connection's reader is one pointer");

/// What becomes of compressed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressed {
    /// They are against the rules: no extension was agreed on.
    Refused,
    /// They are inflated.
    Inflated,
    /// They are handed out as they are, for a reader who throws them away.
    Kept,
}

/// A message or control frame, complete and checked.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping and its payload, which the pong has to repeat.
    Ping(&'a [u8]),
    /// A pong and its payload.
    Pong(&'a [u8]),
    /// A close frame: code and reason, if it has them.
    Close(Option<(u16, &'a str)>),
}

impl Incoming<'_> {
    /// Its length, but for control frames: 0.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Ping(_) | Self::Pong(_) | Self::Close(_) => 0,
        }
    }
}

/// The result of [`Reader::next`].
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// How many bytes of the input were read.
    pub consumed: usize,
    /// The message or control frame that they completed, if any.
    pub message: Option<Incoming<'a>>,
}

/// Why the input can't be read. Nothing can be read after it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// A frame that breaks RFC 6455.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// A text message or close reason that is not UTF-8.
    #[error("text is not valid UTF-8")]
    Utf8,
    /// A compressed message that can't be inflated.
    #[error("compressed data is corrupt")]
    Deflate,
    /// A message longer than `MAX_MESSAGE_SIZE`.
    #[error("message of at least {bytes} bytes exceeds the maximum of {max_bytes} bytes")]
    TooLarge {
        /// The message's length, as far as its headers have announced it.
        bytes: u64,
        /// The limit.
        max_bytes: usize,
    },
}

impl ReadError {
    /// The code that the connection is closed with.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Protocol(_) => CloseCode::Protocol,
            Self::Utf8 | Self::Deflate => CloseCode::InvalidData,
            Self::TooLarge { .. } => CloseCode::TooLarge,
        }
    }
}

/// A frame whose header is read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: Kind,
    is_final: bool,
    is_compressed: bool,
    mask: [u8; 4],
    payload_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
    Continuation,
    Ping,
    Pong,
    Close,
}

impl Kind {
    fn is_control(self) -> bool {
        matches!(self, Self::Ping | Self::Pong | Self::Close)
    }
}

/// The received part of an incomplete header, frame or message.
#[derive(Debug, Default)]
struct Partial {
    /// The beginning of an incomplete header.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// The frame whose payload is incomplete, and how many bytes of that have been received.
    frame: Option<(Frame, u64)>,
    /// Payload of the control frame being received, or of the last one.
    control: Vec<u8>,
    /// Whether the incomplete message is text; `None` if there is none.
    is_text: Option<bool>,
    /// Whether the incomplete message is compressed.
    is_compressed: bool,
    /// Payload of the incomplete message.
    data: Vec<u8>,
    /// How many bytes of a text's `data` are known to be UTF-8.
    valid_bytes: usize,
}

impl Reader {
    /// Reads the next message from the front of `input`. The caller calls again with the bytes that weren't consumed, and
    /// calls [`Reader::release_buffer`] once there are none. Changes `input`: payload is unmasked in place.
    ///
    /// # Errors
    /// See [`ReadError`]. The caller has to close the connection.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        max_bytes: usize,
        compressed: Compressed,
    ) -> Result<Step<'a>, ReadError> {
        self.release_buffer();
        if self.partial.is_none() {
            if let Some((frame, header_bytes)) = parse_header(input)? {
                frame.check(None, max_bytes, compressed)?;
                let whole = frame.payload_bytes <= (input.len() - header_bytes) as u64;
                if whole && frame.is_final && !frame.is_compressed {
                    let end = header_bytes + frame.payload_bytes as usize;
                    let payload = &mut input[header_bytes..end];
                    unmask(payload, frame.mask, 0);
                    return Ok(Step { consumed: end, message: Some(frame.incoming(payload)?) });
                }
            }
            self.partial = Some(Box::default());
        }
        match &mut self.partial {
            Some(partial) => partial.next(input, max_bytes, compressed),
            None => Ok(Step { consumed: 0, message: None }),
        }
    }

    /// Frees the memory of a message that has been handed out.
    pub fn release_buffer(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| partial.is_idle()) {
            self.partial = None;
        }
    }

    /// How many bytes of payload are kept.
    #[cfg(any(test, fuzzing))]
    fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.data.len() + partial.control.len())
    }
}

impl Partial {
    /// Whether nothing is incomplete: the payload still in here has been handed out.
    fn is_idle(&self) -> bool {
        self.is_text.is_none() && self.frame.is_none() && self.header_bytes == 0
    }

    fn next<'a>(
        &'a mut self,
        input: &mut [u8],
        max_bytes: usize,
        compressed: Compressed,
    ) -> Result<Step<'a>, ReadError> {
        let mut consumed = 0;
        let (frame, received) = match self.frame.take() {
            Some(frame) => frame,
            None => match self.read_header(input, &mut consumed)? {
                Some(frame) => {
                    frame.check(self.under_way(), max_bytes, compressed)?;
                    self.control.clear();
                    (frame, 0)
                }
                None => return Ok(Step { consumed, message: None }),
            },
        };
        let rest = &mut input[consumed..];
        let take = (frame.payload_bytes - received).min(rest.len() as u64) as usize;
        let payload = &mut rest[..take];
        unmask(payload, frame.mask, received);
        consumed += take;
        let received = received + take as u64;
        if frame.kind.is_control() {
            self.control.extend_from_slice(payload);
        } else {
            self.extend(&frame, payload)?;
        }
        if received < frame.payload_bytes {
            self.frame = Some((frame, received));
            return Ok(Step { consumed, message: None });
        }
        if frame.kind.is_control() {
            return Ok(Step { consumed, message: Some(frame.incoming(&self.control)?) });
        }
        if !frame.is_final {
            return Ok(Step { consumed, message: None });
        }
        if self.is_compressed && compressed == Compressed::Inflated {
            self.inflate(max_bytes)?;
        }
        Ok(Step { consumed, message: Some(self.finish()?) })
    }

    /// What has come of a message that is cut into frames, if one has begun.
    fn under_way(&self) -> Option<UnderWay> {
        let &Self { ref data, is_compressed, .. } = self;
        self.is_text.map(|_| UnderWay { bytes: data.len() as u64, is_compressed })
    }

    /// Completes the incomplete header with bytes of `input`; `None` if they don't suffice.
    fn read_header(&mut self, input: &[u8], consumed: &mut usize) -> Result<Option<Frame>, ReadError> {
        let had = self.header_bytes;
        let more = input.len().min(HEADER_BYTES_MAX - had);
        self.header[had..had + more].copy_from_slice(&input[..more]);
        let Some((frame, header_bytes)) = parse_header(&self.header[..had + more])? else {
            self.header_bytes = had + more;
            *consumed = more;
            return Ok(None);
        };
        self.header_bytes = 0;
        *consumed = header_bytes - had;
        Ok(Some(frame))
    }

    /// Adds payload to the incomplete message. The first byte that can't be UTF-8 is an error.
    fn extend(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), ReadError> {
        if self.is_text.is_none() {
            self.is_compressed = frame.is_compressed;
        }
        let is_text = *self.is_text.get_or_insert(frame.kind == Kind::Text);
        self.data.extend_from_slice(payload);
        if is_text && !self.is_compressed {
            match std::str::from_utf8(&self.data[self.valid_bytes..]) {
                Ok(_) => self.valid_bytes = self.data.len(),
                // The last character is cut off; the next payload may complete it.
                Err(error) if error.error_len().is_none() => self.valid_bytes += error.valid_up_to(),
                Err(_) => return Err(ReadError::Utf8),
            }
        }
        Ok(())
    }

    fn inflate(&mut self, max_bytes: usize) -> Result<(), ReadError> {
        let compressed = std::mem::take(&mut self.data);
        self.is_compressed = false;
        inflate(&compressed, max_bytes, &mut self.data).map_err(|error| match error {
            InflateError::TooLarge => ReadError::TooLarge { bytes: max_bytes as u64 + 1, max_bytes },
            InflateError::Corrupt => ReadError::Deflate,
        })
    }

    fn finish(&mut self) -> Result<Incoming<'_>, ReadError> {
        if self.is_text.take() == Some(true) && !self.is_compressed {
            return std::str::from_utf8(&self.data).map(Incoming::Text).map_err(|_| ReadError::Utf8);
        }
        Ok(Incoming::Binary(&self.data))
    }
}

impl Frame {
    /// Checks a header, behind what has come of a fragmented message, if one has begun.
    fn check(
        &self,
        under_way: Option<UnderWay>,
        max_bytes: usize,
        compressed: Compressed,
    ) -> Result<(), ReadError> {
        // Only the first frame of a message says that it is compressed (RFC 7692 section 6.1).
        let begins_message = matches!(self.kind, Kind::Text | Kind::Binary);
        if self.is_compressed && (!begins_message || compressed == Compressed::Refused) {
            return Err(ReadError::Protocol("reserved bits set"));
        }
        if self.kind.is_control() {
            return match (self.is_final, self.payload_bytes) {
                (false, _) => Err(ReadError::Protocol("fragmented control frame")),
                (true, ..=CONTROL_BYTES_MAX) => Ok(()),
                (true, _) => Err(ReadError::Protocol("control frame longer than 125 bytes")),
            };
        }
        match (self.kind, under_way) {
            (Kind::Continuation, None) => return Err(ReadError::Protocol("continuation of no message")),
            (Kind::Text | Kind::Binary, Some(_)) => {
                return Err(ReadError::Protocol("new message within a fragmented one"));
            }
            _ => {}
        }
        let under_way = under_way.unwrap_or(UnderWay { bytes: 0, is_compressed: self.is_compressed });
        let bytes = under_way.bytes.saturating_add(self.payload_bytes);
        let limit = if under_way.is_compressed { compressed_max(max_bytes) } else { max_bytes };
        if bytes > limit as u64 {
            return Err(ReadError::TooLarge { bytes, max_bytes });
        }
        Ok(())
    }

    /// The message of a complete frame.
    fn incoming<'a>(&self, payload: &'a [u8]) -> Result<Incoming<'a>, ReadError> {
        Ok(match self.kind {
            Kind::Text => Incoming::Text(std::str::from_utf8(payload).map_err(|_| ReadError::Utf8)?),
            Kind::Binary | Kind::Continuation => Incoming::Binary(payload),
            Kind::Ping => Incoming::Ping(payload),
            Kind::Pong => Incoming::Pong(payload),
            Kind::Close => Incoming::Close(close_reason(payload)?),
        })
    }
}

/// What has come of a message that is cut into frames.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    bytes: u64,
    is_compressed: bool,
}

/// Most bytes that a message of at most `max_bytes` may have when it is compressed: noise becomes longer by it, by an eighth where a simple
/// compressor is at work (zlib's `deflateBound`).
const fn compressed_max(max_bytes: usize) -> usize {
    max_bytes.saturating_add(max_bytes / 8).saturating_add(64)
}

/// Reads a close frame's payload, and checks that its code may be sent (RFC 6455 section 7.4).
fn close_reason(payload: &[u8]) -> Result<Option<(u16, &str)>, ReadError> {
    match payload {
        [] => Ok(None),
        [_] => Err(ReadError::Protocol("close frame with half a code")),
        [high, low, reason @ ..] => match u16::from_be_bytes([*high, *low]) {
            code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => {
                let reason = std::str::from_utf8(reason).map_err(|_| ReadError::Utf8)?;
                Ok(Some((code, reason)))
            }
            _ => Err(ReadError::Protocol("close code that may not be sent")),
        },
    }
}

/// The header at the front of `input` and its length; `None` if it is incomplete. A payload length in more bytes than it
/// needs is accepted, as tungstenite does: RFC 6455 forbids clients to send it, but asks nothing of servers.
fn parse_header(input: &[u8]) -> Result<Option<(Frame, usize)>, ReadError> {
    let mut cursor = Cursor::new(input);
    let parsed = FrameHeader::parse(&mut cursor).map_err(|_| ReadError::Protocol("unknown opcode"))?;
    let Some((header, payload_bytes)) = parsed else { return Ok(None) };
    // No extension is ever agreed on that gives these bits a meaning.
    if header.rsv2 || header.rsv3 {
        return Err(ReadError::Protocol("reserved bits set"));
    }
    let Some(mask) = header.mask else { return Err(ReadError::Protocol("frame without a mask")) };
    if payload_bytes >> 63 != 0 {
        return Err(ReadError::Protocol("length with the highest bit set"));
    }
    let kind = match header.opcode {
        OpCode::Data(Data::Text) => Kind::Text,
        OpCode::Data(Data::Binary) => Kind::Binary,
        OpCode::Data(Data::Continue) => Kind::Continuation,
        OpCode::Control(Control::Ping) => Kind::Ping,
        OpCode::Control(Control::Pong) => Kind::Pong,
        OpCode::Control(Control::Close) => Kind::Close,
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
            return Err(ReadError::Protocol("unknown opcode"));
        }
    };
    let frame = Frame { kind, is_final: header.is_final, is_compressed: header.rsv1, mask, payload_bytes };
    Ok(Some((frame, cursor.position() as usize)))
}

/// XORs `payload` with the mask (RFC 6455 section 5.3), 8 bytes at a time. `offset` bytes of the frame's payload came before.
fn unmask(payload: &mut [u8], mut mask: [u8; 4], offset: u64) {
    mask.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
