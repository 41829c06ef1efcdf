//! Streams of valid and invalid frames, compressed and not, in chunks of any size, compared with tungstenite.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use proptest::sample::Index;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::Compressed;
use super::differential::{self, Message};
use crate::websocket::deflate::reference::inflated;

const MAX_BYTES: usize = 300;

/// A message and how it is sent.
#[derive(Debug, Clone)]
struct Sent {
    message: Message,
    /// Where it is cut into fragments; control frames are not.
    cuts: Vec<Index>,
    /// A ping that is sent behind each fragment but the last.
    ping: Option<Vec<u8>>,
    mask: [u8; 4],
    /// The level at which a text or binary message is compressed, if it is.
    level: Option<u32>,
}

/// A change that may make a stream of valid frames invalid.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    Truncate(Index),
}

fn message() -> impl Strategy<Value = Message> {
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    let text = prop_oneof![
        "\\PC{0,60}",
        "[a-z]{120,130}",
        "[äß€𝄞]{0,75}",
        // Over the limit.
        "[a-z]{290,310}",
    ];
    prop_oneof![
        6 => text.prop_map(Message::Text),
        4 => prop::collection::vec(any::<u8>(), 0..=MAX_BYTES).prop_map(Message::Binary),
        2 => control().prop_map(Message::Ping),
        2 => control().prop_map(Message::Pong),
    ]
}

fn close() -> impl Strategy<Value = Message> {
    let code = prop_oneof![1000u16..=1016, any::<u16>()];
    prop::option::of((code, "\\PC{0,30}")).prop_map(Message::Close)
}

fn sent(message: impl Strategy<Value = Message>) -> impl Strategy<Value = Sent> {
    let cuts = prop::collection::vec(any::<Index>(), 0..4);
    let ping = prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
    (message, cuts, ping, any::<[u8; 4]>()).prop_map(|(message, cuts, ping, mask)| Sent {
        message,
        cuts,
        ping,
        mask,
        level: None,
    })
}

/// Messages, and perhaps a close with more behind it.
fn stream() -> impl Strategy<Value = Vec<Sent>> {
    let messages = || prop::collection::vec(sent(message()), 0..8);
    (messages(), prop::option::of(sent(close())), messages()).prop_map(|(mut all, close, behind)| {
        if let Some(close) = close {
            all.push(close);
            all.extend(behind);
        }
        all
    })
}

/// The same, some of the messages compressed.
fn deflated_stream() -> impl Strategy<Value = Vec<Sent>> {
    let levels = prop::collection::vec(prop::option::of(0u32..10), 17);
    (stream(), levels).prop_map(|(mut stream, levels)| {
        stream.iter_mut().zip(levels).for_each(|(sent, level)| sent.level = level);
        stream
    })
}

/// As a client compresses a message that knows nothing of the gateway.
fn compressed(payload: &[u8], level: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * payload.len() + 100);
    let mut compress = Compress::new(Compression::new(level), false);
    compress.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => any::<Index>().prop_map(Damage::Remove),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => any::<Index>().prop_map(Damage::Truncate),
    ]
}

fn chunks() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1; 10_000]), prop::collection::vec(1usize..40, 0..100)]
}

impl Sent {
    fn write(&self, out: &mut Vec<u8>) {
        let (opcode, payload) = match &self.message {
            Message::Text(text) => return self.write_message(Data::Text, text.as_bytes(), out),
            Message::Binary(bytes) => return self.write_message(Data::Binary, bytes, out),
            Message::Ping(payload) => (Control::Ping, payload.clone()),
            Message::Pong(payload) => (Control::Pong, payload.clone()),
            Message::Close(None) => (Control::Close, Vec::new()),
            Message::Close(Some((code, reason))) => {
                (Control::Close, [&code.to_be_bytes(), reason.as_bytes()].concat())
            }
        };
        self.write_frame(OpCode::Control(opcode), true, false, &payload, out);
    }

