//! The publisher's side of the protocol: pipelined PUBLISH out, replies counted and forgotten. Pure.

use std::collections::VecDeque;

use fastrand::Rng;

use super::crowd::symbol_name;
use super::dialect::{Answer, Dialect};
use super::message::Trade;

/// Writes trades, each as the command that publishes it. Once the buffers have grown nothing is allocated.
#[derive(Debug)]
pub struct TradeWriter {
    /// Names and channels of all symbols.
    channels: Vec<(String, String)>,
    payload: Vec<u8>,
    rng: Rng,
}

impl TradeWriter {
    /// For so many symbols, on channels that begin with a prefix.
    pub fn new<D: Dialect>(channel_prefix: &str, symbols: u32, seed: u64) -> Self {
        let channel = |name: String| {
            let channel = D::channel(channel_prefix, &name);
            (name, channel)
        };
        Self {
            channels: (0..symbols).map(|symbol| channel(symbol_name(symbol))).collect(),
            payload: Vec::with_capacity(256),
            rng: Rng::with_seed(seed),
        }
    }

    /// Appends what publishes a trade, for a symbol below the number given. What [`super::message`] looks for stands in
    /// front, directly behind the symbol; the rest is as long as with a typical trade.
    pub fn write<D: Dialect>(&mut self, out: &mut Vec<u8>, trade: &Trade, timestamp_ms: u64) {
        let Some((name, channel)) = self.channels.get(trade.symbol as usize) else { return };
        // Always three digits, a point and two: all trades have about the same size.
        let cents = self.rng.u64(10_000..=99_999);
        let payload = &mut self.payload;
        payload.clear();
        payload.extend_from_slice(br#"{"symbol":""#);
        payload.extend_from_slice(name.as_bytes());
        field(payload, br#"","seq":"#, trade.seq);
        field(payload, br#","sent":"#, trade.sent_ns);
        field(payload, br#","price":"#, cents / 100);
        payload.extend_from_slice(&[b'.', b'0' + (cents / 10 % 10) as u8, b'0' + (cents % 10) as u8]);
        field(payload, br#","volume":"#, if D::VOLUME_IS_SEQ { trade.seq } else { 100 * (1 + cents % 9) });
        field(payload, br#","timestamp":"#, timestamp_ms);
        payload.extend_from_slice(br#","exchange":"NASDAQ"}"#);

        D::write_publish(out, channel, payload);
    }
}

fn field(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.extend_from_slice(name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Counts replies, each of one line, as they come in pieces.
#[derive(Debug, Default)]
pub struct Replies {
    /// Trades of the batches that an answer is due for, where trades aren't answered one by one.
    batches: VecDeque<u64>,
    /// What the upstream wants to be sent.
    pub owed: Vec<u8>,
    /// How many trades were answered.
    pub count: u64,
    /// How many of them said that nobody is subscribed.
    pub unheard: u64,
    /// The first error reply.
    pub error: Option<String>,
    /// The line so far, without its end; long ones are cut.
    line: Vec<u8>,
}

impl Replies {
    /// A batch of trades has been written: appends what asks for an answer to it, if that is needed.
    pub fn end_batch<D: Dialect>(&mut self, out: &mut Vec<u8>, trades: u64) {
        if trades > 0 && D::end_batch(out) {
            self.batches.push_back(trades);
        }
    }

    /// Takes the next piece.
    pub fn feed<D: Dialect>(&mut self, mut bytes: &[u8]) {
        while let Some(at) = bytes.iter().position(|&byte| byte == b'\n') {
            self.append(&bytes[..at]);
            self.end_of_line::<D>();
            bytes = &bytes[at + 1..];
        }
        self.append(bytes);
    }

    fn append(&mut self, piece: &[u8]) {
        let room = 512 - self.line.len().min(512);
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn end_of_line<D: Dialect>(&mut self) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        match D::answer(line) {
            Answer::Trade => self.count += 1,
            Answer::Unheard => {
                self.count += 1;
                self.unheard += 1;
            }
            Answer::Batch => self.count += self.batches.pop_front().unwrap_or_default(),
            Answer::Question(answer) => self.owed.extend_from_slice(answer),
            Answer::Other => {}
        }
        if let [b'-', text @ ..] = line
            && self.error.is_none()
        {
            self.error = Some(String::from_utf8_lossy(text).into_owned());
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use ws_gateway::market::event::Checker;
    use ws_gateway::market::{Kind, Symbol, SymbolCase};
    use ws_gateway::protocol::native::event::{self, Marker};
    use ws_gateway::resp::{CommandLimits, Progress, parse_command};

    use super::super::dialect::Gateway;
    use super::super::forms::Finnhub;
    use super::super::{frames, message};
    use super::*;

    #[test]
    fn a_trade_passes_through_the_gateway_and_is_read_back() {
        let mut writer = TradeWriter::new::<Gateway>("md:", 100, 1);
        for n in 1..200 {
            let trade = Trade { symbol: n as u32 % 100, seq: n, sent_ns: 123_456_789_012_345 + n };
            let mut out = Vec::new();
            writer.write::<Gateway>(&mut out, &trade, 1_700_000_000_123);
            let Ok(Progress::Done { value, used_bytes }) =
                parse_command(&out, &CommandLimits::UNAUTHENTICATED)
            else {
                panic!("{}", String::from_utf8_lossy(&out));
            };
            let args = value.args();
            let symbol = Symbol::parse(symbol_name(trade.symbol).as_bytes(), SymbolCase::Upper).unwrap();
            assert_eq!((used_bytes, args[0]), (out.len(), &b"PUBLISH"[..]));
            assert_eq!(args[1], format!("md:trade:{symbol}").as_bytes());
            let object = Checker::with_max_bytes(65_536)
                .check(Kind::TRADE, args[2], symbol.as_bytes())
                .unwrap()
                .object;
            let mut framed = Vec::new();
            event::write_event(&mut framed, event::TRADE_OPENING, object, 1_700_000_000_456, Marker::NONE);
            assert!((170..=190).contains(&framed.len()), "{} bytes", framed.len());
            let frames::Front::Frame { payload, .. } = frames::front(&framed, 1000) else {
                panic!("{framed:?}")
            };
            assert_eq!(message::parse(payload), message::Message::Trade(trade));
        }
    }

    #[test]
    fn where_trades_lose_their_number_it_is_their_volume() {
        let mut writer = TradeWriter::new::<Gateway<Finnhub>>("md:", 1, 1);
        let mut out = Vec::new();
        for seq in [1, 1_234_567] {
            out.clear();
            writer.write::<Gateway<Finnhub>>(
                &mut out,
                &Trade { symbol: 0, seq, sent_ns: 5 },
                1_700_000_000_123,
            );
            let text = String::from_utf8_lossy(&out);
            assert!(text.contains(&format!(r#","volume":{seq},"#)), "{text}");
        }
    }

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let text = b":1\r\n:0\r\n-ERR no\r\n+OK\r\n-ERR other\r\n:10\r\n";
        for cut in 0..text.len() {
            let mut replies = Replies::default();
            replies.feed::<Gateway>(&text[..cut]);
            replies.feed::<Gateway>(&text[cut..]);
            assert_eq!((replies.count, replies.unheard), (6, 1), "{cut}");
            assert_eq!(replies.error.as_deref(), Some("ERR no"));
        }
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut replies = Replies::default();
        for _ in 0..100 {
            replies.feed::<Gateway>(&[b'x'; 1000]);
        }
        assert_eq!((replies.count, replies.line.len()), (0, 512));
    }
}
