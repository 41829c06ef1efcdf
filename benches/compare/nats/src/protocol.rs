//! nats-server's protocol, as far as subscribers and a publisher need it: lines, and payloads of a known length. Pure.
//!
//! A PING asks for a PONG, which comes when everything before it has been done: that is the reply to whatever went
//! before. See <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use std::fmt::Write as _;

use ws_load::message::{Trade, bare_trade};

/// How a connection introduces itself: no acknowledgement of every line, no echo, nothing that costs.
pub(crate) const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"lang\":\"rust\",\"version\":\"1\",\
     \"name\":\"ws-load\",\"protocol\":1,\"echo\":false}\r\n";
/// Asks whether everything so far is done.
pub(crate) const PING: &str = "PING\r\n";
/// Answers the server's.
pub(crate) const PONG: &str = "PONG\r\n";

/// A longer line is none of nats-server's; its INFO has some hundred bytes.
const LINE_MAX: usize = 8 * 1024;

/// Introduces a connection and subscribes it; a PONG is the reply.
pub(crate) fn write_opening(out: &mut String, symbols: &[u32]) {
    out.push_str(CONNECT);
    symbols.iter().for_each(|&symbol| write_sub(out, symbol));
    out.push_str(PING);
}

/// Subscribes to one more symbol; a PONG is the reply.
pub(crate) fn write_subscribe(out: &mut String, symbol: u32) {
    write_sub(out, symbol);
    out.push_str(PING);
}

/// Unsubscribes; a PONG is the reply.
pub(crate) fn write_unsubscribe(out: &mut String, symbol: u32) {
    let _ = write!(out, "UNSUB {symbol}\r\n{PING}");
}

/// The symbol's number serves as the subscription's.
fn write_sub(out: &mut String, symbol: u32) {
    let _ = write!(out, "SUB trade.S{symbol:04} {symbol}\r\n");
}

/// What stands at the front of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Front<'b> {
    /// Not yet a whole operation.
    Partial,
    /// An operation, and its whole length in bytes.
    Op(Op<'b>, usize),
    /// Something that nats-server doesn't say.
    Bad(&'static str),
}

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Op<'b> {
    /// A trade.
    Trade(Trade),
    /// A message that is no trade of ours.
    Strange,
    /// It wants a PONG.
    Ping,
    /// The answer to a PING.
    Pong,
    /// An error, in its words.
    Err(&'b [u8]),
    /// Of no interest.
    Other,
}

/// Looks at the front of a stream. `payload_max` is the most bytes of a payload.
#[inline]
pub(crate) fn front(bytes: &[u8], payload_max: usize) -> Front<'_> {
    let head = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = head.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() < LINE_MAX { Front::Partial } else { Front::Bad("a line without end") };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let after = end + 1;
    if line.starts_with(b"MSG ") {
        let size = line.rsplit(|&byte| byte == b' ').next().and_then(number);
        let Some(size) = size.filter(|&size| size <= payload_max) else {
            return Front::Bad("a message without a length, or longer than any event");
        };
        let (Some(payload), Some(_)) = (bytes.get(after..after + size), bytes.get(after + size + 1)) else {
            return Front::Partial;
        };
        return Front::Op(bare_trade(payload).map_or(Op::Strange, Op::Trade), after + size + 2);
    }
    Front::Op(word(line), after)
}

fn word(line: &[u8]) -> Op<'_> {
    match line {
        b"PING" => Op::Ping,
        b"PONG" => Op::Pong,
        _ => line.strip_prefix(b"-ERR ").map_or(Op::Other, Op::Err),
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + usize::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRADE: &str = r#"{"symbol":"S0042","seq":7,"sent":123456789012345,"price":150.25,"timestamp":1,"exchange":"NASDAQ"}"#;

    fn message() -> String {
        format!("MSG trade.S0042 42 {}\r\n{TRADE}\r\n", TRADE.len())
    }

    #[test]
    fn a_message_is_whole_or_partial_however_it_is_cut() {
        let bytes = format!("{}PING\r\n", message()).into_bytes();
        let len = message().len();
        let trade = Trade { symbol: 42, seq: 7, sent_ns: 123_456_789_012_345 };
        for cut in 0..len {
            assert_eq!(front(&bytes[..cut], 1000), Front::Partial, "{cut}");
        }
        for cut in len..bytes.len() {
            assert_eq!(front(&bytes[..cut], 1000), Front::Op(Op::Trade(trade), len), "{cut}");
        }
        assert_eq!(front(&bytes[len..], 1000), Front::Op(Op::Ping, 6));
    }

    #[test]
    fn words_are_told_apart() {
        for (line, op) in [
            ("PONG\r\n", Op::Pong),
            ("INFO {\"server_id\":\"x\"} \r\n", Op::Other),
            ("+OK\r\n", Op::Other),
            ("-ERR 'Slow Consumer'\r\n", Op::Err(b"'Slow Consumer'")),
            ("MSG x 1 2\r\n{}\r\n", Op::Strange),
            ("MSG x 1 reply.to 0\r\n\r\n", Op::Strange),
        ] {
            assert_eq!(front(line.as_bytes(), 1000), Front::Op(op, line.len()), "{line:?}");
        }
    }

    #[test]
    fn what_nats_server_does_not_say_is_bad() {
        for line in ["MSG x 1 1001\r\n", "MSG x 1 -1\r\n", "MSG x 1 99999999999999999999\r\n", "MSG \r\n"] {
            assert!(matches!(front(line.as_bytes(), 1000), Front::Bad(_)), "{line:?}");
        }
        assert_eq!(front(&[b'x'; LINE_MAX - 1], 1000), Front::Partial);
        assert!(matches!(front(&[b'x'; LINE_MAX], 1000), Front::Bad(_)));
    }

    #[test]
    fn requests_are_lines_with_a_question_at_the_end() {
        let mut out = String::new();
        write_opening(&mut out, &[1, 20]);
        assert_eq!(out, format!("{CONNECT}SUB trade.S0001 1\r\nSUB trade.S0020 20\r\nPING\r\n"));
        out.clear();
        write_unsubscribe(&mut out, 20);
        assert_eq!(out, "UNSUB 20\r\nPING\r\n");
    }
}
