//! A new certificate is taken into use when its files change and on SIGHUP, without a connection noticing. A pair that
//! can't be used is refused, and the old one stays.

use std::fs;

use crate::support::process::Process;
use crate::support::tls::{self, Identity};
use crate::support::{Redis, TestGateway, until};

async fn start(redis: &Redis, identity: &Identity) -> Process {
    let flags = identity.flags();
    Process::on(redis, &flags.each_ref().map(String::as_str)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sighup_and_connections_stay() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = start(&redis, &identity).await;
    let mut client = tls::subscriber(gateway.addr(), &["AAPL"]).await;
    let first = tls::shown(client.ws.get_ref());
    let second = identity.renew();
    gateway.signal("HUP");
    gateway.logs("the certificate was read again").await;
    let mut later = tls::subscriber(gateway.addr(), &["AAPL"]).await;
    assert_eq!(tls::shown(later.ws.get_ref()), second);
    assert_ne!(first, second);
    redis.publisher().await.numbered("AAPL", 1).await;
    client.gets("AAPL", 1).await;
    later.gets("AAPL", 1).await;
    let metrics = tls::get(gateway.addr(), "/metrics", "").await.body;
    assert!(metrics.contains("ws_tls_reloads_total{outcome=\"loaded\"} 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_files_change() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = TestGateway::on(&redis, |config| identity.configure(config)).await;
    let second = identity.renew();
    until("the new certificate to be shown", async || {
        (tls::shown(&tls::connect(gateway.addr).await) == second).then_some(())
    })
    .await;
    assert_eq!(gateway.gateway.state().metrics.control.tls_reloads.get(), 1, "both files are one change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_pair_is_refused_and_the_old_one_stays() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = start(&redis, &identity).await;
    let shown = tls::shown(&tls::connect(gateway.addr()).await);
    let other = Identity::new();

    fs::copy(other.key(), identity.key()).unwrap();
    gateway.signal("HUP");
    let line = gateway.logs("the certificate in use stays").await;
    assert!(line.contains("TLS_KEY_FILE") && line.contains("it is not the key of the certificate"), "{line}");
    fs::write(identity.certificate(), "nothing of use").unwrap();
    gateway.signal("HUP");
    gateway.logs("it holds no certificate in PEM").await;
    fs::remove_file(identity.key()).unwrap();
    fs::copy(other.certificate(), identity.certificate()).unwrap();
    gateway.signal("HUP");
    gateway.logs("it can't be read: No such file").await;
    assert_eq!(tls::shown(&tls::connect(gateway.addr()).await), shown);
    let metrics = tls::get(gateway.addr(), "/metrics", "").await.body;
    assert!(metrics.contains("ws_tls_reloads_total{outcome=\"refused\"} "), "{metrics}");

    fs::copy(other.key(), identity.key()).unwrap();
    gateway.signal("HUP");
    gateway.logs("the certificate was read again").await;
    assert_ne!(tls::shown(&tls::connect(gateway.addr()).await), shown);
}

/// Health is asked under TLS, and a gateway that goes on with its old pair is healthy.
#[tokio::test(flavor = "multi_thread")]
async fn the_healthcheck_speaks_tls_whatever_the_files_hold() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let mut gateway = start(&redis, &identity).await;
    let port = gateway.port.to_string();
    let ask = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
        command.args(["--healthcheck", "--ws-host", "127.0.0.1", "--ws-port", &port]).args(identity.flags());
        command.output().expect("the binary runs")
    };
    let healthy = ask();
    assert!(healthy.status.success(), "{healthy:?}");
    assert!(String::from_utf8_lossy(&healthy.stdout).contains(r#""status":"ok""#));
    fs::write(identity.key(), "nothing of use").unwrap();
    assert!(ask().status.success());
    gateway.signal("KILL");
    gateway.exit().await;
    let dead = ask();
    assert!(!dead.status.success());
    assert!(String::from_utf8_lossy(&dead.stderr).contains("https://127.0.0.1:"), "{dead:?}");
}
