//! Packages beside the gateway, and their own tests.

use tokio::process::Command;

/// Runs a package's `check` (its path in the repository) with the gateway at hand; it has to pass.
pub(crate) async fn check(path: &str, args: &[&str]) {
    let check = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(&check)
        .args(args)
        .env("WS_GATEWAY", env!("CARGO_BIN_EXE_ws-gateway"))
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{check}: {error}"));
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{}\n{text}", output.status);
}
