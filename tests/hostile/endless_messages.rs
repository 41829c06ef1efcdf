//! A message without an end takes `MAX_MESSAGE_SIZE` at most, in whatever fragments it comes, and a flood of control frames takes nothing:
//! pongs that nobody reads are bounded, and the gateway stops reading before that. Reading has a budget, so the others wait for nobody.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::stage::{MIB, Stage, pour, rest, swarm};
use crate::support::{Client, raw};

const EACH: usize = 48;

#[tokio::test(flavor = "multi_thread")]
async fn take_a_bounded_amount() {
    let stage = Stage::set(&[]).await;
    let cost = stage.withstands(async |stage| {
        // Fragments of one byte: closed with 1009 once they are too many.
        let tiny = [raw::frame(0x01, b"{"), raw::frame(0x00, b" ").repeat(70_000)].concat();
        swarm(EACH / 4, async |_| {
            let mut peer = raw::connect(stage.addr(), "/ws", None).await;
            pour(&mut peer, &tiny).await;
            let ending = Client::from_raw(peer).await.ending().await;
            // The close frame may be lost to the reset that answers what was sent on.
            assert!(ending.is_none_or(|(code, _)| code == 1009));
        })
        .await;
        // Fragments without a byte, and pings in between: they are no message, and cost nothing but the reading.
        let between = [raw::frame(0x00, b""), raw::frame(0x89, b"x"), raw::frame(0x8a, b"unasked")].concat();
        let between = [raw::frame(0x01, b"{"), between.repeat(20_000), raw::frame(0x80, b"}")].concat();
        swarm(EACH / 4, async |_| {
            let peer = raw::connect(stage.addr(), "/ws", None).await;
            let (mut reading, mut writing) = peer.into_split();
            let write = async {
                writing.write_all(&between).await.expect("the client is kept");
                writing.write_all(&raw::frame(0x88, &[])).await.expect("and closes");
            };
            let (answer, ()) = tokio::join!(rest(&mut reading), write);
            let pongs = answer.chunks_exact(3).take_while(|frame| frame == b"\x8a\x01x").count();
            // A pong stands for all the pings before it (RFC 6455, section 5.5.3), and pings that are read with the close have none.
            let least = usize::from(!answer.starts_with(b"\x88"));
            assert!((least..=20_000).contains(&pongs), "{pongs}");
        })
        .await;
        // As much as a message may have, of which the last byte never comes.
        let almost = [&[0x81, 0xff][..], &65_536_u64.to_be_bytes(), &[0, 0, 0, 0], &[b' '; 65_535]].concat();
        let held = swarm(4 * EACH, async |_| {
            let mut peer = raw::connect(stage.addr(), "/ws", None).await;
            peer.write_all(&almost).await.expect("the gateway reads");
            peer
        });
        let held = held.await;
        // Floods whose answers nobody reads.
        let pings = raw::frame(0x89, &[b'p'; 125]).repeat(8_000);
        let pongs = raw::frame(0x8a, &[b'p'; 125]).repeat(8_000);
        swarm(EACH, async |n| {
            let mut peer = raw::connect(stage.addr(), "/ws", Some(4_096)).await;
            pour(&mut peer, if n % 2 == 0 { &pings } else { &pongs }).await;
            let _ = timeout(Duration::from_millis(1), peer.read(&mut [0; 64])).await;
        })
        .await;
        drop(held);
    });
    let cost = cost.await;
    // 192 unfinished messages of 64 KiB (their boxes double as they grow), and what the floods leave.
    assert!(cost.peak_bytes < 40 * MIB, "{cost:?}");
}
