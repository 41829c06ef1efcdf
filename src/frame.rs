//! Complete WebSocket text frames, header and payload, as they go over the wire.
//!
//! A server's frames carry no mask (RFC 6455 section 5.1), so one frame's bytes are the same for every client:
//! an event is framed once and shared. Replies are framed here as well, so that everything a client reads
//! has one origin.

use crate::market::EventType;

/// FIN and opcode 1 (text): the first byte of every frame built here.
const FIN_TEXT: u8 = 0x81;

/// What stands behind a worker's object in an event's frame.
const TIMESTAMP: &[u8] = br#","timestamp":"#;

/// What stands before it.
const fn opening(event_type: EventType) -> &'static [u8] {
    match event_type {
        EventType::Trade => br#"{"type":"trade","data":"#,
        EventType::Quote => br#"{"type":"quote","data":"#,
        EventType::Candle => br#"{"type":"candle","data":"#,
        EventType::News => br#"{"type":"news","data":"#,
        EventType::Halt => br#"{"type":"halt","data":"#,
    }
}

/// What stands behind the outer `timestamp` of an event that isn't an ordinary live one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker<'m> {
    /// Nothing: a live event.
    None,
    /// The last known event of its topic, for a client that asked for it.
    Snapshot,
    /// An event that the client had missed.
    Replay,
    /// What a conflated trade stands for, as a JSON object.
    Conflated(&'m str),
}

impl<'m> Marker<'m> {
    fn parts(self) -> (&'static [u8], &'m [u8]) {
        match self {
            Self::None => (b"", b""),
            Self::Snapshot => (br#","snapshot":true"#, b""),
            Self::Replay => (br#","replay":true"#, b""),
            Self::Conflated(object) => (br#","conflated":"#, object.as_bytes()),
        }
    }
}

/// Appends the frame of an event to `out`: the worker's object spliced in byte for byte, then the gateway's clock in Unix
/// milliseconds, then the marker.
#[inline]
pub fn write_event(out: &mut Vec<u8>, event_type: EventType, object: &str, at_ms: u64, marker: Marker<'_>) {
    let opening = opening(event_type);
    let mut digits = itoa::Buffer::new();
    let at = digits.format(at_ms).as_bytes();
    let (key, value) = marker.parts();
    let payload_len = opening.len() + object.len() + TIMESTAMP.len() + at.len() + key.len() + value.len() + 1;
    write_header(out, payload_len);
    out.extend_from_slice(opening);
    out.extend_from_slice(object.as_bytes());
    out.extend_from_slice(TIMESTAMP);
    out.extend_from_slice(at);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    out.push(b'}');
}

/// The frame of one text message.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + HEADER_BYTES_MAX);
    write_header(&mut out, payload.len());
    out.extend_from_slice(payload);
    out
}

/// The payload of a complete frame as it is built here.
pub fn payload(frame: &[u8]) -> &[u8] {
    let header_bytes = match frame.get(1) {
        Some(126) => 4,
        Some(127) => HEADER_BYTES_MAX,
        _ => 2,
    };
    frame.get(header_bytes..).unwrap_or_default()
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
        let object = r#"{"symbol":"A","price":1.50}"#;
        write_event(&mut out, EventType::Trade, object, 1_234_567_890, Marker::None);
        let expected = br#"{"type":"trade","data":{"symbol":"A","price":1.50},"timestamp":1234567890}"#;
        assert_eq!(&out[2..], expected);
        assert_eq!(&out[..2], &[0x81, expected.len() as u8]);
    }

    #[test]
    fn markers_stand_behind_the_timestamp() {
        let marked = |marker| {
            let mut out = Vec::new();
            write_event(&mut out, EventType::Quote, "{}", 7, marker);
            String::from_utf8(out.split_off(2)).unwrap()
        };
        assert_eq!(marked(Marker::Snapshot), r#"{"type":"quote","data":{},"timestamp":7,"snapshot":true}"#);
        assert_eq!(marked(Marker::Replay), r#"{"type":"quote","data":{},"timestamp":7,"replay":true}"#);
        let conflated = Marker::Conflated(r#"{"count":2}"#);
        assert_eq!(marked(conflated), r#"{"type":"quote","data":{},"timestamp":7,"conflated":{"count":2}}"#);
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
            assert_eq!(payload(&frame).len(), len);
        }
    }
}
