//! A token that names no key is tried with at most eight of its kind, so that what it costs is bounded however many keys there are.

use serde_json::json;

use crate::support::key_server::{Answer, KeyServer, Signer, set};
use crate::support::tokens::{from_now, handshake};
use crate::support::{Redis, TestGateway};

#[tokio::test(flavor = "multi_thread")]
async fn are_tried_with_eight_of_their_kind() {
    let redis = Redis::start().await;
    let mut keys: Vec<_> = (0..9).map(|n| Signer::new(&format!("key-{n}"))).collect();
    // Another kind in front takes none of the eight places.
    let other = Signer::of(&rcgen::PKCS_ED25519, jsonwebtoken::Algorithm::EdDSA, "other");
    keys.insert(0, other);
    let server = KeyServer::start(Answer::Body(set(&keys.iter().collect::<Vec<_>>()))).await;
    let gateway = TestGateway::on(&redis, |config| server.configure(config)).await;
    let claims = json!({"sub": "u", "exp": from_now(3_600)});
    let status = async |token: String| {
        handshake(gateway.addr, "", &[&format!("Authorization: Bearer {token}")]).await.0.status
    };
    for (at, key) in keys.iter().enumerate() {
        let expected = if at <= 8 { 101 } else { 401 };
        assert_eq!(status(key.sign_as(&claims, None)).await, expected, "key {at}");
        assert_eq!(status(key.sign(&claims)).await, 101, "key {at} by its name");
    }
}
