//! `docs/asyncapi.yaml` is valid by AsyncAPI's own parser. That the gateway sends what it describes is tested with the Python client
//! (`clients/python/tests/test_schemas.py`).

use crate::support::program::{Program, node};
use serde_json::json;

#[tokio::test]
async fn by_asyncapis_own_parser() {
    let mut script = node("asyncapi.js").await;
    script.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/asyncapi.yaml"));
    let mut parser = Program::start(script);
    let said = parser.json().await;
    assert_eq!(said["faults"], json!([]), "{said}");
    let channels = [
        "client",
        "serverSentEvents",
        "last",
        "alpaca",
        "binance",
        "massive",
        "finnhub",
        "socketIo",
        "questions",
        "responses",
        "notifications",
        "upstream",
    ];
    assert_eq!(said["channels"], json!(channels));
    assert_eq!(said["messages"], 34);
    assert!(parser.exit().await.success());
}
