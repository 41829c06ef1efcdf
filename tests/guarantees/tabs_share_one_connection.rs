//! Ten tabs of one browser have one connection, by `connectShared` of `clients/js`: in a SharedWorker, or in one of the tabs, and the next tab
//! takes over when that one goes. Each tab shows fresh prices by React's hooks all the time, and the last one to go ends the connection.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::Process;
use crate::support::program::{Program, node};

async fn ten_tabs(mode: &str) -> Value {
    crate::clients_js::installed().await;
    let gateway = Process::start(&["--embedded-redis-port", "0", "--demo"]).await;
    let dir = TempDir::new().expect("a temporary directory");
    let mut script = node("tabs.js").await;
    script.arg(dir.path().join("profile")).env("TMPDIR", dir.path());
    script.arg(gateway.addr().to_string()).arg(mode);
    Program::start(script).line_with("all").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_worker_holds_it() {
    let seen = ten_tabs("worker").await;
    assert_eq!(seen, json!({"all": 1, "afterOne": 1, "losses": 0, "errors": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_holds_it_and_the_next_takes_over() {
    let seen = ten_tabs("tabs").await;
    assert_eq!(
        seen,
        json!({"all": 1, "afterOne": 1, "losses": 1, "errors": []}),
        "the change is told as a loss"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_browser_can_do_neither_each_has_its_own() {
    let seen = ten_tabs("alone").await;
    assert_eq!(seen, json!({"all": 10, "afterOne": 9, "losses": 0, "errors": []}));
}
