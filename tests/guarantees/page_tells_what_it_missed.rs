//! The live page with a gateway that it cannot keep up with, or was away from: what was skipped for it is told, and with what it shows is
//! all that was published; what was said to its user while it was away comes when it is back, and is marked.

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::tokens::{SECRET, enter, token};
use crate::support::{Redis, trade};

/// Trades of 4 KiB: many times what sockets, browser and outbox hold together.
const TRADES: u64 = 10_000;
const IN_A_BATCH: u64 = 500;
const PADDING: usize = 4_096;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_too_slow_says_how_much_it_has_not_shown() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &["--max-outbox-bytes", "256KiB"]).await;
    let mut page = Browser::open_at(&format!("http://{}/?symbols=AAPL", gateway.addr())).await;
    page.until("#note", "Successfully subscribed").await;
    // As long as it does nothing else, the browser takes no more than it has room for; less than what makes the client give up.
    let busy =
        "setTimeout(() => { const until = performance.now() + 6000; while (performance.now() < until); })";
    page.evaluate(busy).await;
    let mut worker = redis.publisher().await;
    let padding = format!(r#","pad":"{}"}}"#, "x".repeat(PADDING));
    for from in (0..TRADES).step_by(IN_A_BATCH as usize) {
        let batch = (from..from + IN_A_BATCH).map(|n| trade("AAPL", "150.25", n + 1).replace('}', &padding));
        worker.trades(batch.map(|payload| ("AAPL".to_owned(), payload))).await;
    }
    page.until("#skipped", "skipped, this browser was too slow").await;
    page.until_row("AAPL", "skipped").await;
    let all = format!(
        "new Promise((done) => {{ const look = () => {{
            const [skipped, shown] = ['#skipped', '[data-fact=trades]'].map((at) => parseInt(document.querySelector(at).textContent.replace(/,/g, '')));
            skipped + shown >= {TRADES} ? done([skipped + shown, shown > 0]) : requestAnimationFrame(look);
        }}; look(); }})"
    );
    assert_eq!(page.evaluate(&all).await, json!([TRADES, true]), "shown and skipped are all there were");
    page.picture("too-slow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_its_user_while_it_is_away_comes_when_it_is_back() {
    let redis = Redis::start().await;
    let settings = ["--desk", "--jwt-secret-key", SECRET, "--offline-queue", "100/7d"];
    let gateway = Process::on(&redis, &settings).await;
    let url = format!("http://{}/?symbols=AAPL&room=lobby", gateway.addr());
    let mut page = Browser::open_at(&url).await;
    page.enter_token(&token(json!({"sub": "bob"}))).await;
    page.until("#room-count", "1 user").await;

    let bearer = format!("Authorization: Bearer {}", token(json!({"sub": "alice"})));
    let mut alice = enter(gateway.addr(), "", &[&bearer]).await;
    for (text, is_away) in [("now", false), ("later", true)] {
        if is_away {
            page.act(json!({"do": "goto", "at": "about:blank"})).await;
        }
        let chat = json!({"type": "chat", "payload": {"to": "bob", "message": text}, "id": text});
        alice.send(chat.to_string()).await;
        while alice.json().await["id"] != text {}
        if is_away {
            page.act(json!({"do": "goto", "at": url})).await;
        }
        page.until("#room-log [data-kind=direct]", text).await;
    }
    let said = page.texts("#room-log [data-kind=direct]").await;
    assert_eq!(said.len(), 1, "what it had got is not said again: {said:?}");
    assert!(said[0].contains("later (while you were away)"), "{said:?}");
}
