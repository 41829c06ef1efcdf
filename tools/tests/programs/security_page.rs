//! docs/security.md for a newcomer: its lines for the shell do what the page says, typed one after the other in an empty directory, and the
//! settings look as it shows them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::common::soon;

const PAGE: &str = include_str!("../../../docs/security.md");

/// The ports of the page.
const PORTS: [&str; 4] = ["8443", "8081", "6380", "9090"];

/// A section, up to the next heading of any level.
fn section(heading: &str) -> &'static str {
    let (_, section) = PAGE.split_once(&format!("\n{heading}\n")).expect("the heading");
    let end = ["\n## ", "\n### "].iter().filter_map(|next| section.find(next)).min();
    &section[..end.unwrap_or(section.len())]
}

/// Its lines for the shell.
fn shell(section: &'static str) -> Vec<&'static str> {
    section.split("\n```").filter_map(|block| block.strip_prefix("sh\n")).collect()
}

/// The programs are all in one directory once the workspace is built.
fn programs() -> &'static Path {
    let directory = Path::new(env!("CARGO_BIN_EXE_ws-token")).parent().expect("a directory");
    assert!(directory.join("ws-gateway").exists(), "cargo build --workspace --bins makes ws-gateway");
    directory
}

/// Runs a script in a directory, and returns what it and its programs have printed. What it has started in the background ends with it.
async fn run(script: &str, directory: &Path) -> String {
    let script =
        format!("set -eu\nexec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{script}");
    let path = format!("{}:{}", programs().display(), std::env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).env_clear().env("PATH", path).current_dir(directory);
    let output = bash.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = soon("the end of the script", output).await.expect("bash");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Whether a text has these parts, one behind the other.
fn come_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let (_, after) =
            rest.split_once(part).unwrap_or_else(|| panic!("no {part:?} in its place in {text}"));
        rest = after;
    }
}

/// The text with ports that are free here.
fn on_free_ports(text: &str) -> String {
    let held = PORTS.map(|port| (port, TcpListener::bind("127.0.0.1:0").expect("a free port")));
    held.iter().fold(text.to_owned(), |text, (port, free)| {
        assert!(text.contains(port), "{port}");
        text.replace(port, &free.local_addr().expect("an address").port().to_string())
    })
}

#[tokio::test]
async fn its_lines_do_what_it_says() {
    let directory = TempDir::new().unwrap();
    let attempt = shell(section("## In five minutes"));
    let changes = shell(section("## When keys and certificates change"));
    let certificates = shell(section("### Certificates of clients"));
    assert_eq!((attempt.len(), changes.len(), certificates.len()), (6, 2, 1));
    let script =
        [&attempt[..], &["echo; echo CHANGES"], &changes, &["echo; echo CERTIFICATES"], &certificates];
    let said = run(&on_free_ports(&script.concat().join("\n")), directory.path()).await;
    let (attempt, rest) = said.split_once("\nCHANGES\n").expect("the first part");
    let (changes, certificates) = rest.split_once("\nCERTIFICATES\n").expect("both others");
    let order = [
        "the configuration is good",
        // Nobody: three of what it may have, late.
        "-- Successfully subscribed to 1 symbol(s); now holding AAPL",
        "delayed 5 s",
        "received 3 events",
        // alice: what her token says, at once.
        "-- Successfully subscribed to 1 symbol(s); now holding TSLA",
        "received 3 events",
        "user           alice",
        "subscribe granted",
        "user           nobody",
        "delay          everything is 5000 ms old",
        "subscribe refused: FORBIDDEN: Not allowed: the client's rights don't cover TSLA",
        "as it should be",
        r#"{"type":"error","message":"The token has expired","code":"UNAUTHORIZED""#,
        "refused: The token has expired",
        "JWKS_URL: the key has signed it, and it doesn't hold: The token has expired",
        "as it should be",
        r#"{"type":"error","message":"The token is none that this gateway knows: no key fits its signature","code":"UNAUTHORIZED""#,
        "refused: The token is none that this gateway knows: no key fits its signature",
        "JWKS_URL: there is no key with the kid ",
        "as it should be",
        r#"{"status":"ok","#,
        r#"{"activeConnections":0,"#,
    ];
    come_in_order(attempt, &order);
    let order = [
        // bob's, whose key is new, then alice's, whose key is old.
        "received 1 events",
        "received 1 events",
        "refused: The token is none",
        "the old key counts no more",
        // Only the new certificate is its own authority.
        r#"{"status":"ok","#,
    ];
    come_in_order(changes, &order);
    let private = ["key.pem", "prices.key.pem", "prices2.key.pem", ".env", "token", "expired"];
    for name in private {
        let mode = directory.path().join(name).metadata().expect(name).permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} is its owner's alone");
    }
    assert!(certificates.contains("drained") && certificates.contains("received 1 events"), "{certificates}");
    // Of alice's lines none is marked.
    let alices = attempt.split("now holding TSLA").nth(1).and_then(|rest| rest.split("received").next());
    assert!(!alices.expect("her lines").contains("delayed"), "{attempt}");
}

