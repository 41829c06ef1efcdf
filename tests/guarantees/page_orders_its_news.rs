//! The live page's news and halts stand in the order of their times, and each stands there once, however often a snapshot brings it.

use crate::support::Redis;
use crate::support::browser::Browser;
use crate::support::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn news_that_come_again_or_late_stand_where_they_belong() {
    let redis = Redis::start().await;
    let types = ["--channel-types", "trade,news,halt", "--max-symbols-per-client", "20"];
    let gateway = Process::on(&redis, &types).await;
    let mut worker = redis.publisher().await;
    let mut page = Browser::open_at(&format!("http://{}/?symbols=AAPL,MSFT", gateway.addr())).await;
    page.until("#note", "Successfully subscribed").await;
    for (kind, symbol, event) in [
        ("news", "TSLA", r#""headline":"TSLA opens","timestamp":1700000000000"#),
        ("halt", "AAPL", r#""status":"halted","timestamp":1700000000001"#),
        ("news", "MSFT", r#""headline":"MSFT falls","timestamp":1700000000002"#),
        ("news", "AAPL", r#""headline":"AAPL rises","timestamp":1700000000003"#),
    ] {
        let event = format!(r#"{{"symbol":"{symbol}",{event}}}"#);
        worker.raw(&format!("channel:{kind}:{symbol}"), event.as_bytes()).await;
    }
    page.until("#news li:first-child", "AAPL rises").await;
    for kind in ["news", "halt"] {
        for told in ["Successfully unsubscribed", "Successfully subscribed"] {
            page.click(&format!("#types input[value={kind}]")).await;
            page.until("#note", told).await;
        }
    }
    page.add("TSLA").await;
    page.until("#news", "TSLA opens").await;
    let lines = page.texts("#news li span").await;
    assert_eq!(lines, ["AAPL rises", "MSFT falls", "AAPL halted", "TSLA opens"]);
}
