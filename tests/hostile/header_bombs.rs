//! A request's header takes 16 KiB at most, its lines 64, and a body nothing, however much is sent; requests whose answers nobody reads
//! are not read either. Each of these connections costs less than 64 KiB.

use tokio::io::AsyncWriteExt;

use crate::stage::{MIB, Stage, open, pour, rest, swarm};
use crate::support::http::{HANDSHAKE, get};

const EACH: usize = 24;

/// A request without an end: its beginning, and what goes on and on.
struct Bomb {
    begin: String,
    goes_on: &'static str,
}

fn bombs() -> Vec<Bomb> {
    let bomb = |begin: &str, goes_on| Bomb { begin: begin.to_owned(), goes_on };
    vec![
        bomb("GET /ws HTTP/1.1\r\nX: ", "a"),
        bomb("GET /ws HTTP/1.1\r\n", "a: b\r\n"),
        bomb("GET /ws HTTP/1.1\r\nHost: h\r\n", "Sec-WebSocket-Protocol: ,,,,\r\n"),
        bomb(HANDSHAKE, "X-Forwarded-For: 1.1.1.1, 2.2.2.2, ,,\r\n"),
        bomb("GET /", "symbols=A&"),
        bomb("", "\r\n"),
        bomb("", "GGGG"),
        bomb("GET / HTTP/1.1\r\n", " folded\r\n"),
        bomb("POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999999999999\r\n\r\n", "body"),
        bomb("POST /stats HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        bomb(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff;",
            "extension=1;",
        ),
        bomb("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "Trailer: 1\r\n"),
        bomb("GET /ws HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "123456"),
        bomb("GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n", "x"),
        bomb("\0\0", "\0"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn are_cut_off() {
    let stage = Stage::set(&[]).await;
    let cost = stage.withstands(async |stage| {
        for Bomb { begin, goes_on } in bombs() {
            let bytes =
                [begin.as_bytes(), &goes_on.as_bytes().repeat(MIB as usize / 2 / goes_on.len())].concat();
            let answers = swarm(EACH, async |_| {
                let mut peer = open(stage.addr()).await;
                pour(&mut peer, &bytes).await;
                String::from_utf8_lossy(&rest(&mut peer).await).into_owned()
            });
            for answer in answers.await {
                // Those that read nothing while they write may lose the answer to a reset. A body is not waited for.
                let status = answer.split(' ').nth(1).unwrap_or("none");
                assert!(
                    ["none", "200", "400", "405", "413", "414", "431"].contains(&status),
                    "{begin:?}: {answer}"
                );
            }
        }
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 8 * MIB, "{cost:?}");
}

/// Requests in a row, and nobody reads an answer: the gateway stops reading, and goes on when it can.
#[tokio::test(flavor = "multi_thread")]
async fn and_answers_that_nobody_reads_are_not_kept() {
    let stage = Stage::set(&[]).await;
    let cost = stage.withstands(async |stage| {
        let requests = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(20_000);
        swarm(64, async |_| {
            let mut peer = open(stage.addr()).await;
            pour(&mut peer, requests.as_bytes()).await;
            assert_eq!(get(stage.addr(), "/health").await.status, 200);
            let _ = peer.shutdown().await;
        })
        .await;
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 16 * MIB, "{cost:?}");
}
