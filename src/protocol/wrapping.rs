//! What a message of several events has around and between them. It belongs to the connection: events are the same bytes in every message
//! that has them. Pure.
//!
//! Each event stands in its form with the separator before it. When a message is begun, header and opening take the place of the first one.

use crate::websocket::header::{write_binary_header, write_header};

/// How events become a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// A JSON array, as text.
    Array,
    /// A MessagePack array, whose beginning says how many elements follow.
    Msgpack,
    /// A JSON object with an array of trades, as text.
    Finnhub,
}

impl Wrapping {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Array, Self::Msgpack, Self::Finnhub];

    /// What stands before each event.
    pub const fn separator(self) -> &'static [u8] {
        match self {
            Self::Array | Self::Finnhub => b",",
            Self::Msgpack => b"",
        }
    }

    /// Bytes of the separator.
    pub const fn separator_bytes(self) -> u32 {
        self.separator().len() as u32
    }

    /// Bytes of what stands before the first of so many events.
    pub const fn opening_bytes(self, events: u32) -> usize {
        match self {
            Self::Array => 1,
            Self::Finnhub => FINNHUB_OPENING.len(),
            Self::Msgpack => match events {
                0..=15 => 1,
                16..=0xffff => 3,
                _ => 5,
            },
        }
    }

    /// What stands behind the last event.
    pub const fn closing(self) -> &'static [u8] {
        match self {
            Self::Array => b"]",
            Self::Finnhub => FINNHUB_CLOSING,
            Self::Msgpack => b"",
        }
    }

    /// Appends the header of a message of so many events and payload bytes, and what stands before the first event.
    pub fn write_opening(self, out: &mut Vec<u8>, events: u32, payload_bytes: usize) {
        match self {
            Self::Array => {
                write_header(out, payload_bytes);
                out.push(b'[');
            }
            Self::Finnhub => {
                write_header(out, payload_bytes);
                out.extend_from_slice(FINNHUB_OPENING);
            }
            Self::Msgpack => {
                write_binary_header(out, payload_bytes);
                write_array_opening(out, events);
            }
        }
    }
}

const FINNHUB_OPENING: &[u8] = br#"{"data":["#;
const FINNHUB_CLOSING: &[u8] = br#"],"type":"trade"}"#;

/// The beginning of a MessagePack array: `fixarray`, `array 16` or `array 32`.
fn write_array_opening(out: &mut Vec<u8>, elements: u32) {
    match elements {
        0..=15 => out.push(0x90 | elements as u8),
        16..=0xffff => {
            out.push(0xdc);
            out.extend_from_slice(&(elements as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdd);
            out.extend_from_slice(&elements.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::header;

    #[test]
    fn a_messages_parts_are_as_long_as_they_say() {
        for wrapping in Wrapping::ALL {
            for events in [1, 15, 16, 0xffff, 0x1_0000] {
                let mut out = Vec::new();
                wrapping.write_opening(&mut out, events, 70_000);
                assert_eq!(out.len(), header::HEADER_BYTES_MAX + wrapping.opening_bytes(events));
            }
        }
    }

    #[test]
    fn arrays_of_messagepack_say_how_long_they_are() {
        for events in [0, 1, 15, 16, 0xffff, 0x1_0000] {
            let mut out = Vec::new();
            write_array_opening(&mut out, events);
            assert_eq!(rmp::decode::read_array_len(&mut out.as_slice()).unwrap(), events);
        }
    }
}
