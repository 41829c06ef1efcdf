//! Tokens that no key of the gateway has signed, or whose claims are not what they have to be, let nobody in, however they come: in a
//! header, in the query, among the subprotocols, in a message. A token has 16 KiB at most; browsers that are told so over WebSocket are 256
//! at a time; no forgery costs more than a verification.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use aws_lc_rs::hmac;
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::stage::{MIB, Stage, connect, gateway_on, open, pour, rest, swarm};
use crate::support::http::HANDSHAKE;
use crate::support::tokens::{SECRET, endless, enter, from_now, handshake, sign, token};
use crate::support::{Client, Redis};

/// The claims of somebody who may everything, for an hour.
fn claims() -> Value {
    json!({"sub": "mallory", "exp": from_now(3_600)})
}

/// A token of these parts, with a signature by HMAC under `key`.
fn assemble(header: &str, claims: &str, key: &[u8]) -> String {
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
    format!("{message}.{}", base64url(signature.as_ref()))
}

/// RFC 4648 section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len())
            .for_each(|digit| text.push(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize].into()));
    }
    text
}

/// Everything that is no token, for a gateway with this public key and [`SECRET`].
fn forgeries(pair: &KeyPair) -> Vec<String> {
    let good = token(claims());
    let [head, body, signature] = good.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let other = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let other = EncodingKey::from_rsa_pem(other.serialize_pem().as_bytes()).expect("a key");
    let ours = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let (now, pem) = (from_now(0), pair.public_key_pem());
    let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
    let text = claims().to_string();
    let mut forged = vec![
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        ".".repeat(4_000),
        "e".repeat(12_000),
        format!("{head}.{body}"),
        format!("{head}.{body}."),
        format!("{head}.{body}.{}", signature.to_lowercase()),
        format!("{head}.{body}.{signature}="),
        format!("{head}.{body}.{signature}.{signature}"),
        format!("{body}.{head}.{signature}"),
        // The secret of another, and no secret.
        assemble(hs256, &text, b"another secret of thirty-two bytes"),
        assemble(hs256, &text, b"\0"),
        sign(Algorithm::RS256, &other, claims()),
        sign(Algorithm::PS512, &other, claims()),
        // Expired, not valid yet, without an end.
        token(json!({"sub": "u", "exp": now - 3_600})),
        token(json!({"sub": "u", "exp": 0})),
        token(json!({"sub": "u", "nbf": now + 3_600})),
        endless(&json!({"sub": "u"})),
        sign(Algorithm::RS256, &ours, json!({"sub": "u", "exp": now - 3_600})),
    ];
    // An algorithm that is none, or that is not the key's.
    for alg in ["none", "None", "NONE", "nOnE", "", "HS1", "RS256", "ES256", "EdDSA", "HS256 ", "dir"] {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        forged.push(format!("{}.{body}.", base64url(header.as_bytes())));
        forged.push(format!("{}.{body}.{signature}", base64url(header.as_bytes())));
        forged.push(assemble(&header, &text, SECRET.as_bytes()));
    }
    // The public key taken for a secret, in each form that somebody has.
    let der = pair.public_key_raw();
    for public in [pem.as_bytes(), pem.trim().as_bytes(), pem.replace('\n', "\r\n").as_bytes(), der] {
        forged.push(assemble(hs256, &text, public));
    }
    // A key that the token brings along.
    for header in [
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "c2VjcmV0"}}),
        json!({"alg": "HS256", "kid": "../../../../dev/null"}),
        json!({"alg": "HS256", "kid": "x' UNION SELECT 'secret"}),
        json!({"alg": "HS256", "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/cert"}),
        json!({"alg": "HS256", "crit": ["exp"], "zip": "DEF"}),
    ] {
        forged.push(assemble(&header.to_string(), &text, b"secret"));
        forged.push(assemble(&header.to_string(), &text, b""));
    }
    forged
}