/// The secret that is made is one that the gateway takes, and the token that is signed with it is good.
#[tokio::test]
async fn a_secret_alone_does_what_it_says() {
    let directory = TempDir::new().unwrap();
    let lines = shell(section("## Tokens alone")).concat();
    let lines = lines.replace("cargo run --release -p tools --bin ws-token --", "ws-token");
    let (tokens, gateway) = lines.trim_end().rsplit_once('\n').expect("the gateway last");
    assert_eq!(gateway, "cargo run --release -- --demo");
    let said = run(&format!("{tokens}\nws-token check < token"), directory.path()).await;
    come_in_order(&said, &["accepted", "user           user-123"]);
}

/// The examples of settings are taken, and mean what the page says.
#[tokio::test]
async fn its_settings_look_as_shown() {
    let directory = TempDir::new().unwrap();
    let rows = section("## In five minutes").lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: BTreeMap<&str, &str> = rows.filter_map(|row| row.split_once("` | ")).collect();
    let example = |name: &str| rows[name].split('`').nth(1).expect("an example");
    let command = |name: &str| {
        rows[name].split('`').find(|text| text.contains("ws-token key") || text.contains("printf"))
    };
    let secret = command("JWT_SECRET_KEY").expect("a command");
    let api_keys = command("API_KEYS_FILE").expect("a command");
    let names = ["ANONYMOUS", "FEED_DELAYS", "API_KEYS_FILE", "JWT_PUBLIC_KEY_FILE"];
    let settings = names.map(|name| format!("{name}={}\n", example(name))).concat();
    let token = rows["JWT_CLAIMS"].split('`').find(|text| text.starts_with("{\"sub\"")).expect("a token");
    let claims: serde_json::Value = serde_json::from_str(token).expect("JSON");
    let (user, app, pointer) = (&claims["sub"], &claims["app_metadata"], example("JWT_CLAIMS"));
    let script = format!(
        "ws-token key --out prices\n{api_keys}\ncat > .env <<'EOF'\n{settings}EOF\n\
         secret=$({secret} 2>/dev/null)\necho \"JWT_SECRET_KEY=$secret\" >> .env\n\
         ws-token check --anonymous\n\
         ws-token check \"$(cut -f 1 api-keys)\"\n\
         JWT_SECRET_KEY=$secret ws-token sign --sub dave | ws-token check\n\
         ws-token sign --key prices.key.pem --sub bob --symbols MSFT | ws-token check\n\
         mkdir claims\ncd claims\nprintf '%s\\n' \"JWT_SECRET_KEY=$secret\" 'JWT_CLAIMS={pointer}' > .env\n\
         JWT_SECRET_KEY=$secret ws-token sign --sub {user} --claim 'app_metadata={app}' | ws-token check\n"
    );
    let said = run(&script, directory.path()).await;
    let parts: Vec<_> = said.split("accepted\n").skip(1).collect();
    let expected = [
        ("nobody", "DEMO-* (claim symbols)"),
        ("robot", "BTC-* (claim symbols)"),
        ("dave", "not limited"),
        ("bob", "MSFT (claim symbols)"),
        ("alice", "AAPL (claim symbols)"),
    ];
    assert_eq!(parts.len(), expected.len(), "{said}");
    for (part, (user, symbols)) in parts.iter().zip(expected) {
        assert!(part.contains(&format!("user           {user}")) && part.contains(symbols), "{part}");
    }
    assert!(parts[0].contains("delay          everything is 900000 ms old"), "{said}");
}
