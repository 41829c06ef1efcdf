//! Every kind of upstream delivers: TCP with password, user and database, unix socket, TLS.

use std::fs;

use crate::support::redis::Publisher;
use crate::support::{Redis, TestGateway, trade};

async fn delivers(url: &str, worker: &mut Publisher) {
    let gateway = TestGateway::with_url(url, |_| {}).await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let payload = trade("AAPL", "1", 1);
    worker.trade("AAPL", &payload).await;
    assert!(client.text().await.contains(&payload), "over {url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket() {
    let redis = Redis::start().await;
    delivers(&redis.unix_url(), &mut redis.publisher().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_a_user_and_a_database() {
    let redis = Redis::start_with(&["--requirepass", "hunter2"]).await;
    let mut worker = Publisher::connect(&format!("redis://:hunter2@127.0.0.1:{}", redis.port)).await;
    let () = worker.command(&["ACL", "SETUSER", "reader", "on", ">secret", "&*", "+@all"]).await;
    delivers(&format!("redis://:hunter2@127.0.0.1:{}", redis.port), &mut worker).await;
    delivers(&format!("redis://reader:secret@127.0.0.1:{}/3", redis.port), &mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_again_and_never_ready() {
    let redis = Redis::start_with(&["--requirepass", "hunter2"]).await;
    let url = format!("redis://:wrong@127.0.0.1:{}", redis.port);
    let gateway = TestGateway::with_url(&url, |_| {}).await;
    let failures = &gateway.gateway.state().metrics.control.upstream_connect_failures;
    crate::support::until("a second attempt", async || (failures.get() >= 2).then_some(())).await;
    assert_eq!(gateway.get("/ready").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_the_operators_own_authority() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_cert = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, &authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert =
        rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(path("ca.pem"), authority_cert.pem()).unwrap();
    fs::write(path("cert.pem"), cert.pem()).unwrap();
    fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    let tls_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redis = Redis::start_with(&[
        "--tls-port",
        &tls_port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &path("cert.pem"),
        "--tls-key-file",
        &path("key.pem"),
        "--tls-ca-cert-file",
        &path("ca.pem"),
    ])
    .await;
    let mut worker = redis.publisher().await;

    let url = format!("rediss://localhost:{tls_port}");
    let gateway =
        TestGateway::with_url(&url, |config| config.upstream.redis_ca_file = Some(path("ca.pem").into()))
            .await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let payload = trade("AAPL", "1", 1);
    worker.trade("AAPL", &payload).await;
    assert!(client.text().await.contains(&payload));

    delivers(&format!("rediss://localhost:{tls_port}/#insecure"), &mut worker).await;

    let gateway = TestGateway::with_url(&url, |_| {}).await;
    assert_eq!(gateway.get("/ready").await.status, 503, "a server nobody vouches for is not believed");
}
