//! The forms in which a gateway's events come: how they are asked for, and how they are read.

use std::fmt::{Debug, Write as _};
use std::marker::PhantomData;

use clap::ValueEnum;
use ws_gateway::websocket::{deflate, header};

use super::crowd::symbol_name;
use super::dialect::{Messages, Reader, Said};
use super::frames::{self, Front, Header};
use super::handshake;
use super::message;

/// A form, by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum FormName {
    /// An object in each frame.
    #[default]
    Json,
    /// Arrays of what waits.
    Batch,
    /// Server-sent events over HTTP.
    Sse,
    /// An object in each frame, compressed where the server does so.
    JsonDeflate,
    /// Arrays of what waits, compressed where the server does so.
    BatchDeflate,
}

impl FormName {
    /// The word for it on the command line.
    pub fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A form.
pub trait Form: Debug + Send + 'static {
    /// Its name on the command line.
    const NAME: FormName;
    /// The gateway's protocol in this form, in the report.
    const DIALECT: &'static str;
    /// The request for a connection is its subscribe as well, and nothing can be said later.
    const ASKS_BY_URL: bool;
    /// The most symbols that a connection can ask for at once.
    const SUBSCRIBED_MAX: u32;
    /// Reads what a connection receives.
    type Reader: Reader;

    /// What a connection says first.
    fn request(host: &str, path: &str, symbols: &[u32]) -> Vec<u8>;
}

/// A form whose messages may be compressed as well.
pub trait Deflatable: Form {
    /// The name on the command line with compression.
    const DEFLATED_NAME: FormName;
    /// The protocol, in the report.
    const DEFLATED_DIALECT: &'static str;
}

/// A form whose messages the server may compress.
#[derive(Debug)]
pub struct Deflated<F>(PhantomData<F>);

impl Deflatable for Json {
    const DEFLATED_NAME: FormName = FormName::JsonDeflate;
    const DEFLATED_DIALECT: &'static str = "gateway, deflate";
}

impl Deflatable for Batch {
    const DEFLATED_NAME: FormName = FormName::BatchDeflate;
    const DEFLATED_DIALECT: &'static str = "gateway, batch, deflate";
}

impl<F: Deflatable> Form for Deflated<F> {
    const NAME: FormName = F::DEFLATED_NAME;
    const DIALECT: &'static str = F::DEFLATED_DIALECT;
    const ASKS_BY_URL: bool = F::ASKS_BY_URL;
    const SUBSCRIBED_MAX: u32 = F::SUBSCRIBED_MAX;
    type Reader = Inflating<F::Reader>;

    fn request(host: &str, path: &str, symbols: &[u32]) -> Vec<u8> {
        let mut request = F::request(host, path, symbols);
        // Before the empty line.
        request.truncate(request.len() - 2);
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
        request.extend_from_slice(offer.as_bytes());
        request
    }
}

/// [`FormName::Json`].
#[derive(Debug)]
pub struct Json;

/// [`FormName::Batch`].
#[derive(Debug)]
pub struct Batch;

/// [`FormName::Sse`].
#[derive(Debug)]
pub struct Sse;

impl Form for Json {
    const NAME: FormName = FormName::Json;
    const DIALECT: &'static str = "gateway";
    const ASKS_BY_URL: bool = false;
    // A subscribe to more would not fit into the 64 KiB that servers take.
    const SUBSCRIBED_MAX: u32 = 5_000;
    type Reader = Messages;

    fn request(host: &str, path: &str, _: &[u32]) -> Vec<u8> {
        handshake::request(host, path)
    }
}

impl Form for Batch {
    const NAME: FormName = FormName::Batch;
    const DIALECT: &'static str = "gateway, batch";
    const ASKS_BY_URL: bool = false;
    const SUBSCRIBED_MAX: u32 = Json::SUBSCRIBED_MAX;
    type Reader = Arrays;

    fn request(host: &str, path: &str, _: &[u32]) -> Vec<u8> {
        let separator = if path.contains('?') { '&' } else { '?' };
        handshake::request(host, &format!("{path}{separator}batch=1"))
    }
}

impl Form for Sse {
    const NAME: FormName = FormName::Sse;
    const DIALECT: &'static str = "gateway, sse";
    const ASKS_BY_URL: bool = true;
    // The head of a request has to fit into 16 KiB.
    const SUBSCRIBED_MAX: u32 = 1_000;
    type Reader = Events;

    fn request(host: &str, path: &str, symbols: &[u32]) -> Vec<u8> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = if matches!(path, "/ws" | "/ws/" | "/") { "/sse" } else { path };
        let mut names = String::new();
        for &symbol in symbols {
            let comma = if names.is_empty() { "" } else { "," };
            // Writing into a string can't fail.
            let _ = write!(names, "{comma}{}", symbol_name(symbol));
        }
        let query = if query.is_empty() { String::new() } else { format!("&{query}") };
        format!("GET {path}?symbols={names}{query} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
    }
}

/// Objects in arrays, one after the other: a whole frame is at hand before the first of its objects is read.
#[derive(Debug, Default)]
pub struct Arrays {
    /// Bytes of the array that are left, its end included.
    left: usize,
}

