//! Of a key set with ten thousand good keys the first 64 count, which is logged and counted. Such a set is taken within the time that a
//! token waits for its key, and leaves no memory behind. One of more than 1 MiB is refused, and the set before it stays.

use std::collections::HashMap;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::support::key_server::{Answer, KeyServer, Signer, set};
use crate::support::process::Process;
use crate::support::stats::metric;
use crate::support::tokens::{from_now, handshake};
use crate::support::{Redis, TestGateway, until};

const KEYS: usize = 10_000;
/// As many count.
const COUNTED: usize = 64;
const MIB: usize = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(3_600);

fn signer(n: usize) -> Signer {
    Signer::of(&rcgen::PKCS_ED25519, Algorithm::EdDSA, &n.to_string())
}

/// Good keys, each another, named by their places. Those of `signers` are at theirs.
fn good_keys(signers: &[Signer]) -> Vec<Value> {
    let known: HashMap<_, _> = signers.iter().map(|signer| (signer.kid.as_str(), signer)).collect();
    let key = |n: usize| match known.get(n.to_string().as_str()) {
        Some(signer) => signer.jwk(),
        None => {
            let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
            let key = DecodingKey::from_ed_der(pair.public_key_raw());
            let jwk = Jwk::from_decoding_key(&key, None).expect("a public key");
            let mut jwk = serde_json::to_value(jwk).expect("JSON");
            jwk["kid"] = json!(n.to_string());
            jwk
        }
    };
    (0..KEYS).map(key).collect()
}

/// A key set of less than 1 MiB.
fn set_of(keys: &[Value]) -> String {
    let body = json!({"keys": keys}).to_string();
    assert!((MIB / 2..MIB).contains(&body.len()), "{}", body.len());
    body
}

const KEYS_IN_USE: &str = "ws_jwks_keys ";
const TAKEN: &str = "ws_jwks_fetches_total{result=\"taken\"} ";
const UNUSABLE: &str = "ws_jwks_fetches_total{result=\"unusable\"} ";

#[tokio::test(flavor = "multi_thread")]
async fn have_their_first_keys_taken_while_a_token_waits() {
    let redis = Redis::start().await;
    let before = Signer::new("before");
    let signers = [0, COUNTED - 1, COUNTED, KEYS - 1].map(signer);
    let [first, last, beyond, very_last] = &signers;
    let server = KeyServer::start(Answer::Body(set(&[&before]))).await;
    let gateway = TestGateway::on(&redis, |config| {
        server.configure(config);
        // Only tokens make it ask again: each fetch is counted once.
        config.access.key_pace.backoff_min = HOUR;
        config.access.key_pace.backoff_max = HOUR;
    })
    .await;
    let status_of = async |token: String| {
        handshake(gateway.addr, "", &[&format!("Authorization: Bearer {token}")]).await.0.status
    };
    let status = async |signer: &Signer| status_of(signer.token("u")).await;
    assert_eq!(status(&before).await, 101);
    server.answers(Answer::Body(set_of(&good_keys(&signers))));
    // This token waits for the fetch: 3 s at most, as everywhere.
    assert_eq!(status(last).await, 101);
    assert_eq!((server.asked(), metric(gateway.addr, KEYS_IN_USE).await), (2, COUNTED as u64));
    assert_eq!(status(first).await, 101);
    assert_eq!(status(&before).await, 401, "it is in the set no more");
    // Those behind are as good as none, each time that they are asked for.
    for signer in [beyond, very_last] {
        let taken = metric(gateway.addr, TAKEN).await;
        assert_eq!(status(signer).await, 401);
        assert_eq!(metric(gateway.addr, TAKEN).await, taken + 1);
    }
    // As many keys on P-256 are more than a set may have.
    let one = Signer::new("one");
    let of_p256: Vec<_> = (0..KEYS)
        .map(|n| {
            let mut key = one.jwk();
            key["kid"] = json!(format!("p256-{n}"));
            key
        })
        .collect();
    let body = json!({"keys": of_p256}).to_string();
    assert!(body.len() > MIB, "{}", body.len());
    server.answers(Answer::Body(body));
    let (taken, refused) = (metric(gateway.addr, TAKEN).await, metric(gateway.addr, UNUSABLE).await);
    let claims = json!({"sub": "u", "exp": from_now(60)});
    assert_eq!(status_of(one.sign_as(&claims, Some("p256-0"))).await, 401);
    assert_eq!(metric(gateway.addr, UNUSABLE).await, refused + 1);
    assert_eq!(status(first).await, 101, "the last good set stays");
    assert_eq!(metric(gateway.addr, TAKEN).await, taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn leave_no_memory_behind_and_are_told_of() {
    const ROUNDS: u64 = 20;
    let before = Signer::new("before");
    let server = KeyServer::start(Answer::Body(set(&[&before]))).await;
    let flags = server.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let gateway = Process::frugal(&[&["--embedded-redis-port=0"], &flags[..]].concat()).await;
    let mut keys = good_keys(&[]);
    let refresh = async |keys: &[Value]| {
        server.answers(Answer::Body(set_of(keys)));
        let taken = metric(gateway.addr(), TAKEN).await;
        gateway.signal("HUP");
        until("the set to be taken", async || (metric(gateway.addr(), TAKEN).await > taken).then_some(()))
            .await;
    };
    refresh(&keys).await;
    let line = gateway.logs("the key set is too large: only its first keys count").await;
    assert!(line.contains("keys=64") && line.contains("surplus=9936"), "{line}");
    let (warm_bytes, warm_rss_bytes) = (gateway.own_rss_bytes(), gateway.rss_bytes());
    // Another set each time.
    for _ in 0..ROUNDS {
        keys.rotate_left(COUNTED);
        refresh(&keys).await;
    }
    let (after_bytes, peak_bytes) = (gateway.own_rss_bytes(), gateway.peak_rss_bytes() - warm_rss_bytes);
    println!(
        "{warm_bytes} bytes with one set, {after_bytes} after {ROUNDS} more, {peak_bytes} more at the peak"
    );
    // Each set that stayed would be a megabyte.
    assert!(after_bytes < warm_bytes + 4 * MIB as u64, "{warm_bytes} bytes became {after_bytes}");
    // The document as it comes, the same in one piece, and where its keys stand.
    assert!(peak_bytes < 8 * MIB as u64, "{peak_bytes} more at the peak");
    assert_eq!(metric(gateway.addr(), KEYS_IN_USE).await, COUNTED as u64);
}
