//! What several fuzz targets share.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// The text of one complete, unmasked text frame, as tungstenite reads its header.
///
/// # Panics
/// When the bytes are anything else.
pub fn text_of_frame(frame: &[u8]) -> &str {
    let mut cursor = Cursor::new(frame);
    let (header, payload_bytes) = FrameHeader::parse(&mut cursor).expect("a header").expect("a whole header");
    let expected = FrameHeader { is_final: true, opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    assert_eq!(header, expected);
    let payload = &frame[cursor.position() as usize..];
    assert_eq!(payload.len() as u64, payload_bytes, "the length announced");
    std::str::from_utf8(payload).expect("UTF-8")
}
