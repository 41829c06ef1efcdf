//! A token's user is its `sub`, or else its `user_id`: what it may be, and what a client is told of it.

use serde_json::json;

use crate::support::tokens::{SECRET, authenticate, token};
use crate::support::{Redis, TestGateway};

#[tokio::test(flavor = "multi_thread")]
async fn by_sub_or_else_by_user_id() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.access.secret_key = Some(SECRET.to_owned())).await;
    let longest = "ü".repeat(64);
    for (claims, user) in [
        (json!({"sub": "u"}), json!("u")),
        (json!({"sub": "u", "user_id": 7}), json!("u")),
        (json!({"user_id": "a b/ü"}), json!("a b/ü")),
        (json!({"user_id": 42}), json!("42")),
        (json!({"user_id": -7}), json!("-7")),
        (json!({"sub": longest}), json!(longest)),
    ] {
        let mut client = gateway.client().await;
        assert_eq!(authenticate(&mut client, &token(claims.clone())).await["data"]["user"], user, "{claims}");
    }
    for claims in [
        json!({}),
        json!({"user": "u"}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": 7, "user_id": "u"}),
        json!({"user_id": 1.5}),
        json!({"user_id": true}),
        json!({"sub": format!("{longest}x")}),
        json!({"sub": "a\"b"}),
        json!({"sub": "a\\b"}),
        json!({"sub": "a\nb"}),
        json!({"sub": "a\u{7f}b"}),
        json!({"sub": "a\u{85}b"}),
        json!({"market": {"sub": "u"}}),
    ] {
        let mut client = gateway.client().await;
        let told = authenticate(&mut client, &token(claims.clone())).await;
        assert_eq!(told["code"], "UNAUTHORIZED", "{claims}: {told}");
        assert_eq!(client.ending().await.map(|(code, _)| code), Some(1008), "{claims}");
    }
}
