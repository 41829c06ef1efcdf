//! WebSocket frames (RFC 6455 section 5.2) as a client reads and writes them: headers by tungstenite, payloads where they lie.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// A whole message in one frame, text.
pub const TEXT: u8 = 1;
/// The same, binary.
pub const BINARY: u8 = 2;
/// The peer closes, or answers our close.
pub const CLOSE: u8 = 8;
/// Asks for a pong.
pub const PING: u8 = 9;
/// Answers a ping.
pub const PONG: u8 = 10;

/// The longest payload of a control frame.
const CONTROL_BYTES_MAX: u64 = 125;

/// A client has to mask; what with is its affair, as this one has no enemies between itself and the server.
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];

/// What stands at the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Front<'b> {
    /// Not yet a whole frame.
    Partial,
    /// A frame.
    Frame {
        /// One of the constants above.
        opcode: u8,
        /// What it carries.
        payload: &'b [u8],
        /// The frame's whole length in bytes.
        len: usize,
    },
    /// Something that a server may not send, or that no gateway sends.
    Bad(&'static str),
}

/// What a frame begins with.
#[derive(Debug, PartialEq, Eq)]
pub enum Header {
    /// Not yet a whole one.
    Partial,
    /// A header.
    Is {
        /// One of the constants above.
        opcode: u8,
        /// Bytes that follow it.
        payload_len: u64,
        /// Its own.
        len: usize,
    },
    /// Something that a server may not send, or that no gateway sends.
    Bad(&'static str),
}

/// Looks at the front of what a server sent, for a header only.
#[inline]
pub fn header(bytes: &[u8]) -> Header {
    let mut cursor = Cursor::new(bytes);
    let (header, payload_len) = match FrameHeader::parse(&mut cursor) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Header::Partial,
        Err(_) => return Header::Bad("a frame of no kind that there is"),
    };
    let FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = header;
    if !is_final || rsv1 || rsv2 || rsv3 || opcode == OpCode::Data(Data::Continue) {
        return Header::Bad("a frame that is a fragment or has a reserved bit set");
    }
    if mask.is_some() {
        return Header::Bad("a frame with a mask, from a server");
    }
    if matches!(opcode, OpCode::Control(_)) && payload_len > CONTROL_BYTES_MAX {
        return Header::Bad("a control frame longer than 125 bytes");
    }
    Header::Is { opcode: opcode.into(), payload_len, len: cursor.position() as usize }
}

/// Looks at the front of what a server sent. `len_max` is the most bytes a frame may have.
#[inline]
pub fn front(bytes: &[u8], len_max: usize) -> Front<'_> {
    let (opcode, payload_len, header_len) = match header(bytes) {
        Header::Is { opcode, payload_len, len } => (opcode, payload_len, len),
        Header::Partial => return Front::Partial,
        Header::Bad(reason) => return Front::Bad(reason),
    };
    let len = payload_len.saturating_add(header_len as u64);
    if len > len_max as u64 {
        return Front::Bad("a frame longer than any event");
    }
    match bytes.get(header_len..len as usize) {
        Some(payload) => Front::Frame { opcode, payload, len: len as usize },
        None => Front::Partial,
    }
}

/// Appends a masked frame.
pub fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    let header = FrameHeader { opcode: opcode.into(), mask: Some(MASK), ..FrameHeader::default() };
    // Writing into a vector can't fail.
    let _ = header.format(payload.len() as u64, out);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's frame.
    fn served(len: usize) -> Vec<u8> {
        let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        let mut out = Vec::new();
        header.format(len as u64, &mut out).unwrap();
        out.resize(out.len() + len, b'x');
        out
    }

    #[test]
    fn a_frame_is_read_however_it_is_cut() {
        for len in [0, 1, 125, 126, 180, 65_535, 65_536] {
            let bytes = served(len);
            let expected = Front::Frame { opcode: TEXT, payload: &vec![b'x'; len], len: bytes.len() };
            assert_eq!(front(&[&bytes[..], b"\x81\x00"].concat(), 1 << 20), expected);
            for cut in (0..bytes.len()).take(200) {
                assert_eq!(front(&bytes[..cut], 1 << 20), Front::Partial, "{cut}");
            }
        }
    }

    #[test]
    fn what_no_gateway_sends_is_bad() {
        let bad: [&[u8]; 7] = [
            b"\x01\x00",                                 // the first of several fragments
            b"\x80\x00",                                 // the last of them
            b"\xc1\x00",                                 // compressed
            b"\x83\x00",                                 // of a kind that there isn't
            b"\x89\x7e\x00\x7e",                         // a ping too long
            b"\x81\x80abcd",                             // masked
            b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", // endless
        ];
        for bytes in bad {
            assert!(matches!(front(bytes, 1 << 20), Front::Bad(_)), "{bytes:?}");
        }
        assert!(matches!(front(&served(200), 100), Front::Bad(_)));
    }

    #[test]
    fn what_is_written_is_masked() {
        for (len, header) in [(5, &[0x81, 0x85][..]), (60_000, &[0x81, 0xfe, 0xea, 0x60])] {
            let mut out = Vec::new();
            write(&mut out, TEXT, &vec![b'p'; len]);
            let masked = out.strip_prefix(header).and_then(|rest| rest.strip_prefix(&MASK)).unwrap();
            let unmasked: Vec<u8> = masked.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m).collect();
            assert_eq!(unmasked, vec![b'p'; len]);
        }
    }
}