/// What separates two objects of an array: no trade of ours has it.
const NEXT_OBJECT: &[u8] = br#",{"type":""#;

impl Reader for Arrays {
    fn is_at_frame(&self) -> bool {
        self.left == 0
    }

    #[inline]
    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String> {
        let mut used = 0;
        if self.left == 0 {
            match frames::front(bytes, len_max) {
                Front::Partial => return Ok((0, Said::Nothing)),
                Front::Bad(reason) => return Err(reason.to_owned()),
                Front::Frame { opcode: frames::TEXT, payload: payload @ [b'[', .., b']'], len } => {
                    used = len - payload.len() + 1;
                    self.left = payload.len() - 1;
                }
                Front::Frame { opcode: frames::TEXT | frames::BINARY, .. } => {
                    return Err("a message that is no array".to_owned());
                }
                Front::Frame { opcode, payload, len } => return Ok((len, Said::Control { opcode, payload })),
            }
        }
        // A comma or the closing bracket follows each object.
        let array = &bytes[used..used + self.left];
        let end = memchr::memmem::find(array, NEXT_OBJECT).unwrap_or(array.len() - 1);
        self.left -= end + 1;
        Ok((used + end + 1, Said::Message(message::parse(&array[..end]))))
    }
}

/// Reads messages that may be compressed, each as it would be read without.
#[derive(Debug, Default)]
pub struct Inflating<R> {
    inner: R,
    /// The frame of the message that is being read, inflated, and how far it has been read.
    plain: Vec<u8>,
    read: usize,
    /// The length of that frame as it came; 0 if there is none.
    len: usize,
}

/// In the first byte of a frame: it is compressed.
const RSV1: u8 = 0x40;
/// No message of the gateway becomes longer.
const INFLATED_BYTES_MAX: usize = 16 << 20;

impl<R> Inflating<R> {
    /// Inflates the frame at the front, if it is whole.
    fn inflate(&mut self, bytes: &[u8], len_max: usize) -> Result<(), String> {
        let mut plain_header = [0; 10];
        let beginning = &mut plain_header[..bytes.len().min(10)];
        beginning.copy_from_slice(&bytes[..beginning.len()]);
        beginning[0] &= !RSV1;
        let (payload_len, header_len) = match frames::header(beginning) {
            Header::Partial => return Ok(()),
            Header::Bad(reason) => return Err(reason.to_owned()),
            Header::Is { payload_len, len, .. } => (payload_len, len),
        };
        let len = payload_len.saturating_add(header_len as u64);
        if len > len_max as u64 {
            return Err("a frame longer than any event".to_owned());
        }
        if let Some(payload) = bytes.get(header_len..len as usize) {
            let mut content = Vec::new();
            deflate::inflate(payload, INFLATED_BYTES_MAX, &mut content).map_err(|error| error.to_string())?;
            self.plain = header::text(&content);
            (self.read, self.len) = (0, len as usize);
        }
        Ok(())
    }
}

impl<R: Reader> Reader for Inflating<R> {
    #[inline]
    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String> {
        let is_compressed = bytes.first().is_some_and(|first| first & RSV1 != 0);
        if self.len == 0 && is_compressed && self.inner.is_at_frame() {
            self.inflate(bytes, len_max)?;
            if self.len == 0 {
                return Ok((0, Said::Nothing));
            }
        }
        if self.len == 0 {
            return self.inner.next(bytes, len_max);
        }
        let (used, said) = self.inner.next(&self.plain[self.read..], INFLATED_BYTES_MAX)?;
        self.read += used;
        let Said::Message(message) = said else {
            return Err("a compressed frame that is no message".to_owned());
        };
        // The frame counts as read once all of it is.
        let is_read = self.read == self.plain.len();
        let len = if is_read { std::mem::take(&mut self.len) } else { 0 };
        Ok((len, Said::Message(message)))
    }
}

/// Server-sent events.
#[derive(Debug, Default)]
pub struct Events;

