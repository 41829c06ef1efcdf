//! Events in each form: the bytes that a [`Form`] stands for. Pure.
//!
//! | form | an event |
//! |---|---|
//! | [`Form::JSON`] | a text frame with one object |
//! | [`Form::JSON_BATCH`] | a comma and the object: a part of an array. When a message is begun, header and bracket take the place of its first comma |
//! | [`Form::JSON_DEFLATED`] | the same frame, compressed where that is worth it |
//! | [`Form::SSE`] | `event:`, `id:` where the event has a `seq`, `data:` with the object in one line |
//!
//! | Alpaca's, Massive's, Finnhub's | a part of an array, too: see [`alpaca::event`], [`massive::event`], [`finnhub`] |
//! | Binance's | a text frame: see [`binance::event`] |
//!
//! | Socket.IO's | a text frame: see [`socketio::event`] |
//!
//! An event is written once in a form, and these bytes are shared by every client that has it in that form.

use std::borrow::Cow;

use super::alpaca;
use super::alpaca::channel::Wire;
use super::native::event::{Marker, Openings, TRADE_OPENING, write_event, write_object};
use super::{binance, finnhub, massive, socketio};
use crate::market::{Encoding, Form, Kind, Symbol};
use crate::websocket::{deflate, header};

/// What stands before each event of [`Form::JSON_BATCH`].
pub const SEPARATOR: u8 = b',';

/// What stands before the object of a server-sent event, and behind it.
const DATA: &[u8] = b"data: ";
const END: &[u8] = b"\n\n";

/// An event that is to be written.
#[derive(Debug, Clone, Copy)]
pub struct EventParts<'e> {
    /// Its type.
    pub kind: Kind,
    /// Its symbol.
    pub symbol: &'e Symbol,
    /// Its number, if it has one.
    pub seq: Option<u64>,
    /// The worker's object, byte for byte.
    pub object: &'e str,
    /// When it arrived, in Unix milliseconds.
    pub at_ms: u64,
    /// What it is, other than an ordinary live event.
    pub marker: Marker<'e>,
}

/// Appends an event in a form. `openings` are those of the gateway's types. `false`: the form has no words for it, and nothing is appended.
#[inline]
pub fn write(out: &mut Vec<u8>, form: Form, openings: &Openings, event: &EventParts<'_>) -> bool {
    let &EventParts { kind, object, at_ms, marker, .. } = event;
    let start = out.len();
    match form.encoding() {
        Encoding::Json => write_event(out, openings.of(kind), object, at_ms, marker),
        Encoding::JsonBatch => {
            out.push(SEPARATOR);
            write_object(out, openings.of(kind), object, at_ms, marker);
        }
        Encoding::Sse => write_server_sent(out, openings, event),
        Encoding::SocketIo(namespace) => socketio::event::write(out, namespace, event, openings),
        encoding => return write_foreign(out, encoding, openings, event),
    }
    if form.is_deflated() {
        openings.compressor().compress_last(out, start);
    }
    true
}

/// [`write`] in a form of another API. Such events are read as well, so nothing is gained by writing them in place.
#[inline(never)]
fn write_foreign(out: &mut Vec<u8>, encoding: Encoding, openings: &Openings, event: &EventParts<'_>) -> bool {
    let spelling = openings.spelling();
    match encoding {
        Encoding::AlpacaJson(channel) => alpaca::event::write(out, Wire::Json, channel, event, spelling),
        Encoding::AlpacaMsgpack(channel) => {
            alpaca::event::write(out, Wire::Msgpack, channel, event, spelling)
        }
        Encoding::Massive(market, channel) => massive::event::write(out, market, channel, event, spelling),
        Encoding::Finnhub => finnhub::write_event(out, event, spelling),
        Encoding::Binance(shape, stream) => binance::event::write(out, shape, stream, event, spelling),
        Encoding::Json | Encoding::JsonBatch | Encoding::Sse | Encoding::SocketIo(_) => false,
    }
}

/// Appends a server-sent event (HTML Living Standard, section 9.2.5).
fn write_server_sent(out: &mut Vec<u8>, openings: &Openings, event: &EventParts<'_>) {
    let &EventParts { kind, symbol, seq, object, at_ms, marker } = event;
    let name = openings.name(kind).as_bytes();
    for part in [&b"event: "[..], name, b"\n"] {
        out.extend_from_slice(part);
    }
    if let Some(seq) = seq {
        let mut digits = itoa::Buffer::new();
        let seq = digits.format(seq).as_bytes();
        for part in [&b"id: "[..], name, b":", seq, b":", symbol.as_str().as_bytes(), b"\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(DATA);
    let start = out.len();
    write_object(out, openings.of(kind), object, at_ms, marker);
    into_one_line(&mut out[start..]);
    out.extend_from_slice(END);
}

/// A line break would end the field. In JSON it stands between values only, where a blank means the same.
fn into_one_line(object: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'\n', b'\r', &object[at..]) {
        at += found;
        object[at] = b' ';
    }
}

/// The gateway's object in the bytes of an event; empty if there is none, as in the words of other APIs.
pub fn object_of(form: Form, event: &[u8]) -> Cow<'_, [u8]> {
    match form.encoding() {
        Encoding::Json => payload_of(event),
        Encoding::SocketIo(_) => match payload_of(event) {
            Cow::Borrowed(payload) => socketio::event::object_of(payload).into(),
            Cow::Owned(payload) => socketio::event::object_of(&payload).to_vec().into(),
        },
        Encoding::JsonBatch => event.get(1..).unwrap_or_default().into(),
        Encoding::Sse => event.get(object_start(event)..).map_or(&[][..], <[u8]>::trim_ascii_end).into(),
        Encoding::AlpacaJson(_)
        | Encoding::AlpacaMsgpack(_)
        | Encoding::Massive(..)
        | Encoding::Finnhub
        | Encoding::Binance(..) => Cow::Borrowed(&[]),
    }
}

