use proptest::prelude::*;

use super::*;
use crate::resp::{Protocol, write_bulk, write_push_header};

const LIMITS: FeedLimits = FeedLimits { name_bytes_max: 32, payload_bytes_max: 100, excerpt_bytes: 10 };

fn message(protocol: Protocol, pattern: Option<&[u8]>, channel: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match pattern {
        Some(pattern) => {
            write_push_header(&mut out, protocol, 4);
            write_bulk(&mut out, b"pmessage");
            write_bulk(&mut out, pattern);
        }
        None => {
            write_push_header(&mut out, protocol, 3);
            write_bulk(&mut out, b"message");
        }
    }
    write_bulk(&mut out, channel);
    write_bulk(&mut out, payload);
    out
}

/// Everything that the parser reports, as text, if the bytes arrive in chunks of these sizes (repeated).
fn said(bytes: &[u8], chunks: &[usize]) -> Result<Vec<String>, RespError> {
    let mut parser = FeedParser::new(LIMITS);
    let (mut held, mut said) = (Vec::new(), Vec::new());
    let (mut rest, mut sizes, mut needed) = (bytes, chunks.iter().cycle(), 1);
    while !rest.is_empty() {
        let chunk = (*sizes.next().unwrap_or(&1)).clamp(1, rest.len());
        held.extend_from_slice(&rest[..chunk]);
        rest = &rest[chunk..];
        if held.len() < needed {
            continue;
        }
        needed = loop {
            let used = match parser.next(&held)? {
                Step::Said { feed, used_bytes } => {
                    said.push(format!("{feed:?}"));
                    used_bytes
                }
                Step::Discarded { used_bytes } => used_bytes,
                Step::Incomplete { needed_bytes } => break needed_bytes,
            };
            held.drain(..used);
        };
        assert!(needed > held.len());
        assert!(held.len() <= 256, "{} bytes are held", held.len());
    }
    Ok(said)
}

fn feed() -> impl Strategy<Value = Vec<u8>> {
    let name = proptest::collection::vec(any::<u8>(), 0..40);
    let payload = proptest::collection::vec(any::<u8>(), 0..150);
    let protocol = prop_oneof![Just(Protocol::Resp2), Just(Protocol::Resp3)];
    prop_oneof![
        4 => (protocol, any::<bool>(), name, payload).prop_map(|(protocol, pattern, channel, payload)| {
            message(protocol, pattern.then_some(&b"channel:*"[..]), &channel, &payload)
        }),
        1 => proptest::sample::select(vec![
            "+PONG\r\n",
            "*2\r\n$4\r\npong\r\n$0\r\n\r\n",
            "-LOADING wait\r\n",
            "*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n",
            ">2\r\n$10\r\ninvalidate\r\n_\r\n",
        ]).prop_map(|text| text.as_bytes().to_vec()),
    ]
}

proptest! {
    #[test]
    fn chunks_make_no_difference(
        feed in proptest::collection::vec(feed(), 1..8),
        chunks in proptest::collection::vec(1..60_usize, 1..8),
    ) {
        let bytes = feed.concat();
        let at_once = said(&bytes, &[bytes.len()]);
        prop_assert_eq!(&at_once.as_ref().map(Vec::len), &Ok(feed.len()));
        prop_assert_eq!(said(&bytes, &chunks), at_once.clone());
        prop_assert_eq!(said(&bytes, &[1]), at_once);
    }

    #[test]
    fn foreign_bytes_are_an_error_or_nothing(bytes in "([*>][34]\r\n\\$[78]\r\np?message\r\n)?[$*:0-9a-c\r\n]{0,24}") {
        let mut parser = FeedParser::new(LIMITS);
        let mut rest = bytes.as_bytes();
        while let Ok(Step::Said { used_bytes, .. } | Step::Discarded { used_bytes }) = parser.next(rest) {
            prop_assert!(used_bytes > 0);
            rest = &rest[used_bytes..];
        }
    }
}

