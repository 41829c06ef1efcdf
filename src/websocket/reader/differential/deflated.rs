//! A stream with compressed messages as one without: each compressed message, inflated by another implementation, takes the place of its
//! frames. So tungstenite, which knows no compression, can read it.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::super::frame::compressed_max;

/// Another implementation: what a compressed payload stands for; `None` if it is corrupt or cut off.
pub(super) type Inflate<'i> = &'i dyn Fn(&[u8]) -> Option<Vec<u8>>;

/// A stream without compression.
#[derive(Debug, Default)]
pub(super) struct Plain {
    pub(super) stream: Vec<u8>,
    /// Behind it comes a compressed message that must be refused.
    pub(super) is_refused: bool,
    /// Behind it comes a compressed message that is incomplete: what is wrong with it shows in its headers at most.
    pub(super) is_incomplete: bool,
}

/// A compressed message that is cut into frames, unmasked.
struct UnderWay {
    opcode: OpCode,
    payload: Vec<u8>,
}

pub(super) fn plain(stream: &[u8], max_bytes: usize, inflate: Inflate<'_>) -> Plain {
    let mut plain = Plain::default();
    let mut under_way: Option<UnderWay> = None;
    let mut is_plain_under_way = false;
    let mut rest = stream;
    while let Some((header, start, end)) = next_frame(rest) {
        let is_control = matches!(header.opcode, OpCode::Control(_));
        let is_compressed = !is_plain_under_way && is_of_compressed(&header, under_way.is_some());
        if !is_compressed && under_way.is_some() && !is_control {
            break;
        }
        let Some(payload) = rest.get(start..end) else {
            plain.is_incomplete = is_compressed;
            break;
        };
        if is_compressed {
            let message = under_way.get_or_insert(UnderWay { opcode: header.opcode, payload: Vec::new() });
            message.add(&header, payload);
            plain.go_on(&header, &mut under_way, max_bytes, inflate);
            if plain.is_refused {
                return plain;
            }
        } else {
            plain.stream.extend_from_slice(&rest[..end]);
            if !is_control {
                is_plain_under_way = !header.is_final;
            }
        }
        rest = &rest[end..];
    }
    plain.is_incomplete |= under_way.is_some();
    if !plain.is_incomplete {
        plain.stream.extend_from_slice(rest);
    }
    plain
}

/// The header of the next frame, and where its payload begins and ends; `None` at the end, also where it is too short or no header.
fn next_frame(rest: &[u8]) -> Option<(FrameHeader, usize, usize)> {
    let mut cursor = Cursor::new(rest);
    let (header, length) = FrameHeader::parse(&mut cursor).ok()??;
    let start = cursor.position() as usize;
    Some((header, start, start.checked_add(usize::try_from(length).ok()?)?))
}

/// Whether a frame is a compressed message's, as the rules have it where no other message is under way: its first one, or behind that one a continuation.
fn is_of_compressed(header: &FrameHeader, is_under_way: bool) -> bool {
    let is_expected = match header.opcode {
        OpCode::Data(Data::Text | Data::Binary) => !is_under_way && header.rsv1,
        OpCode::Data(Data::Continue) => is_under_way && !header.rsv1,
        _ => false,
    };
    is_expected && !header.rsv2 && !header.rsv3 && header.mask.is_some()
}

impl UnderWay {
    fn add(&mut self, header: &FrameHeader, payload: &[u8]) {
        let mask = header.mask.unwrap_or_default();
        self.payload.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
}

impl Plain {
    /// A frame of a compressed message has come.
    fn go_on(
        &mut self,
        header: &FrameHeader,
        under_way: &mut Option<UnderWay>,
        max_bytes: usize,
        inflate: Inflate<'_>,
    ) {
        let bytes = under_way.as_ref().map_or(0, |message| message.payload.len());
        self.is_refused = bytes > compressed_max(max_bytes);
        if header.is_final
            && let Some(UnderWay { opcode, payload }) = under_way.take()
        {
            match inflate(&payload).filter(|content| content.len() <= max_bytes) {
                Some(content) => {
                    let header = FrameHeader { opcode, mask: Some([0; 4]), ..FrameHeader::default() };
                    self.is_refused |= header.format(content.len() as u64, &mut self.stream).is_err();
                    self.stream.extend_from_slice(&content);
                }
                None => self.is_refused = true,
            }
        }
    }
}
