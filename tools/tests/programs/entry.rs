//! How `ws-client` comes into a gateway that doesn't let everybody in: with a token, over TLS, with a certificate of its own, and after the
//! time that a limit asks for.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use ws_gateway::config::Config;
use ws_gateway::gateway::Gateway;
use ws_gateway::rate::Rate;

use crate::common::{Tool, line_with};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Two certificates that have signed themselves (one for another name), and a client's that an authority has signed.
const CERTIFICATES: &str = "
set -e
ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
openssl req -x509 $ec -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem
openssl req -x509 $ec -days 2 -subj /CN=localhost -keyout other-key.pem -out other.pem
openssl req -x509 $ec -days 2 -subj /CN=clients -keyout ca-key.pem -out ca.pem
echo extendedKeyUsage=clientAuth >client.ext
openssl req $ec -subj /CN=alice -keyout alice-key.pem -out alice.csr
openssl x509 -req -in alice.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile client.ext -out alice.pem
";

async fn certificates() -> TempDir {
    let directory = TempDir::new().unwrap();
    let output = Command::new("sh").args(["-c", CERTIFICATES]).current_dir(directory.path()).output();
    let output = output.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    directory
}

/// A gateway under TLS whose demo trades, and that wants a token.
async fn gateway(files: &Path, change: impl FnOnce(&mut Config)) -> Gateway {
    let mut config = Config::for_tests();
    config.server.tls_cert_file = Some(files.join("cert.pem"));
    config.server.tls_key_file = Some(files.join("key.pem"));
    config.access.secret_key = Some(SECRET.to_owned());
    config.process.demo = true;
    change(&mut config);
    Gateway::build(config).await.unwrap()
}

