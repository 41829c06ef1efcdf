//! An event's frame: built once, with header and payload, and shared by every client that wants it. And its object alone, for forms that
//! have it without a frame ([`form`](crate::protocol::form)).

use std::sync::Arc;

use crate::market::spelling::Spelling;
use crate::market::{Kind, Kinds};
use crate::websocket::header::write_header;

/// What stands behind a worker's object in an event's frame.
const TIMESTAMP: &[u8] = br#","timestamp":"#;

/// What stands before a trade.
pub const TRADE_OPENING: &[u8] = br#"{"type":"trade","data":"#;

/// What stands before the worker's object in the frames of each type of a gateway. Clones share it.
#[derive(Debug, Clone)]
pub struct Openings {
    types: Arc<[Opening]>,
    /// How other APIs spell symbols.
    spelling: Spelling,
}

#[derive(Debug)]
struct Opening {
    bytes: Box<[u8]>,
    /// The name of the type.
    name: Box<str>,
}

impl Openings {
    /// Those of the types of a table.
    pub fn new(kinds: &Kinds) -> Self {
        let opening = |kind| {
            let name = kinds.name(kind);
            Opening { bytes: format!(r#"{{"type":"{name}","data":"#).into_bytes().into(), name: name.into() }
        };
        Self { types: kinds.iter().map(opening).collect(), spelling: Spelling::default() }
    }

    /// The same with other spellings of symbols in other APIs.
    #[must_use]
    pub fn spelled(self, spelling: Spelling) -> Self {
        Self { spelling, ..self }
    }

    /// How other APIs spell symbols.
    pub const fn spelling(&self) -> &Spelling {
        &self.spelling
    }

    /// That of a type of the table.
    #[inline]
    pub fn of(&self, kind: Kind) -> &[u8] {
        &self.types[kind.index()].bytes
    }

    /// The name of a type of the table.
    pub fn name(&self, kind: Kind) -> &str {
        &self.types[kind.index()].name
    }
}

/// What stands behind the outer `timestamp` of an event that isn't an ordinary live one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker<'m> {
    /// Nothing: a live event.
    None,
    /// The last known event of its topic, for a client that asked for it. The history marks it.
    Snapshot,
    /// An event that the client had missed. The history marks it.
    Replay,
    /// What a conflated trade stands for, as a JSON object. A shard marks it, for clients that asked for aggregates.
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

/// Appends the frame of an event to `out`: the `opening` of its type, the worker's object spliced in byte for byte, then the gateway's
/// clock in Unix milliseconds, then the marker.
#[inline]
pub fn write_event(out: &mut Vec<u8>, opening: &[u8], object: &str, at_ms: u64, marker: Marker<'_>) {
    write(out, opening, object, at_ms, marker, write_header);
}

/// Appends the payload of that frame alone.
pub fn write_object(out: &mut Vec<u8>, opening: &[u8], object: &str, at_ms: u64, marker: Marker<'_>) {
    write(out, opening, object, at_ms, marker, |_, _| {});
}

/// `begin` writes what stands before a payload of so many bytes.
#[inline]
fn write(
    out: &mut Vec<u8>,
    opening: &[u8],
    object: &str,
    at_ms: u64,
    marker: Marker<'_>,
    begin: impl FnOnce(&mut Vec<u8>, usize),
) {
    let mut digits = itoa::Buffer::new();
    let at = digits.format(at_ms).as_bytes();
    let (key, value) = marker.parts();
    let payload_len = opening.len() + object.len() + TIMESTAMP.len() + at.len() + key.len() + value.len() + 1;
    begin(out, payload_len);
    out.extend_from_slice(opening);
    out.extend_from_slice(object.as_bytes());
    out.extend_from_slice(TIMESTAMP);
    out.extend_from_slice(at);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trade_is_spliced_not_reprinted() {
        let mut out = Vec::new();
        let object = r#"{"symbol":"A","price":1.50}"#;
        write_event(&mut out, TRADE_OPENING, object, 1_234_567_890, Marker::None);
        let expected = br#"{"type":"trade","data":{"symbol":"A","price":1.50},"timestamp":1234567890}"#;
        assert_eq!(&out[2..], expected);
        assert_eq!(&out[..2], &[0x81, expected.len() as u8]);
    }

    #[test]
    fn markers_stand_behind_the_timestamp() {
        let openings = Openings::new(&Kinds::default());
        assert_eq!(openings.of(Kind::TRADE), TRADE_OPENING);
        let marked = |marker| {
            let mut out = Vec::new();
            write_event(&mut out, openings.of(Kind::QUOTE), "{}", 7, marker);
            String::from_utf8(out.split_off(2)).unwrap()
        };
        assert_eq!(marked(Marker::Snapshot), r#"{"type":"quote","data":{},"timestamp":7,"snapshot":true}"#);
        assert_eq!(marked(Marker::Replay), r#"{"type":"quote","data":{},"timestamp":7,"replay":true}"#);
        let conflated = Marker::Conflated(r#"{"count":2}"#);
        assert_eq!(marked(conflated), r#"{"type":"quote","data":{},"timestamp":7,"conflated":{"count":2}}"#);
    }
}