    fn write_message(&self, kind: Data, payload: &[u8], out: &mut Vec<u8>) {
        match self.level {
            Some(level) => self.write_fragments(kind, &compressed(payload, level), out),
            None => self.write_fragments(kind, payload, out),
        }
    }

    fn write_fragments(&self, kind: Data, payload: &[u8], out: &mut Vec<u8>) {
        let mut ends: Vec<usize> = self.cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(payload.len());
        let mut start = 0;
        for (number, &end) in ends.iter().enumerate() {
            let is_final = number + 1 == ends.len();
            let opcode = OpCode::Data(if number == 0 { kind } else { Data::Continue });
            let rsv1 = number == 0 && self.level.is_some();
            self.write_frame(opcode, is_final, rsv1, &payload[start..end], out);
            start = end;
            if let (Some(ping), false) = (&self.ping, is_final) {
                self.write_frame(OpCode::Control(Control::Ping), true, false, ping, out);
            }
        }
    }

    fn write_frame(&self, opcode: OpCode, is_final: bool, rsv1: bool, payload: &[u8], out: &mut Vec<u8>) {
        let header = FrameHeader { is_final, rsv1, opcode, mask: Some(self.mask), ..FrameHeader::default() };
        header.format(payload.len() as u64, out).unwrap();
        out.extend(payload.iter().zip(self.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    /// The messages that a reader must find: the pings between the fragments, then the message.
    fn messages(&self) -> Vec<Message> {
        let mut messages = match (&self.message, &self.ping) {
            (Message::Text(_) | Message::Binary(_), Some(ping)) => {
                vec![Message::Ping(ping.clone()); self.cuts.len()]
            }
            _ => Vec::new(),
        };
        messages.push(self.message.clone());
        messages
    }

    fn is_valid(&self) -> bool {
        match &self.message {
            Message::Text(text) => text.len() <= MAX_BYTES,
            Message::Close(Some((code, reason))) => {
                reason.len() <= 123 && matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
            }
            _ => true,
        }
    }
}

fn write(stream: &[Sent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for sent in stream {
        sent.write(&mut bytes);
    }
    bytes
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    match damage {
        Damage::Flip(at, bits) => *at.get_mut(bytes) ^= bits,
        Damage::Remove(at) => {
            bytes.remove(at.index(bytes.len()));
        }
        Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
        Damage::Truncate(at) => bytes.truncate(at.index(bytes.len() + 1)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn valid_messages_are_read_as_they_were_sent(stream in deflated_stream(), chunks in chunks()) {
        let valid: Vec<Sent> = stream.into_iter().filter(Sent::is_valid).collect();
        let (messages, end) = differential::ours(&write(&valid), &chunks, MAX_BYTES, Compressed::Inflated);
        let mut expected: Vec<Message> = valid.iter().flat_map(Sent::messages).collect();
        if let Some(close) = expected.iter().position(|message| matches!(message, Message::Close(_))) {
            expected.truncate(close + 1);
        }
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(messages, expected);
    }

    #[test]
    fn chunks_make_no_difference_and_tungstenite_agrees(
        stream in stream(),
        damages in prop::collection::vec(damage(), 0..4),
        chunks in chunks(),
    ) {
        let mut bytes = write(&stream);
        for damage in &damages {
            apply(damage, &mut bytes);
        }
        differential::compare(&bytes, &chunks, MAX_BYTES);
    }

    #[test]
    fn with_compression_they_agree_as_well(
        stream in deflated_stream(),
        damages in prop::collection::vec(damage(), 0..4),
        chunks in chunks(),
    ) {
        let mut bytes = write(&stream);
        for damage in &damages {
            apply(damage, &mut bytes);
        }
        differential::compare_deflated(&bytes, &chunks, MAX_BYTES, &inflated);
        if stream.iter().any(|sent| sent.level.is_some()) {
            differential::compare(&bytes, &chunks, MAX_BYTES);
        }
    }

    #[test]
    fn noise_is_judged_alike(bytes in prop::collection::vec(any::<u8>(), 0..200), chunks in chunks()) {
        differential::compare(&bytes, &chunks, MAX_BYTES);
    }
}
