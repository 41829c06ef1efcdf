//! One frame: its header read and checked, its payload unmasked and handed out.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{Compressed, Incoming, ReadError};

/// The longest header: 2 bytes, 8 of length, 4 of mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455 section 5.5).
pub(super) const CONTROL_BYTES_MAX: u64 = 125;

/// A frame whose header is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) is_final: bool,
    pub(super) is_compressed: bool,
    pub(super) mask: [u8; 4],
    pub(super) payload_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
    Continuation,
    Ping,
    Pong,
    Close,
}

impl Kind {
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Ping | Self::Pong | Self::Close)
    }
}

impl Frame {
    /// Checks a header, behind what has come of a fragmented message, if one has begun.
    pub(super) fn check(
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
    pub(super) fn incoming<'a>(&self, payload: &'a [u8]) -> Result<Incoming<'a>, ReadError> {
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
pub(super) struct UnderWay {
    pub(super) bytes: u64,
    pub(super) is_compressed: bool,
}

/// Most bytes that a message of at most `max_bytes` may have when it is compressed: noise becomes longer by it, by an eighth where a simple
/// compressor is at work (zlib's `deflateBound`).
pub(super) const fn compressed_max(max_bytes: usize) -> usize {
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
pub(super) fn parse_header(input: &[u8]) -> Result<Option<(Frame, usize)>, ReadError> {
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
pub(super) fn unmask(payload: &mut [u8], mut mask: [u8; 4], offset: u64) {
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
