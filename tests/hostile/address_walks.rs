//! A walk through the networks of IPv6 fills no table: those that are remembered for `CONNECTION_RATE_LIMIT` have a fixed number of
//! places (4 MiB, taken at the start), and those with a connection are forgotten with it. Nobody who has used up a limit gets it back by
//! a walk of his own.

use std::net::Ipv6Addr;
use std::time::Instant;

use crate::stage::{MIB, Stage, swarm};
use crate::support::introduced::{binary_header, handshake, header};

/// Of each round.
const NETWORKS: usize = 6_000;
const FLAGS: [&str; 7] = [
    "--proxy-protocol",
    "--trusted-proxies",
    "127.0.0.1",
    "--connection-rate-limit",
    "1000/24h",
    "--max-connections-per-ip",
    "300",
];

/// Another network of the walker's 2001:db8::/32.
fn network(n: usize) -> String {
    Ipv6Addr::from_bits((0x2001_0db8 << 96) | ((n as u128) << 64) | 1).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn fill_no_table() {
    let stage = Stage::set(&FLAGS).await;
    let addr = stage.addr();
    let (used_up, begun) = ("198.51.100.7", Instant::now());
    let statuses = swarm(1_100, async |_| handshake(addr, &header(used_up), "").await.1.status).await;
    assert_eq!(statuses.iter().filter(|status| **status == 101).count(), 1_000);
    let cost = stage.withstands(async |stage| {
        let walked = swarm(NETWORKS, async |n| {
            let client = network(n);
            let header = if n % 2 == 0 { header(&client) } else { binary_header(&client) };
            handshake(stage.addr(), &header, "").await.1.status
        });
        assert!(walked.await.iter().all(|status| *status == 101));
        // 198.51.100.7 has waited for this. One comes back to it in 86 s.
        let come_back = begun.elapsed().as_secs() / 86 + 1;
        let mut again = 0;
        while handshake(stage.addr(), &header(used_up), "").await.1.status == 101 {
            again += 1;
            assert!(again <= come_back, "{again}");
        }
        // Within one /64 there is nothing to walk.
        let within = swarm(1_100, async |n| {
            let client = Ipv6Addr::from_bits((0x2001_0db9 << 96) | n as u128).to_string();
            handshake(stage.addr(), &header(&client), "").await.1.status
        });
        let refused = within.await.iter().filter(|status| **status == 429).count();
        assert!(refused >= 100, "{refused}");
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 12 * MIB, "{cost:?}");
}
