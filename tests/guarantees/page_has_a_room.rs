//! The page of a gateway with a desk has a room: two pages talk in it, see each other come, write and go, and what is refused is told.
//! It is for everybody: by keyboard, on a phone, light and dark. Without a desk there is no room.

use serde_json::json;

use crate::page_is_for_everybody::{PHONE, faults, overhang};
use crate::support::browser::Browser;
use crate::support::process::Process;

const GATEWAY: [&str; 8] = [
    "--embedded-redis-port",
    "0",
    "--demo",
    "--desk",
    "--channel-types",
    "trade,quote,candle,news,halt",
    "--max-symbols-per-client",
    "40",
];

impl Browser {
    /// Joins a room by keyboard.
    async fn enter(&mut self, room: &str) {
        self.act(json!({"do": "fill", "at": "#room-id", "with": room})).await;
        self.press("Enter").await;
        self.until("#room-name", room).await;
    }

    async fn write(&mut self, text: &str) {
        self.act(json!({"do": "fill", "at": "#room-text", "with": text})).await;
        self.press("Enter").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pages_talk() {
    let gateway = Process::start(&GATEWAY).await;
    let url = format!("http://{}/?types=trade,quote,candle,news,halt", gateway.addr());
    let (mut one, mut other) = (Browser::open_at(&url).await, Browser::open_at(&url).await);
    one.until_traded("AAPL").await;
    one.enter("lobby").await;
    one.until("#room-count", "1 user").await;
    other.enter("lobby").await;
    other.until("#room-count", "2 users").await;
    one.until("#room-count", "2 users").await;
    one.until("#room-log [data-kind=moved]", "has come").await;
    assert_eq!(one.evaluate("document.activeElement.id").await, json!("room-text"), "one can write at once");

    one.write("Hello <b>everyone</b>!").await;
    one.until("#room-log [data-kind=said]", "you Hello <b>everyone</b>!").await;
    other.until("#room-log [data-kind=said]", "Hello <b>everyone</b>!").await;
    // The other writes, and is seen to.
    other.act(json!({"do": "fill", "at": "#room-text", "with": "AAPL looks"})).await;
    one.until("#room-typing", "writes …").await;
    other.write("AAPL looks cheap").await;
    one.until("#room-log [data-kind=said]", "AAPL looks cheap").await;
    assert_eq!(one.evaluate("document.getElementById('room-typing').textContent").await, json!(""));

    // To one alone.
    one.click("#room-count").await;
    one.click("#room-members button").await;
    one.write("between us").await;
    for page in [&mut one, &mut other] {
        page.until("#room-log [data-kind=direct]", "between us").await;
    }
    one.click("#room-all").await;
    one.picture("room-desktop").await;
    one.size(PHONE.0, PHONE.1).await;
    one.click("#tabs [data-tab=room]").await;
    one.picture("room-phone").await;
    one.act(json!({"do": "scheme", "with": "dark"})).await;
    one.picture("room-phone-dark").await;
    one.size(1280, 800).await;
    one.picture("room-dark").await;

    // Gone at once with a leave; back with a reload, in the same room.
    other.click("#room-leave").await;
    one.until("#room-log [data-kind=moved]", "has gone").await;
    one.until("#room-count", "1 user").await;
    one.act(json!({"do": "reload"})).await;
    one.until("#room-name", "lobby").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told() {
    let limited = [&GATEWAY[..], &["--message-rate-limit", "12/1h", "--max-rooms-per-user", "1"]].concat();
    let gateway = Process::start(&limited).await;
    let mut page = Browser::open_at(&format!("http://{}/?symbols=AAPL&types=trade", gateway.addr())).await;
    page.act(json!({"do": "fill", "at": "#room-id", "with": "\u{202e}"})).await;
    page.press("Enter").await;
    page.until("#room-note", "(INVALID_INPUT)").await;
    page.enter("lobby").await;
    let mut refused = false;
    for n in 0..12 {
        page.write(&format!("message {n}")).await;
        let said = format!(
            "new Promise((done) => {{ const look = () => {{
                if (document.querySelector('#room-note .bad')) return done(true);
                if (document.querySelector('#room-log').textContent.includes('message {n}')) return done(false);
                requestAnimationFrame(look);
            }}; look(); }})"
        );
        refused = page.evaluate(&said).await == json!(true);
        if refused {
            break;
        }
    }
    assert!(refused);
    page.until("#room-note", "(RATE_LIMIT_EXCEEDED)").await;
    let kept = page.evaluate("document.getElementById('room-text').value").await;
    assert!(kept.as_str().is_some_and(|kept| kept.starts_with("message")), "nobody writes it again: {kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_no_serious_fault() {
    crate::page_is_what_its_sources_make::installed().await;
    let gateway = Process::start(&GATEWAY).await;
    let mut page = Browser::open_at(&format!("http://{}/?room=lobby", gateway.addr())).await;
    page.until("#room-name", "lobby").await;
    page.until("#room-count", "1 user").await;
    page.click("#room-count").await;
    page.write("W".repeat(200).as_str()).await;
    page.until("#room-log [data-kind=said]", "WWW").await;
    page.act(json!({"do": "run", "at": crate::page_is_for_everybody::AXE})).await;
    for scheme in ["light", "dark"] {
        page.act(json!({"do": "scheme", "with": scheme})).await;
        for (width, height) in [(1280, 800), (1024, 768), PHONE, (320, 568)] {
            page.size(width, height).await;
            if width <= PHONE.0 {
                page.click("#tabs [data-tab=room]").await;
            }
            assert_eq!(faults(&mut page).await, json!([]), "{scheme} at {width}");
            assert_eq!(overhang(&mut page).await, json!(0), "{scheme} at {width}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_desk_there_is_none() {
    let gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    let mut page = Browser::open(&gateway).await;
    page.until("#connection", "connected").await;
    assert_eq!(page.evaluate("document.getElementById('panel-room').hidden").await, json!(true));
}
