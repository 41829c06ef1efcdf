//! Compares [`Reader`] with tungstenite: from the same bytes both must read the same messages in the same order, and
//! then both must go on or both must fail. The property tests and the fuzz target `frame_reader` share it.
//!
//! Three differences are intended:
//!
//! * **Ours fails earlier.** It checks a header as soon as that is complete (mask, reserved bits, the length of control
//!   frames and of the whole message), and text as it is received; tungstenite checks a frame once that is complete. So
//!   where ours has failed and tungstenite waits for the rest of a frame, it is given that rest, and must then fail.
//! * **A close code that may not be sent** is an error with ours. tungstenite hands out a close with code 1002 and a
//!   reason of its own instead.
//! * **Code 1014** (bad gateway, registered with IANA after the RFC) may not be sent according to tungstenite. Ours
//!   accepts it.
//!
//! If a frame breaks several rules, the two may report different ones.
//!
//! With compression tungstenite gets each compressed message as another implementation inflates it ([`compare_deflated`]). Of what no
//! compressor writes ours may refuse more: zlib takes no set of codes that is incomplete or without an end, miniz_oxide some.

use std::io::{self, Cursor, ErrorKind, Read, Write};

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::{Message as TheirMessage, Role, WebSocket, WebSocketConfig};

use self::deflated::{Inflate, Plain};
use super::frame::{CONTROL_BYTES_MAX, compressed_max};
use super::{Compressed, Incoming, ReadError, Reader};

mod deflated;

/// An [`Incoming`] that owns its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// See [`Incoming::Text`].
    Text(String),
    /// See [`Incoming::Binary`].
    Binary(Vec<u8>),
    /// See [`Incoming::Ping`].
    Ping(Vec<u8>),
    /// See [`Incoming::Pong`].
    Pong(Vec<u8>),
    /// See [`Incoming::Close`]; the last one of a stream.
    Close(Option<(u16, String)>),
}

impl From<Incoming<'_>> for Message {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.to_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Incoming::Ping(payload) => Self::Ping(payload.to_vec()),
            Incoming::Pong(payload) => Self::Pong(payload.to_vec()),
            Incoming::Close(close) => Self::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

/// The messages of a stream, and whether it failed after them. It ends with its first close frame.
pub type Outcome<E> = (Vec<Message>, Result<(), E>);

/// Reads a stream with [`Reader`], in chunks of these sizes and then the rest in one.
pub fn ours(stream: &[u8], chunks: &[usize], max_bytes: usize, compressed: Compressed) -> Outcome<ReadError> {
    let mut reader = Reader::default();
    let mut messages = Vec::new();
    let mut stream = stream.to_vec();
    let mut rest = &mut stream[..];
    let mut chunks = chunks.iter().copied();
    while !rest.is_empty() {
        let size = chunks.next().unwrap_or(rest.len()).min(rest.len());
        let (chunk, behind) = rest.split_at_mut(size);
        rest = behind;
        let mut at = 0;
        while at < chunk.len() {
            let step = match reader.next(&mut chunk[at..], max_bytes, compressed) {
                Ok(step) => step,
                Err(error) => return (messages, Err(error)),
            };
            messages.extend(step.message.map(Message::from));
            if let Some(Message::Close(_)) = messages.last() {
                return (messages, Ok(()));
            }
            assert!(step.consumed > 0, "the reader stands still at {at} of {chunk:?}");
            at += step.consumed;
        }
        reader.release_buffer();
        let held_max = compressed_max(max_bytes) + CONTROL_BYTES_MAX as usize;
        assert!(reader.held_bytes() <= held_max, "{reader:?} holds too much");
    }
    (messages, Ok(()))
}

/// Reads a stream with tungstenite.
pub fn theirs(stream: &[u8], max_bytes: usize) -> Outcome<Error> {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(max_bytes);
    // Our limit is for messages; control frames have their own.
    config.max_frame_size = Some(max_bytes.max(CONTROL_BYTES_MAX as usize));
    config.accept_unmasked_frames = false;
    // It is allocated and zero-filled for every stream; the default is 128 KiB.
    config.read_buffer_size = 1_024;
    let mut socket = WebSocket::from_raw_socket(Memory(Cursor::new(stream)), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => messages.push(message_of(message)),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return (messages, Ok(())),
            Err(error) => return (messages, Err(error)),
        }
        if let Some(Message::Close(_)) = messages.last() {
            return (messages, Ok(()));
        }
    }
}

