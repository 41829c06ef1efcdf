//! What the server's messages say, as far as the load generator cares.
//!
//! A trade as the gateway frames it is read by its fixed beginning, without a JSON parser; whatever looks otherwise
//! (replies, statuses, a gateway that prints trades anew) is parsed in full.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::crowd::symbol_number;

/// One message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A trade that the load generator published.
    Trade(Trade),
    /// The success reply to a subscribe.
    Subscribed,
    /// The success reply to an unsubscribe.
    Unsubscribed,
    /// The reply to whatever the connection asked for last.
    Done,
    /// The server wants this to be sent.
    Question(&'static str),
    /// An error reply, in words.
    Refused(String),
    /// The server announces that it left out `count` events of a symbol.
    Skipped {
        /// Number of the symbol.
        symbol: u32,
        /// How many.
        count: u64,
    },
    /// The server announces that it left out so many messages of a room.
    RoomSkipped(u64),
    /// The server says that it lost its upstream, and so perhaps events.
    FeedLost,
    /// Well-formed, and of no interest.
    Other,
    /// Not what the protocol says.
    Unreadable,
}

/// What the load generator wrote into a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// Number of the symbol.
    pub symbol: u32,
    /// The symbol's trades count from 1.
    pub seq: u64,
    /// When it was meant to be sent, by the monotonic clock.
    pub sent_ns: u64,
}

/// Reads a message.
#[inline]
pub fn parse(payload: &[u8]) -> Message {
    match plain_trade(payload).or_else(|| said_in_a_room(payload)) {
        Some(trade) => Message::Trade(trade),
        None => parse_any(payload),
    }
}