pub(crate) async fn token(user: &str) -> String {
    let mut sign = Command::new(env!("CARGO_BIN_EXE_ws-token"));
    sign.env_clear().env("JWT_SECRET_KEY", SECRET).args(["sign", "--sub", user]);
    let output = sign.output().await.unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn client(gateway: &Gateway, scheme: &str, arguments: &[&str]) -> Tool {
    let url = format!("{scheme}://localhost:{}/ws", gateway.local_addr().port());
    let flags = ["--json", "--url", &url, "--no-swap", "--count", "1"];
    Tool::start(env!("CARGO_BIN_EXE_ws-client"), &[&flags[..], arguments].concat())
}

/// How it ends for a client that isn't let in for good.
async fn refused(client: Tool) -> String {
    let (status, stdout, stderr) = client.end().await;
    assert_eq!(status.code(), Some(1), "{stdout:?} {stderr:?}");
    stderr.last().expect("a reason").clone()
}

#[tokio::test]
async fn a_token_and_a_certificate_authority_open_a_gateway_in_every_form() {
    let files = certificates().await;
    let gateway = gateway(files.path(), |_| {}).await;
    let ca = files.path().join("cert.pem").display().to_string();
    let token = token("alice").await;
    for form in ["json", "batch", "sse"] {
        let by_flag = client(&gateway, "wss", &["--form", form, "--tls-ca-file", &ca, "--token", &token]);
        let (status, stdout, stderr) = by_flag.end().await;
        assert!(status.success(), "{form}: {stderr:?}");
        let reply: Value = serde_json::from_str(&stdout[0]).unwrap();
        assert_eq!(reply["data"]["subscribed"], json!(["AAPL", "GOOGL", "MSFT"]), "{form}");
        assert!(stdout.last().unwrap().starts_with(r#"{"type":"trade""#), "{form}: {stdout:?}");

        let wrong =
            refused(client(&gateway, "wss", &["--form", form, "--tls-ca-file", &ca, "--token=x.y.z"])).await;
        assert!(wrong.contains("HTTP 401") && !wrong.contains("x.y.z"), "{form}: {wrong}");
    }
    let url = format!("wss://localhost:{}/ws", gateway.local_addr().port());
    let variables = [format!("CLIENT_TOKEN={token}"), format!("CLIENT_TLS_CA_FILE={ca}")];
    let [token, ca] = variables.each_ref().map(String::as_str);
    let program = env!("CARGO_BIN_EXE_ws-client");
    let by_variable = Tool::start("/usr/bin/env", &[token, ca, program, "--url", &url, "--count=1"]);
    assert!(by_variable.end().await.0.success());
    let help = Tool::start("/usr/bin/env", &[token, program, "--help"]).end().await.1.join("\n");
    assert!(help.contains("CLIENT_TOKEN") && !help.contains(&token["CLIENT_TOKEN=".len()..]), "{help}");
    gateway.drain().await;
}

#[tokio::test]
async fn a_gateway_that_is_not_believed_is_told_with_the_way_out() {
    let files = certificates().await;
    let gateway = gateway(files.path(), |config| config.access.secret_key = None).await;
    let other = files.path().join("other.pem").display().to_string();
    for form in ["json", "sse"] {
        for arguments in [&["--form", form][..], &["--form", form, "--tls-ca-file", &other]] {
            let mut client = client(&gateway, "wss", arguments);
            let told = line_with(&mut client.stderr, "cannot reach").await;
            assert!(told.contains("invalid peer certificate") && told.contains("; --tls-ca-file"), "{told}");
        }
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_certificate_is_shown_to_a_gateway_that_asks_for_one() {
    let files = certificates().await;
    let at = |name: &str| files.path().join(name).display().to_string();
    let gateway = gateway(files.path(), |config| {
        config.server.tls_client_ca_file = Some(files.path().join("ca.pem"));
        config.access.secret_key = None;
    })
    .await;
    let (ca, certificate, key) = (at("cert.pem"), at("alice.pem"), at("alice-key.pem"));
    let shown = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
    for form in ["json", "sse"] {
        let known = ["--form", form, "--tls-ca-file", &ca];
        let (status, _, stderr) = client(&gateway, "wss", &[&known[..], &shown].concat()).end().await;
        assert!(status.success(), "{form}: {stderr:?}");
        let mut without = client(&gateway, "wss", &known);
        let told = line_with(&mut without.stderr, "CertificateRequired").await;
        assert!(told.contains("--tls-cert-file and --tls-key-file"), "{form}: {told}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn what_can_not_be_used_is_told_at_once() {
    let files = certificates().await;
    let gateway = gateway(files.path(), |_| {}).await;
    let at = |name: &str| files.path().join(name).display().to_string();
    let (nowhere, certificate, key, csr) = (at("nowhere"), at("alice.pem"), at("key.pem"), at("alice.csr"));
    for (scheme, arguments, why) in [
        ("ws", &["--tls-ca-file", &certificate][..], "begins with wss://"),
        ("wss", &["--tls-ca-file", &nowhere], "nowhere"),
        ("wss", &["--tls-ca-file", &csr], "it holds no certificate"),
        ("wss", &["--tls-cert-file", &certificate, "--tls-key-file", &nowhere], "--tls-key-file"),
        ("wss", &["--tls-cert-file", &certificate, "--tls-key-file", &key], "--tls-cert-file"),
        ("wss", &["--tls-cert-file", &csr, "--tls-key-file", &key], "it holds no certificate"),
        ("wss", &["--token", "a\nb"], "--token"),
        ("wss", &["--token", ""], "the token is empty: unset CLIENT_TOKEN"),
        ("wss", &["--form", "sse", "--token", " "], "the token is empty"),
    ] {
        let told = refused(client(&gateway, scheme, arguments)).await;
        assert!(told.contains(why), "{arguments:?}: {told}");
    }
    gateway.drain().await;
}

/// The second handshake within the time is answered 429, and the client comes back when the gateway said.
#[tokio::test]
async fn a_limit_is_waited_for() {
    let files = certificates().await;
    let gateway = gateway(files.path(), |config| {
        config.access.secret_key = None;
        // Two programs are started within the time.
        config.addresses.connection_rate_limit = Rate::new(1, std::time::Duration::from_secs(5));
    })
    .await;
    let ca = files.path().join("cert.pem").display().to_string();
    for form in ["json", "sse"] {
        let [one, other] = [(); 2].map(|()| client(&gateway, "wss", &["--form", form, "--tls-ca-file", &ca]));
        let (one, other) = tokio::join!(one.end(), other.end());
        assert!(one.0.success() && other.0.success(), "{form}");
        // One of them is let in at once, and ends.
        let mut told = one.2.iter().chain(&other.2).filter(|line| line.contains("HTTP 429"));
        let told = told.next().expect("a refusal");
        let wait = told.split("next attempt in ").nth(1).and_then(|rest| rest.split(' ').next());
        let wait_s: f64 = wait.and_then(|wait| wait.parse().ok()).expect("how long it waits");
        // By itself it would wait for a second at most.
        assert!((1.0..7.0).contains(&wait_s), "{told}");
    }
    gateway.drain().await;
}
