//! Bytes that come in one write with the upgrade request are frames of the client, whatever they are: all of them are processed once and
//! in order, garbage ends that connection alone, and they cost no more than those that come later.

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;

use crate::stage::{MIB, Stage, open, pour, rest, swarm};
use crate::support::http::read_head;
use crate::support::{Client, raw};

const EACH: usize = 64;
/// So many of a flood's peers read all answers in the end.
const READERS: usize = 4;

/// What ends a connection at once, and the code with which the gateway closes it.
fn ends_at_once() -> Vec<(Vec<u8>, u16)> {
    vec![
        // 'G' is a part of a message, with a bit that is reserved.
        ("GET /health HTTP/1.1\r\nHost: h\r\n\r\n".as_bytes().to_vec(), 1002),
        (vec![0xff; 100_000], 1002),
        // The end of a message that has no beginning.
        (vec![0; 100_000], 1002),
        (raw::frame(0x81, &[0xff; 60_000]), 1007),
        (raw::frame(0x88, &[]), 1000),
    ]
}

/// The first bytes of the server's frames, each of less than 64 KiB; the last one may be cut off.
fn firsts(mut bytes: &[u8]) -> Vec<u8> {
    let mut firsts = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        firsts.push(*first);
        let (header, length) = match (length, rest) {
            (126, [high, low, ..]) => (4, usize::from(u16::from_be_bytes([*high, *low]))),
            (126, _) => return firsts,
            (length, _) => (2, usize::from(*length)),
        };
        bytes = bytes.get(header + length..).unwrap_or_default();
    }
    firsts
}

#[tokio::test(flavor = "multi_thread")]
async fn are_read_as_those_that_come_later() {
    let stage = Stage::set(&[]).await;
    let cost = stage.withstands(async |stage| {
        let request = raw::request(stage.addr(), "/ws?symbols=TSLA");
        let ping = |n: usize| raw::text_frame(&format!(r#"{{"action":"ping","id":{n}}}"#));
        let conversation = (0..200).flat_map(ping).collect::<Vec<_>>();
        let answered = (0..EACH).map(async |_| {
            let mut peer = open(stage.addr()).await;
            peer.write_all(&[request.as_bytes(), &conversation].concat()).await.unwrap();
            assert_eq!(read_head(&mut peer).await.status, 101);
            let mut client = Client::from_raw(peer).await;
            assert_eq!(client.json().await["data"]["subscribed"][0], "TSLA");
            for n in 0..200 {
                assert_eq!(client.json().await["id"], n);
            }
        });
        join_all(answered).await;

        for (behind, close) in ends_at_once() {
            let bytes = [request.as_bytes(), &behind].concat();
            let ends = swarm(EACH, async |_| {
                let mut peer = open(stage.addr()).await;
                pour(&mut peer, &bytes).await;
                assert_eq!(read_head(&mut peer).await.status, 101, "whatever stands behind the request");
                let mut client = Client::from_raw(peer).await;
                client.ending().await.map(|(code, _)| code)
            });
            let ends = ends.await;
            assert_eq!(ends, [Some(close); EACH], "{:?}", &behind[..behind.len().min(8)]);
        }
        // Requests that nobody reads the answers of are read as far as there is room, and no further. That is no fault: the connection goes
        // on until the peer ends it.
        for (flood, first) in [
            (raw::frame(0x89, b"ping").repeat(50_000), 0x8a),
            (raw::text_frame(r#"{"action":"list"}"#).repeat(20_000), 0x81),
        ] {
            let bytes = [request.as_bytes(), &flood].concat();
            swarm(EACH, async |n| {
                let mut peer = open(stage.addr()).await;
                pour(&mut peer, &bytes).await;
                assert_eq!(read_head(&mut peer).await.status, 101);
                if n >= READERS {
                    return;
                }
                let _ = peer.shutdown().await;
                let firsts = firsts(&rest(&mut peer).await);
                // Beside the answers: the one to ?symbols=, which pongs overtake, and pings of the gateway's own. No close.
                let mut others = firsts.iter().filter(|byte| ![0x81, 0x89, first].contains(byte));
                assert_eq!(others.next(), None);
                assert!(firsts.iter().filter(|byte| **byte == first).count() > 100, "{}", firsts.len());
            })
            .await;
        }
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 24 * MIB, "{cost:?}");
}

/// What comes before the upgrade is asked for is no frame.
#[tokio::test(flavor = "multi_thread")]
async fn and_frames_before_it_are_no_request() {
    let stage = Stage::set(&[]).await;
    let request = raw::request(stage.addr(), "/ws");
    let bytes = [&raw::text_frame(r#"{"action":"ping"}"#), request.as_bytes()].concat();
    stage
        .withstands(async |stage| {
            swarm(EACH, async |_| {
                let mut peer = open(stage.addr()).await;
                pour(&mut peer, &bytes).await;
                let answer = rest(&mut peer).await;
                assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
            })
            .await;
        })
        .await;
}
