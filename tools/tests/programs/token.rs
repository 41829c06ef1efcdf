//! `ws-token` as it is run: its keys are keys to openssl and to a gateway, its tokens open a gateway, and what `check` says is what a gateway
//! does.

use std::path::Path;
use std::process::{Output, Stdio};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use ws_gateway::config::Config;
use ws_gateway::gateway::Gateway;

use crate::common::soon;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ALGORITHMS: [&str; 6] = ["RS256", "PS512", "ES256", "ES384", "EdDSA", "RS384"];

/// Runs it in a directory, with these variables and nothing else.
async fn run(directory: &Path, variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws-token"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    // It may not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
    soon("the end of ws-token", child.wait_with_output()).await.unwrap()
}

/// What it prints, where it succeeds.
async fn prints(directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = run(directory, variables, arguments, "").await;
    let (said, error) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{arguments:?}: {said}{error}");
    said
}

/// What it prints, where a token or a subscribe is refused.
async fn refuses(directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = run(directory, variables, arguments, "").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says, where it fails.
async fn fails(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, &[], arguments, "").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty() && said.lines().count() == 1, "{said}");
    said
}

/// The status of a handshake with that token, or the answer to a subscribe.
async fn subscribe(gateway: &Gateway, token: &str, symbols: &[&str]) -> Result<Value, u16> {
    let mut request = format!("ws://{}/ws", gateway.local_addr()).into_client_request().unwrap();
    request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().unwrap());
    let (mut socket, _) = match tokio_tungstenite::connect_async(request).await {
        Ok(connected) => connected,
        Err(Error::Http(answer)) => return Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    };
    socket.send(Message::text(json!({"action": "subscribe", "symbols": symbols}).to_string())).await.unwrap();
    let Some(Ok(Message::Text(reply))) = soon("a reply", socket.next()).await else { panic!("no reply") };
    Ok(serde_json::from_str(&reply).unwrap())
}

async fn gateway(change: impl FnOnce(&mut Config)) -> Gateway {
    let mut config = Config::for_tests();
    change(&mut config);
    Gateway::build(config).await.unwrap()
}

#[tokio::test]
async fn keys_are_keys_to_everyone_and_tokens_open_a_gateway() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    for algorithm in ALGORITHMS {
        let said = prints(at, &[], &["key", "--alg", algorithm, "--out", algorithm]).await;
        assert!(
            said.starts_with(&format!("{algorithm} key ")) && said.contains("JWT_PUBLIC_KEY_FILE="),
            "{said}"
        );
        let file = |end: &str| at.join(format!("{algorithm}.{end}"));
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&file("key.pem").metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "nobody else reads a private key");
        // openssl finds the same public key in both files.
        let openssl = async |arguments: &[&str], name: &str| {
            let name = file(name);
            let output = Command::new("openssl").arg("pkey").args(arguments).arg("-in").arg(name).output();
            let output = output.await.expect("openssl is installed");
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        let of_private = openssl(&["-pubout"], "key.pem").await;
        assert_eq!(of_private, openssl(&["-pubin", "-pubout"], "pub.pem").await, "{algorithm}");

        let key = format!("{algorithm}.key.pem");
        let token = prints(at, &[], &["sign", "--key", &key, "--sub", "alice", "--alg", algorithm]).await;
        let token = token.trim();
        let inspected = prints(at, &[], &["inspect", token]).await;
        let set: Value = serde_json::from_slice(&std::fs::read(file("jwks.json")).unwrap()).unwrap();
        let kid = set["keys"][0]["kid"].as_str().unwrap();
        assert!(
            inspected.contains(&format!("\"alg\": \"{algorithm}\"")) && inspected.contains(kid),
            "{inspected}"
        );
        assert!(inspected.contains("in 59 minutes") || inspected.contains("in 1 hour"), "{inspected}");
        let public = file("pub.pem");
        let gateway = gateway(|config| config.access.public_key_file = Some(public)).await;
        assert_eq!(subscribe(&gateway, token, &["AAPL"]).await.unwrap()["type"], "success", "{algorithm}");
        let settings = format!("--jwt-public-key-file={algorithm}.pub.pem");
        let checked = prints(at, &[], &["check", token, "--", &settings]).await;
        assert!(checked.starts_with("accepted\n  user           alice\n"), "{checked}");
        gateway.drain().await;
    }
    let said = fails(at, &["key", "--out", "ES256"]).await;
    assert!(said.contains("ES256.key.pem is there already"), "{said}");
    let said = fails(at, &["sign", "--key", "ES256.pub.pem", "--sub", "u"]).await;
    assert!(said.contains("ES256.pub.pem: it has no private key"), "{said}");
    let said = fails(at, &["sign", "--key", "ES256.key.pem", "--alg", "RS256", "--sub", "u"]).await;
    assert!(said.contains("can't sign with RS256"), "{said}");
    let said = fails(at, &["sign", "--sub", "u"]).await;
    assert!(said.contains("there is no key"), "{said}");
}

