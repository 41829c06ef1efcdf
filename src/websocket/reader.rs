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

use thiserror::Error;

use self::frame::{Frame, HEADER_BYTES_MAX, Kind, UnderWay, parse_header, unmask};
use super::close::CloseCode;
use super::deflate::{InflateError, inflate};

#[cfg(any(test, feature = "differential"))]
pub mod differential;
mod frame;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

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
    #[cfg(any(test, feature = "differential"))]
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
