//! What clients of Socket.IO get over WebSocket, in the namespace `/`: the gateway's own objects, each in a packet.

use std::fmt::Write as _;

use serde::Deserialize;

use super::texts::{Text, Texts};
use super::{Deflatable, Form, FormName};
use crate::crowd::{symbol_name, write_list};
use crate::frames;
use crate::handshake;
use crate::message::{self, Message};

/// [`FormName::Socketio`].
#[derive(Debug)]
pub struct SocketIo;

impl Form for SocketIo {
    const NAME: FormName = FormName::Socketio;
    const DIALECT: &'static str = "Socket.IO";
    const ASKS_BY_URL: bool = false;
    const SUBSCRIBED_MAX: u32 = 5_000;
    type Reader = Texts<Packet>;

    fn request(host: &str, path: &str, _: &[u32]) -> Vec<u8> {
        let path = handshake::own_path(path, "/socket.io/");
        let path = handshake::with_query(&path, "EIO", "4");
        handshake::request(host, &handshake::with_query(&path, "transport", "websocket"))
    }

    /// Joins the namespace, and subscribes.
    fn write_opening(out: &mut Vec<u8>, symbols: &[u32]) {
        frames::write(out, frames::TEXT, b"40");
        let mut ask = String::new();
        Self::write_ask(&mut ask, "subscribe", symbols);
        frames::write(out, frames::TEXT, ask.as_bytes());
    }

    fn write_ask(out: &mut String, action: &str, symbols: &[u32]) {
        // Writing into a string can't fail.
        let _ = write!(out, r#"420["{action}",{{"symbols":["#);
        write_list(out, symbols, |out, symbol| write!(out, r#""{}""#, symbol_name(symbol)));
        out.push_str("]}]");
    }
}

impl Deflatable for SocketIo {
    const DEFLATED_NAME: FormName = FormName::SocketioDeflate;
    const DEFLATED_DIALECT: &'static str = "Socket.IO, deflate";
}

/// A packet.
#[derive(Debug, Default)]
pub struct Packet;

impl Text for Packet {
    #[inline]
    fn parse(packet: &[u8]) -> Message {
        let event = packet.strip_suffix(b"]").and_then(|packet| {
            let names: [&[u8]; 2] = [br#"42["trade","#, br#"42["status","#];
            names.into_iter().find_map(|name| packet.strip_prefix(name))
        });
        event.map_or_else(|| parse_other(packet), message::parse)
    }
}

/// An acknowledgement.
#[derive(Deserialize)]
struct Answer<'m> {
    status: &'m str,
    code: Option<&'m str>,
}

#[cold]
fn parse_other(packet: &[u8]) -> Message {
    if packet == b"2" {
        return Message::Question("3");
    }
    if let Some(answer) = packet.strip_prefix(b"430") {
        return match serde_json::from_slice::<[Answer<'_>; 1]>(answer) {
            Ok([Answer { status: "subscribed", .. }]) => Message::Subscribed,
            Ok([Answer { status: "unsubscribed", .. }]) => Message::Unsubscribed,
            Ok([Answer { code, .. }]) => Message::Refused(code.unwrap_or("no code").to_owned()),
            Err(_) => Message::Unreadable,
        };
    }
    match packet {
        [b'0', ..] | [b'4', b'0', ..] => Message::Other,
        [b'4', b'2', ..] if packet.starts_with(br#"42["connected","#) => Message::Other,
        [b'4', b'2' | b'4', ..] => Message::Refused(String::from_utf8_lossy(packet).into_owned()),
        _ => Message::Unreadable,
    }
}