/// Compares both readers, and ours reading in chunks with ours reading the whole stream at once.
///
/// # Panics
/// When they disagree other than as described above.
pub fn compare(stream: &[u8], chunks: &[usize], max_bytes: usize) {
    let whole = ours(stream, &[], max_bytes, Compressed::Refused);
    assert_eq!(
        ours(stream, chunks, max_bytes, Compressed::Refused),
        whole,
        "chunks of {chunks:?} make a difference"
    );
    compare_outcomes(whole, stream, max_bytes);
}

/// Compares both readers where compression is agreed on. `inflate` is another implementation of it.
///
/// # Panics
/// When they disagree other than as described above.
pub fn compare_deflated(stream: &[u8], chunks: &[usize], max_bytes: usize, inflate: Inflate<'_>) {
    let whole = ours(stream, &[], max_bytes, Compressed::Inflated);
    assert_eq!(
        ours(stream, chunks, max_bytes, Compressed::Inflated),
        whole,
        "chunks of {chunks:?} make a difference"
    );
    let Plain { stream, is_refused, is_incomplete } = deflated::plain(stream, max_bytes, inflate);
    let (their_messages, their_end) = theirs(&stream, max_bytes);
    if whole.1 == Err(ReadError::Deflate) {
        return assert!(their_messages.starts_with(&whole.0), "{:?}, but {their_messages:?}", whole.0);
    }
    let is_over = their_end.is_err() || matches!(their_messages.last(), Some(Message::Close(_)));
    if is_over || !(is_refused || is_incomplete) {
        return compare_outcomes(whole, &stream, max_bytes);
    }
    assert_eq!(whole.0, their_messages);
    assert!(!is_refused || whole.1.is_err(), "a compressed message should be refused");
}

fn compare_outcomes((messages, end): Outcome<ReadError>, stream: &[u8], max_bytes: usize) {
    let (their_messages, their_end) = theirs(stream, max_bytes);
    if let Some(their_close) = bad_code_replaced(&their_messages) {
        assert_eq!(messages[..their_close], their_messages[..their_close]);
        assert!(matches!(
            (messages.get(their_close), &end),
            (None, Err(ReadError::Protocol(_))) | (Some(Message::Close(Some((1002 | 1014, _)))), Ok(()))
        ));
        return;
    }
    assert_eq!(messages, their_messages);
    match (&end, &their_end) {
        (Ok(()), Ok(())) | (Err(_), Err(_)) => {}
        (Ok(()), Err(error)) => panic!("only tungstenite fails: {error}"),
        (Err(error), Ok(())) => {
            let rest = vec![0; missing_bytes(stream)];
            let (later, end) = theirs(&[stream, &rest].concat(), max_bytes);
            assert!(later == messages && end.is_err(), "only ours fails: {error}");
        }
    }
}

/// The index of a close that tungstenite may have put in place of one with a bad code.
fn bad_code_replaced(their_messages: &[Message]) -> Option<usize> {
    let replaced = Message::Close(Some((1002, "Protocol violation".to_owned())));
    their_messages.iter().position(|message| *message == replaced)
}

/// How many bytes of the last frame's payload are missing.
fn missing_bytes(mut stream: &[u8]) -> usize {
    loop {
        let mut cursor = Cursor::new(stream);
        let Ok(Some((_, payload_bytes))) = FrameHeader::parse(&mut cursor) else { return 0 };
        let payload = &stream[cursor.position() as usize..];
        match payload.split_at_checked(payload_bytes as usize) {
            Some((_, next)) => stream = next,
            None => return payload_bytes as usize - payload.len(),
        }
    }
}

fn message_of(message: TheirMessage) -> Message {
    match message {
        TheirMessage::Text(text) => Message::Text(text.as_str().to_owned()),
        TheirMessage::Binary(bytes) => Message::Binary(bytes.to_vec()),
        TheirMessage::Ping(payload) => Message::Ping(payload.to_vec()),
        TheirMessage::Pong(payload) => Message::Pong(payload.to_vec()),
        TheirMessage::Close(close) => {
            Message::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned())))
        }
        TheirMessage::Frame(_) => unreachable!("tungstenite never reads one"),
    }
}

/// A stream that blocks at its end, and drops all that is written to it.
struct Memory<'a>(Cursor<&'a [u8]>);

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
