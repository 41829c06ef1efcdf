//! Packets of Engine.IO, protocol version 4: a digit that says what it is, and text. Pure.
//!
//! Over WebSocket each is a text message. Over HTTP a body has several, with [`SEPARATOR`] between them; there a `b` and base64 stand for bytes.

use std::time::Duration;

/// How often a client is sent a ping: it gives up when none has come for this and [`PING_TIMEOUT`]. As the reference implementation has it.
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long a client has for its answer.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may be in no namespace.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(45);

/// What stands between the packets of a body. It is in no JSON text unescaped.
pub const SEPARATOR: u8 = 0x1e;

/// What stands before the base64 of bytes in a body.
const BINARY: char = 'b';

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'p> {
    /// `0`: the server's first one, with the terms of the connection.
    Open(&'p str),
    /// `1`: the connection ends.
    Close,
    /// `2`: is the other side there? `2probe` is the first packet on another transport.
    Ping(&'p str),
    /// `3`: it is.
    Pong(&'p str),
    /// `4`: a packet of Socket.IO.
    Message(&'p str),
    /// `5`: from now on the other transport is used.
    Upgrade,
    /// `6`: nothing, so that a request is answered.
    Noop,
}

/// One of the packets of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'p> {
    /// A packet.
    Packet(Packet<'p>),
    /// Bytes, as base64.
    Binary(&'p str),
}

/// A text is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPacket;

impl<'p> Packet<'p> {
    /// Reads a packet. What stands behind one that has no text is passed over.
    ///
    /// # Errors
    /// When the text is empty or begins with none of the digits.
    pub fn read(text: &'p str) -> Result<Self, NoPacket> {
        let rest = text.get(1..).unwrap_or_default();
        Ok(match text.as_bytes().first() {
            Some(b'0') => Self::Open(rest),
            Some(b'1') => Self::Close,
            Some(b'2') => Self::Ping(rest),
            Some(b'3') => Self::Pong(rest),
            Some(b'4') => Self::Message(rest),
            Some(b'5') => Self::Upgrade,
            Some(b'6') => Self::Noop,
            _ => return Err(NoPacket),
        })
    }

    /// Appends the packet.
    pub fn write(self, out: &mut Vec<u8>) {
        let (digit, text) = match self {
            Self::Open(text) => (b'0', text),
            Self::Close => (b'1', ""),
            Self::Ping(text) => (b'2', text),
            Self::Pong(text) => (b'3', text),
            Self::Message(text) => (b'4', text),
            Self::Upgrade => (b'5', ""),
            Self::Noop => (b'6', ""),
        };
        out.push(digit);
        out.extend_from_slice(text.as_bytes());
    }
}

/// The packets of a body, in their order.
pub fn parts(body: &str) -> impl Iterator<Item = Result<Part<'_>, NoPacket>> {
    body.split(char::from(SEPARATOR)).map(|text| match text.strip_prefix(BINARY) {
        Some(base64) => Ok(Part::Binary(base64)),
        None => Packet::read(text).map(Part::Packet),
    })
}

/// Appends a packet, given as text, to a body.
pub fn push(body: &mut Vec<u8>, packet: &[u8]) {
    if !body.is_empty() {
        body.push(SEPARATOR);
    }
    body.extend_from_slice(packet);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the reference implementation's table says of a first character.
    fn model(text: &str) -> Option<(usize, String)> {
        let names = ["open", "close", "ping", "pong", "message", "upgrade", "noop"];
        let mut chars = text.chars();
        let number = chars.next()?.to_digit(10)? as usize;
        names.get(number)?;
        let rest: String = chars.collect();
        Some((number, if matches!(number, 1 | 5 | 6) { String::new() } else { rest }))
    }

    fn as_model(packet: Packet<'_>) -> (usize, String) {
        let mut out = Vec::new();
        packet.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        (text[..1].parse().unwrap(), text[1..].to_owned())
    }

    proptest! {
        #[test]
        fn packets_are_those_of_the_model(text in "[0-9b]?[a-z\\[\\]\"ä,{}]{0,12}") {
            prop_assert_eq!(Packet::read(&text).ok().map(as_model), model(&text));
        }

        #[test]
        fn a_body_is_its_packets(texts in prop::collection::vec("[0-6][^\u{1e}]{0,8}|b[A-Za-z0-9+/]{0,8}", 1..6)) {
            let mut body = Vec::new();
            texts.iter().for_each(|text| push(&mut body, text.as_bytes()));
            let body = String::from_utf8(body).unwrap();
            let found: Vec<_> = parts(&body).map(Result::unwrap).collect();
            prop_assert_eq!(found.len(), texts.len());
            for (part, text) in found.iter().zip(&texts) {
                match (part, text.strip_prefix('b')) {
                    (Part::Binary(base64), Some(expected)) => prop_assert_eq!(*base64, expected),
                    (Part::Packet(packet), None) => prop_assert_eq!(Packet::read(text), Ok(*packet)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_is_no_packet() {
        for text in ["", "7", "x", "ä", "-1"] {
            assert_eq!(Packet::read(text), Err(NoPacket), "{text}");
        }
        assert!(parts("").all(|part| part.is_err()), "a body has a packet");
        assert!(parts("3\u{1e}").any(|part| part.is_err()), "none is empty");
        assert_eq!(Packet::read("2probe"), Ok(Packet::Ping("probe")));
    }
}
