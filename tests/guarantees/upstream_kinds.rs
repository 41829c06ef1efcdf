//! Every kind of upstream delivers events and last values: TCP with password, user and database, unix socket, TLS. Over TLS
//! the gateway trusts the same servers as redis-cli.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::{Redis, ReservedPort, TestGateway, trade};

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

/// A redis-server that speaks TLS as well.
struct TlsRedis {
    redis: Redis,
    tls_port: ReservedPort,
    files: TempDir,
}

impl TlsRedis {
    /// `authority` is what its certificate is checked against: `ca.pem`.
    async fn start(certificate: &Certificate, key: &KeyPair, authority: &Certificate) -> Self {
        Self::start_with(certificate, key, authority, "no").await
    }

    /// The same, and whether it asks clients for a certificate that `authority` has signed.
    async fn start_with(
        certificate: &Certificate,
        key: &KeyPair,
        authority: &Certificate,
        auth_clients: &str,
    ) -> Self {
        let files = TempDir::new().unwrap();
        let tls_port = ReservedPort::new();
        let file = |name: &str, content: String| {
            let path = files.path().join(name);
            fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let redis = Redis::start_with(&[
            "--tls-port",
            &tls_port.to_string(),
            "--tls-auth-clients",
            auth_clients,
            "--tls-cert-file",
            &file("cert.pem", certificate.pem()),
            "--tls-key-file",
            &file("key.pem", key.serialize_pem()),
            "--tls-ca-cert-file",
            &file("ca.pem", authority.pem()),
        ])
        .await;
        Self { redis, tls_port, files }
    }

    fn ca_file(&self) -> PathBuf {
        self.files.path().join("ca.pem")
    }

    /// A gateway that checks the server against `ca.pem`, and looks up last values.
    async fn gateway(&self, url: &str) -> TestGateway {
        TestGateway::with_url(url, |config| {
            config.upstream.redis_ca_file = Some(self.ca_file());
            config.history.last_value_key = Some("last:trade:".to_owned());
        })
        .await
    }

    /// Whether redis-cli believes the server with the same file.
    fn is_believed_by_redis_cli(&self) -> bool {
        let mut command = Command::new("redis-cli");
        command.args(["--tls", "-h", "localhost", "-p", &self.tls_port.to_string(), "--cacert"]);
        let output = command.arg(self.ca_file()).arg("PING").output().expect("redis-cli is installed");
        output.stdout == b"PONG\n"
    }
}

/// An event arrives, and so does a last value from the key.
async fn delivers_both(gateway: &TestGateway, worker: &mut Publisher) {
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let payload = trade("AAPL", "1", 1);
    worker.trade("AAPL", &payload).await;
    assert!(client.text().await.contains(&payload));
    let kept = trade("MSFT", "2", 2);
    let () = worker.command(&["SET", "last:trade:MSFT", &kept]).await;
    client.subscribe_with(json!({"symbols": ["MSFT"], "snapshot": true})).await;
    assert!(client.text().await.contains(&kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_the_operators_own_authority() {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = names.signed_by(&key, &Issuer::new(params, &authority_key)).unwrap();
    let server = TlsRedis::start(&certificate, &key, &authority).await;
    let mut worker = server.redis.publisher().await;

    let url = format!("rediss://localhost:{}", server.tls_port);
    delivers_both(&server.gateway(&url).await, &mut worker).await;
    delivers_both(&server.gateway(&format!("{url}/#insecure")).await, &mut worker).await;
    let gateway = TestGateway::with_url(&url, |_| {}).await;
    assert_eq!(gateway.get("/ready").await.status, 503, "a server nobody vouches for is not believed");
}

/// As `openssl req -x509` makes one: an authority, without a name.
fn self_signed() -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap(), key)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_self_signed_certificate_that_is_its_own_authority() {
    let (certificate, key) = self_signed();
    let server = TlsRedis::start(&certificate, &key, &certificate).await;
    assert!(server.is_believed_by_redis_cli());
    let url = format!("rediss://localhost:{}", server.tls_port);
    delivers_both(&server.gateway(&url).await, &mut server.redis.publisher().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_another_self_signed_certificate_of_the_same_subject() {
    let ((certificate, key), (other, _)) = (self_signed(), self_signed());
    let server = TlsRedis::start(&certificate, &key, &other).await;
    assert!(!server.is_believed_by_redis_cli());
    let url = format!("rediss://localhost:{}", server.tls_port);
    assert_eq!(server.gateway(&url).await.get("/ready").await.status, 503);
}

/// Redis asks for a certificate (`tls-auth-clients yes`, its default): the feed and look-ups show one.
#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls() {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, &authority_key);
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut names = CertificateParams::new([name.to_owned()]).unwrap();
        // OpenSSL takes a certificate of its authority's name for one that has signed itself.
        names.distinguished_name.push(DnType::CommonName, name);
        (names.signed_by(&key, &issuer).unwrap(), key)
    };
    let (certificate, key) = signed("localhost");
    let server = TlsRedis::start_with(&certificate, &key, &authority, "yes").await;
    let mut worker = server.redis.publisher().await;
    let url = format!("rediss://localhost:{}", server.tls_port);
    let pair = |name: &str, (certificate, key): (Certificate, KeyPair)| {
        let [certificate_file, key_file] =
            ["cert", "key"].map(|kind| server.files.path().join(format!("{name}-{kind}.pem")));
        fs::write(&certificate_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        (certificate_file, key_file)
    };

    let own = pair("own", signed("gateway"));
    let gateway = TestGateway::with_url(&url, |config| {
        config.upstream.redis_ca_file = Some(server.ca_file());
        config.upstream.redis_cert_file = Some(own.0.clone());
        config.upstream.redis_key_file = Some(own.1.clone());
        config.history.last_value_key = Some("last:trade:".to_owned());
    })
    .await;
    delivers_both(&gateway, &mut worker).await;

    let foreign = pair("foreign", self_signed());
    let ca_file = server.ca_file().display().to_string();
    let (certificate, key) = (foreign.0.display().to_string(), foreign.1.display().to_string());
    let shown = ["--redis-cert-file", &certificate, "--redis-key-file", &key];
    for args in [&[][..], &shown] {
        let gateway =
            Process::start(&[&["--redis-url", &url, "--redis-ca-file", &ca_file], args].concat()).await;
        gateway.logs("REDIS_CERT_FILE and REDIS_KEY_FILE name it").await;
        assert_eq!(gateway.get("/ready").await.status, 503);
    }
}
