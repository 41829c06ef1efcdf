//! An event's frame: built once, with header and payload, and shared by every client that wants it. And its object alone, for forms that
//! have it without a frame ([`form`](crate::protocol::form)).

use std::num::NonZeroU32;

use crate::market::spelling::Spelling;
use crate::market::{Kind, Kinds};
use crate::websocket::deflate::Compressor;
use crate::websocket::header::write_header;

/// What stands behind a worker's object in an event's frame.
const TIMESTAMP: &[u8] = br#","timestamp":"#;
/// What stands before the marks that have a value.
const DELAYED: &[u8] = br#","delayedMs":"#;
const CONFLATED: &[u8] = br#","conflated":"#;

/// What stands before a trade.
pub const TRADE_OPENING: &[u8] = br#"{"type":"trade","data":"#;

/// What stands before the worker's object in the frames of each type of a gateway, and what else events are written with.
#[derive(Debug)]
pub struct Openings {
    types: Box<[Opening]>,
    /// How other APIs spell symbols.
    spelling: Spelling,
    /// Compresses long events.
    compressor: Compressor,
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
        let types = kinds.iter().map(opening).collect();
        Self { types, spelling: Spelling::default(), compressor: Compressor::default() }
    }

    /// The same with a compressor, for forms that are compressed.
    #[must_use]
    pub fn with_compressor(self, compressor: Compressor) -> Self {
        Self { compressor, ..self }
    }

    /// What compresses long events.
    pub const fn compressor(&self) -> &Compressor {
        &self.compressor
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
pub struct Marker<'m> {
    past: Past,
    /// How long it was held back, in milliseconds.
    delayed_ms: Option<NonZeroU32>,
    /// What a conflated trade stands for, as a JSON object.
    conflated: Option<&'m str>,
}

/// What the history says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// It is live.
    No,
    /// The last one known of its topic.
    Snapshot,
    /// One that the client had missed.
    Replay,
}

impl Past {
    const fn mark(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Snapshot => r#","snapshot":true"#,
            Self::Replay => r#","replay":true"#,
        }
    }
}

impl<'m> Marker<'m> {
    /// Nothing: a live event.
    pub const NONE: Self = Self { past: Past::No, delayed_ms: None, conflated: None };
    /// The last known event of its topic, for a client that asked for it. The history marks it.
    pub const SNAPSHOT: Self = Self { past: Past::Snapshot, ..Self::NONE };
    /// An event that the client had missed. The history marks it.
    pub const REPLAY: Self = Self { past: Past::Replay, ..Self::NONE };

    /// The same of a delayed feed. Ingest marks each event of it.
    #[must_use]
    pub const fn delayed(self, delayed_ms: Option<NonZeroU32>) -> Self {
        Self { delayed_ms, ..self }
    }

    /// What the history says of it.
    pub const fn past(self) -> Past {
        self.past
    }

    /// How long it was held back, in milliseconds.
    pub const fn delayed_ms(self) -> Option<NonZeroU32> {
        self.delayed_ms
    }

    /// What a conflated trade stands for.
    pub const fn totals(self) -> Option<&'m str> {
        self.conflated
    }

    /// What a conflated trade stands for, as a JSON object. A shard marks it, for clients that asked for aggregates.
    pub const fn conflated(totals: &'m str) -> Self {
        Self { conflated: Some(totals), ..Self::NONE }
    }
}

/// Appends the frame of an event to `out`: the `opening` of its type, the worker's object spliced in byte for byte, then the gateway's
/// clock in Unix milliseconds, then the marker.
#[inline]
pub fn write_event(out: &mut Vec<u8>, opening: &[u8], object: &str, at_ms: u64, marker: Marker<'_>) {
    write_as(out, opening, object, at_ms, marker, write_header);
}

/// Appends the payload of that frame alone.
pub fn write_object(out: &mut Vec<u8>, opening: &[u8], object: &str, at_ms: u64, marker: Marker<'_>) {
    write_as(out, opening, object, at_ms, marker, |_, _| {});
}

/// Appends that payload; `begin` writes what stands before a payload of so many bytes.
#[inline]
pub(in crate::protocol) fn write_as(
    out: &mut Vec<u8>,
    opening: &[u8],
    object: &str,
    at_ms: u64,
    marker: Marker<'_>,
    begin: impl FnOnce(&mut Vec<u8>, usize),
) {
    let mut digits = itoa::Buffer::new();
    let at = digits.format(at_ms).as_bytes();
    let Marker { past, delayed_ms, conflated } = marker;
    let past = past.mark();
    let mut delay_digits = itoa::Buffer::new();
    let delayed = delayed_ms.map_or("", |delayed_ms| delay_digits.format(delayed_ms.get()));
    let delayed_bytes = if delayed.is_empty() { 0 } else { DELAYED.len() + delayed.len() };
    let conflated_bytes = conflated.map_or(0, |totals| CONFLATED.len() + totals.len());
    let marker_bytes = past.len() + delayed_bytes + conflated_bytes;
    begin(out, opening.len() + object.len() + TIMESTAMP.len() + at.len() + marker_bytes + 1);
    out.extend_from_slice(opening);
    out.extend_from_slice(object.as_bytes());
    out.extend_from_slice(TIMESTAMP);
    out.extend_from_slice(at);
    if marker_bytes > 0 {
        out.extend_from_slice(past.as_bytes());
        if delayed_bytes > 0 {
            out.extend_from_slice(DELAYED);
            out.extend_from_slice(delayed.as_bytes());
        }
        if let Some(totals) = conflated {
            out.extend_from_slice(CONFLATED);
            out.extend_from_slice(totals.as_bytes());
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trade_is_spliced_not_reprinted() {
        let mut out = Vec::new();
        let object = r#"{"symbol":"A","price":1.50}"#;
        write_event(&mut out, TRADE_OPENING, object, 1_234_567_890, Marker::NONE);
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
        assert_eq!(marked(Marker::SNAPSHOT), r#"{"type":"quote","data":{},"timestamp":7,"snapshot":true}"#);
        assert_eq!(marked(Marker::REPLAY), r#"{"type":"quote","data":{},"timestamp":7,"replay":true}"#);
        let conflated = Marker::conflated(r#"{"count":2}"#);
        assert_eq!(marked(conflated), r#"{"type":"quote","data":{},"timestamp":7,"conflated":{"count":2}}"#);
        let delay = NonZeroU32::new(900_000);
        for (marker, expected) in [
            (Marker::NONE, r#","delayedMs":900000}"#),
            (Marker::SNAPSHOT, r#","snapshot":true,"delayedMs":900000}"#),
            (Marker::REPLAY, r#","replay":true,"delayedMs":900000}"#),
            (conflated, r#","delayedMs":900000,"conflated":{"count":2}}"#),
        ] {
            assert_eq!(
                marked(marker.delayed(delay)),
                format!(r#"{{"type":"quote","data":{{}},"timestamp":7{expected}"#)
            );
        }
    }
}
