//! Frames that break RFC 6455 end their connection with the code that says why (1002, 1007, 1009), at once and without an announced
//! length being allocated. No other connection notices.

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;

use crate::stage::{MIB, Stage};
use crate::support::{Client, raw};

const EACH: usize = 20;

/// A frame's header that announces a length, and nothing behind it.
fn announcing(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0x80 | 127][..], &length.to_be_bytes(), &[1, 2, 3, 4]].concat()
}

fn broken() -> Vec<(&'static str, Vec<u8>, u16)> {
    let frame = raw::frame;
    let fragments = |parts: &[(u8, &[u8])]| {
        parts.iter().flat_map(|(first, payload)| frame(*first, payload)).collect::<Vec<_>>()
    };
    vec![
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("unmasked and empty", vec![0x81, 0], 1002),
        ("the first reserved bit", frame(0xc1, b"{}"), 1002),
        ("the second", frame(0xa1, b"{}"), 1002),
        ("the third", frame(0x91, b"{}"), 1002),
        ("a reserved bit of a ping", frame(0xc9, b""), 1002),
        ("a reserved opcode", frame(0x83, b"x"), 1002),
        ("another", frame(0x87, b""), 1002),
        ("a reserved control opcode", frame(0x8b, b"x"), 1002),
        ("another", frame(0x8f, b""), 1002),
        ("a fragmented ping", frame(0x09, b"x"), 1002),
        ("a fragmented close", frame(0x08, &1000_u16.to_be_bytes()), 1002),
        ("a ping of 126 bytes", frame(0x89, &[b'x'; 126]), 1002),
        ("a pong of 64 KiB", frame(0x8a, &[b'x'; 65_535]), 1002),
        ("a close of 126 bytes", frame(0x88, &[b'x'; 126]), 1002),
        ("a close of one byte", frame(0x88, b"x"), 1002),
        ("a close with a code that is for nobody to send", frame(0x88, &1005_u16.to_be_bytes()), 1002),
        ("a close with a code out of range", frame(0x88, &65_535_u16.to_be_bytes()), 1002),
        ("a close with a bad reason", frame(0x88, &[3, 0xe8, 0xff]), 1007),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a beginning within a message", fragments(&[(0x01, b"{"), (0x81, b"}")]), 1002),
        ("a binary within a text", fragments(&[(0x01, b"{"), (0x82, b"}")]), 1002),
        ("bad UTF-8", frame(0x81, &[0xff]), 1007),
        ("bad UTF-8 across fragments", fragments(&[(0x01, &[0xe2, 0x82]), (0x80, &[0x28])]), 1007),
        (
            "bad UTF-8 across an empty fragment",
            fragments(&[(0x01, &[0xf0]), (0x00, &[]), (0x80, &[0x28])]),
            1007,
        ),
        ("half a character at the end", fragments(&[(0x01, b"a"), (0x80, &[0xe2, 0x82])]), 1007),
        ("a surrogate in UTF-8", fragments(&[(0x01, &[0xed]), (0x80, &[0xa0, 0x80])]), 1007),
        ("bad UTF-8 that is not over", frame(0x01, &[b'a', 0xff]), 1007),
        ("a length of 2^62", announcing(0x81, 1 << 62), 1009),
        ("a length of 2^63, which has none", announcing(0x81, 1 << 63), 1002),
        ("all bits of a length", announcing(0x82, u64::MAX), 1002),
        ("a length of 4 GiB", announcing(0x82, 1 << 32), 1009),
        ("a ping of 2^40 bytes", announcing(0x89, 1 << 40), 1002),
        ("one byte too many", announcing(0x81, 64 * 1024 + 1), 1009),
        ("too much in fragments", fragments(&[(0x01, &[b' '; 40_000]), (0x80, &[b' '; 40_000])]), 1009),
        ("a giant continuation", [frame(0x01, b" "), announcing(0x00, 1 << 50)].concat(), 1009),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn end_their_connection_alone() {
    let stage = Stage::set(&[]).await;
    let cost = stage.withstands(async |stage| {
        for (what, bytes, code) in broken() {
            let endings = (0..EACH).map(async |n| {
                let mut peer = raw::connect(stage.addr(), "/ws", None).await;
                // Whole, and cut in two somewhere.
                let cut = n % bytes.len();
                peer.write_all(&bytes[..cut]).await.expect("the gateway reads");
                tokio::task::yield_now().await;
                // The gateway may have judged by the first part, and closed.
                let _ = peer.write_all(&bytes[cut..]).await;
                Client::from_raw(peer).await.ending().await
            });
            for ending in join_all(endings).await {
                assert_eq!(ending.expect("a close frame").0, code, "{what}");
            }
        }
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 8 * MIB, "{cost:?}");
}
