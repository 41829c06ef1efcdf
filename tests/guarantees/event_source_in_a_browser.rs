//! A browser's own `EventSource` (headless Chromium) on `/sse`: events arrive by their names; after a cut the browser comes back by itself with
//! `Last-Event-ID` and gets what it missed; after a drain it comes back to the next gateway.

use crate::support::browser::Browser;
use crate::support::detour::Detour;
use crate::support::{Redis, TestGateway, until};
use serde_json::{Value, json};

const SETUP: &str = r#"(() => {
    window.seen = [];
    const source = new EventSource("/sse?symbols=AAPL&types=trade&snapshot=1");
    for (const name of ["success", "trade", "status", "refused"]) {
        source.addEventListener(name, ({ data, lastEventId }) => window.seen.push([name, JSON.parse(data), lastEventId]));
    }
    source.addEventListener("error", () => window.seen.push(["error", null, ""]));
})()"#;

fn numbered(seq: u64) -> String {
    format!(r#"{{"symbol":"AAPL","price":{seq}.50,"volume":1,"timestamp":{seq},"seq":{seq}}}"#)
}

/// Waits for the next thing seen with that name, behind the first `seen`; returns its message and the id that the browser will show.
async fn next(page: &mut Browser, seen: &mut usize, name: &str) -> (Value, Value) {
    until(name, async || {
        let all = page.evaluate("window.seen").await;
        let found =
            all.as_array().expect("an array").iter().skip(*seen).position(|event| event[0] == name)?;
        *seen += found + 1;
        let event = &all[*seen - 1];
        Some((event[1].clone(), event[2].clone()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gets_events_and_comes_back_for_what_it_missed() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, |_| {}).await;
    let way = Detour::to(first.addr).await;
    let mut worker = redis.publisher().await;
    let mut page = Browser::open_at(&format!("http://{}/health", way.addr)).await;
    page.evaluate(SETUP).await;
    let mut seen = 0;
    let (reply, _) = next(&mut page, &mut seen, "success").await;
    assert_eq!(reply["data"]["subscribed"], json!(["AAPL"]));
    worker.trade("AAPL", &numbered(1)).await;
    let (traded, id) = next(&mut page, &mut seen, "trade").await;
    assert_eq!((&traded["data"]["price"], &id), (&json!(1.5), &json!("trade:1:AAPL")));

    way.cut();
    first.subscribed(0).await;
    for seq in 2..=3 {
        worker.trade("AAPL", &numbered(seq)).await;
    }
    first.taken(3).await;
    let (reply, _) = next(&mut page, &mut seen, "success").await;
    assert_eq!(reply["data"]["recovered"], json!({"AAPL": true}));
    for seq in 2..=3 {
        let (traded, id) = next(&mut page, &mut seen, "trade").await;
        assert_eq!((&traded["replay"], &traded["data"]["seq"]), (&json!(true), &json!(seq)));
        assert_eq!(id, format!("trade:{seq}:AAPL"));
    }
    assert_eq!(next(&mut page, &mut seen, "status").await.0["event"], "replayEnd");
    worker.trade("AAPL", &numbered(4)).await;
    let (traded, _) = next(&mut page, &mut seen, "trade").await;
    assert_eq!((&traded["replay"], &traded["data"]["seq"]), (&Value::Null, &json!(4)));

    // The next gateway knows nothing of before, and says so.
    let second = TestGateway::on(&redis, |_| {}).await;
    way.lead_to(second.addr);
    first.gateway.drain().await;
    assert_eq!(next(&mut page, &mut seen, "status").await.0["event"], "shutdown");
    let (reply, _) = next(&mut page, &mut seen, "success").await;
    assert_eq!(reply["data"]["recovered"], json!({"AAPL": false}));
    worker.trade("AAPL", &numbered(5)).await;
    let (traded, id) = next(&mut page, &mut seen, "trade").await;
    assert_eq!((&traded["data"]["seq"], &id), (&json!(5), &json!("trade:5:AAPL")));
}
