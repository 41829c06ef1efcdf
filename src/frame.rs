//! Complete WebSocket text frames, header and payload, as they go over the wire.
//!
//! A server's frames carry no mask (RFC 6455 section 5.1), so one frame's bytes are the same for every client:
//! an event is framed once and shared. Replies are framed here as well, so that everything a client reads
//! has one origin.

/// FIN and opcode 1 (text): the first byte of every frame built here.
const FIN_TEXT: u8 = 0x81;

/// What stands before and behind a worker's object in a trade frame.
const TRADE_OPEN: &[u8] = br#"{"type":"trade","data":"#;
const TIMESTAMP: &[u8] = br#","timestamp":"#;

/// Appends the frame of a trade to `out`: the worker's object spliced in byte for byte, then the
/// gateway's clock in Unix milliseconds.
pub fn write_trade(out: &mut Vec<u8>, object: &str, now_ms: u64) {
    let mut digits = itoa::Buffer::new();
    let now = digits.format(now_ms).as_bytes();
    let payload_len = TRADE_OPEN.len() + object.len() + TIMESTAMP.len() + now.len() + 1;
    write_header(out, payload_len);
    out.extend_from_slice(TRADE_OPEN);
    out.extend_from_slice(object.as_bytes());
    out.extend_from_slice(TIMESTAMP);
    out.extend_from_slice(now);
    out.push(b'}');
}

/// The frame of one text message.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + HEADER_BYTES_MAX);
    write_header(&mut out, payload.len());
    out.extend_from_slice(payload);
    out
}

/// The longest header of an unmasked frame.
const HEADER_BYTES_MAX: usize = 10;

/// RFC 6455 section 5.2: 7 bits of length, or 126 and 16 bits, or 127 and 64 bits.
fn write_header(out: &mut Vec<u8>, payload_len: usize) {
    out.push(FIN_TEXT);
    match payload_len {
        0..=125 => out.push(payload_len as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
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
    fn a_trade_is_spliced_not_reprinted() {
        let mut out = Vec::new();
        write_trade(&mut out, r#"{"symbol":"A","price":1.50}"#, 1_234_567_890);
        let expected = br#"{"type":"trade","data":{"symbol":"A","price":1.50},"timestamp":1234567890}"#;
        assert_eq!(&out[2..], expected);
        assert_eq!(&out[..2], &[0x81, expected.len() as u8]);
    }

    #[test]
    fn headers_are_read_back_by_tungstenite() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let frame = text(&vec![b'x'; len]);
            let mut cursor = Cursor::new(&frame);
            let (header, payload_len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert!(header.is_final && header.mask.is_none());
            assert_eq!(payload_len as usize, len);
            assert_eq!(frame.len() - cursor.position() as usize, len);
        }
    }
}
