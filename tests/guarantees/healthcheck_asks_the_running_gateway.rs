//! `ws-gateway --healthcheck` succeeds while a gateway with the same settings answers, and fails when it doesn't.

use std::process::Command;

use crate::support::process::Process;
use crate::support::tls::{Authority, Identity};

#[tokio::test(flavor = "multi_thread")]
async fn it_succeeds_only_while_a_gateway_answers() {
    let ask = |port: u16| {
        Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
            .args(["--healthcheck", "--ws-host", "127.0.0.1", "--ws-port", &port.to_string()])
            .status()
            .unwrap()
    };
    let mut gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    assert!(ask(gateway.port).success());
    gateway.signal("KILL");
    gateway.exit().await;
    assert!(!ask(gateway.port).success());
}

/// What `--healthcheck` says with these flags.
fn asks(flags: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
    let output = command.env_clear().arg("--healthcheck").args(flags).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Clients' port may speak TLS or ask for PROXY headers; the operator's port does neither, and asks no token for health.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_its_ports_speak() {
    let identity = Identity::new();
    let (tls, authority) = (identity.flags(), tempfile::NamedTempFile::new().expect("a file"));
    std::fs::write(authority.path(), Authority::new("clients").pem()).expect("the file is ours");
    let tls = tls.each_ref().map(String::as_str);
    let client_ca = ["--tls-client-ca-file", authority.path().to_str().expect("text")];
    let origins = ["--allowed-origins", "https://app.example"];
    let proxied = ["--proxy-protocol", "--trusted-proxies", "192.0.2.1"];
    let transports = [
        ("plain", vec![]),
        ("with PROXY headers", proxied.to_vec()),
        ("under TLS", tls.to_vec()),
        ("under TLS with PROXY headers", [&tls[..], &proxied].concat()),
        ("with clients' certificates", [&tls[..], &client_ca, &origins].concat()),
    ];
    for (transport, flags) in transports {
        for (operators, more) in [
            ("none", &[][..]),
            ("open", &["--ops-port", "0"]),
            ("token", &["--ops-port", "0", "--ops-token", "a-token"]),
        ] {
            // Such a gateway has to have an operator's port.
            if operators == "none" && transport == "with clients' certificates" {
                continue;
            }
            let gateway = Process::start(&[&["--embedded-redis-port", "0"], &flags[..], more].concat()).await;
            let mut asked = [&["--ws-host", "127.0.0.1"], &flags[..], more].concat();
            let operator = match operators {
                "none" => String::new(),
                _ => gateway
                    .logs("Operator's port listening on ")
                    .await
                    .rsplit(':')
                    .next()
                    .expect("a port")
                    .to_owned(),
            };
            if let Some(at) = asked.iter().position(|flag| *flag == "--ops-port") {
                asked[at + 1] = &operator;
            }
            let port = gateway.port.to_string();
            let (healthy, said) = asks(&[&asked[..], &["--ws-port", &port]].concat());
            assert!(healthy && said.contains(r#""status":"ok""#), "{transport}, {operators}: {said}");
            // Nobody listens there.
            let nobody = ["--ws-port", "1"];
            let (healthy, said) = match operators {
                "none" => asks(&[&asked[..], &nobody].concat()),
                _ => asks(&[&flags[..], &nobody, &["--ops-port", "1"]].concat()),
            };
            assert!(!healthy && said.starts_with("unhealthy: "), "{transport}, {operators}: {said}");
        }
    }
}

/// Settings other than the gateway's are no health: TLS asked of a port without it, and the reverse.
#[tokio::test(flavor = "multi_thread")]
async fn and_not_another() {
    let identity = Identity::new();
    let flags = identity.flags();
    let flags = flags.each_ref().map(String::as_str);
    for (theirs, asked) in [(&flags[..], &[][..]), (&[], &flags)] {
        let gateway = Process::start(&[&["--embedded-redis-port", "0"], theirs].concat()).await;
        let port = gateway.port.to_string();
        let (healthy, said) = asks(&[asked, &["--ws-host", "127.0.0.1", "--ws-port", &port]].concat());
        assert!(!healthy && said.starts_with("unhealthy: "), "{said}");
    }
}