#[tokio::test]
async fn a_secret_signs_and_is_never_shown() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let secret = prints(at, &[], &["key", "--alg", "HS512"]).await;
    let secret = secret.trim();
    assert_eq!(secret.len(), 43);
    std::fs::write(at.join("secret"), format!("{secret}\n")).unwrap();
    std::fs::write(at.join(".env"), format!("JWT_SECRET_KEY={secret}\n")).unwrap();
    // Days from its end, what is said of a token is the same a second later.
    let sign = ["sign", "--sub", "u", "--expires=30d"];
    let by_variable =
        prints(at, &[("JWT_SECRET_KEY", secret)], &[&sign[..], &["--alg", "HS512"]].concat()).await;
    let by_file = prints(at, &[], &[&sign[..], &["--secret-file", "secret"]].concat()).await;
    for token in [by_variable.trim(), by_file.trim()] {
        // The settings of the directory, of the environment, and of a process that runs.
        let checked = prints(at, &[], &["check", token]).await;
        assert!(checked.starts_with("accepted\n"), "{checked}");
        let elsewhere = TempDir::new().unwrap();
        let variables = [("JWT_SECRET_KEY", secret)];
        assert_eq!(prints(elsewhere.path(), &variables, &["check", token]).await, checked);
        let process = Command::new("cat")
            .env_clear()
            .envs(variables)
            .env("JWT_AUDIENCE", "prices")
            .current_dir(elsewhere.path())
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let process = process.unwrap();
        let pid = process.id().unwrap().to_string();
        let said = refuses(at, &[], &["check", token, "--pid", &pid]).await;
        assert!(said.starts_with("refused: The token has no claim aud"), "{said}");
        // A token on a command line is seen by others.
        let output = run(at, &[], &["check"], &format!("Bearer {token}\n")).await;
        assert_eq!(String::from_utf8(output.stdout).unwrap(), checked);
        assert!(!checked.contains(secret) && !checked.contains(token), "{checked}");
    }
    let help = prints(at, &[("JWT_SECRET_KEY", secret)], &["sign", "--help"]).await;
    assert!(!help.contains(secret), "{help}");
    let output = run(at, &[("JWT_SECRET_KEY", "short")], &["sign", "--sub", "u"], "").await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("JWT_SECRET_KEY: a secret must have at least 32 bytes"), "{said}");
}

