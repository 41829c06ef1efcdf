//! Bytes that come in one write with the upgrade request are frames of the client, whatever they are: all of them are processed once and
//! in order, garbage ends that connection alone, and they cost no more than those that come later.

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{MIB, Stage, open, pour, rest, swarm};
use crate::support::http::read_head;
use crate::support::{Client, raw};

const EACH: usize = 64;

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

        let cut_off = [
            "GET /health HTTP/1.1\r\nHost: h\r\n\r\n".as_bytes().to_vec(),
            vec![0xff; 100_000],
            vec![0; 100_000],
            raw::frame(0x81, &[0xff; 60_000]),
            raw::frame(0x88, &[]),
            // Pings that nobody reads the pongs of: they are read as far as there is room, and no further.
            raw::frame(0x89, b"ping").repeat(50_000),
            raw::text_frame(r#"{"action":"list"}"#).repeat(20_000),
        ];
        for behind in &cut_off {
            let bytes = [request.as_bytes(), behind].concat();
            swarm(EACH, async |_| {
                let mut peer = open(stage.addr()).await;
                pour(&mut peer, &bytes).await;
                // Its head has come, whatever stood behind the request.
                let mut begin = [0; 12];
                match peer.read_exact(&mut begin).await {
                    Ok(_) => assert_eq!(&begin, b"HTTP/1.1 101"),
                    Err(error) => assert!(behind.len() > 50_000, "{error}"),
                }
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