/// A trade that begins with exactly what [`super::feed`] writes, inside exactly the gateway's envelope.
#[inline]
fn plain_trade(payload: &[u8]) -> Option<Trade> {
    let (trade, rest) = trade_front(payload.strip_prefix(br#"{"type":"trade","data":"#)?)?;
    has_plain_end(rest).then_some(trade)
}

/// What one of our talkers has said.
#[inline]
fn said_in_a_room(payload: &[u8]) -> Option<Trade> {
    const MESSAGE: &[u8] = br#","message":"#;
    let rest = payload.strip_prefix(br#"{"type":"room_message","from":""#)?;
    let at = memchr::memmem::find(rest, MESSAGE)?;
    trade_front(&rest[at + MESSAGE.len()..]).map(|(trade, _)| trade)
}

/// A trade as it was published, without an envelope.
#[inline]
pub fn bare_trade(payload: &[u8]) -> Option<Trade> {
    let (trade, rest) = trade_front(payload)?;
    rest.ends_with(b"}").then_some(trade)
}

/// What a trade begins with, and what follows that.
#[inline]
fn trade_front(object: &[u8]) -> Option<(Trade, &[u8])> {
    let rest = object.strip_prefix(br#"{"symbol":""#)?;
    let quote = rest.iter().take(16).position(|&byte| byte == b'"')?;
    let symbol = symbol_number(&rest[..quote])?;
    let (seq, rest) = digits(rest[quote..].strip_prefix(br#"","seq":"#)?)?;
    let (sent_ns, rest) = digits(rest.strip_prefix(br#","sent":"#)?)?;
    rest.starts_with(b",").then_some((Trade { symbol, seq, sent_ns }, rest))
}

/// Whether the trade's end is followed by the outer timestamp and nothing else: the message is whole, and unmarked.
#[inline]
fn has_plain_end(bytes: &[u8]) -> bool {
    let Some(bytes) = bytes.strip_suffix(b"}") else { return false };
    let digits = bytes.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && bytes[..bytes.len() - digits].ends_with(br#"},"timestamp":"#)
}

/// A number at the front, and what follows it.
#[inline]
fn digits(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let len = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    // Nineteen digits fit into 64 bits.
    if len == 0 || len > 19 {
        return None;
    }
    let number = bytes[..len].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some((number, &bytes[len..]))
}

#[derive(Deserialize)]
struct Envelope<'m> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'m, str>,
    #[serde(borrow)]
    message: Option<Cow<'m, str>>,
    #[serde(borrow)]
    code: Option<Cow<'m, str>>,
    #[serde(borrow)]
    event: Option<Cow<'m, str>>,
    #[serde(borrow)]
    data: Option<&'m RawValue>,
}

#[derive(Deserialize)]
struct TradeData<'m> {
    #[serde(borrow)]
    symbol: Cow<'m, str>,
    seq: u64,
    sent: u64,
}

#[derive(Deserialize)]
struct StatusData<'m> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'m, str>>,
    #[serde(borrow)]
    symbol: Option<Cow<'m, str>>,
    count: Option<u64>,
    #[serde(borrow)]
    state: Option<Cow<'m, str>>,
}

#[cold]
fn parse_any(payload: &[u8]) -> Message {
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(payload) else { return Message::Unreadable };
    let data = envelope.data.map_or("{}", RawValue::get);
    match &*envelope.kind {
        "trade" => trade(data).map_or(Message::Unreadable, Message::Trade),
        "success" => match envelope.message.as_deref().unwrap_or_default() {
            text if text.contains("unsubscribed") => Message::Unsubscribed,
            text if text.contains("subscribed") || text.starts_with("Joined ") => Message::Subscribed,
            _ => Message::Other,
        },
        "error" => Message::Refused(format!(
            "{} ({})",
            envelope.message.unwrap_or_default(),
            envelope.code.unwrap_or(Cow::Borrowed("no code"))
        )),
        "status" => status(envelope.event.as_deref().unwrap_or_default(), data),
        "room_message" => Message::Unreadable,
        _ => Message::Other,
    }
}

fn trade(data: &str) -> Option<Trade> {
    let data: TradeData<'_> = serde_json::from_str(data).ok()?;
    Some(Trade { symbol: symbol_number(data.symbol.as_bytes())?, seq: data.seq, sent_ns: data.sent })
}

fn status(event: &str, data: &str) -> Message {
    let Ok(data) = serde_json::from_str::<StatusData<'_>>(data) else { return Message::Unreadable };
    match event {
        "skipped" if data.kind.as_deref() == Some("room") => {
            data.count.map_or(Message::Unreadable, Message::RoomSkipped)
        }
        "skipped" => {
            let symbol = data.symbol.and_then(|symbol| symbol_number(symbol.as_bytes()));
            match (symbol, data.count) {
                (Some(symbol), Some(count)) => Message::Skipped { symbol, count },
                _ => Message::Unreadable,
            }
        }
        "feed" if data.state.as_deref() == Some("down") => Message::FeedLost,
        _ => Message::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRADE: &str = r#"{"type":"trade","data":{"symbol":"S0042","seq":7,"sent":123456789012345,"price":150.25,"volume":100,"timestamp":1,"exchange":"NASDAQ"},"timestamp":2}"#;

    #[test]
    fn a_trade_is_read_without_a_parser() {
        let expected = Trade { symbol: 42, seq: 7, sent_ns: 123_456_789_012_345 };
        assert_eq!(plain_trade(TRADE.as_bytes()), Some(expected));
        assert_eq!(parse(TRADE.as_bytes()), Message::Trade(expected));
    }

    #[test]
    fn a_trade_that_was_printed_anew_is_read_all_the_same() {
        let other =
            r#"{"timestamp":2, "data":{"price":1, "sent":5, "seq":7, "symbol":"S0042"}, "type":"trade"}"#;
        assert_eq!(plain_trade(other.as_bytes()), None);
        assert_eq!(parse(other.as_bytes()), Message::Trade(Trade { symbol: 42, seq: 7, sent_ns: 5 }));
    }

    #[test]
    fn damage_is_not_a_trade() {
        for cut in 0..TRADE.len() {
            assert_eq!(parse(&TRADE.as_bytes()[..cut]), Message::Unreadable, "{cut}");
        }
        for (from, to) in [("S0042", "AAPL"), (":7,", ":,"), (":7,", ":-7,"), ("seq", "sq"), ("sent", "snt")]
        {
            assert_eq!(parse(TRADE.replace(from, to).as_bytes()), Message::Unreadable, "{from} → {to}");
        }
    }

    #[test]
    fn replies_and_statuses_are_told_apart() {
        let cases = [
            (
                r#"{"type":"success","message":"Successfully subscribed to 2 symbol(s)","data":{}}"#,
                Message::Subscribed,
            ),
            (
                r#"{"type":"success","message":"Successfully unsubscribed from 1 symbol(s)"}"#,
                Message::Unsubscribed,
            ),
            (
                r#"{"type":"error","message":"no","code":"SYMBOL_LIMIT_EXCEEDED"}"#,
                Message::Refused("no (SYMBOL_LIMIT_EXCEEDED)".to_owned()),
            ),
            (
                r#"{"type":"status","event":"skipped","data":{"symbol":"S0001","type":"trade","count":9}}"#,
                Message::Skipped { symbol: 1, count: 9 },
            ),
            (r#"{"type":"status","event":"feed","data":{"state":"down"}}"#, Message::FeedLost),
            (r#"{"type":"status","event":"feed","data":{"state":"up","gapMs":3}}"#, Message::Other),
            (
                r#"{"type":"status","event":"skipped","data":{"symbol":"R0001","type":"room","count":9}}"#,
                Message::RoomSkipped(9),
            ),
            (r#"{"type":"success","message":"Joined R0001","data":{},"id":0}"#, Message::Subscribed),
            (
                r#"{"type":"room_message","from":"a","room_id":"R0001","message":{"symbol":"S0012","seq":3,"sent":5,"text":"x"},"timestamp":1}"#,
                Message::Trade(Trade { symbol: 12, seq: 3, sent_ns: 5 }),
            ),
            (
                r#"{"type":"room_message","from":"a","room_id":"R0001","message":"x","timestamp":1}"#,
                Message::Unreadable,
            ),
            (r#"{"type":"user_joined","user_id":"a","room_id":"R0001"}"#, Message::Other),
            (r#"{"type":"pong","timestamp":1}"#, Message::Other),
            (r#"{"type":"status","event":"skipped","data":{"symbol":"S0001"}}"#, Message::Unreadable),
            ("[]", Message::Unreadable),
        ];
        for (payload, expected) in cases {
            assert_eq!(parse(payload.as_bytes()), expected, "{payload}");
        }
    }
}
