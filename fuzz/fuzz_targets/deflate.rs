//! Compressed payloads into the gateway's inflater and into another one, and streams of frames with compressed messages into the frame
//! reader and into tungstenite, which gets them inflated by the other one (`src/websocket/reader/differential.rs`).
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ws_gateway::websocket::deflate::{Compression, Compressor, InflateError, inflate, is_compressed};
use ws_gateway::websocket::header;
use ws_gateway::websocket::reader::differential;

use self::reference::inflated;

#[path = "../../src/websocket/deflate/reference.rs"]
mod reference;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    max_bytes: u16,
    /// The sizes of the chunks, over and over.
    chunks: [u8; 4],
    /// Of a message that is compressed.
    level: u8,
    /// Messages whose payloads are taken as compressed ones: where each is cut, and whether it is text.
    messages: Vec<(u8, bool, &'a [u8])>,
    /// Behind them.
    stream: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let max_bytes = usize::from(input.max_bytes);
    let mut stream = Vec::new();
    for (cut, is_text, payload) in &input.messages {
        read_alike(payload, max_bytes);
        goes_and_comes(payload, u32::from(input.level % 9) + 1);
        let (first, rest) = payload.split_at(usize::from(*cut).min(payload.len()));
        append_frame(&mut stream, if *is_text { 0x41 } else { 0x42 }, first);
        append_frame(&mut stream, 0x89, b"ping");
        append_frame(&mut stream, 0x80, rest);
    }
    stream.extend_from_slice(input.stream);
    let sizes = input.chunks.iter().cycle().map(|size| usize::from(*size).max(1));
    let chunks: Vec<usize> = sizes.take(stream.len()).collect();
    differential::compare_deflated(&stream, &chunks, max_bytes, &inflated);
});

fn read_alike(payload: &[u8], max_bytes: usize) {
    let mut out = Vec::new();
    let ours = inflate(payload, max_bytes, &mut out);
    assert!(out.len() <= max_bytes);
    match (ours, inflated(payload)) {
        (Ok(()), Some(theirs)) => assert_eq!(out, theirs),
        // What is too long is not read to the end, where it might be corrupt.
        (Err(InflateError::TooLarge), None) => {}
        (Err(InflateError::TooLarge), Some(theirs)) => assert!(theirs.len() > max_bytes),
        // Of what no compressor writes ours may refuse more, as the frame reader's comparison says.
        (Err(InflateError::Corrupt), _) => {}
        (ours, theirs) => panic!("{ours:?}, but {theirs:?}"),
    }
}

/// What is compressed, both read.
fn goes_and_comes(content: &[u8], level: u32) {
    let compressor = Compressor::new(Some(Compression { threshold_bytes: 0, level }));
    let Some(frame) = compressor.compress(&header::text(content)) else { return };
    assert!(is_compressed(&frame) && frame.len() < header::text(content).len());
    let mut out = Vec::new();
    assert_eq!(inflate(header::payload(&frame), content.len(), &mut out), Ok(()));
    assert_eq!((&out[..], inflated(header::payload(&frame)).as_deref()), (content, Some(content)));
}

/// A short frame, masked with zeros.
fn append_frame(stream: &mut Vec<u8>, first: u8, payload: &[u8]) {
    stream.push(first);
    match u8::try_from(payload.len()) {
        Ok(length @ ..=125) => stream.push(0x80 | length),
        _ => {
            stream.push(0x80 | 127);
            stream.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    stream.extend_from_slice(&[0; 4]);
    stream.extend_from_slice(payload);
}