#[tokio::test]
async fn check_says_what_a_gateway_does() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let api_keys = at.join("api-keys");
    std::fs::write(&api_keys, "robot-key\t{\"sub\":\"robot\",\"symbols\":[\"ETH-*\"],\"maxSymbols\":1}\n")
        .unwrap();
    let anonymous = r#"{"symbols":["DEMO-*"],"types":["trade"]}"#;
    let gateway = gateway(|config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.access.api_keys_file = Some(api_keys);
        config.access.audiences = vec!["prices".to_owned()];
        config.access.anonymous = Some(anonymous.to_owned());
        config.clients.max_symbols_per_client = 2;
    })
    .await;
    let variables = [
        ("JWT_SECRET_KEY", SECRET),
        ("API_KEYS_FILE", "api-keys"),
        ("JWT_AUDIENCE", "prices"),
        ("ANONYMOUS", anonymous),
        ("MAX_SYMBOLS_PER_CLIENT", "2"),
        ("CHANNEL_TYPES", "trade,quote"),
    ];
    let sign = async |arguments: &[&str]| {
        let all = [&["sign", "--sub=u"], arguments].concat();
        prints(at, &variables, &all).await.trim().to_owned()
    };
    let narrow = sign(&["--aud=prices", "--symbols=AAPL,btc-*", "--types=trade", "--max-rate=4"]).await;
    let wide = sign(&["--aud=x,prices"]).await;
    for (token, symbols) in [
        (&*narrow, &["AAPL"][..]),
        (&narrow, &["BTC-USD", "*"]),
        (&narrow, &["AAPL", "MSFT"]),
        (&narrow, &["MSFT"]),
        (&wide, &["MSFT", "*"]),
        (&wide, &["A", "B", "C"]),
        (&wide, &["A\u{1f642}"]),
        ("robot-key", &["ETH-USD"]),
        ("robot-key", &["ETH-USD", "ETH-EUR"]),
        ("robot-key", &["AAPL"]),
    ] {
        let done = subscribe(&gateway, token, symbols).await.expect("a token that holds");
        let list = symbols.join(",");
        let output = run(at, &variables, &["check", token, "--subscribe", &list], "").await;
        let said = String::from_utf8(output.stdout).unwrap();
        match done["type"].as_str() {
            Some("success") => {
                assert!(
                    output.status.success() && said.contains("\nsubscribe granted\n"),
                    "{symbols:?}: {said}"
                );
            }
            // What is no symbol is refused before a gateway would be asked.
            _ if said.is_empty() => assert_eq!(output.status.code(), Some(2)),
            _ => {
                let refused = format!(
                    "\nsubscribe refused: {}: {}\n",
                    done["code"].as_str().unwrap(),
                    done["message"].as_str().unwrap()
                );
                assert!(output.status.code() == Some(1) && said.contains(&refused), "{refused}{said}");
            }
        }
    }
    let said = prints(at, &variables, &["check", &narrow, "--subscribe=*,BTC-USD"]).await;
    for line in [
        "  user           u\n",
        "  types          trade (claim types)\n",
        "  symbols        AAPL, BTC-* (claim symbols)\n",
        "  subscriptions  at most 2 at a time\n",
        "  rate           at most 4 events a second of each topic (claim maxRate)\n",
        "  trade *, as AAPL, BTC-*\n",
        "  trade BTC-USD\n",
    ] {
        assert!(said.contains(line), "{line}{said}");
    }
    let said = prints(at, &variables, &["check", "--anonymous", "--subscribe", "DEMO-1"]).await;
    assert!(said.contains("nobody") && said.contains("DEMO-* (claim symbols)"), "{said}");
    refuses(at, &variables, &["check", "--anonymous", "--subscribe", "AAPL"]).await;
    refuses(at, &variables[..3], &["check", "--anonymous"]).await;

    let forged =
        prints(at, &[("JWT_SECRET_KEY", &SECRET.to_uppercase())], &["sign", "--sub=u", "--aud=prices"]).await;
    prints(at, &[], &["key", "--out", "other"]).await;
    let other = prints(at, &[], &["sign", "--sub=u", "--key", "other.key.pem"]).await;
    for (token, why) in [
        (forged.trim().to_owned(), "JWT_SECRET_KEY: the key has not signed it"),
        (
            other.trim().to_owned(),
            "JWT_SECRET_KEY: the key is for HS256, HS384, HS512, and the token says ES256",
        ),
        (sign(&[]).await, "has no claim aud"),
        (sign(&["--aud=other"]).await, "for another audience (JWT_AUDIENCE)"),
        (sign(&["--aud=prices", "--expires=0"]).await, "has no claim exp"),
        (sign(&["--aud=prices", "--not-before=1h"]).await, "not valid yet"),
        (sign(&["--aud=prices", "--claim=exp=5", "--expires=0"]).await, "has expired"),
        (sign(&["--aud=prices", "--delay=15m"]).await, "delayMs"),
        (sign(&["--aud=prices", "--claim=symbols=AAPL"]).await, "the claim symbols must be"),
        ("k-1".to_owned(), "API_KEYS_FILE: it is no API key"),
    ] {
        assert_eq!(subscribe(&gateway, &token, &["AAPL"]).await, Err(401), "{why}");
        let said = refuses(at, &variables, &["check", &token]).await;
        assert!(said.starts_with("refused: ") && said.contains(why), "{why}: {said}");
    }
    let open = "accepted, as everybody is: no setting has keys, so the gateway is open";
    let said = prints(at, &[], &["check", "anything"]).await;
    assert!(
        said.starts_with(&format!("{open}: it doesn't look at the token\n  user           nobody")),
        "{said}"
    );
    let said = prints(at, &[], &["check", "--anonymous"]).await;
    assert!(said.starts_with(&format!("{open}\n  user           nobody")), "{said}");
    let said = prints(at, &variables, &["check", &sign(&["--aud=prices", "--claim=max_rate=4"]).await]).await;
    assert!(said.ends_with("\n  not read       max_rate (no claims of this gateway)\n"), "{said}");
    let said = prints(at, &variables, &["check", &wide]).await;
    assert!(!said.contains("not read"), "{said}");
    gateway.drain().await;
}

