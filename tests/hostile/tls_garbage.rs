//! Peers that break TLS hold no more than a place of HTTP connections each, and none after they have broken it: garbage instead of a
//! handshake and behind one, records cut off and too long, half a handshake, renegotiation. They cost the others nothing.

use tokio::io::AsyncWriteExt;

use crate::stage::{MIB, Stage, connect, gateway_on, open, pour, rest, swarm};
use crate::support::tls::{self, Identity};
use crate::support::{PATIENCE, Redis, raw};

const EACH: usize = 48;
/// More than there are places.
const HALF_OPEN: usize = 1_500;

/// The beginning of a good handshake, as rustls' client sends it.
fn client_hello() -> Vec<u8> {
    let config = ws_gateway::tls::unchecked_client().expect("a configuration");
    let name = "localhost".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(config, name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a record");
    hello
}

fn garbage(hello: &[u8]) -> Vec<Vec<u8>> {
    let mut flipped = hello.to_vec();
    flipped.iter_mut().skip(9).step_by(7).for_each(|byte| *byte ^= 0x55);
    let mut announced = hello.to_vec();
    announced[6..9].copy_from_slice(&[0xff, 0xff, 0xff]);
    vec![
        flipped,
        announced,
        vec![0x16; 20_000],
        [&[0x16, 3, 1, 0xff, 0xff][..], &[0; 70_000]].concat(),
        [&[0x16, 3, 1, 0, 0][..]; 5_000].concat(),
        [0x16, 3, 1, 0, 4, 1, 0, 0, 0].to_vec(),
        [hello, &[0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5]].concat(),
        [hello, &[0x15, 3, 3, 0, 2, 2, 40]].concat(),
        [hello, hello, hello].concat(),
        // SSLv2, SSH, Redis, and something else.
        vec![0x80, 0x2e, 1, 0, 2, 0, 0x15],
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        b"*1\r\n$4\r\nPING\r\n".to_vec(),
        vec![0; 30_000],
    ]
}

/// Held to the memory once it is warm, and that to 12 MiB: of what a thousand TLS handshakes at a time took, the allocator keeps some 5 MiB for
/// the next ones, a few more or less from one time to the next.
#[tokio::test(flavor = "multi_thread")]
async fn holds_nothing_that_it_has_broken() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let flags = identity.flags();
    let gateway = gateway_on(&redis, &flags.each_ref().map(String::as_str)).await;
    let clients = connect(async || tls::client(gateway.addr()).await).await;
    let stage = Stage::with(redis, gateway, clients).await;
    let hello = client_hello();
    let cost = stage.withstands_once_warm(12 * MIB, async |stage| {
        for bytes in garbage(&hello) {
            swarm(EACH, async |_| {
                let mut peer = open(stage.addr()).await;
                pour(&mut peer, &bytes).await;
                let _ = peer.shutdown().await;
                rest(&mut peer).await;
            })
            .await;
        }
        let half_open = swarm(HALF_OPEN, async |n| {
            let mut peer = open(stage.addr()).await;
            let _ = peer.write_all(&hello[..hello.len() * (n % 3) / 2]).await;
            peer
        });
        let half_open = half_open.await;
        let reply = tls::get(stage.addr(), "/health", "").await;
        assert_eq!(reply.status, 200, "a newcomer gets in");
        drop(half_open);
        // Behind a handshake: cut off, too long, no record, another handshake.
        for bytes in [
            [&[0x17, 3, 3, 0x40, 0][..], &[7; 300]].concat(),
            [&[0x17, 3, 3, 0xff, 0xff][..], &[7; 300]].concat(),
            [&[0x17, 3, 3, 0, 30][..], &[7; 30]].concat(),
            vec![0xee; 5_000],
            [&[0x14, 3, 3, 0, 1, 1][..]; 2_000].concat(),
            hello.clone(),
        ] {
            swarm(EACH, async |_| {
                let mut peer = tls::client(stage.addr()).await.ws.into_inner();
                pour(&mut peer.get_mut().0, &bytes).await;
                let _ = peer.get_mut().0.shutdown().await;
                rest(&mut peer.get_mut().0).await;
            })
            .await;
        }
        swarm(4, async |_| renegotiate(stage).await).await;
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 84 * MIB, "{cost:?}");
}

/// Asks for a renegotiation as a client under TLS 1.2 can; the gateway refuses, and OpenSSL gives up.
async fn renegotiate(stage: &Stage) {
    let mut child = tls::openssl(stage.addr(), &["-tls1_2"]).spawn().expect("openssl is installed");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(raw::request(stage.addr(), "/ws").as_bytes()).await.expect("openssl reads");
    stdin.write_all(b"R\n").await.expect("openssl reads");
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    ended.expect("OpenSSL gives up").expect("an exit");
}
