//! Writes messages, each one frame, header and payload (RFC 6455 section 5.2).
//!
//! A server's frames carry no mask (section 5.1), so a frame's bytes are the same for every client. A client's are written for sessions whose
//! bytes come in another way.

/// FIN and opcode 1 (text): the first byte of a text message.
const FIN_TEXT: u8 = 0x81;
/// The same with opcode 2 (binary).
const FIN_BINARY: u8 = 0x82;
/// The same with opcode 10 (pong).
const FIN_PONG: u8 = 0x8a;
/// In the second byte of a frame: a key follows the length.
const MASKED: u8 = 0x80;
/// A key that changes nothing.
const NO_KEY: [u8; 4] = [0; 4];

/// The frame of one text message.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + HEADER_BYTES_MAX);
    write_header(&mut out, payload.len());
    out.extend_from_slice(payload);
    out
}

/// Makes what stands behind `start` the frame of one text message.
pub(crate) fn insert(out: &mut Vec<u8>, start: usize) {
    let end = out.len();
    write_header(out, end - start);
    let header_bytes = out.len() - end;
    out[start..].rotate_right(header_bytes);
}

/// The frame of one binary message.
pub fn binary(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + HEADER_BYTES_MAX);
    write_binary_header(&mut out, payload.len());
    out.extend_from_slice(payload);
    out
}

/// Appends a client's text message.
pub fn write_client_text(out: &mut Vec<u8>, payload: &[u8]) {
    write_client(out, FIN_TEXT, payload);
}

/// Appends a client's binary message.
pub fn write_client_binary(out: &mut Vec<u8>, payload: &[u8]) {
    write_client(out, FIN_BINARY, payload);
}

/// Appends a client's pong.
pub fn write_client_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_client(out, FIN_PONG, payload);
}

fn write_client(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    write_first(out, first, MASKED, payload.len());
    out.extend_from_slice(&NO_KEY);
    out.extend_from_slice(payload);
}

/// The payload of a frame that this module has written for a server.
pub fn payload(frame: &[u8]) -> &[u8] {
    let header_bytes = match frame.get(1) {
        Some(126) => 4,
        Some(127) => HEADER_BYTES_MAX,
        _ => 2,
    };
    frame.get(header_bytes..).unwrap_or_default()
}

/// Bytes of the first of several frames that this module has written for a server.
pub fn frame_bytes(frames: &[u8]) -> usize {
    payload_bytes(frames).map_or(frames.len(), |payload_bytes| header_bytes(payload_bytes) + payload_bytes)
}

/// Bytes of the payload of a frame without a mask; `None` while its header isn't whole.
pub fn payload_bytes(frame: &[u8]) -> Option<usize> {
    let length = match frame.get(1)? {
        126 => frame.get(2..4)?,
        127 => frame.get(2..HEADER_BYTES_MAX)?,
        length => return Some(usize::from(*length)),
    };
    Some(length.iter().fold(0, |bytes, byte| bytes << 8 | usize::from(*byte)))
}

/// The longest header of an unmasked frame.
pub(crate) const HEADER_BYTES_MAX: usize = 10;

/// The length of the header of a payload of so many bytes.
pub(crate) const fn header_bytes(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => HEADER_BYTES_MAX,
    }
}

/// Appends the header of a text frame: 7 bits of length, or 126 and 16 bits, or 127 and 64 bits.
#[inline]
pub(crate) fn write_header(out: &mut Vec<u8>, payload_len: usize) {
    write_first(out, FIN_TEXT, 0, payload_len);
}

/// The same of a binary frame.
pub(crate) fn write_binary_header(out: &mut Vec<u8>, payload_len: usize) {
    write_first(out, FIN_BINARY, 0, payload_len);
}

#[inline]
fn write_first(out: &mut Vec<u8>, first: u8, mask: u8, payload_len: usize) {
    out.push(first);
    match payload_len {
        0..=125 => out.push(mask | payload_len as u8),
        126..=0xffff => {
            out.push(mask | 126);
            out.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

    use super::*;

    #[test]
    fn headers_are_read_back_by_tungstenite() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let frame = text(&vec![b'x'; len]);
            let mut cursor = Cursor::new(&frame);
            let (header, payload_len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert!(header.is_final && header.mask.is_none());
            assert_eq!(payload_len as usize, len);
            assert_eq!(frame.len() - cursor.position() as usize, len);
            assert_eq!((payload(&frame).len(), header_bytes(len)), (len, frame.len() - len));
            assert_eq!(frame_bytes(&[&frame[..], b"more"].concat()), frame.len());
            let binary = binary(payload(&frame));
            assert_eq!((binary[0], &binary[1..]), (FIN_BINARY, &frame[1..]));
        }
    }
}
