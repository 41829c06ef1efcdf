//! With `JWKS_URL`, or an issuer to discover, tokens hold by the keys that a server has; a key that is new there counts with the first token
//! that needs it. The server is asked rarely, whatever tokens come, and never believed in what it can't mean: the last good set stays.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use tokio::sync::Semaphore;
use ws_gateway::config::Config;

use crate::support::http;
use crate::support::key_server::{Answer, KeyServer, Signer, is_dead, ok, set};
use crate::support::process::Process;
use crate::support::stream::Stream;
use crate::support::tokens::{SECRET, authenticate, enter, from_now, handshake, token};
use crate::support::{Client, Redis, TestGateway, until};

/// A gateway whose keys come from `server`.
async fn gateway(redis: &Redis, server: &KeyServer, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::on(redis, |config| {
        server.configure(config);
        change(config);
    })
    .await
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// The status of a handshake with that token.
async fn status(gateway: &TestGateway, token: &str) -> u16 {
    handshake(gateway.addr, "", &[&bearer(token)]).await.0.status
}

/// How many fetches have had that result.
async fn fetches(gateway: &TestGateway, result: &str) -> u64 {
    let metrics = gateway.get("/metrics").await.body;
    let name = format!("ws_jwks_fetches_total{{result=\"{result}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value.expect("a counter").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_says_whose_tokens_hold() {
    let redis = Redis::start().await;
    let signers = [
        Signer::of(&rcgen::PKCS_RSA_SHA256, Algorithm::RS256, "rs"),
        Signer::of(&rcgen::PKCS_RSA_SHA256, Algorithm::PS512, "ps"),
        Signer::of(&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256, "es256"),
        Signer::of(&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384, "es384"),
        Signer::of(&rcgen::PKCS_ED25519, Algorithm::EdDSA, "ed"),
    ];
    let all = set(&signers.each_ref());
    let server = KeyServer::start(Answer::Body(all.clone())).await;
    let gateway = gateway(&redis, &server, |_| {}).await;
    assert_eq!((server.asked(), fetches(&gateway, "taken").await), (1, 1), "before the first client");
    for signer in &signers {
        assert_eq!(status(&gateway, &signer.token("u")).await, 101, "{}", signer.kid);
        let claims = json!({"sub": "u", "exp": from_now(60)});
        assert_eq!(status(&gateway, &signer.sign_as(&claims, None)).await, 101, "without a kid");
        // A key of that name, and it is another's.
        let forged = Signer::of(&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256, &signer.kid);
        assert_eq!(status(&gateway, &forged.token("u")).await, 401, "{}", signer.kid);
        // What everyone may know taken for a secret, whole or in part.
        for public in
            [all.clone(), signer.jwk().to_string(), signer.jwk()["x"].to_string(), signer.kid.clone()]
        {
            let header = Header { kid: Some(signer.kid.clone()), ..Header::new(Algorithm::HS256) };
            let forged = encode(&header, &claims, &EncodingKey::from_secret(public.as_bytes())).unwrap();
            assert_eq!(status(&gateway, &forged).await, 401);
        }
    }
    assert_eq!(server.asked(), 1, "every key was known");
    let mut client = gateway.client().await;
    assert_eq!(authenticate(&mut client, &signers[0].token("u")).await["data"]["user"], "u");
    client.subscribe(&["AAPL"]).await;
    let metrics = gateway.get("/metrics").await.body;
    assert!(metrics.contains("\nws_jwks_keys 5") && metrics.contains("\nws_jwks_age_seconds "), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_counts_with_the_first_token_that_needs_it() {
    let redis = Redis::start().await;
    let keys: Vec<_> = (0..7).map(|n| Signer::new(&format!("key-{n}"))).collect();
    let server = KeyServer::start(Answer::Body(set(&[&keys[0]]))).await;
    let gateway = gateway(&redis, &server, |_| {}).await;
    let mut old = enter(gateway.addr, "", &[&bearer(&keys[0].token("u"))]).await;
    // By a header, among the subprotocols of a browser, in the URL, in a message.
    server.answers(Answer::Body(set(&[&keys[0], &keys[1]])));
    assert_eq!(status(&gateway, &keys[1].token("u")).await, 101);
    server.answers(Answer::Body(set(&[&keys[1], &keys[2]])));
    let offered = format!("Sec-WebSocket-Protocol: md.v1.json, bearer, {}", keys[2].token("u"));
    enter(gateway.addr, "", &["Origin: https://app.example", &offered]).await;
    server.answers(Answer::Body(set(&[&keys[2], &keys[3]])));
    let mut client = enter(gateway.addr, &format!("?symbols=AAPL&token={}", keys[3].token("u")), &[]).await;
    assert_eq!(client.json().await["data"]["subscribed"], json!(["AAPL"]));
    server.answers(Answer::Body(set(&[&keys[3], &keys[4]])));
    let mut client = gateway.client().await;
    assert_eq!(authenticate(&mut client, &keys[4].token("u")).await["data"]["user"], "u");
    server.answers(Answer::Body(set(&[&keys[4], &keys[5]])));
    let reply = http::ask(
        gateway.addr,
        &format!("GET /v1/last/AAPL HTTP/1.1\r\nHost: h\r\n{}\r\n", bearer(&keys[5].token("u"))),
    )
    .await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (404, "NOT_FOUND"),
        "a look-up of somebody who may ask"
    );
    server.answers(Answer::Body(set(&[&keys[4], &keys[5], &keys[6]])));
    let query = format!("symbols=AAPL&token={}", keys[6].token("u"));
    let reply = Stream::open(gateway.addr, &query).await.expect("success").await;
    assert_eq!(reply.json()["data"]["subscribed"], json!(["AAPL"]));
    assert_eq!(server.asked(), 7, "once for each");
    // What is gone has ended, and who is in stays.
    assert_eq!(status(&gateway, &keys[0].token("u")).await, 401);
    old.subscribe(&["AAPL"]).await;
    assert_eq!(
        authenticate(&mut old, &keys[4].token("u")).await["data"]["user"],
        "u",
        "renewed by another key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_need_a_key_wait_for_the_same_fetch_and_no_one_else_does() {
    let redis = Redis::start().await;
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let server = KeyServer::start(Answer::Body(set(&[&old]))).await;
    // Nobody has to hurry.
    let gateway =
        gateway(&redis, &server, |config| config.access.key_pace.wait = Duration::from_secs(60)).await;
    let gate = Arc::new(Semaphore::new(0));
    server.answers(Answer::Held(Arc::clone(&gate), Box::new(Answer::Body(set(&[&old, &new])))));
    let mut waiting: Vec<Client> = Vec::new();
    for n in 0..20 {
        let mut client = gateway.client().await;
        let token = new.token(&format!("user-{n}"));
        client.send(json!({"action": "auth", "token": token}).to_string()).await;
        waiting.push(client);
    }
    let lines = [bearer(&new.token("by-header"))];
    let by_header = tokio::spawn({
        let addr = gateway.addr;
        async move { handshake(addr, "", &[&lines[0]]).await.0.status }
    });
    until("the server to be asked", async || (server.asked() == 2).then_some(())).await;
    // Whose key is known waits for nobody, nor does who has no key at all.
    assert_eq!(status(&gateway, &old.token("u")).await, 101);
    let mut client = gateway.client().await;
    assert_eq!(authenticate(&mut client, &old.token("u")).await["data"]["user"], "u");
    assert_eq!(status(&gateway, "none").await, 401);
    let ended = old.sign_as(&json!({"sub": "u", "exp": from_now(-3_600)}), Some("new"));
    assert_eq!(status(&gateway, &ended).await, 401, "no key can save it");
    gate.add_permits(1);
    for (n, client) in waiting.iter_mut().enumerate() {
        assert_eq!(client.json().await["data"]["user"], format!("user-{n}"));
    }
    assert_eq!(by_header.await.unwrap(), 101);
    assert_eq!(server.asked(), 2);
}

/// The fast path for handshakes sees a token before the one on which it waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_asks_for_its_key_once() {
    const TOKENS: usize = 300;
    let redis = Redis::start().await;
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let server = KeyServer::start(Answer::Body(set(&[&old]))).await;
    let gateway = gateway(&redis, &server, |_| {}).await;
    let token = new.token("u");
    for n in 0..TOKENS {
        assert_eq!(server.asked(), 1 + n);
        assert_eq!(status(&gateway, &token).await, 401);
    }
    assert_eq!(server.asked(), 1 + TOKENS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_waits_for_its_key_only_so_long() {
    let redis = Redis::start().await;
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let server = KeyServer::start(Answer::Body(set(&[&old]))).await;
    let gateway = gateway(&redis, &server, |config| {
        config.access.key_pace.wait = Duration::from_millis(100);
        config.access.key_pace.timeout = Duration::from_secs(3_600);
    })
    .await;
    server.answers(Answer::Nothing);
    assert_eq!(status(&gateway, &new.token("u")).await, 401);
    let (reply, stream) =
        handshake(gateway.addr, "", &["Origin: https://app.example", &bearer(&new.token("u"))]).await;
    assert_eq!(reply.status, 101, "a browser is told in its own way");
    let mut client = Client::from_raw(stream).await;
    assert_eq!(client.json().await["code"], "UNAUTHORIZED");
    let mut client = gateway.client().await;
    assert_eq!(authenticate(&mut client, &new.token("u")).await["code"], "UNAUTHORIZED");
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1008));
    assert_eq!(status(&gateway, &old.token("u")).await, 101);
    assert_eq!(server.asked(), 2, "one fetch under way is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_are_asked_for_rarely() {
    let redis = Redis::start().await;
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let server = KeyServer::start(Answer::Body(set(&[&old]))).await;
    let gateway = gateway(&redis, &server, |config| {
        config.access.key_pace.unknown_key_interval = Duration::from_secs(3_600);
    })
    .await;
    // The first fetch counts as well.
    server.answers(Answer::Body(set(&[&old, &new])));
    let claims = json!({"sub": "u", "exp": from_now(3_600)});
    let walk = (0..100).map(|n| new.sign_as(&claims, Some(&format!("kid-{n}"))));
    let walk: Vec<_> = walk.collect();
    let statuses = join_all(walk.iter().map(|token| status(&gateway, token))).await;
    assert!(statuses.iter().all(|status| *status == 401));
    assert_eq!(status(&gateway, &new.token("u")).await, 401);
    assert_eq!(server.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_keeps_nobody_out_whose_key_was_there() {
    let redis = Redis::start().await;
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let server = KeyServer::start(Answer::Body(set(&[&old]))).await;
    server.die().await;
    assert!(is_dead(server.addr).await);
    // Dead at the start: the gateway starts, and until the server is there its tokens don't hold.
    let gateway = gateway(&redis, &server, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.access.key_pace.backoff_min = Duration::from_millis(10);
        config.access.key_pace.backoff_max = Duration::from_millis(50);
        config.access.key_pace.fresh_min = Duration::from_millis(10);
        config.access.key_pace.fresh_max = Duration::from_millis(10);
    })
    .await;
    assert_eq!(status(&gateway, &old.token("u")).await, 401);
    assert_eq!(status(&gateway, &token(json!({"sub": "u"}))).await, 101, "other keys count");
    assert_eq!(gateway.get("/ready").await.status, 200);
    assert!(fetches(&gateway, "unreachable").await > 0);
    assert!(!gateway.get("/metrics").await.body.contains("\nws_jwks_age_seconds "));
    server.revive().await;
    until("the keys", async || (status(&gateway, &old.token("u")).await == 101).then_some(())).await;
    // Dead again: what it had counts on, and what it gets meanwhile doesn't.
    server.die().await;
    server.answers(Answer::Body(set(&[&new])));
    let failed = fetches(&gateway, "unreachable").await;
    until("three failures", async || (fetches(&gateway, "unreachable").await >= failed + 3).then_some(()))
        .await;
    assert_eq!(status(&gateway, &old.token("u")).await, 101);
    assert_eq!(status(&gateway, &new.token("u")).await, 401);
    server.revive().await;
    until("the new key", async || (status(&gateway, &new.token("u")).await == 101).then_some(())).await;
    until("the old one's end", async || (status(&gateway, &old.token("u")).await == 401).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_can_not_mean_changes_nothing() {
    let redis = Redis::start().await;
    let (good, evil) = (Signer::new("good"), Signer::new("evil"));
    let server = KeyServer::start(Answer::Body(set(&[&good]))).await;
    let elsewhere = KeyServer::start(Answer::Body(set(&[&evil]))).await;
    let gateway = gateway(&redis, &server, |config| {
        config.access.key_pace.timeout = Duration::from_secs(2);
        config.access.key_pace.wait = Duration::from_secs(60);
    })
    .await;
    let theirs = set(&[&evil]);
    let mebibyte = " ".repeat(1024 * 1024);
    let redirect = |status: &str, to: &str| {
        Answer::Raw(format!(
            "HTTP/1.1 {status}\r\nLocation: {to}\r\nContent-Length: {}\r\n\r\n{theirs}",
            theirs.len()
        ))
    };
    let raw = |text: String| Answer::Raw(text);
    let lies = [
        ("refused", redirect("301 Moved Permanently", elsewhere.url("/").as_str())),
        ("refused", redirect("302 Found", "/elsewhere")),
        ("refused", redirect("307 Temporary Redirect", server.url("/").as_str())),
        ("refused", redirect("404 Not Found", "/")),
        ("refused", redirect("500 Internal Server Error", "/")),
        ("refused", redirect("203 Non-Authoritative Information", "/")),
        ("refused", raw("HTTP/1.1 204 No Content\r\n\r\n".to_owned())),
        ("unusable", Answer::Body(String::new())),
        ("unusable", Answer::Body("{".to_owned())),
        ("unusable", Answer::Body("<html><body>Sign in</body></html>".to_owned())),
        ("unusable", Answer::Body("{\"keys\":[]}".to_owned())),
        ("unusable", Answer::Body("{\"keys\":{}}".to_owned())),
        (
            "unusable",
            Answer::Body("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"evil\",\"k\":\"c2VjcmV0\"}]}".to_owned()),
        ),
        ("unusable", Answer::Body(format!("{{\"keys\":{}", "[".repeat(500_000)))),
        ("unusable", Answer::Body(format!("{theirs}{mebibyte}"))),
        ("unusable", ok("Content-Encoding: gzip\r\n", &theirs)),
        ("unusable", Answer::Endless("HTTP/1.1 200 OK\r\n\r\n".to_owned(), " ".repeat(65_536))),
        (
            "unusable",
            Answer::Endless(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                format!("1000\r\n{}\r\n", " ".repeat(4_096)),
            ),
        ),
        ("unreachable", Answer::Raw(String::new())),
        ("unreachable", raw("SSH-2.0-OpenSSH_9.9\r\n".to_owned())),
        ("unreachable", raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{theirs}"))),
        (
            "unreachable",
            Answer::Endless("HTTP/1.1 200 OK\r\n".to_owned(), format!("X: {}\r\n", "x".repeat(1_000))),
        ),
        ("timeout", Answer::Nothing),
        ("timeout", Answer::Slow(format!("HTTP/1.1 200 OK\r\n\r\n{theirs}"))),
    ];
    for (result, lie) in lies {
        let told = format!("{lie:?}").chars().take(100).collect::<String>();
        server.answers(lie);
        let counted = fetches(&gateway, result).await;
        assert_eq!(status(&gateway, &evil.token("u")).await, 401, "{told}");
        assert!(fetches(&gateway, result).await > counted, "{result}: {told}");
        assert_eq!(status(&gateway, &good.token("u")).await, 101, "{told}");
    }
    assert_eq!((elsewhere.asked(), fetches(&gateway, "taken").await), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unusual_and_clear_is_taken() {
    let redis = Redis::start().await;
    let (first, good) = (Signer::new("first"), Signer::new("good"));
    let server = KeyServer::start(Answer::Body(set(&[&first]))).await;
    let gateway = gateway(&redis, &server, |_| {}).await;
    let body = set(&[&good]);
    let mut with_others: serde_json::Value = serde_json::from_str(&body).unwrap();
    let others = with_others["keys"].as_array_mut().unwrap();
    for odd in
        [json!(7), json!({"kty": "oct", "k": "AAAA", "kid": "good"}), json!({"kty": "RSA", "kid": "good"})]
    {
        others.insert(0, odd);
    }
    let mut of_encryption = good.jwk();
    of_encryption["use"] = json!("enc");
    others.insert(0, of_encryption);
    let mut many: Vec<_> =
        (0..10_000).map(|n| json!({"kty": "RSA", "kid": n.to_string(), "n": "AQAB", "e": "AQAB"})).collect();
    many.push(good.jwk());
    for answer in [
        ok("Content-Type: text/html\r\n", &body),
        ok("", &body),
        ok("Content-Encoding: identity\r\nContent-Type: application/jwk-set+json\r\n", &body),
        Answer::Raw(format!("HTTP/1.0 200 OK\r\n\r\n{body}")),
        Answer::Raw(format!(
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )),
        Answer::Body(with_others.to_string()),
        Answer::Body(json!({"keys": many}).to_string()),
    ] {
        let told = format!("{answer:?}").chars().take(100).collect::<String>();
        server.answers(Answer::Body(set(&[&first])));
        assert_eq!(status(&gateway, &first.token("u")).await, 101);
        server.answers(answer);
        assert_eq!(status(&gateway, &good.token("u")).await, 101, "{told}");
    }
    // Of too many keys the first count.
    let keys: Vec<_> = (0..100).map(|n| Signer::new(&format!("key-{n}"))).collect();
    server.answers(Answer::Body(set(&keys.iter().collect::<Vec<_>>())));
    assert_eq!(status(&gateway, &keys[63].token("u")).await, 101);
    assert_eq!(status(&gateway, &keys[64].token("u")).await, 401);
    assert!(gateway.get("/metrics").await.body.contains("\nws_jwks_keys 64"));
    let flags = server.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let told = Process::start(&[&["--embedded-redis-port=0"], &flags[..]].concat()).await;
    told.logs("the key set is too large: only its first keys count").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_fetched_again_when_it_is_old() {
    let redis = Redis::start().await;
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let fresh = |set: &str| ok("Cache-Control: max-age=1\r\n", set);
    let server = KeyServer::start(fresh(&set(&[&old]))).await;
    let gateway = gateway(&redis, &server, |config| {
        config.access.key_pace.fresh_min = Duration::from_millis(50);
        config.access.key_pace.unknown_key_interval = Duration::from_secs(3_600);
    })
    .await;
    assert_eq!(status(&gateway, &old.token("u")).await, 101);
    // A key that is withdrawn ends without anybody's token.
    server.answers(fresh(&set(&[&new])));
    until("the next fetch", async || (server.asked() > 1).then_some(())).await;
    until("the new key", async || (status(&gateway, &new.token("u")).await == 101).then_some(())).await;
    assert_eq!(status(&gateway, &old.token("u")).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_without_any_key_is_discovered() {
    let redis = Redis::start().await;
    let key = Signer::new("key");
    let server = KeyServer::start(Answer::Body(set(&[&key]))).await;
    let issuer = server.url("/tenant").to_string();
    let document = "/tenant/.well-known/openid-configuration";
    let describe = |issuer: &str, keys: &str| {
        Answer::Body(json!({"issuer": issuer, "jwks_uri": keys, "x": 1}).to_string())
    };
    server.answers_at(document, describe(&issuer, server.url("/keys").as_str()));
    let gateway = TestGateway::on(&redis, |config| {
        server.configure_trust(config);
        config.access.issuer = Some(issuer.clone());
    })
    .await;
    let of = |issuer: &str| key.sign(&json!({"sub": "u", "iss": issuer, "exp": from_now(60)}));
    assert_eq!(status(&gateway, &of(&issuer)).await, 101);
    assert_eq!(status(&gateway, &of("https://another.example")).await, 401);
    assert_eq!(status(&gateway, &key.token("u")).await, 401, "without an issuer");
    assert_eq!(server.asked(), 2);
    // Who describes another issuer, or sends elsewhere in the clear, is not believed.
    let unknown = Signer::new("unknown");
    server.answers(Answer::Body(set(&[&unknown])));
    let plain = KeyServer::plain(Answer::Body(set(&[&unknown]))).await;
    for lie in [
        describe(&format!("{issuer}/"), server.url("/keys").as_str()),
        describe("https://another.example", server.url("/keys").as_str()),
        describe(&issuer, plain.url("/keys").as_str()),
        describe(&issuer, "file:///etc/passwd"),
        describe(&issuer, "/keys"),
        Answer::Body("{}".to_owned()),
        Answer::Body(json!({"issuer": issuer, "jwks_uri": 7}).to_string()),
    ] {
        server.answers_at(document, lie.clone());
        let counted = fetches(&gateway, "unusable").await;
        let token = unknown.sign(&json!({"sub": "u", "iss": issuer, "exp": from_now(60)}));
        assert_eq!(status(&gateway, &token).await, 401, "{lie:?}");
        assert!(fetches(&gateway, "unusable").await > counted, "{lie:?}");
        assert_eq!(status(&gateway, &of(&issuer)).await, 101);
    }
    assert_eq!(plain.asked(), 0);
    // No issuer's word opens a gateway.
    let mut config = Config::for_tests();
    config.access.issuer = Some("https://user@id.example".to_owned());
    let error = format!("{:#}", ws_gateway::gateway::Gateway::build(config).await.unwrap_err());
    assert!(error.starts_with("JWT_ISSUER: ") && error.lines().count() == 1, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_shows_who_it_is() {
    let redis = Redis::start().await;
    let key = Signer::new("key");
    let server = KeyServer::start(Answer::Body(set(&[&key]))).await;
    let trusting_others = gateway(&redis, &server, |config| config.access.jwks_ca_file = None).await;
    assert_eq!(status(&trusting_others, &key.token("u")).await, 401);
    assert!(fetches(&trusting_others, "unreachable").await > 0);
    assert_eq!(server.asked(), 0);
    // On this machine there is nobody in between.
    let plain = KeyServer::plain(Answer::Body(set(&[&key]))).await;
    let gateway = gateway(&redis, &plain, |_| {}).await;
    assert_eq!(status(&gateway, &key.token("u")).await, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_keys_and_a_signal_fetches_them() {
    let redis = Redis::start().await;
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let server = KeyServer::start(Answer::Body(set(&[&old]))).await;
    let flags = server.flags();
    let gateway = Process::on(&redis, &flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let status = async |token: &str| handshake(gateway.addr(), "", &[&bearer(token)]).await.0.status;
    assert!(gateway.has_logged("by token only") && gateway.has_logged("JWT_AUDIENCE isn't set"));
    let line = gateway.logs("keys fetched").await;
    assert!(line.contains(server.url("/jwks.json").as_str()) && line.contains("keys=1"), "{line}");
    assert_eq!(status(&old.token("u")).await, 101);
    server.answers(Answer::Body(set(&[&new])));
    assert_eq!(status(&new.token("u")).await, 401, "it was asked less than 30 s ago");
    assert_eq!(server.asked(), 1);
    gateway.signal("HUP");
    until("the new key", async || (status(&new.token("u")).await == 101).then_some(())).await;
    server.answers(Answer::Body("no\nkeys".to_owned()));
    gateway.signal("HUP");
    let line = gateway.logs("keys can't be fetched").await;
    assert!(
        line.contains("those that were fetched last still count") && line.contains("no key set"),
        "{line}"
    );
    let log = gateway.log.lock().unwrap().join("\n");
    assert!(!log.contains("eyJ") && !log.contains("no\nkeys"), "{log}");
}