#[tokio::test]
async fn keys_of_a_server_are_fetched() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    prints(at, &[], &["key", "--out", "ours", "--kid", "k1"]).await;
    let set = std::fs::read_to_string(at.join("ours.jwks.json")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4_096]).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", set.len());
            let _ = stream.write_all(format!("{head}{set}").as_bytes()).await;
        }
    });
    let settings = format!("--jwks-url={url}");
    let sign = async |kid: &str| {
        prints(at, &[], &["sign", "--sub=u", "--key=ours.key.pem", "--kid", kid]).await.trim().to_owned()
    };
    let (known, unknown) = (sign("k1").await, sign("k2").await);
    let output = run(at, &[], &["check", &known, "--", &settings], "").await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("-- keys fetched: k1"), "{told}");
    let said = refuses(at, &[], &["check", &unknown, "--", &settings]).await;
    assert!(said.contains(r#"JWKS_URL: there is no key with the kid "k2" among k1"#), "{said}");
    server.abort();
    let _ = server.await;
    let output = run(at, &[], &["check", &known, "--", &settings], "").await;
    let (said, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(said.contains("JWKS_URL: no keys could be fetched"), "{said}");
    assert!(told.contains("!! keys can't be fetched: ") && told.contains(&url), "{told}");
}

#[tokio::test]
async fn what_can_not_be_used_is_told_in_one_line() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    std::fs::write(at.join("secret"), SECRET).unwrap();
    for (arguments, why) in [
        (&["inspect", "k-1"][..], "may be an API key"),
        (&["inspect"], "there is no token"),
        (
            &["check", "x", "--", "--jwt-secret-key=short"],
            "--jwt-secret-key: the value (not shown) is not allowed",
        ),
        (&["check", "x", "--", "--jwt-public-key-file=nowhere"], "--jwt-public-key-file"),
        (&["check", "x", "--pid", "4294967294"], "--pid 4294967294: there is no such process here"),
        (
            &["sign", "--secret-file=secret", "--sub=u", "--claim=sub=v"],
            "--claim sub: --sub sets this claim as well",
        ),
        (&["check", "x", "--pid", "1", "--", "--shards=1"], "either --pid"),
        (&["key", "--alg=RS256", "--bits=1024"], "must be 2048, 3072 or 4096"),
        (&["sign", "--secret-file=nowhere"], "nowhere: No such file"),
        (&["sign", "--claims-at=app"], "there is no key"),
    ] {
        let said = fails(at, arguments).await;
        assert!(said.starts_with("ws-token: ") && said.contains(why), "{arguments:?}: {said}");
    }
}
