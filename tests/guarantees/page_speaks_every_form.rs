//! The live page's console speaks each form that the gateway has: it shows where a client connects and what it sends, connects in that form, and
//! shows what comes as it is on the wire. A token lets it in and is not shown. What `DIALECTS` leaves off can't be chosen.

use serde_json::json;
use tempfile::TempDir;

use crate::page_is_for_everybody::{AXE, PHONE, faults, overhang};
use crate::support::browser::Browser;
use crate::support::detour::Detour;
use crate::support::process::Process;
use crate::support::tokens::{SECRET, token};
use crate::support::{Redis, trade, until};

const DEMO: [&str; 5] =
    ["--embedded-redis-port", "0", "--demo", "--dialects", "alpaca,binance,massive,finnhub,socketio"];

/// Of each form: how it is offered, the URL behind scheme and authority, the last request, and what an event begins with.
const FORMS: [(&str, &str, &str, &str); 7] = [
    (
        "JSON, several in a message: /ws?batch=1",
        "/ws?batch=1",
        r#"{"action":"subscribe","symbols":["AAPL"],"snapshot":true,"id":1}"#,
        r#"[{"type":"trade","data":{"symbol":"AAPL""#,
    ),
    ("Server-sent events: /sse", "/sse?symbols=AAPL&types=trade&snapshot=1", "", "event: trade\nid: trade:"),
    (
        "Alpaca: /alpaca/v2/iex",
        "/alpaca/v2/iex",
        r#"{"action":"subscribe","trades":["AAPL"]}"#,
        r#"[{"T":"t","S":"AAPL""#,
    ),
    (
        "Binance: /binance/stream",
        "/binance/stream",
        r#"{"method":"SUBSCRIBE","params":["aapl@trade"],"id":1}"#,
        r#"{"stream":"aapl@trade","data":{"e":"trade""#,
    ),
    (
        "Massive (Polygon): /massive/stocks",
        "/massive/stocks",
        r#"{"action":"subscribe","params":"T.AAPL"}"#,
        r#"[{"ev":"T","sym":"AAPL""#,
    ),
    ("Finnhub: /finnhub", "/finnhub", r#"{"type":"subscribe","symbol":"AAPL"}"#, r#"{"data":[{"#),
    (
        "Socket.IO: /socket.io/",
        "/socket.io/?EIO=4&transport=websocket",
        r#"42/events,0["subscribe",{"symbols":["AAPL"],"types":["trade"],"snapshot":true}]"#,
        r#"42/events,["trade",{"type":"trade","data":{"symbol":"AAPL""#,
    ),
];

async fn choose(page: &mut Browser, form: &str) {
    page.act(json!({"do": "select", "at": "#way", "with": {"label": form}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_shown_as_it_is_on_the_wire() {
    let gateway = Process::start(&DEMO).await;
    let mut page = Browser::open(&gateway).await;
    page.until_traded("AAPL").await;
    page.click("#console-open").await;
    page.until("#way-url", &format!("ws://{}/ws", gateway.addr())).await;
    page.until("#frames li[data-way=in]", r#"{"type":"trade""#).await;
    for (name, path, request, event) in FORMS {
        choose(&mut page, name).await;
        let scheme = if request.is_empty() { "http" } else { "ws" };
        page.until("#way-url", &format!("{scheme}://{}{path}", gateway.addr())).await;
        assert_eq!(page.evaluate("document.querySelector('#request').value").await, json!(request), "{name}");
        page.until("#frames li[data-way=in]", event).await;
        if !request.is_empty() {
            page.until("#frames li[data-way=out]", request).await;
        }
        page.picture(&format!("form-{}", &name[..4])).await;
    }
    // Requests of one's own, on that connection.
    page.act(json!({"do": "fill", "at": "#request", "with": r#"42/events,7["ping"]"#})).await;
    page.press("Enter").await;
    page.until("#frames li[data-way=in]", r#"43/events,7[{"status":"pong""#).await;
    choose(&mut page, "Massive (Polygon): /massive/stocks").await;
    page.until("#frames li[data-way=out]", r#"{"action":"subscribe""#).await;
    page.act(json!({"do": "fill", "at": "#request", "with": r#"{"params":"s3cret","action":"auth"}"#})).await;
    page.press("Enter").await;
    page.until("#frames li[data-way=out]", r#"{"params":"…","action":"auth"}"#).await;
    assert!(!page.texts("#frames").await.concat().contains("s3cret"));
    // Back on the page's own.
    choose(&mut page, "JSON: /ws").await;
    page.until("#frames li[data-way=in]", r#"{"type":"trade""#).await;
    until("the other connections to end", async || {
        (gateway.get("/health").await.json()["connections"] == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_chosen_by_keyboard_on_any_screen() {
    crate::page_is_what_its_sources_make::installed().await;
    let gateway = Process::start(&DEMO).await;
    let mut page = Browser::open_at(&format!("http://{}/?symbols=AAPL&console=open", gateway.addr())).await;
    page.until_traded("AAPL").await;
    page.act(json!({"do": "run", "at": AXE})).await;
    page.evaluate("document.querySelector('#way').focus()").await;
    for _ in 0..3 {
        page.press("ArrowDown").await;
    }
    page.until("#frames li[data-way=in]", r#"[{"T":"t","S":"AAPL""#).await;
    page.until("#way-docs", "docs/dialects/alpaca.md").await;
    assert_eq!(faults(&mut page).await, json!([]));
    for (width, height) in [PHONE, (320, 568)] {
        page.size(width, height).await;
        page.click("#tabs [data-tab=console]").await;
        page.until("#way-url:visible", "/alpaca/v2/iex").await;
        assert_eq!(overhang(&mut page).await, json!(0), "at {width}");
        assert_eq!(faults(&mut page).await, json!([]), "at {width}");
        page.picture(&format!("form-{width}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_off_can_not_be_chosen_and_an_end_is_told() {
    let flags = ["--embedded-redis-port", "0", "--demo", "--dialects", "finnhub"];
    let mut gateway = Process::start(&flags).await;
    let way = Detour::to(gateway.addr()).await;
    let mut page = Browser::open_at(&format!("http://{}/", way.addr)).await;
    page.until_traded("AAPL").await;
    page.click("#console-open").await;
    let off = page.texts("#way option:disabled").await;
    let named = ["Alpaca", "Binance", "Massive (Polygon)", "Socket.IO"];
    assert_eq!(off.len(), named.len());
    for (off, name) in off.iter().zip(named) {
        assert!(off.starts_with(&format!("{name}: off, DIALECTS=")), "{off}");
    }
    choose(&mut page, "Finnhub: /finnhub").await;
    page.until("#frames li[data-way=in]", r#"{"data":[{"#).await;
    gateway.signal("TERM");
    page.until("#console-note", "This connection has ended (1012").await;
    assert!(gateway.exit().await.success());
    let restarted = Process::start(&flags).await;
    way.lead_to(restarted.addr());
    page.click("#console-clear").await;
    page.click("#console-send").await;
    page.until("#frames li[data-way=in]", r#"{"data":[{"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_behind_the_choice_is_sent_and_what_is_shown_is_what_was_sent() {
    let gateway =
        Process::start(&[&["--jwt-secret-key", SECRET, "--auth-timeout", "1s"], &DEMO[..]].concat()).await;
    let mut page = Browser::open(&gateway).await;
    page.until("#token-note", "This gateway asks for a token.").await;
    page.click("#console-open").await;
    choose(&mut page, FORMS[0].0).await;
    page.until("#console-note", "This connection has ended").await;
    page.enter_token(&token(json!({"sub": "alice"}))).await;
    page.until("#note", "Successfully subscribed").await;
    page.click("#console-clear").await;
    page.click("#console-send").await;
    page.until("#frames li[data-way=in]", r#""subscribed":["AAPL"]"#).await;
    let sent = page.texts("#frames li[data-way=out] code").await;
    assert_eq!(sent, [FORMS[0].2, r#"{"action":"auth","token":"…"}"#], "the latest first");
}

/// What answers a form's subscribe.
fn accepted(form: &str) -> &'static str {
    match form.split([' ', ':', ',']).next().expect("a word") {
        "Server-sent" => "event: success",
        "JSON" => r#""subscribed":["AAPL"]"#,
        "Alpaca" => r#"[{"T":"subscription","trades":["AAPL"]"#,
        "Binance" => r#"{"result":null,"id":1}"#,
        "Massive" => "subscribed to: T.AAPL",
        "Socket.IO" => r#"43/events,0[{"status":"subscribed""#,
        // Finnhub's has no answer.
        _ => "",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_lets_it_in_and_is_not_shown() {
    let redis = Redis::start().await;
    let dir = TempDir::new().expect("a temporary directory");
    let keys = dir.path().join("keys");
    std::fs::write(&keys, "a-key:with-a-secret\t{\"sub\":\"bob\"}\n").expect("a file");
    let keys = keys.to_str().expect("UTF-8");
    let with_keys = ["--jwt-secret-key", SECRET, "--api-keys-file", keys];
    let gateway = Process::on(&redis, &[&with_keys[..], &DEMO[3..]].concat()).await;
    let mut worker = redis.publisher().await;
    let mut page = Browser::open(&gateway).await;
    page.until("#token-note", "This gateway asks for a token.").await;
    for good in [token(json!({"sub": "alice"})), "a-key:with-a-secret".to_owned()] {
        page.enter_token(&good).await;
        page.until("#note", "Successfully subscribed to 3").await;
        page.until("#console-open", "").await;
        if page.evaluate("!document.querySelector('#console').checkVisibility()").await == true {
            page.click("#console-open").await;
        }
        for (name, _, request, event) in FORMS {
            choose(&mut page, name).await;
            let accepted = accepted(name);
            if !accepted.is_empty() {
                page.until("#frames li[data-way=in]", accepted).await;
                worker.trade("AAPL", &trade("AAPL", "150.250", 1_795_000_000_000)).await;
                let event = if request.is_empty() { "event: trade" } else { event };
                page.until("#frames li[data-way=in]", event).await;
            } else {
                page.until("#frames li[data-way=out]", request).await;
            }
            let shown =
                page.evaluate("document.body.innerText + document.querySelector('#request').value").await;
            let shown = shown.as_str().expect("text");
            assert!(!shown.contains(&good) && !shown.contains("with-a-secret"), "{name}: {shown}");
        }
        choose(&mut page, "JSON: /ws").await;
        page.act(json!({"do": "forget"})).await;
        page.until("#token-note", "This gateway asks for a token.").await;
    }
}
