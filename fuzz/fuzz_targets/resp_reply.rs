//! Bytes of a server: replies and the feed. Nothing may panic, no answer may depend on how the bytes were cut, and
//! the hint of an incomplete answer must be true.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ws_gateway::resp::{FeedLimits, FeedParser, Progress, Reply, ReplyLimits, RespError, Step, parse_reply};

const LIMITS: FeedLimits = FeedLimits { name_bytes_max: 32, payload_bytes_max: 64, excerpt_bytes: 10 };

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// The lengths of the chunks, over and over.
    chunks: [u8; 4],
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    replies(input.bytes);
    let at_once = said(input.bytes, &[usize::MAX]);
    let chunks = input.chunks.map(usize::from);
    assert_eq!(said(input.bytes, &chunks), at_once);
});

fn replies(mut rest: &[u8]) {
    while let Ok(Progress::Done { value, used_bytes }) = parse_reply(rest, &ReplyLimits::DEFAULT) {
        assert!((1..=rest.len()).contains(&used_bytes));
        walk(value);
        let shorter = parse_reply(&rest[..used_bytes - 1], &ReplyLimits::DEFAULT);
        assert_eq!(shorter, Ok(Progress::Incomplete { needed_bytes: used_bytes }));
        rest = &rest[used_bytes..];
    }
}

/// Takes everything apart, down to the last element.
fn walk(reply: Reply<'_>) {
    if let Reply::Array(elements) | Reply::Set(elements) | Reply::Map(elements) | Reply::Push(elements) =
        reply
    {
        let announced = elements.len();
        assert_eq!(elements.inspect(|element| walk(*element)).count(), announced);
    }
}

/// What the feed says, and the error that ends it.
fn said(mut rest: &[u8], chunks: &[usize]) -> (Vec<String>, Option<RespError>) {
    let mut parser = FeedParser::new(LIMITS);
    let (mut held, mut said, mut needed) = (Vec::new(), Vec::new(), 1);
    for chunk in chunks.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*chunk).clamp(1, rest.len()));
        held.extend_from_slice(now);
        rest = later;
        if held.len() < needed && !rest.is_empty() {
            continue;
        }
        needed = loop {
            let used = match parser.next(&held) {
                Err(error) => return (said, Some(error)),
                Ok(Step::Incomplete { needed_bytes }) => break needed_bytes,
                Ok(Step::Discarded { used_bytes }) => used_bytes,
                Ok(Step::Said { feed, used_bytes }) => {
                    said.push(format!("{feed:?}"));
                    used_bytes
                }
            };
            assert!(used > 0);
            held.drain(..used);
        };
        assert!(needed > held.len());
    }
    (said, None)
}