#[test]
fn a_message_is_handed_out_as_it_lies_in_the_input() {
    for (protocol, pattern) in [
        (Protocol::Resp2, Some(&b"channel:*"[..])),
        (Protocol::Resp3, Some(b"channel:*")),
        (Protocol::Resp2, None),
    ] {
        let bytes = message(protocol, pattern, b"channel:trade:AAPL", b"{\"price\":1}");
        let Ok(Step::Said { feed: Feed::Message(message), used_bytes }) =
            FeedParser::new(LIMITS).next(&bytes)
        else {
            panic!("no message")
        };
        assert_eq!(used_bytes, bytes.len());
        assert_eq!(message, Message { pattern, channel: b"channel:trade:AAPL", payload: b"{\"price\":1}" });
        assert!(bytes.as_ptr_range().contains(&message.payload.as_ptr()));
    }
}

#[test]
fn a_message_with_too_long_a_payload_or_channel_is_lost_alone() {
    let mut bytes = message(Protocol::Resp2, Some(b"*"), b"big", &b"0123456789".repeat(11)[..101]);
    bytes.extend(message(Protocol::Resp3, None, &[b'c'; 33], b"small"));
    bytes.extend(message(Protocol::Resp3, None, &[b'c'; 33], &[b'x'; 5_000]));
    bytes.extend(message(Protocol::Resp2, Some(b"*"), b"next", b"1"));
    let expected = [
        Feed::TooLarge { channel: Some(b"big"), bytes: 101, excerpt: b"0123456789" },
        Feed::TooLarge { channel: None, bytes: 33, excerpt: b"" },
        Feed::TooLarge { channel: None, bytes: 33, excerpt: b"" },
        Feed::Message(Message { pattern: Some(b"*"), channel: b"next", payload: b"1" }),
    ]
    .map(|feed| format!("{feed:?}"));
    for chunk in [1, 7, bytes.len()] {
        assert_eq!(said(&bytes, &[chunk]).unwrap(), expected);
    }
}

#[test]
fn a_message_that_is_too_large_is_reported_before_all_of_it_has_arrived() {
    let mut parser = FeedParser::new(LIMITS);
    let header = b"*3\r\n$7\r\nmessage\r\n$3\r\nbig\r\n$536870912\r\n";
    let needed_bytes = header.len() + LIMITS.excerpt_bytes;
    assert_eq!(parser.next(header), Ok(Step::Incomplete { needed_bytes }));
    let begun = [&header[..], b"0123456789"].concat();
    let feed = Feed::TooLarge { channel: Some(b"big"), bytes: 536_870_912, excerpt: b"0123456789" };
    assert_eq!(parser.next(&begun), Ok(Step::Said { feed, used_bytes: header.len() }));
    assert_eq!(parser.next(&[0; 1000]), Ok(Step::Discarded { used_bytes: 1000 }));
    let beyond = b"*3\r\n$7\r\nmessage\r\n$3\r\nbig\r\n$536870913\r\n";
    assert!(matches!(FeedParser::new(LIMITS).next(beyond), Err(RespError::BulkTooLong { .. })));
}

#[test]
fn other_replies_and_pushes_are_recognised() {
    for (bytes, expected) in [
        (&b"+PONG\r\n"[..], Feed::Pong),
        (b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", Feed::Pong),
        (b"+OK\r\n", Feed::Other(Reply::Simple(b"OK"))),
        (b"-NOAUTH Authentication required.\r\n", Feed::Error(b"NOAUTH Authentication required.")),
        (b">3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n", Feed::Subscribed(b"*")),
        (b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", Feed::Subscribed(b"c")),
        (b"*3\r\n$12\r\npunsubscribe\r\n$1\r\n*\r\n:0\r\n", Feed::Unsubscribed(b"*")),
    ] {
        let used_bytes = bytes.len();
        assert_eq!(FeedParser::new(LIMITS).next(bytes), Ok(Step::Said { feed: expected, used_bytes }));
    }
}
