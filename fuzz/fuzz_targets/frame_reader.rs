//! Bytes of a WebSocket client, in chunks, into our frame reader and into tungstenite. How they are compared, and where they
//! may differ, is described in `src/websocket/reader/differential.rs`.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ws_gateway::websocket::reader::differential;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// Smaller and larger than a control frame, and than what a header's shortest length can say.
    max_bytes: u8,
    /// The sizes of the chunks, over and over.
    chunks: [u8; 4],
    stream: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let sizes = input.chunks.iter().cycle().map(|size| usize::from(*size).max(1));
    let chunks: Vec<usize> = sizes.take(input.stream.len()).collect();
    differential::compare(input.stream, &chunks, usize::from(input.max_bytes) * 4);
});