/// Signed by the right key, and nothing that a token may say.
fn odd_claims() -> Vec<String> {
    let exp = from_now(3_600);
    let texts = [
        "[]".to_owned(),
        "null".to_owned(),
        "7".to_owned(),
        "\"sub\"".to_owned(),
        "{}".to_owned(),
        "{".to_owned(),
        format!(r#"{{"exp":{exp}}}"#),
        format!(r#"{{"sub":"","exp":{exp}}}"#),
        format!(r#"{{"sub":null,"user_id":"u","exp":{exp}}}"#),
        format!(r#"{{"sub":{{"sub":"u"}},"exp":{exp}}}"#),
        format!(r#"{{"sub":"a\u0000b","exp":{exp}}}"#),
        format!(r#"{{"sub":"a\"b","exp":{exp}}}"#),
        format!(r#"{{"sub":"\ud800","exp":{exp}}}"#),
        format!(r#"{{"sub":"{}","exp":{exp}}}"#, "u".repeat(129)),
        format!(r#"{{"user_id":1e3,"exp":{exp}}}"#),
        r#"{"sub":"u","exp":1e999}"#.to_owned(),
        r#"{"sub":"u","exp":-1e999}"#.to_owned(),
        r#"{"sub":"u","exp":"9999999999"}"#.to_owned(),
        r#"{"sub":"u","exp":true}"#.to_owned(),
        r#"{"sub":"u","exp":[9999999999]}"#.to_owned(),
        format!(r#"{{"sub":"u","exp":{}}}"#, "[".repeat(2_000)),
        format!(r#"{{"sub":"u","exp":{exp},"nbf":"x"}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"symbols":"*"}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"symbols":[["*"]]}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"symbols":null}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"types":"trade"}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"maxSymbols":-1}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"maxSymbols":1e2}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"maxRate":0}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"maxRate":1e-9}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"delayMs":1}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"delayMs":-1}}"#),
        format!(r#"{{"sub":"u","exp":{exp},"rooms":{{}}}}"#),
    ];
    texts.iter().map(|claims| assemble(r#"{"alg":"HS256"}"#, claims, SECRET.as_bytes())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn let_nobody_in() {
    let redis = Redis::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let pair = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let file = dir.path().join("key.pem");
    std::fs::write(&file, pair.public_key_pem()).expect("the directory is ours");
    let flags = ["--jwt-secret-key", SECRET, "--jwt-public-key-file", file.to_str().expect("text")];
    let gateway = gateway_on(&redis, &flags).await;
    let users = AtomicUsize::new(0);
    let honest = || {
        let user = format!("honest-{}", users.fetch_add(1, Ordering::Relaxed));
        format!("Authorization: Bearer {}", token(json!({"sub": user})))
    };
    let clients = connect(async || enter(gateway.addr(), "", &[&honest()]).await).await;
    let stage = Stage::with(redis, gateway, clients).await;
    let mut forged = forgeries(&pair);
    forged.extend(odd_claims());
    let cost = stage.withstands(async |stage| {
        for token in &forged {
            come_with(stage, token).await;
        }
        in_messages(stage, &forged).await;
        too_long(stage).await;
        as_browsers(stage).await;
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 24 * MIB, "{cost:?}");
}

/// A program is answered 401, by whichever way its token comes.
async fn come_with(stage: &Stage, token: &str) {
    let addr = stage.addr();
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(handshake(addr, "", &[&bearer]).await.0.status, 401, "{token}");
    let query = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
    assert_eq!(handshake(addr, &format!("?token={query}"), &[]).await.0.status, 401, "{token}");
    if !token.is_empty() && !token.contains(' ') {
        let offered = format!("Sec-WebSocket-Protocol: md.v1.json, bearer, {token}");
        assert_eq!(handshake(addr, "", &[&offered]).await.0.status, 401, "{token}");
    }
}

/// A client that has yet to show who it is, is told and closed.
async fn in_messages(stage: &Stage, tokens: &[String]) {
    let asked = tokens.iter().map(async |token| {
        let mut client = Client::connect(&stage.gateway.url()).await;
        client.send(json!({"action": "subscribe", "symbols": ["AAPL"]}).to_string()).await;
        assert_eq!(client.json().await["code"], "UNAUTHORIZED");
        client.send(json!({"action": "auth", "token": token}).to_string()).await;
        let refused = client.json().await;
        // An empty one is no token at all, and is refused as a message.
        if token.is_empty() && refused["code"] == "INVALID_INPUT" {
            return;
        }
        assert_eq!(refused["code"], "UNAUTHORIZED", "{token}: {refused}");
        assert_eq!(client.ending().await.expect("a close frame").0, 1008, "{token}");
    });
    join_all(asked).await;
}

/// Of a mebibyte.
async fn too_long(stage: &Stage) {
    let huge = "e".repeat(MIB as usize);
    swarm(16, async |_| {
        let mut peer = open(stage.addr()).await;
        pour(&mut peer, format!("{HANDSHAKE}Authorization: Bearer {huge}\r\n\r\n").as_bytes()).await;
        let answer = rest(&mut peer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"));
        let mut client = Client::connect(&stage.gateway.url()).await;
        let (reading, writing) = (&mut client.ws, json!({"action": "auth", "token": huge}).to_string());
        use futures_util::SinkExt;
        let _ = reading.send(tokio_tungstenite::tungstenite::Message::text(writing)).await;
        let ending = client.ending().await;
        assert!(ending.is_none_or(|(code, _)| code == 1009));
    })
    .await;
    // What fits into a message, and not into a token.
    let long = format!("{}.{}.x", "e".repeat(30_000), "e".repeat(30_000));
    in_messages(stage, &[long]).await;
}

/// A browser can't read a status: it is let in, told and closed. So are at most 256 at a time, the others get a 401.
async fn as_browsers(stage: &Stage) {
    let lines = ["Origin: https://evil.example", "Authorization: Bearer a.b.c"];
    let begun = Instant::now();
    let answers = swarm(600, async |_| handshake(stage.addr(), "", &lines).await).await;
    let let_in = answers.iter().filter(|(reply, _)| reply.status == 101).count();
    // Nobody answers the close frame, so each has its place for the two seconds that a close waits.
    let most = 256 * (1 + begun.elapsed().as_secs() as usize / 2);
    assert!((256..=most).contains(&let_in), "{let_in} of 600, and {most} at most");
    assert!(answers.iter().all(|(reply, _)| [101, 401].contains(&reply.status)));
    for (reply, stream) in answers {
        if reply.status == 101 {
            let mut client = Client::from_raw(stream).await;
            assert_eq!(client.json().await["code"], "UNAUTHORIZED");
            assert_eq!(client.ending().await.expect("a close frame").0, 1008);
        } else {
            let mut stream = stream;
            let _ = stream.shutdown().await;
        }
    }
}
