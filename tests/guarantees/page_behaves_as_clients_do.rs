//! The live page's connection does in a real browser what the table of behaviours says: its client, behind the tap that the console
//! listens with, against the scripted server and against the gateway as users run it.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::browser::Browser;
use crate::support::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_table() {
    let built = build().await;
    let gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    let mut page = Browser::open(&gateway).await;
    page.act(json!({"do": "run", "at": built.path().join("page.js")})).await;
    let told = page.evaluate("behaviour()").await;
    assert_eq!(told["failures"], json!([]), "{told}");
    assert!(count(&told, "played") > 200, "{told}");
    assert!(count(&told, "received") > 500 && count(&told, "sent") > 300, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_that_a_gateway_can_be_brought_to() {
    let built = build().await;
    let gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    // The gateways of the scenes are at other addresses, to which the live page's policy lets it not connect.
    let mut page = Browser::open_at(&format!("http://{}/health", gateway.addr())).await;
    page.act(json!({"do": "run", "at": built.path().join("page.js")})).await;
    page.act(json!({"do": "expose", "at": built.path().join("outside.js"), "with": "outside"})).await;
    page.evaluate("scenes()").await;
    let told = loop {
        let told = page.evaluate("another()").await;
        if told["isOver"] == true {
            break told;
        }
    };
    assert_eq!(told["failures"], json!([]), "{told}");
    assert_eq!(told["notShown"], json!([]), "{told}");
    assert!(count(&told, "played") > 30, "{told}");
    assert!(count(&told, "received") > 100 && count(&told, "sent") > 100, "{told}");
}

fn count(told: &Value, name: &str) -> u64 {
    told[name].as_u64().unwrap_or_default()
}

/// `page.js` and `outside.js`, as `clients/js/test/in-page.mjs` makes them.
async fn build() -> TempDir {
    crate::clients_js::installed().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let builder = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/js/test/in-page.mjs");
    let (page, outside) = (dir.path().join("page.js"), dir.path().join("outside.js"));
    let built = Command::new("node").arg(builder).args([page, outside]).status().await.expect("node");
    assert!(built.success());
    dir
}
