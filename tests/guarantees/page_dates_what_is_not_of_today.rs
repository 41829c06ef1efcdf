//! A price of another day is shown with its date: in the watchlist, on the tape and among the facts of its symbol. One of today has its time
//! alone, until the day is over.

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::{Redis, trade};

/// In September 2020.
const LONG_AGO_MS: u64 = 1_600_000_000_000;
const A_DAY_MS: u64 = 86_400_000;
/// What of the tape is cut off.
const CUT: &str = "[...document.querySelectorAll('#tape span, .heads span')]
    .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth).map(({ textContent }) => textContent)";
/// The clock of the page is set to noon of its day, which no test outlasts.
const NOON: &str = "void (Date.now = ((now, by) => () => now() + by)(Date.now, new Date().setHours(12, 0, 0, 0) - Date.now()))";
/// The clock of the page goes on by a day.
const A_DAY_LATER: &str = "void (Date.now = ((now) => () => now() + 86_400_000)(Date.now))";

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_has_its_date_once_it_is_not_of_today() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &[]).await;
    let mut worker = redis.publisher().await;
    worker.trade("GOOGL", &trade("GOOGL", "150.25", LONG_AGO_MS)).await;
    let mut page = Browser::open_at(&format!("http://{}/?symbols=GOOGL", gateway.addr())).await;
    page.until("#rows li.known .date:visible", "2020").await;
    page.until_fact("time", "2020").await;

    // Of another year, and of one day before.
    page.evaluate(NOON).await;
    let now = page.evaluate("Date.now()").await.as_u64().expect("milliseconds");
    for (at, price) in [(LONG_AGO_MS + 1, "150.50"), (now - A_DAY_MS, "150.60")] {
        worker.trade("GOOGL", &trade("GOOGL", price, at)).await;
        page.until("#tape li:first-child[data-dated] .price", price).await;
        page.until("#rows li:not(.known) .date:visible", "").await;
    }
    page.until("#tape li:last-child .time", "2020").await;
    page.until("#chart-note", "2020").await;
    for width in [710, 768, 890, 910, 1024, 1170, 1190, 1280, 1600] {
        page.size(width, 900).await;
        assert_eq!(page.evaluate(CUT).await, json!([]), "{width} px");
    }
    page.picture("trade-of-another-day").await;

    worker.trade("GOOGL", &trade("GOOGL", "150.75", now)).await;
    page.until("#tape li:first-child:not([data-dated]) .time", ":").await;
    page.act(json!({"do": "untilGone", "at": "#rows .date:visible"})).await;
    page.picture("trade-of-today").await;

    page.evaluate(A_DAY_LATER).await;
    page.until("#tape li:first-child[data-dated] .price", "150.75").await;
    page.until("#rows .date:visible", "").await;
}