impl Reader for Events {
    #[inline]
    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let Some(end) = memchr::memmem::find(rest, b"\n\n") else {
                return match rest.len() {
                    len if len > len_max => Err("an event without an end".to_owned()),
                    // Comments before it needn't be kept.
                    _ => Ok((used, Said::Nothing)),
                };
            };
            used += end + 2;
            // Lines before the data say what is in it as well.
            let data = rest[..end].split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: "));
            if let Some(data) = data {
                return Ok((used, Said::Message(message::parse(data))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Trade};

    fn trade(seq: u64) -> String {
        format!(
            r#"{{"type":"trade","data":{{"symbol":"S0042","seq":{seq},"sent":5,"price":1,"exchange":"[x,y]"}},"timestamp":2}}"#
        )
    }

    fn frame(text: &str) -> Vec<u8> {
        let len = text.len();
        let header =
            if len < 126 { vec![0x81, len as u8] } else { vec![0x81, 126, (len >> 8) as u8, len as u8] };
        [&header[..], text.as_bytes()].concat()
    }

    /// All that a reader makes of bytes that come in pieces of a size.
    fn read<R: Reader>(bytes: &[u8], size: usize) -> Vec<Message> {
        let (mut reader, mut kept, mut messages) = (R::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            kept.extend_from_slice(piece);
            loop {
                let (used, said) = reader.next(&kept, 1 << 20).unwrap();
                let said = match said {
                    Said::Nothing => None,
                    Said::Message(message) => Some(message),
                    Said::Control { .. } => Some(Message::Other),
                };
                kept.drain(..used);
                match said {
                    Some(message) => messages.push(message),
                    None => break,
                }
            }
        }
        assert!(kept.is_empty());
        messages
    }

    fn expected() -> Vec<Message> {
        let of = |seq| Message::Trade(Trade { symbol: 42, seq, sent_ns: 5 });
        vec![Message::Subscribed, of(1), of(2), of(3), Message::FeedLost, of(4)]
    }

    const REPLY: &str = r#"{"type":"success","message":"Successfully subscribed to 1 symbol(s)","data":{}}"#;
    const STATUS: &str = r#"{"type":"status","event":"feed","data":{"state":"down"}}"#;

    #[test]
    fn arrays_are_read_one_object_after_the_other() {
        let arrays =
            [REPLY.to_owned(), [trade(1), trade(2), trade(3)].join(","), STATUS.to_owned(), trade(4)];
        let bytes: Vec<u8> = arrays.iter().flat_map(|array| frame(&format!("[{array}]"))).collect();
        for size in [1, 7, 100, bytes.len()] {
            assert_eq!(read::<Arrays>(&bytes, size), expected(), "{size}");
        }
        let with_ping = [&[0x89, 0][..], &frame(&format!("[{REPLY}]"))].concat();
        assert_eq!(read::<Arrays>(&with_ping, 5), [Message::Other, Message::Subscribed]);
        assert!(Arrays::default().next(&frame(REPLY), 1 << 20).is_err());
    }

    #[test]
    fn compressed_messages_are_read_as_others() {
        let compressor =
            deflate::Compressor::new(Some(deflate::Compression { threshold_bytes: 0, level: 6 }));
        let array = format!("[{},{},{}]", trade(1), trade(2), trade(3));
        let arrays = [format!("[{REPLY}]"), array, format!("[{STATUS}]"), format!("[{}]", trade(4))];
        let compressed = |text: &str| compressor.compress(&frame(text)).unwrap_or_else(|| frame(text));
        // Every other one is compressed.
        let bytes: Vec<u8> = (0..4)
            .flat_map(|n| if n % 2 == 1 { compressed(&arrays[n]) } else { frame(&arrays[n]) })
            .collect();
        for size in [1, 7, 100, bytes.len()] {
            assert_eq!(read::<Inflating<Arrays>>(&bytes, size), expected(), "{size}");
        }
        assert!(compressor.counts().compressed > 0);
        let objects = [REPLY.to_owned(), trade(1), trade(2), trade(3), STATUS.to_owned(), trade(4)];
        let bytes: Vec<u8> = objects.iter().flat_map(|object| compressed(object)).collect();
        assert_eq!(read::<Inflating<Messages>>(&bytes, 5), expected());
        assert!(Inflating::<Messages>::default().next(b"\xc1\x02\xff\xff", 1 << 20).is_err());
    }

    #[test]
    fn server_sent_events_are_read_by_their_data() {
        let mut text = format!("event: success\ndata: {REPLY}\n\n:\n\n");
        for seq in 1..=3 {
            text += &format!("event: trade\nid: trade:{seq}:S0042\ndata: {}\n\n", trade(seq));
        }
        text +=
            &format!("event: status\nretry: 5\ndata: {STATUS}\n\n:\n\nevent: trade\ndata: {}\n\n", trade(4));
        for size in [1, 7, 100, text.len()] {
            assert_eq!(read::<Events>(text.as_bytes(), size), expected(), "{size}");
        }
        assert!(Events.next(&[b'x'; 100], 99).is_err());
    }

    #[test]
    fn each_form_is_asked_for_in_its_way() {
        let line = |request: Vec<u8>| String::from_utf8(request).unwrap().lines().next().unwrap().to_owned();
        assert_eq!(line(Json::request("h", "/ws", &[1])), "GET /ws HTTP/1.1");
        assert_eq!(line(Batch::request("h", "/ws", &[1])), "GET /ws?batch=1 HTTP/1.1");
        assert_eq!(line(Batch::request("h", "/ws?x=1", &[1])), "GET /ws?x=1&batch=1 HTTP/1.1");
        let offering = String::from_utf8(Deflated::<Batch>::request("h", "/ws", &[1])).unwrap();
        assert!(offering.starts_with("GET /ws?batch=1 HTTP/1.1\r\n"), "{offering}");
        assert!(offering.ends_with("permessage-deflate; client_max_window_bits\r\n\r\n"), "{offering}");
        assert_eq!(offering.matches("\r\n\r\n").count(), 1);
        let asked = "GET /sse?symbols=S0001,S0020&x=1 HTTP/1.1";
        assert_eq!(line(Sse::request("h", "/ws?x=1", &[1, 20])), asked);
    }
}
