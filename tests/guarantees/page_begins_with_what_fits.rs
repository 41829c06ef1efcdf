//! A first visit of the live page begins with what its client may have, where that is less than others may: with all types of three symbols rather
//! than the demo's eight, or with the first type alone.

use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::tokens::SECRET;
use crate::support::{Redis, trade, until};

const FEW: [&str; 3] = ["AAPL", "GOOGL", "MSFT"];

/// A first visit asks for all types, and a client may have fewer than the gateway carries.
#[tokio::test(flavor = "multi_thread")]
async fn all_types_become_trades() {
    for rights in [r#"{"types":["trade"]}"#, r#"{"maxSymbols":3}"#] {
        let redis = Redis::start().await;
        let all = ["--channel-types", "trade,quote", "--max-symbols-per-client", "20"];
        let access = ["--jwt-secret-key", SECRET, "--anonymous", rights];
        let gateway = Process::on(&redis, &[&all[..], &access].concat()).await;
        let mut page = Browser::open(&gateway).await;
        page.until("#types label:has(input[value=quote]:not(:checked))", "quote").await;
        page.until("#note", "Successfully subscribed").await;
        let mut worker = redis.publisher().await;
        for symbol in FEW {
            worker.trade(symbol, &trade(symbol, "150.25", 1_795_000_000_000)).await;
            page.until_row(symbol, "150.25").await;
        }
    }
}

/// A first visit of the demo asks for eight symbols of all types, and a client may have fewer than the gateway lets others have.
#[tokio::test(flavor = "multi_thread")]
async fn eight_symbols_of_the_demo_become_three() {
    let all = ["trade", "quote", "candle", "news", "halt"];
    for (max_symbols, types) in [(15, &all[..]), (5, &all[..1])] {
        let rights = format!(r#"{{"maxSymbols":{max_symbols}}}"#);
        let demo = ["--embedded-redis-port", "0", "--demo", "--channel-types", &all.join(",")];
        let gateway =
            Process::start(&[&demo[..], &["--jwt-secret-key", SECRET, "--anonymous", &rights]].concat())
                .await;
        let mut page = Browser::open(&gateway).await;
        until("what fits", async || {
            let has_three = page.symbols().await == FEW;
            (has_three && page.texts("#types label:has(:checked)").await == types).then_some(())
        })
        .await;
        page.until("#note", "Successfully subscribed").await;
        for symbol in FEW {
            page.until_traded(symbol).await;
        }
        assert_eq!(page.symbols().await, FEW);
    }
}
