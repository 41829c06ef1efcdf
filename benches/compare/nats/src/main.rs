//! Loads nats-server as `ws-load` loads a gateway, with the same presets and books: only the protocol differs, on both sides.
//! `nats-load --url ws://127.0.0.1:8443/ --redis nats://127.0.0.1:4222`

mod protocol;
mod reader;

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::Parser as _;
use tokio_tungstenite::tungstenite::http::Uri;
use tools::term::end;
use ws_load::Options;
use ws_load::dialect::{Answer, Dialect, Login, reply_line, resolve};
use ws_load::frames;

use self::reader::Stream;

/// nats-server's protocol: in WebSocket frames for subscribers, and published to its TCP port.
#[derive(Debug)]
struct Nats;

impl Dialect for Nats {
    const NAME: &'static str = "nats";
    const UPSTREAM: &'static str = "nats-server";
    // A subscribe has 22 to 26 bytes.
    const SUBSCRIBED_MAX: u32 = 2_400;
    const HAS_EARLY_EVENTS: bool = true;
    const OPCODE: u8 = frames::BINARY;
    type Reader = Stream;

    fn write_opening(out: &mut Vec<u8>, symbols: &[u32]) {
        let mut opening = String::new();
        protocol::write_opening(&mut opening, symbols);
        frames::write(out, Self::OPCODE, opening.as_bytes());
    }

    fn write_subscribe(out: &mut String, symbol: u32) {
        protocol::write_subscribe(out, symbol);
    }

    fn write_unsubscribe(out: &mut String, symbol: u32) {
        protocol::write_unsubscribe(out, symbol);
    }

    fn upstream(url: &str) -> anyhow::Result<(SocketAddr, Option<Login>)> {
        let uri: Option<Uri> = url.parse().ok();
        let authority = uri.as_ref().filter(|uri| uri.scheme_str() == Some("nats")).and_then(Uri::authority);
        // What was given may hold a password: it is not repeated.
        let authority = authority.context("--redis is no address such as nats://127.0.0.1:4222")?;
        ensure!(
            !authority.as_str().contains('@'),
            "--redis nats://…: logging in to nats-server isn't supported"
        );
        Ok((resolve(authority.host(), authority.port_u16().unwrap_or(4222)).context("--redis")?, None))
    }

    fn greet(mut stream: &TcpStream, _login: Option<&Login>) -> anyhow::Result<()> {
        // What may follow the PONG is a PING, which nats-server forgives twice.
        let mut replies = BufReader::new(stream);
        let info = reply_line(&mut replies)?;
        if !info.starts_with("INFO ") {
            bail!("it greets with {info:?}, not as nats-server does");
        }
        stream.write_all(format!("{}{}", protocol::CONNECT, protocol::PING).as_bytes())?;
        match reply_line(&mut replies)?.as_str() {
            "PONG" => Ok(()),
            other => bail!("it answers {other:?}"),
        }
    }

    /// The subject of a symbol's trades, whatever the prefix.
    fn channel(_prefix: &str, symbol_name: &str) -> String {
        format!("trade.{symbol_name}")
    }

    fn write_publish(out: &mut Vec<u8>, channel: &str, payload: &[u8]) {
        out.extend_from_slice(format!("PUB {channel} {}\r\n", payload.len()).as_bytes());
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    }

    /// nats-server answers no trade, but a PING behind a batch of them.
    fn end_batch(out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(protocol::PING.as_bytes());
        true
    }

    fn answer(line: &[u8]) -> Answer {
        match line {
            b"PONG" => Answer::Batch,
            b"PING" => Answer::Question(protocol::PONG.as_bytes()),
            _ => Answer::Other,
        }
    }
}

fn main() -> ExitCode {
    end("nats-load", ws_load::main::<Nats>(&Options::parse()))
}

#[cfg(test)]
mod tests {
    use ws_load::message::Trade;
    use ws_load::resp::{Replies, TradeWriter};

    use super::*;

    #[test]
    fn a_trade_passes_through_nats_server_and_is_read_back() {
        let mut writer = TradeWriter::new::<Nats>("md:", 100, 1);
        let trade = Trade { symbol: 42, seq: 7, sent_ns: 123_456_789_012_345 };
        let mut out = Vec::new();
        writer.write::<Nats>(&mut out, &trade, 1_700_000_000_123);
        // A subscriber gets the same with the number of its subscription in between.
        let published = String::from_utf8(out).unwrap();
        let message = published.replacen("PUB trade.S0042 ", "MSG trade.S0042 42 ", 1);
        assert_ne!(message, published);
        let expected = protocol::Front::Op(protocol::Op::Trade(trade), message.len());
        assert_eq!(protocol::front(message.as_bytes(), 1000), expected);
    }

    #[test]
    fn nats_server_answers_batches() {
        let mut replies = Replies::default();
        let mut out = Vec::new();
        [64, 0, 10].into_iter().for_each(|trades| replies.end_batch::<Nats>(&mut out, trades));
        assert_eq!(out, b"PING\r\nPING\r\n", "nothing is asked behind nothing");
        replies.feed::<Nats>(b"INFO {}\r\nPING\r\nPO");
        assert_eq!((replies.count, &replies.owed[..]), (0, &b"PONG\r\n"[..]));
        replies.feed::<Nats>(b"NG\r\n");
        assert_eq!(replies.count, 64);
        replies.feed::<Nats>(b"PONG\r\n-ERR 'no'\r\n");
        assert_eq!((replies.count, replies.unheard, replies.error.as_deref()), (74, 0, Some("ERR 'no'")));
    }

    #[test]
    fn only_addresses_of_nats_server_are_taken() {
        assert_eq!(Nats::upstream("nats://127.0.0.1:7").unwrap().0, "127.0.0.1:7".parse().unwrap());
        for (url, word) in [
            ("redis://127.0.0.1", "nats://"),
            ("nats://me:secret@127.0.0.1", "logging in"),
            (":x", "nats://"),
        ] {
            let error = format!("{:#}", Nats::upstream(url).unwrap_err());
            assert!(error.contains(word) && !error.contains("secret"), "{error}");
        }
    }
}
