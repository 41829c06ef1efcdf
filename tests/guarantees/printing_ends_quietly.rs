//! An action that prints ends without a panic and with the same exit code when its reader has closed the pipe, on either
//! output. A full disk is reported.

use std::fs::File;
use std::process::{Command, Output, Stdio};

use crate::support::process::Process;

/// Everything that prints and ends by itself with exit code 0.
const PRINTS: [&str; 6] = [
    "--help",
    "--version",
    "--check-config",
    "--print-config",
    "--print-settings-table",
    "--print-env-example",
];

/// A pipe that nobody reads any more.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn gateway(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
    command.args(args).env_clear().current_dir(std::env::temp_dir());
    command
}

/// The exit code, and what was said on standard error.
fn ended(output: std::io::Result<Output>) -> (Option<i32>, String) {
    let output = output.expect("the binary runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[test]
fn on_standard_output() {
    for flag in PRINTS {
        let output = gateway(&[flag]).stdout(closed_pipe()).stderr(Stdio::piped()).output();
        assert_eq!(ended(output), (Some(0), String::new()), "{flag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_of_a_running_gateway() {
    let running = Process::start(&["--embedded-redis-port", "0"]).await;
    let port = running.port.to_string();
    let args = ["--healthcheck", "--ws-host", "127.0.0.1", "--ws-port", &port];
    let output = gateway(&args).stdout(closed_pipe()).stderr(Stdio::piped()).output();
    assert_eq!(ended(output), (Some(0), String::new()));
}

#[test]
fn on_standard_error() {
    // Port 9 is "discard": no gateway answers there.
    let unhealthy = ["--healthcheck", "--ws-host", "127.0.0.1", "--ws-port", "9"];
    let cases: [(&[&str], i32); 3] = [(&["--nonsense"], 2), (&["--ws-port", "http"], 2), (&unhealthy, 1)];
    for (args, code) in cases {
        let status = gateway(args).stdout(Stdio::null()).stderr(closed_pipe()).status().expect("it runs");
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_full_disk_is_reported() {
    for flag in PRINTS {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let output = gateway(&[flag]).stdout(full).stderr(Stdio::piped()).output();
        let (code, said) = ended(output);
        assert_eq!(code, Some(1), "{flag}: {said}");
        assert!(said.starts_with("ws-gateway: standard output: No space left on device"), "{flag}: {said}");
    }
}
