//! WebSocket frames (RFC 6455 section 5.2) as a client reads and writes them: parsed in place, nothing copied.

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

const CONTINUATION: u8 = 0;
const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
/// The bit that control frames' opcodes have.
const CONTROL: u8 = 0x08;

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
    let &[first, second, ref rest @ ..] = bytes else { return Header::Partial };
    let opcode = first & OPCODE;
    if first & !OPCODE != FIN || opcode == CONTINUATION {
        return Header::Bad("a frame that is a fragment or has a reserved bit set");
    }
    if second & MASKED != 0 {
        return Header::Bad("a frame with a mask, from a server");
    }
    let (payload_len, len) = match (second, rest) {
        (126.., _) if opcode & CONTROL != 0 => return Header::Bad("a control frame longer than 125 bytes"),
        (126, &[a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 4),
        (127, &[a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10),
        (126 | 127, _) => return Header::Partial,
        (len, _) => (u64::from(len), 2),
    };
    Header::Is { opcode, payload_len, len }
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

/// Appends a masked frame. Payloads of 64 KiB and more have no place in a request and are cut off there.
pub fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    let payload = &payload[..payload.len().min(usize::from(u16::MAX))];
    out.push(FIN | opcode);
    match u8::try_from(payload.len()) {
        Ok(len @ 0..=125) => out.push(MASKED | len),
        _ => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;

    /// A server's frame, by tungstenite.
    fn served(len: usize) -> Vec<u8> {
        let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        let mut out = Vec::new();
        header.format(len as u64, &mut out).unwrap();
        out.resize(out.len() + len, b'x');
        out
    }

    #[test]
    fn frames_are_read_as_tungstenite_writes_them() {
        for len in [0, 1, 125, 126, 180, 65_535, 65_536, 70_000] {
            let bytes = served(len);
            let expected = Front::Frame { opcode: TEXT, payload: &vec![b'x'; len], len: bytes.len() };
            assert_eq!(front(&bytes, 1 << 20), expected);
            let mut longer = bytes.clone();
            longer.extend_from_slice(b"\x81\x00");
            assert_eq!(front(&longer, 1 << 20), expected, "what follows doesn't matter");
        }
    }

    #[test]
    fn every_cut_is_partial() {
        let bytes = served(180);
        for cut in 0..bytes.len() {
            assert_eq!(front(&bytes[..cut], 1 << 20), Front::Partial, "{cut}");
        }
        assert_eq!(front(&served(70_000)[..9], 1 << 20), Front::Partial);
    }

    #[test]
    fn what_no_gateway_sends_is_bad() {
        let bad: [&[u8]; 6] = [
            b"\x01\x00",                                 // the first of several fragments
            b"\x80\x00",                                 // the last of them
            b"\xc1\x00",                                 // compressed
            b"\x89\x7e",                                 // a ping too long
            b"\x81\x80",                                 // masked
            b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", // endless
        ];
        for bytes in bad {
            assert!(matches!(front(bytes, 1 << 20), Front::Bad(_)), "{bytes:?}");
        }
        assert!(matches!(front(&served(200), 100), Front::Bad(_)));
    }

    #[test]
    fn what_is_written_is_read_by_tungstenite() {
        for len in [0, 5, 125, 126, 60_000] {
            let payload = vec![b'p'; len];
            let mut out = Vec::new();
            write(&mut out, TEXT, &payload);
            let mut cursor = Cursor::new(&out);
            let (header, payload_len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert_eq!((payload_len as usize, header.is_final, header.mask), (len, true, Some(MASK)));
            let masked = &out[cursor.position() as usize..];
            let unmasked: Vec<u8> = masked.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m).collect();
            assert_eq!(unmasked, payload);
        }
    }
}