/// The payload of a frame of the gateway's own, inflated if it is compressed.
fn payload_of(frame: &[u8]) -> Cow<'_, [u8]> {
    if !deflate::is_compressed(frame) {
        return header::payload(frame).into();
    }
    let mut payload = Vec::new();
    // It is the gateway's own, so it has as many bytes as it should.
    let outcome = deflate::inflate(header::payload(frame), usize::MAX, &mut payload);
    outcome.map(|()| payload).unwrap_or_default().into()
}

/// A trade in a form of the gateway's own object, not compressed, with another marker: `newest` is its event without. `object` is the worker's and
/// `at_ms` its arrival, both as `newest` has them.
pub fn with_marker(form: Form, newest: &[u8], object: &str, at_ms: u64, marker: Marker<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * newest.len());
    match form.encoding() {
        Encoding::JsonBatch => {
            out.push(SEPARATOR);
            write_object(&mut out, TRADE_OPENING, object, at_ms, marker);
        }
        Encoding::Sse => {
            out.extend_from_slice(newest.get(..object_start(newest)).unwrap_or_default());
            write_object(&mut out, TRADE_OPENING, object, at_ms, marker);
            out.extend_from_slice(END);
        }
        Encoding::SocketIo(namespace) => {
            socketio::event::write_totals(&mut out, namespace, object, at_ms, marker);
        }
        _ => write_event(&mut out, TRADE_OPENING, object, at_ms, marker),
    }
    out
}

/// Where the object of a server-sent event begins: behind the name of its last field.
fn object_start(event: &[u8]) -> usize {
    let before = [b"\n", DATA].concat();
    memchr::memmem::find(event, &before).map_or(event.len(), |at| at + before.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Kinds, SymbolCase};
    use crate::websocket::deflate::{Compression, Compressor};

    const OBJECT: &str = "{\"symbol\":\"X:Y\",\r\n \"price\":1.50}";

    fn written(form: Form, seq: Option<u64>, marker: Marker<'_>) -> Vec<u8> {
        let symbol = Symbol::parse(b"X:Y", SymbolCase::Upper).unwrap();
        let event = EventParts { kind: Kind::TRADE, symbol: &symbol, seq, object: OBJECT, at_ms: 7, marker };
        let mut out = b"before".to_vec();
        write(&mut out, form, &Openings::new(&Kinds::default()), &event);
        out.split_off(6)
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_in_each_form() {
        let object = format!(r#"{{"type":"trade","data":{OBJECT},"timestamp":7}}"#);
        assert_eq!(written(Form::JSON, Some(3), Marker::NONE), header::text(object.as_bytes()));
        assert_eq!(text(&written(Form::JSON_BATCH, Some(3), Marker::NONE)), format!(",{object}"));
        let line = object.replace("\r\n", "  ");
        let expected = format!("event: trade\nid: trade:3:X:Y\ndata: {line}\n\n");
        assert_eq!(text(&written(Form::SSE, Some(3), Marker::NONE)), expected);
        let marked = line.replace("7}", "7,\"replay\":true}");
        let expected = format!("event: trade\ndata: {marked}\n\n");
        assert_eq!(text(&written(Form::SSE, None, Marker::REPLAY)), expected);
    }

    #[test]
    fn a_long_event_is_compressed() {
        let symbol = Symbol::parse(b"X", SymbolCase::Upper).unwrap();
        let compressor = || Compressor::new(Some(Compression { threshold_bytes: 200, level: 6 }));
        let openings = Openings::new(&Kinds::default()).with_compressor(compressor());
        for (length, is_compressed) in [(50, false), (500, true)] {
            let object = format!(r#"{{"symbol":"X","note":"{}"}}"#, "x".repeat(length));
            let (seq, marker) = (None, Marker::NONE);
            let event =
                EventParts { kind: Kind::TRADE, symbol: &symbol, seq, object: &object, at_ms: 7, marker };
            let [mut plain, mut deflated] = [(); 2].map(|()| b"before".to_vec());
            write(&mut plain, Form::JSON, &openings, &event);
            write(&mut deflated, Form::JSON_DEFLATED, &openings, &event);
            assert_eq!(
                (plain == deflated, deflate::is_compressed(&deflated[6..])),
                (!is_compressed, is_compressed)
            );
            assert_eq!(object_of(Form::JSON_DEFLATED, &deflated[6..]), object_of(Form::JSON, &plain[6..]));
            assert!(!object_of(Form::JSON, &plain[6..]).is_empty());
        }
        let counts = openings.compressor().counts();
        assert_eq!((counts.compressed, counts.uncompressed), (1, 1));
    }

    #[test]
    fn the_object_is_found_and_marked_in_each_form() {
        for form in Form::OURS {
            let event = written(form, Some(3), Marker::NONE);
            let object = object_of(form, &event);
            assert!(object.starts_with(b"{\"type\"") && object.ends_with(b"7}"), "{:?}", text(&object));
            let data = text(&object).strip_prefix(text(TRADE_OPENING)).unwrap();
            let data = data.strip_suffix(r#","timestamp":7}"#).unwrap();
            let marked = with_marker(form, &event, data, 7, Marker::conflated("{}"));
            let expected = written(form, Some(3), Marker::conflated("{}"));
            assert_eq!(text(&object_of(form, &marked)), text(&object_of(form, &expected)));
            assert!(form.is_deflated() || marked == expected);
        }
        assert_eq!(
            (&*object_of(Form::SSE, b"event: x\n"), &*object_of(Form::JSON_BATCH, b"")),
            (&b""[..], &b""[..])
        );
    }
}
