//! A walk through the `kid`s of tokens doesn't become requests at the key server: it is asked once in 30 s at most, whatever comes, and the
//! tokens that come meanwhile wait for that one fetch, 3 s at most. A key server that turns hostile at the same time costs a bounded
//! amount, and no honest client its connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::stage::{MIB, Stage, connect, gateway_on, swarm};
use crate::support::key_server::{Answer, KeyServer, Signer, set};
use crate::support::tokens::{authenticate, enter, from_now, handshake};
use crate::support::{Client, Redis, until};

/// Of each round.
const KIDS: usize = 1_000;

fn claims() -> Value {
    json!({"sub": "mallory", "exp": from_now(3_600)})
}

/// A `kid` of each kind: short ones, long ones, and such as somebody might take for a path or a query.
fn kid(n: usize) -> String {
    match n % 5 {
        0 => format!("{n:0>8000}"),
        1 => format!("../../../../proc/self/environ?{n}"),
        2 => format!("{n}' OR '1'='1"),
        3 => format!("https://evil.example/{n}\r\nX-Evil: \u{202e}{n}"),
        _ => n.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ask_the_key_server_for_next_to_nothing() {
    let redis = Redis::start().await;
    let (honest, evil) = (Signer::new("honest"), Signer::new("evil"));
    let server = KeyServer::start(Answer::Body(set(&[&honest]))).await;
    let begun = Instant::now();
    let flags = server.flags();
    let gateway = gateway_on(&redis, &flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let users = AtomicUsize::new(0);
    let clients = connect(async || {
        let user = format!("honest-{}", users.fetch_add(1, Ordering::Relaxed));
        enter(gateway.addr(), "", &[&format!("Authorization: Bearer {}", honest.token(&user))]).await
    })
    .await;
    let stage = Stage::with(redis, gateway, clients).await;
    assert_eq!(server.asked(), 1);
    let lies = [
        Answer::Nothing,
        Answer::Endless("HTTP/1.1 200 OK\r\n\r\n".to_owned(), " ".repeat(65_536)),
        Answer::Endless("HTTP/1.1 200 OK\r\n".to_owned(), format!("X: {}\r\n", "x".repeat(1_000))),
        Answer::Body(
            json!({"keys": vec![json!({"kty": "EC", "crv": "P-256", "x": "", "y": ""}); 10_000]}).to_string(),
        ),
    ];
    let rounds = AtomicUsize::new(0);
    let cost = stage.withstands(async |stage| {
        server.answers(lies[rounds.fetch_add(1, Ordering::Relaxed) % lies.len()].clone());
        let asked = server.asked();
        stage.gateway.signal("HUP");
        until("the server to be asked", async || (server.asked() > asked).then_some(())).await;
        swarm(KIDS, async |n| {
            let token = evil.sign_as(&claims(), Some(&kid(n)));
            let line = format!("Authorization: Bearer {token}");
            let (query, lines) = match n % 3 {
                // Too long for a plain handshake, so hyper reads it from the first byte on.
                0 => (format!("?token={token}"), vec![]),
                1 => (String::new(), vec![line.as_str()]),
                _ => (String::new(), vec![line.as_str(), "Origin: https://evil.example"]),
            };
            let (reply, stream) = handshake(stage.addr(), &query, &lines).await;
            // A program is refused; a browser can't read a status, and is told where there is room for that.
            if n % 3 == 2 && reply.status == 101 {
                let mut browser = Client::from_raw(stream).await;
                assert_eq!(browser.json().await["code"], "UNAUTHORIZED");
                assert_eq!(browser.ending().await.expect("a close frame").0, 1008);
            } else {
                assert_eq!(reply.status, 401, "{}", kid(n));
            }
        })
        .await;
        swarm(64, async |n| {
            let mut client = Client::connect(&stage.gateway.url()).await;
            let refused = authenticate(&mut client, &evil.sign_as(&claims(), Some(&kid(n)))).await;
            assert_eq!(refused["code"], "UNAUTHORIZED");
            assert_eq!(client.ending().await.expect("a close frame").0, 1008);
        })
        .await;
        // Whose key is known comes in.
        enter(stage.addr(), "", &[&format!("Authorization: Bearer {}", honest.token("late"))]).await;
    });
    let cost = cost.await;
    // At the start, at each signal, in each of the half minutes since, and when a fetch that failed was due again: after 1, 2, 4 … 60 s.
    let half_minutes = begun.elapsed().as_secs() as usize / 30;
    let most = 1 + rounds.load(Ordering::Relaxed) + half_minutes + 8 + half_minutes;
    println!("{} requests at the key server in {:?}", server.asked(), begun.elapsed());
    assert!(server.asked() <= most, "{}", server.asked());
    assert!(cost.peak_bytes < 24 * MIB, "{cost:?}");
}
