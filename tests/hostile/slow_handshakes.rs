//! Half-open sockets and handshakes that trickle in, three thousand at a time, hold no more than the places of HTTP connections: 1,024
//! descriptors, and some 20 KiB for each. The one that has been silent longest makes room, so newcomers get in at once.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::stage::{MIB, Stage, open, swarm};
use crate::support::http::{HANDSHAKE, get};
use crate::support::{Client, until};

const CONNECTIONS: usize = 3_000;
const PLACES: usize = 1_024;

/// Held to the memory once it is warm, and that to 24 MiB: of what a thousand handshakes at a time took, the allocator keeps some 13 MiB for
/// the next ones. However often it is done, it is no more; when other clients come it may be less.
#[tokio::test(flavor = "multi_thread")]
async fn hold_no_more_than_their_places() {
    let stage = Stage::set(&[]).await;
    let own = stage.gateway.descriptors();
    let cost = stage.withstands_once_warm(24 * MIB, async |stage| {
        let begin = |n: usize| &HANDSHAKE.as_bytes()[..[0, 9, 60][n % 3]];
        let mut peers = swarm(CONNECTIONS, async |n| {
            let mut peer = open(stage.addr()).await;
            // The gateway may have closed it already, to make room.
            let _ = peer.write_all(begin(n)).await;
            peer
        })
        .await;
        for byte in &HANDSHAKE.as_bytes()[60..80] {
            // The silent ones stay silent, the others go on byte by byte.
            for peer in peers.iter_mut().skip(2).step_by(3) {
                let _ = peer.try_write(&[*byte]);
            }
            let held = stage.gateway.descriptors() - own;
            // One that is accepted and has no place yet, the check, and the twenty newcomers, which may be closing still.
            assert!(held <= PLACES + 22, "{held} descriptors");
            let mut newcomer = Client::connect(&stage.gateway.url()).await;
            newcomer.send(r#"{"action":"ping"}"#).await;
            assert_eq!(newcomer.json().await["type"], "pong");
            assert_eq!(get(stage.addr(), "/health").await.status, 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        until("the rest to be accepted", async || {
            (stage.gateway.descriptors() - own >= PLACES / 2).then_some(())
        })
        .await;
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 32 * MIB, "{cost:?}");
}
