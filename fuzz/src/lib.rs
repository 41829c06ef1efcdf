//! What several fuzz targets share.

use std::io::Cursor;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use ws_gateway::protocol::socketio::engine;
use ws_gateway::protocol::socketio::packet::{Kind, Packet};

/// The text of one complete, unmasked text frame, as tungstenite reads its header.
///
/// # Panics
/// When the bytes are anything else.
pub fn text_of_frame(frame: &[u8]) -> &str {
    let texts = texts_of_frames(frame);
    assert_eq!(texts.len(), 1, "one frame");
    texts[0]
}

/// The texts of complete, unmasked text frames, one behind the other, as tungstenite reads their headers.
///
/// # Panics
/// When the bytes are anything else.
pub fn texts_of_frames(mut frames: &[u8]) -> Vec<&str> {
    let mut texts = Vec::new();
    while !frames.is_empty() {
        let mut cursor = Cursor::new(frames);
        let (header, payload_bytes) =
            FrameHeader::parse(&mut cursor).expect("a header").expect("a whole header");
        let expected =
            FrameHeader { is_final: true, opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        assert_eq!(header, expected);
        let start = cursor.position() as usize;
        let end = start + payload_bytes as usize;
        texts
            .push(std::str::from_utf8(frames.get(start..end).expect("the length announced")).expect("UTF-8"));
        frames = &frames[end..];
    }
    texts
}

/// Holds a text to be one JSON object. A number that a double doesn't hold is carried as the worker wrote it; serde_json refuses it as a
/// value, so such a text is held to the grammar alone.
///
/// # Panics
/// When it is anything else.
pub fn object(json: &[u8]) {
    let text = std::str::from_utf8(json).expect("UTF-8");
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => assert!(value.is_object()),
        Err(error) if error.to_string().starts_with("number out of range") => {
            assert!(text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text}");
        }
        Err(error) => panic!("{error}: {text}"),
    }
}

/// Holds a text of Engine.IO to be an event of Socket.IO: a name, and an object.
///
/// # Panics
/// When it is anything else.
pub fn event_of_socketio(text: &str) {
    let Ok(engine::Packet::Message(message)) = engine::Packet::read(text) else {
        panic!("no message: {text}")
    };
    let packet = Packet::read(message).expect("a packet");
    assert_eq!(packet.kind, Kind::Event);
    let (_, value): (String, &RawValue) =
        serde_json::from_str(packet.data.expect("a name and a value")).expect("JSON");
    object(value.get().as_bytes());
}

/// What stands behind a value of MessagePack.
///
/// # Panics
/// When it isn't whole, of a type that Alpaca's messages don't have, or its text isn't UTF-8.
pub fn behind_msgpack(bytes: &[u8]) -> &[u8] {
    let number = |len: usize| bytes[1..=len].iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let text = |start: usize, len: usize| {
        std::str::from_utf8(&bytes[start..start + len]).expect("UTF-8");
        &bytes[start + len..]
    };
    let values =
        |start: usize, count: usize| (0..count).fold(&bytes[start..], |rest, _| behind_msgpack(rest));
    match bytes[0] {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => &bytes[1..],
        byte @ 0x80..=0x8f => values(1, 2 * usize::from(byte & 0xf)),
        byte @ 0x90..=0x9f => values(1, usize::from(byte & 0xf)),
        byte @ 0xa0..=0xbf => text(1, usize::from(byte & 0x1f)),
        0xcc | 0xd0 => &bytes[2..],
        0xcd | 0xd1 => &bytes[3..],
        0xca | 0xce | 0xd2 => &bytes[5..],
        0xcb | 0xcf | 0xd3 => &bytes[9..],
        0xd6 => &bytes[6..],
        0xd7 => &bytes[10..],
        0xc7 => &bytes[3 + usize::from(bytes[1])..],
        0xd9 => text(2, number(1)),
        0xda => text(3, number(2)),
        0xdb => text(5, number(4)),
        0xdc => values(3, number(2)),
        0xdd => values(5, number(4)),
        0xde => values(3, 2 * number(2)),
        other => panic!("a value of type {other:x}"),
    }
}
