//! The page that the gateway embeds is what `web/src` and the pinned tools make, to the byte, and the page's parts pass their own tests.

use tokio::process::Command;

#[tokio::test]
async fn the_page_is_built_as_it_is_kept() {
    run(&[]).await;
}

/// Waits until the packages that the page is built and looked at with are there.
pub(crate) async fn installed() {
    run(&["--install"]).await;
}

async fn run(args: &[&str]) {
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/web/check");
    let output = Command::new(check)
        .args(args)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{check}: {error}"));
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{}\n{text}", output.status);
}
