//! The live page in a real browser (headless Chromium): trades appear, one subscribes and unsubscribes, the state of
//! feed and connection is told, and the page comes back by itself when the gateway restarts. Where the gateway carries more
//! than trades it shows them, prices are there at once, patterns bring symbols, and what is missing is told. It asks for a token
//! where the gateway does, and again before the token ends.
//!
//! `PAGE_SCREENSHOTS=<directory>` keeps pictures of the steps. Whatever goes wrong in the page, an error on the browser's console among it, fails
//! the test.

use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::tls::Identity;
use crate::support::tokens::{SECRET, from_now, token};
use crate::support::{Redis, trade, until};
use serde_json::json;
use tempfile::TempDir;
use ws_gateway::demo::DEMO_SYMBOLS;

/// Trades from before the page came that it asks for.
const RECALLED: u64 = 250;

/// The candles of the chart, once there are that many.
const CANDLES: &str = "new Promise((done) => {
    const look = () => {
        const [, candles] = /candles, ([0-9]+) of 5s, last [0-9]/.exec(document.querySelector('#chart').ariaLabel) ?? [];
        Number(candles) >= 60 ? done(Number(candles)) : setTimeout(look, 20);
    };
    look();
})";

/// Five minutes of candles are there long before five minutes are over, and prices before anybody has waited for a trade.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_of_the_demo_finds_a_chart() {
    let gateway = Process::start(&["--embedded-redis-port", "0", "--demo"]).await;
    let mut page = Browser::open(&gateway).await;
    for symbol in DEMO_SYMBOLS {
        page.until_traded(symbol).await;
    }
    assert_eq!(page.symbols().await, DEMO_SYMBOLS, "all that is traded");
    page.evaluate(CANDLES).await;
    page.until("#chosen-change", "%").await;
    page.picture("first-visit").await;
    assert!(page.trades().await < RECALLED, "trades from before the page came don't count as trades of now");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_shown() {
    let demo = ["--embedded-redis-port", "0", "--demo"];
    let mut gateway = Process::start(&demo).await;
    let mut page = Browser::open_at(&format!("http://{}/?symbols=AAPL,GOOGL,MSFT", gateway.addr())).await;
    page.until("#connection", "connected").await;
    assert_eq!(page.until("#feed", "feed").await, "feed up");
    for symbol in ["AAPL", "GOOGL", "MSFT"] {
        page.until_traded(symbol).await;
    }

    page.add("tsla").await;
    page.until("#note", "Successfully subscribed to 1 symbol(s)").await;
    page.until_traded("TSLA").await;
    page.add("amzn nvda meta nflx").await;
    for symbol in ["AMZN", "NVDA", "META", "NFLX"] {
        page.until_traded(symbol).await;
    }
    page.picture("all-of-the-demo").await;
    for symbol in ["GOOGL", "MSFT", "AMZN", "NVDA", "META", "NFLX"] {
        page.unsubscribe(symbol).await;
    }
    assert_eq!(page.symbols().await, ["AAPL", "TSLA"]);

    gateway.signal("TERM");
    assert!(gateway.exit().await.success());
    page.until("#connection", "reconnecting in").await;
    page.until("#note", "The gateway restarts; the page comes back by itself.").await;
    page.picture("gateway-away").await;
    let port = gateway.port.to_string();
    let _restarted = Process::start(&[&demo[..], &["--ws-port", &port]].concat()).await;
    page.until("#note", "Successfully subscribed to 2 symbol(s)").await;
    assert_eq!(page.until("#connection", "connected").await, "connected");
    let before = page.trades().await;
    until("a trade after the restart", async || (page.trades().await > before).then_some(())).await;
    assert_eq!(page.symbols().await, ["AAPL", "TSLA"]);
    page.picture("back-again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_symbols_than_allowed_are_refused_as_a_whole() {
    let gateway =
        Process::start(&["--embedded-redis-port", "0", "--demo", "--max-symbols-per-client", "4"]).await;
    let mut page = Browser::open(&gateway).await;
    page.until_traded("AAPL").await;
    page.add("TSLA AMZN").await;
    page.until("#note", "(SYMBOL_LIMIT_EXCEEDED); MAX_SYMBOLS_PER_CLIENT").await;
    assert_eq!(page.symbols().await, ["AAPL", "GOOGL", "MSFT"], "a refused request changes nothing");
    // What was typed can be corrected.
    assert_eq!(page.evaluate("document.querySelector('#symbols').value").await, json!("TSLA AMZN"));
    page.add("TSLA").await;
    page.until_row("TSLA", "TSLA").await;
    assert_eq!(page.evaluate("document.querySelector('#symbols').value").await, json!(""));
    page.picture("refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_is_told_of_until_another_is_there() {
    let demo = ["--embedded-redis-port", "0", "--demo"];
    let mut gateway = Process::start(&demo).await;
    let mut page = Browser::open(&gateway).await;
    page.until_traded("AAPL").await;
    gateway.signal("KILL");
    gateway.exit().await;
    page.until("#connection", "reconnecting in").await;
    page.until("#feed", "feed unknown").await;
    page.until("#rows li.stale", "AAPL").await;
    let port = gateway.port.to_string();
    let _restarted = Process::start(&[&demo[..], &["--ws-port", &port]].concat()).await;
    page.until("#connection", "connected").await;
    page.until("#rows li:not(.stale)", "AAPL").await;
    let before = page.trades().await;
    until("a trade after the restart", async || (page.trades().await > before).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_tls_carries_it() {
    let identity = Identity::new();
    let flags = identity.flags();
    let args =
        [&["--embedded-redis-port", "0", "--demo"], &flags.each_ref().map(String::as_str)[..]].concat();
    let gateway = Process::start(&args).await;
    gateway.logs("Demo: open https://localhost:").await;
    let mut page = Browser::open_at(&format!("https://localhost:{}/", gateway.port)).await;
    page.until("#connection", "connected").await;
    page.until_traded("AAPL").await;
}

/// Tells, once the page says that the feed is down, the title at that moment.
const TITLE_THEN: &str = "void (window.titleThen = new Promise((done) => {
    const feed = document.querySelector('#feed');
    const look = () => feed.textContent === 'feed down' && done(document.title);
    new MutationObserver(look).observe(feed, { childList: true, characterData: true, subtree: true });
}))";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_feed_is_told() {
    let mut redis = Redis::start().await;
    let gateway = Process::on(&redis, &[]).await;
    let mut page = Browser::open(&gateway).await;
    page.until("#note", "Successfully subscribed").await;
    let mut worker = redis.publisher().await;
    worker.trade("AAPL", &trade("AAPL", "150.250", 1_795_000_000_000)).await;
    worker.trade("MSFT", &trade("MSFT", "400.250", 1_795_000_000_000)).await;
    page.until_row("AAPL", "150.25").await;
    page.until_row("MSFT", "400.25").await;
    page.until_title("150.25 AAPL · ws-gateway").await;
    page.evaluate(TITLE_THEN).await;
    redis.kill();
    page.until("#feed", "feed down").await;
    page.until("#rows li.stale", "150.25").await;
    page.until("#panel-chart.stale", "150.25").await;
    assert_eq!(page.evaluate("window.titleThen").await, "ws-gateway live", "at once");
    page.picture("feed-down").await;
    redis.launch();
    page.until("#feed", "feed up, after").await;
    // What was traded meanwhile is not known: each price is stale until its symbol's next trade.
    let mut worker = redis.publisher().await;
    worker.trade("MSFT", &trade("MSFT", "400.5", 1_795_000_000_001)).await;
    page.until("#rows li:not(.stale)", "400.50").await;
    page.until("#rows li.stale", "150.25").await;
    page.until("#panel-chart.stale", "150.25").await;
    let title = "new Promise((done) => setTimeout(() => done(document.title), 1_000))";
    assert_eq!(page.evaluate(title).await, "ws-gateway live", "the chosen symbol's price is stale");
    worker.trade("AAPL", &trade("AAPL", "150.5", 1_795_000_000_001)).await;
    let row = page.until_row("AAPL", "150.50").await;
    assert!(row.contains("+0.17 %"), "{row}");
    page.until("#rows li:not(.stale)", "150.50").await;
    page.until("#panel-chart:not(.stale)", "150.50").await;
    page.until_title("150.50 AAPL · ws-gateway").await;
    page.picture("feed-up").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_from_before_a_lost_connection_is_stale_until_the_next() {
    let redis = Redis::start().await;
    let mut gateway = Process::on(&redis, &[]).await;
    let mut page = Browser::open(&gateway).await;
    page.until("#note", "Successfully subscribed").await;
    let mut worker = redis.publisher().await;
    for (symbol, price) in [("AAPL", "150.250"), ("MSFT", "400.250")] {
        worker.trade(symbol, &trade(symbol, price, 1_795_000_000_000)).await;
        page.until("#rows li:not(.stale)", price.trim_end_matches('0')).await;
    }
    gateway.signal("KILL");
    gateway.exit().await;
    page.until("#connection", "reconnecting in").await;
    // The next gateway remembers nothing: it can say neither what was missed nor the last price.
    let _restarted = Process::on(&redis, &["--ws-port", &gateway.port.to_string()]).await;
    page.until("#note", "Successfully subscribed to 3 symbol(s)").await;
    page.until("#connection", "connected").await;
    page.until("#feed", "feed up").await;
    worker.trade("MSFT", &trade("MSFT", "400.5", 1_795_000_000_001)).await;
    page.until("#rows li:not(.stale)", "400.50").await;
    page.until("#rows li.stale", "150.25").await;
    worker.trade("AAPL", &trade("AAPL", "150.5", 1_795_000_000_001)).await;
    page.until("#rows li:not(.stale)", "150.50").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_types_are_shown_and_prices_are_there_at_once() {
    let redis = Redis::start().await;
    let all = ["--channel-types", "trade,quote,candle,news,halt", "--max-symbols-per-client", "20"];
    let gateway = Process::on(&redis, &all).await;
    let mut worker = redis.publisher().await;
    // Before anybody watches: the page shows it all the same.
    worker.trade("AAPL", &trade("AAPL", "150.250", 1_795_000_000_000)).await;
    let mut page = Browser::open(&gateway).await;
    page.until("#rows li.known", "150.25").await;
    assert_eq!(page.trades().await, 0, "it was no trade of now");
    // The page's own timer of a second has come by then.
    let title = "new Promise((done) => setTimeout(() => done(document.title), 1_000))";
    assert_eq!(page.evaluate(title).await, "ws-gateway live", "nor is it a price of now");

    for (kind, event) in [
        ("quote", r#""bidPrice":150.20,"bidSize":300,"askPrice":150.27"#),
        ("candle", r#""interval":"1m","open":150,"high":151.5,"low":149.75,"close":150.25,"volume":900"#),
        ("halt", r#""status":"halted""#),
        ("news", r#""headline":"AAPL <b>beats</b> estimates""#),
    ] {
        // Chosen from the beginning, and again.
        let chosen = format!("#types label:has(input[value={kind}]:checked)");
        page.until(&chosen, kind).await;
        for told in ["Successfully unsubscribed", "Successfully subscribed to 3 symbol(s)"] {
            page.act(json!({"do": "click", "at": format!("#types input[value={kind}]")})).await;
            page.until("#note", told).await;
        }
        page.until(&chosen, kind).await;
        let event = format!(r#"{{"symbol":"AAPL",{event},"timestamp":1795000000001}}"#);
        worker.raw(&format!("channel:{kind}:AAPL"), event.as_bytes()).await;
    }
    page.until_fact("bid", "150.20").await;
    page.until_fact("ask", "150.27").await;
    page.until_fact("range", "149.75 – 151.50").await;
    page.until("#facts", "Low – high, 1m").await;
    // The last price is never outside: a trade widens the candle until the next one comes, or begins the next itself.
    for (price, after_ms, range) in
        [("149.50", 2, "149.50 – 151.50"), ("152", 3, "149.50 – 152.00"), ("151", 60_000, "151.00 – 151.00")]
    {
        worker.trade("AAPL", &trade("AAPL", price, 1_795_000_000_000 + after_ms)).await;
        page.until_fact("range", range).await;
    }
    page.until_title("151.00 AAPL · ws-gateway").await;
    page.until("#rows .badge:visible", "halted").await;
    page.until("#news", "AAPL halted").await;
    page.until("#news", "AAPL <b>beats</b> estimates").await;
    page.until("#age", "last event").await;
    page.picture("all-types").await;
    // What is refused later takes no type away.
    page.add("TSLA AMZN").await;
    page.until("#note", "(SYMBOL_LIMIT_EXCEEDED)").await;
    page.until("#types label:has(input[value=quote]:checked)", "quote").await;
    assert_eq!(page.symbols().await, ["AAPL", "GOOGL", "MSFT"]);
}

/// The page's client asks again by itself, and then the note says what has come of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_unsubscribe_above_the_rate_is_noted_until_it_has_succeeded() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &["--message-rate-limit", "4/2s"]).await;
    let mut page = Browser::open_at(&format!("http://{}/?symbols=A,B,C,D,E", gateway.addr())).await;
    page.until("#note", "Successfully subscribed").await;
    page.evaluate(
        "window.notes = [];
        new MutationObserver(() => notes.push(document.querySelector('#note').textContent)).observe(document.querySelector('#note'), { childList: true });
        document.querySelectorAll('#rows .drop').forEach((drop) => drop.click())",
    )
    .await;
    until("all are unsubscribed, one after a refusal", async || {
        let notes: Vec<String> = serde_json::from_value(page.evaluate("notes").await).expect("texts");
        let refused = notes.iter().position(|note| note.contains("(RATE_LIMIT_EXCEEDED)"))?;
        notes[refused..].iter().any(|note| note.starts_with("Successfully unsubscribed")).then_some(())
    })
    .await;
    page.act(json!({"do": "untilGone", "at": "#note .bad"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_brings_symbols_and_what_is_missing_is_told() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &[]).await;
    let mut worker = redis.publisher().await;
    let mut page = Browser::open(&gateway).await;
    page.until("#note", "Successfully subscribed to 3").await;
    page.add("btc-*").await;
    page.until("#patterns", "BTC-*").await;
    let numbered = |symbol: &str, seq: u64| {
        let payload = trade(symbol, "7", 1_795_000_000_000 + seq);
        payload.replace('}', &format!(r#","seq":{seq}}}"#))
    };
    for (symbol, seq) in [("BTC-USD", 1), ("ETH-USD", 1), ("BTC-EUR", 1), ("BTC-USD", 5)] {
        worker.trade(symbol, &numbered(symbol, seq)).await;
    }
    page.until_row("BTC-EUR", "7.00").await;
    page.until_row("BTC-USD", "gap of 3").await;
    page.until("#gaps", "3 missing upstream").await;
    assert_eq!(page.symbols().await, ["AAPL", "GOOGL", "MSFT", "BTC-USD", "BTC-EUR"]);

    // At a limited rate each trade counts still.
    page.act(json!({"do": "select", "at": "#rate", "with": "10"})).await;
    page.until("#note", "Successfully subscribed to 4").await;
    for seq in 6..=105 {
        worker.trade("BTC-USD", &numbered("BTC-USD", seq)).await;
    }
    page.select("BTC-USD").await;
    page.until_fact("trades", "102").await;
    page.picture("pattern").await;

    page.act(json!({"do": "click", "at": "[aria-label='Unsubscribe from BTC-*']"})).await;
    page.until_no_row("BTC-USD").await;
    assert_eq!(page.symbols().await, ["AAPL", "GOOGL", "MSFT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_where_one_is_needed() {
    let redis = Redis::start().await;
    let dir = TempDir::new().expect("a temporary directory");
    let keys = dir.path().join("keys");
    std::fs::write(&keys, "a-key:with-a-secret\t{\"sub\":\"bob\"}\n").expect("a file");
    let keys = keys.to_str().expect("UTF-8");
    let gateway = Process::on(&redis, &["--jwt-secret-key", SECRET, "--api-keys-file", keys]).await;
    let mut page = Browser::open(&gateway).await;
    page.until("#token-note", "This gateway asks for a token.").await;
    page.until("#connection", "token needed").await;
    page.until("label[for=token]:visible", "Token").await;
    page.act(json!({"do": "untilGone", "at": "#token:not(:focus)"})).await;
    page.picture("token-needed").await;

    // One that stands in the handshake, and one that can't.
    for bad in ["no.such.token", "no:such key"] {
        page.enter_token(bad).await;
        page.until("#token-note.bad", "Enter another one.").await;
        page.act(
            json!({"do": "untilGone", "at": "#token:not([aria-invalid=true][aria-describedby=token-note])"}),
        )
        .await;
        page.until("#connection", "token needed").await;
    }
    page.picture("token-refused").await;

    for good in [token(json!({"sub": "alice"})), "a-key:with-a-secret".to_owned()] {
        page.enter_token(&good).await;
        page.until("#note", "Successfully subscribed to 3").await;
        page.until_not_asked().await;
        // The tab keeps it, and no other does.
        page.act(json!({"do": "reload"})).await;
        page.until("#note", "Successfully subscribed to 3").await;
        page.until_not_asked().await;
        page.act(json!({"do": "forget"})).await;
        page.until("#token-note", "This gateway asks for a token.").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_is_asked_for_anew() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &["--jwt-secret-key", SECRET, "--jwt-leeway", "0s"]).await;
    let ending = |seconds| token(json!({"sub": "alice", "exp": from_now(seconds)}));
    let mut page = Browser::open(&gateway).await;
    page.until("#token-note", "This gateway asks for a token.").await;
    page.enter_token(&ending(50)).await;
    page.until("#token-note", "Your token ends in").await;
    page.until("#connection", "connected").await;
    page.picture("token-ending").await;
    page.enter_token(&ending(3_600)).await;
    page.until("#note", "The gateway knows you as alice.").await;
    page.until_not_asked().await;
    assert_eq!(page.symbols().await, ["AAPL", "GOOGL", "MSFT"]);
    redis.publisher().await.trade("AAPL", &trade("AAPL", "150.250", 1_795_000_000_000)).await;
    page.until_row("AAPL", "150.25").await;

    page.act(json!({"do": "forget"})).await;
    page.until("#token-note", "This gateway asks for a token.").await;
    page.enter_token(&ending(4)).await;
    page.until("#token-note.bad", "expired").await;
    page.until("#connection", "token needed").await;
    page.until("#rows li.stale", "AAPL").await;
}
