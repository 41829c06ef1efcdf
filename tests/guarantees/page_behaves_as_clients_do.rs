//! The live page's connection does in a real browser what the table of behaviours says: its client, behind the tap that the console
//! listens with, against the scripted server.

use serde_json::json;
use tokio::process::Command;

use crate::support::browser::Browser;
use crate::support::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_table() {
    crate::clients_js::installed().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = dir.path().join("behaviour.js");
    let builder = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/js/test/in-page.mjs");
    let built = Command::new("node").arg(builder).arg(&script).status().await.expect("node");
    assert!(built.success());

    let gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    let mut page = Browser::open(&gateway).await;
    page.act(json!({"do": "run", "at": script})).await;
    let told = page.evaluate("behaviour()").await;
    assert_eq!(told["failures"], json!([]), "{told}");
    let count = |name: &str| told[name].as_u64().unwrap_or_default();
    assert!(count("played") > 200 && count("received") > 500 && count("sent") > 300, "{told}");
}
