//! Messages that are short on the wire and long when inflated: `MAX_MESSAGE_SIZE` holds for what they become, before memory is taken for
//! it. Those that keep to it have no more of the shard's time than others.

use tokio::io::AsyncWriteExt;

use crate::stage::{MIB, Stage, swarm};
use crate::support::deflating::{Deflating, Said, compressed};
use crate::support::raw;

const EACH: usize = 48;

/// Held to the memory once it is warm, and that to 8 MiB: with the first compressed messages each shard makes what inflates and compresses
/// them, and keeps it. With what the allocator keeps besides, some 3 MiB stay.
#[tokio::test(flavor = "multi_thread")]
async fn are_refused_before_they_unfold() {
    let stage = Stage::set(&["--compression-enabled=true"]).await;
    let bomb = compressed(&vec![b' '; 64 << 20], 9);
    assert!((64_000..65_536).contains(&bomb.len()), "{} bytes on the wire", bomb.len());
    let whole = raw::frame(0xc1, &bomb);
    let (head, tail) = bomb.split_at(1_000);
    let in_parts = [raw::frame(0x42, head), raw::frame(0x00, tail), raw::frame(0x80, b"")].concat();
    // Sixty thousand bytes each, in a hundred: what a client may send.
    let padded = format!(r#"{{"action":"ping"{}}}"#, " ".repeat(60_000));
    let padded = raw::frame(0xc1, &compressed(padded.as_bytes(), 9)).repeat(200);
    let cost = stage.withstands_once_warm(8 * MIB, async |stage| {
        swarm(EACH, async |n| {
            let mut peer = Deflating::connect(stage.addr(), "/ws").await;
            peer.write(if n % 2 == 0 { &whole } else { &in_parts }).await;
            loop {
                match peer.next().await {
                    Said::Text(text) => assert!(text.text.contains("MESSAGE_TOO_LARGE"), "{text:?}"),
                    Said::Close(code, _) => break assert_eq!(code, 1009),
                    other => panic!("no close frame: {other:?}"),
                }
            }
        })
        .await;
        // Almost all of a bomb, of which the last byte never comes: it is held as it is.
        let held = swarm(EACH, async |_| {
            let mut peer = Deflating::connect(stage.addr(), "/ws").await;
            peer.write(&whole[..whole.len() - 1]).await;
            peer
        });
        let held = held.await;
        swarm(EACH / 4, async |_| {
            let mut peer = Deflating::connect(stage.addr(), "/ws").await;
            peer.stream.write_all(&padded).await.expect("the gateway reads");
            for _ in 0..200 {
                assert_eq!(peer.json().await["type"], "pong");
            }
        })
        .await;
        drop(held);
    });
    let cost = cost.await;
    // 48 unfinished messages of 64 KiB (their boxes double as they grow); those that are inflated are so one after the other.
    assert!(cost.peak_bytes < 12 * MIB, "{cost:?}");
}
