//! A token holds if a configured key has signed it, by an algorithm of that key, and if its claims are what the settings ask for. All
//! others are refused, whatever they say of themselves.

use std::path::PathBuf;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use ws_gateway::config::Config;

use crate::support::http::get;
use crate::support::process::Process;
use crate::support::stream::Stream;
use crate::support::tokens::{SECRET, authenticate, endless, enter, from_now, handshake, sign, token};
use crate::support::{Redis, TestGateway, until};

/// The status of a handshake with that token.
async fn status(gateway: &TestGateway, token: &str) -> u16 {
    handshake(gateway.addr, "", &[&format!("Authorization: Bearer {token}")]).await.0.status
}

async fn with_secret(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        change(config);
    })
    .await
}

/// A public key in a file that lives as long as the directory.
fn file_of(dir: &tempfile::TempDir, pair: &KeyPair) -> PathBuf {
    let path = dir.path().join("key.pem");
    std::fs::write(&path, pair.public_key_pem()).unwrap();
    path
}

fn key_of(pair: &KeyPair) -> EncodingKey {
    let pem = pair.serialize_pem();
    let pem = pem.as_bytes();
    let rsa = EncodingKey::from_rsa_pem(pem).or_else(|_| EncodingKey::from_ed_pem(pem));
    rsa.or_else(|_| EncodingKey::from_ec_pem(pem)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_for_hmac_alone() {
    let redis = Redis::start().await;
    let gateway = with_secret(&redis, |_| {}).await;
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        assert_eq!(status(&gateway, &sign(algorithm, &key, json!({"sub": "u"}))).await, 101, "{algorithm:?}");
    }
    let other = EncodingKey::from_secret(b"another secret of thirty-two bytes");
    assert_eq!(status(&gateway, &sign(Algorithm::HS256, &other, json!({"sub": "u"}))).await, 401);
    let rsa = key_of(&KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap());
    assert_eq!(status(&gateway, &sign(Algorithm::RS256, &rsa, json!({"sub": "u"}))).await, 401);
    let good = token(json!({"sub": "u"}));
    let [head, claims, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    // {"alg":"none"}, with and without a signature.
    let none = "eyJhbGciOiJub25lIn0";
    for forged in [
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{head}.{claims}."),
        format!("{head}.{claims}"),
        format!("{head}.{claims}.{signature}."),
        format!("{head}.{claims}.{signature}x"),
        format!("{claims}.{head}.{signature}"),
        "..".to_owned(),
    ] {
        assert_eq!(status(&gateway, &forged).await, 401, "{forged}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_keys_type_says_which_algorithms_are_taken() {
    let redis = Redis::start().await;
    let dir = tempfile::tempdir().unwrap();
    let rsa = [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ];
    for (kind, algorithms) in [
        (&rcgen::PKCS_RSA_SHA256, &rsa[..]),
        (&rcgen::PKCS_ECDSA_P256_SHA256, &[Algorithm::ES256]),
        (&rcgen::PKCS_ECDSA_P384_SHA384, &[Algorithm::ES384]),
        (&rcgen::PKCS_ED25519, &[Algorithm::EdDSA]),
    ] {
        let pair = KeyPair::generate_for(kind).unwrap();
        let file = file_of(&dir, &pair);
        let gateway = TestGateway::on(&redis, |config| config.access.public_key_file = Some(file)).await;
        for algorithm in algorithms {
            let token = sign(*algorithm, &key_of(&pair), json!({"sub": "u"}));
            assert_eq!(status(&gateway, &token).await, 101, "{algorithm:?}");
        }
        // The classic confusion: what everyone may know taken for a secret.
        let pem = pair.public_key_pem();
        for public in [pem.as_bytes(), pem.trim_end().as_bytes(), pair.public_key_raw()] {
            for algorithm in [Algorithm::HS256, Algorithm::HS512] {
                let forged = sign(algorithm, &EncodingKey::from_secret(public), json!({"sub": "u"}));
                assert_eq!(status(&gateway, &forged).await, 401, "{algorithm:?}");
            }
        }
        let another = KeyPair::generate_for(kind).unwrap();
        let forged = sign(algorithms[0], &key_of(&another), json!({"sub": "u"}));
        assert_eq!(status(&gateway, &forged).await, 401);
        // What a token says of where its key is makes no difference.
        let mut header = Header::new(algorithms[0]);
        header.jku = Some("http://127.0.0.1:1/keys".to_owned());
        header.x5u = header.jku.clone();
        header.kid = Some("any".to_owned());
        let claims = json!({"sub": "u", "exp": from_now(60)});
        assert_eq!(status(&gateway, &encode(&header, &claims, &key_of(&another)).unwrap()).await, 401);
        assert_eq!(status(&gateway, &encode(&header, &claims, &key_of(&pair)).unwrap()).await, 101);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_kinds_of_keys_stand_side_by_side() {
    let redis = Redis::start().await;
    let dir = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate().unwrap();
    let api_keys = dir.path().join("keys");
    // Two tokens are API keys as well, of somebody else.
    let by_secret = token(json!({"sub": "by-secret", "aud": "prices"}));
    let by_public_key =
        sign(Algorithm::ES256, &key_of(&pair), json!({"sub": "by-public-key", "aud": "prices"}));
    let ended = token(json!({"sub": "u", "aud": "prices", "exp": from_now(-60)}));
    let robot = r#"{"sub":"robot","maxSymbols":7}"#;
    let lines = [
        "# key, tab, claims".to_owned(),
        format!("k-1\t{robot}"),
        r#"k-2:s3cret	{"user_id":9}"#.to_owned(),
        r#"k-early	{"sub":"u","nbf":32503680000}"#.to_owned(),
        r#"k-late	{"sub":"u","exp":1}"#.to_owned(),
        format!("{by_secret}\t{robot}"),
        format!("{by_public_key}\t{robot}"),
        format!("{ended}\t{robot}"),
    ];
    std::fs::write(&api_keys, lines.join("\n")).unwrap();
    let file = file_of(&dir, &pair);
    let gateway = with_secret(&redis, |config| {
        config.access.public_key_file = Some(file);
        config.access.api_keys_file = Some(api_keys);
        config.access.audiences = vec!["prices".to_owned()];
    })
    .await;
    let claims = json!({"sub": "u", "aud": "prices"});
    assert_eq!(status(&gateway, &token(claims.clone())).await, 101);
    assert_eq!(status(&gateway, &sign(Algorithm::ES256, &key_of(&pair), claims)).await, 101);
    for (key, expected) in [
        ("k-1", 101),
        ("k-2:s3cret", 101),
        ("k-2", 401),
        ("k-2:", 401),
        ("k-3", 401),
        ("K-1", 401),
        ("k-early", 401),
        ("k-late", 401),
    ] {
        assert_eq!(status(&gateway, key).await, expected, "{key}");
    }
    for key in ["k-1", "k-2:s3cret"] {
        enter(gateway.addr, &format!("?token={}", key.replace(':', "%3A")), &[]).await;
    }
    enter(gateway.addr, "", &["Sec-WebSocket-Protocol: bearer, k-1"]).await;
    let mut client = gateway.client().await;
    assert_eq!(authenticate(&mut client, "k-1").await["data"], json!({"user": "robot"}), "and by a message");
    for (key, expected) in [("k-1", 404), ("k-3", 401)] {
        let answer = get(gateway.addr, &format!("/v1/last/NEWCO?token={key}")).await;
        assert_eq!(answer.status, expected, "and over HTTP: {}", answer.body);
    }
    Stream::open(gateway.addr, "symbols=A&token=k-1").await.expect("success").await;
    for (token, user) in [(by_secret, "by-secret"), (by_public_key, "by-public-key")] {
        let reply = authenticate(&mut gateway.client().await, &token).await;
        assert_eq!(reply["data"]["user"], user, "a key that has signed it comes before an API key");
    }
    assert_eq!(status(&gateway, &ended).await, 401);
    let symbols: Vec<_> = (0..7).map(|n| format!("S{n}")).collect();
    client.subscribe(&symbols.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_always_checked() {
    let redis = Redis::start().await;
    let gateway = with_secret(&redis, |_| {}).await;
    let user = |more: Value| {
        let mut claims = json!({"sub": "u"});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    for (claims, expected) in [
        (json!({"exp": from_now(60)}), 101),
        (json!({"exp": from_now(60) as f64 + 0.5}), 101),
        (json!({"exp": from_now(-20)}), 101),
        (json!({"exp": from_now(-40)}), 401),
        (json!({"exp": 0}), 401),
        (json!({"exp": -1}), 401),
        (json!({"exp": "soon"}), 401),
        (json!({"exp": null}), 401),
        (json!({"nbf": from_now(20)}), 101),
        (json!({"nbf": from_now(40)}), 401),
        (json!({"nbf": "later"}), 401),
        (json!({"exp": 1e300}), 401),
        (json!({"exp": u64::MAX}), 101),
    ] {
        assert_eq!(status(&gateway, &token(user(claims.clone()))).await, expected, "{claims}");
    }
    assert_eq!(status(&gateway, &endless(&json!({"sub": "u"}))).await, 401, "a token must end");
    let lax = with_secret(&redis, |config| config.access.require_exp = false).await;
    assert_eq!(status(&lax, &endless(&json!({"sub": "u"}))).await, 101);
    assert_eq!(status(&lax, &token(user(json!({"exp": from_now(-40)})))).await, 401);
    let exact = with_secret(&redis, |config| config.access.leeway = std::time::Duration::ZERO).await;
    assert_eq!(status(&exact, &token(user(json!({"exp": from_now(-20)})))).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn audience_and_issuer_are_checked_where_they_are_set() {
    let redis = Redis::start().await;
    let strict = with_secret(&redis, |config| {
        config.access.audiences = vec!["prices".to_owned(), "desk".to_owned()];
        config.access.issuer = Some("https://id.example".to_owned());
    })
    .await;
    let lax = with_secret(&redis, |_| {}).await;
    let iss = "https://id.example";
    for (claims, expected) in [
        (json!({"sub": "u", "aud": "prices", "iss": iss}), 101),
        (json!({"sub": "u", "aud": ["x", "desk"], "iss": iss}), 101),
        (json!({"sub": "u", "aud": "x", "iss": iss}), 401),
        (json!({"sub": "u", "aud": [], "iss": iss}), 401),
        (json!({"sub": "u", "aud": 7, "iss": iss}), 401),
        (json!({"sub": "u", "iss": iss}), 401),
        (json!({"sub": "u", "aud": "prices"}), 401),
        (json!({"sub": "u", "aud": "prices", "iss": "https://id.example/"}), 401),
        (json!({"sub": "u", "aud": "prices", "iss": 7}), 401),
    ] {
        assert_eq!(status(&strict, &token(claims.clone())).await, expected, "{claims}");
        assert_eq!(status(&lax, &token(claims)).await, 101);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_cant_be_read_are_no_claims() {
    let redis = Redis::start().await;
    let gateway = with_secret(&redis, |_| {}).await;
    for claims in [
        json!({}),
        json!({"sub": 7}),
        json!({"user_id": 1.5}),
        json!({"sub": "u", "symbols": "A"}),
        json!({"sub": "u", "types": {}}),
        json!({"sub": "u", "maxSymbols": "many"}),
        json!({"sub": "u", "maxRate": null}),
        json!({"sub": "u", "delayMs": 900_000}),
        json!({"sub": "u", "rooms": [1]}),
    ] {
        assert_eq!(status(&gateway, &token(claims.clone())).await, 401, "{claims}");
    }
    assert_eq!(status(&gateway, &token(json!({"user_id": 42, "delayMs": 0, "rooms": []}))).await, 101);
    let inner = with_secret(&redis, |config| config.access.claims_pointer = "/app/market".to_owned()).await;
    let claims = json!({"sub": "u", "app": {"market": {"symbols": ["A"]}}});
    let mut client = enter(inner.addr, &format!("?token={}", token(claims)), &[]).await;
    client.subscribe(&["A"]).await;
    client.send(r#"{"action":"subscribe","symbols":["B"]}"#).await;
    assert_eq!(client.json().await["code"], "FORBIDDEN", "the rights are those of the claims there");
    for claims in [json!({"sub": "u"}), json!({"sub": "u", "app": {"market": []}})] {
        assert_eq!(status(&inner, &token(claims.clone())).await, 401, "{claims}: never no restriction");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_while_the_gateway_runs() {
    let redis = Redis::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let file = file_of(&dir, &old);
    let api_keys = dir.path().join("keys");
    std::fs::write(&api_keys, "k-1\t{\"sub\":\"robot\"}\n").unwrap();
    let args =
        ["--jwt-public-key-file", file.to_str().unwrap(), "--api-keys-file", api_keys.to_str().unwrap()];
    let gateway = Process::on(&redis, &args).await;
    let of = |pair| {
        format!("Authorization: Bearer {}", sign(Algorithm::ES256, &key_of(pair), json!({"sub": "u"})))
    };
    let status = async |line: &str| handshake(gateway.addr(), "", &[line]).await.0.status;
    let mut client = enter(gateway.addr(), "", &[&of(&old)]).await;
    assert_eq!((status(&of(&new)).await, status("Authorization: Bearer k-2").await), (401, 401));

    // At a signal, at once.
    file_of(&dir, &new);
    std::fs::write(&api_keys, "k-2\t{\"sub\":\"robot\"}\n").unwrap();
    gateway.signal("HUP");
    until("the new key", async || (status(&of(&new)).await == 101).then_some(())).await;
    until("the new API key", async || (status("Authorization: Bearer k-2").await == 101).then_some(())).await;
    assert_eq!((status(&of(&old)).await, status("Authorization: Bearer k-1").await), (401, 401));
    client.subscribe(&["AAPL"]).await;

    // A bad file keeps what was there, and is told of by name; without a signal as well.
    std::fs::write(&file, "no key").unwrap();
    std::fs::write(&api_keys, "k-3 without a tab\n").unwrap();
    until("the log to tell", async || {
        (gateway.has_logged("JWT_PUBLIC_KEY_FILE")
            && gateway.has_logged("API_KEYS_FILE")
            && gateway.has_logged("line 1"))
        .then_some(())
    })
    .await;
    assert_eq!((status(&of(&new)).await, status("Authorization: Bearer k-2").await), (101, 101));
    std::fs::write(&api_keys, "k-3\t{\"sub\":\"robot\"}\n").unwrap();
    until("the third API key", async || (status("Authorization: Bearer k-3").await == 101).then_some(()))
        .await;
    let metrics = gateway.get("/metrics").await.body;
    for counted in ["ws_key_files_refused_total", "ws_key_files_taken_total", "ws_tokens_refused_total"] {
        let line = metrics.lines().find_map(|line| line.strip_prefix(counted));
        assert!(line.is_some_and(|value| value.trim() != "0"), "{counted}{line:?}");
    }
    client.unsubscribe(&["AAPL"]).await;
    let log = gateway.log.lock().unwrap().join("\n");
    for secret in ["k-2", "k-3", "eyJ"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let private = KeyPair::generate().unwrap().serialize_pem();
    for (setting, content, said) in [
        ("public_key", private.as_str(), "JWT_PUBLIC_KEY_FILE"),
        ("public_key", "", "JWT_PUBLIC_KEY_FILE"),
        ("api_keys", "k-1\t{}", "API_KEYS_FILE"),
        ("api_keys", "k-1\t{\"sub\":\"u\",\"symbols\":7}", "API_KEYS_FILE"),
    ] {
        std::fs::write(&file, content).unwrap();
        let mut config = Config::for_tests();
        match setting {
            "public_key" => config.access.public_key_file = Some(file.clone()),
            _ => config.access.api_keys_file = Some(file.clone()),
        }
        let error = format!("{:#}", ws_gateway::gateway::Gateway::build(config).await.unwrap_err());
        assert!(error.starts_with(said) && error.lines().count() == 1, "{error}");
        assert!(!error.contains("k-1") && !error.contains("PRIVATE"), "{error}");
    }
    let mut config = Config::for_tests();
    config.access.secret_key = Some(SECRET.to_owned());
    config.access.anonymous = Some(r#"{"symbols":"A"}"#.to_owned());
    let error = format!("{:#}", ws_gateway::gateway::Gateway::build(config).await.unwrap_err());
    assert!(error.starts_with("ANONYMOUS: the claim symbols must be"), "{error}");
}
