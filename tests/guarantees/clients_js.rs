//! The JavaScript client does what the behaviour table says, with a scripted server and with the gateway as users run it; its size
//! and its README are tested with it.

use tokio::process::Command;

#[tokio::test]
async fn the_package_passes_its_own_tests() {
    run(&[]).await;
}

/// Waits until the tools are there that the package is built with.
pub(crate) async fn installed() {
    run(&["--install"]).await;
}

async fn run(args: &[&str]) {
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/js/check");
    let output = Command::new(check)
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
