//! While trades are not subscribed the live page shows the last price as one of before, whatever else comes of the symbol: pale, with the reason,
//! and not in the tab's title.

use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::{Redis, trade};

/// How much is seen of the price, of the chart and of the panel that has both.
const SEEN: &str =
    "['#now', '#chart', '#panel-chart'].map((at) => getComputedStyle(document.querySelector(at)).opacity)";

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_pale_while_trades_are_off() {
    let redis = Redis::start().await;
    let types = ["--channel-types", "trade,quote", "--max-symbols-per-client", "20"];
    let gateway = Process::on(&redis, &types).await;
    let mut worker = redis.publisher().await;
    let mut page = Browser::open_at(&format!("http://{}/?symbols=AAPL", gateway.addr())).await;
    page.until("#note", "Successfully subscribed").await;
    worker.trade("AAPL", &trade("AAPL", "150.250", 1_795_000_000_000)).await;
    page.until("#rows li:not(.stale)", "150.25").await;
    page.until_title("150.25 AAPL · ws-gateway").await;
    assert_eq!(page.evaluate(SEEN).await, serde_json::json!(["1", "1", "1"]));

    page.click("#types input[value=trade]").await;
    page.until("#note", "Successfully unsubscribed").await;
    let quote =
        r#"{"symbol":"AAPL","bidPrice":151.20,"bidSize":1,"askPrice":151.27,"timestamp":1795000000001}"#;
    worker.raw("channel:quote:AAPL", quote.as_bytes()).await;
    page.until_fact("bid", "151.20").await;
    page.until("#rows li.stale[title^='Trades are off: the last price, of ']", "150.25").await;
    page.until("#rows li .unseen:not([hidden])", "trades are off").await;
    page.until("#now[title^='Trades are off: '] .unseen:not([hidden])", "trades are off").await;
    page.until_title("ws-gateway live").await;
    assert_eq!(page.evaluate(SEEN).await, serde_json::json!(["0.5", "0.5", "1"]), "the quote is one of now");
    page.picture("trades-off").await;

    page.click("#types input[value=trade]").await;
    page.until("#note", "Successfully subscribed").await;
    worker.trade("AAPL", &trade("AAPL", "150.5", 1_795_000_000_002)).await;
    page.until("#rows li:not(.stale):not([title^=Trades])", "150.50").await;
    page.until_title("150.50 AAPL · ws-gateway").await;
    assert_eq!(page.evaluate(SEEN).await, serde_json::json!(["1", "1", "1"]));

    // A chart of nothing is none that goes on without trades.
    page.unsubscribe("AAPL").await;
    page.until("#chart-note", "No trade yet.").await;
    assert_eq!(page.texts("#chart[data-carried]").await, [""; 0]);
}
