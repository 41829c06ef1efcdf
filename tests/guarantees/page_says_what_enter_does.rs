//! The search field of the live page: Enter shows the symbol that is marked in the watchlist, or adds what is typed, and a line below the field
//! says which. Arrows go from one to the other; the button adds what is typed in any case.

use serde_json::json;

use crate::page_is_for_everybody::{AXE, PHONE, faults, overhang};
use crate::support::browser::Browser;
use crate::support::process::Process;

const DEMO: [&str; 5] = ["--embedded-redis-port", "0", "--demo", "--channel-types", "trade"];

async fn watching(symbols: &str) -> (Process, Browser) {
    let gateway = Process::start(&DEMO).await;
    let mut page = Browser::open_at(&format!("http://{}/?symbols={symbols}", gateway.addr())).await;
    page.until("#note", "Successfully subscribed").await;
    (gateway, page)
}

async fn typed(page: &mut Browser, text: &str) {
    page.act(json!({"do": "fill", "at": "#symbols", "with": text})).await;
}

/// What the page says that Enter will do.
async fn hint(page: &mut Browser) -> String {
    page.texts("#hint").await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn part_of_a_known_name_shows_that_symbol() {
    let (_gateway, mut page) = watching("AAPL,NVDA,NFLX").await;
    typed(&mut page, "nv").await;
    assert_eq!(hint(&mut page).await, "Enter shows NVDA, the button adds NV.");
    page.until("#rows li.next:visible", "NVDA").await;
    page.picture("search").await;
    page.press("Enter").await;
    page.until("#chosen", "NVDA").await;
    page.until("#said", "NVDA is shown").await;
    assert_eq!(page.symbols().await, ["AAPL", "NVDA", "NFLX"], "nothing is added");
    assert_eq!(hint(&mut page).await, "");
    page.until("#rows li[data-symbol=AAPL]:visible", "AAPL").await;
    page.until("#symbols:focus", "").await;

    // One that begins so before one that has it elsewhere, in whatever order they stand.
    typed(&mut page, "l").await;
    assert_eq!(hint(&mut page).await, "Enter shows AAPL, the button adds L.");
    typed(&mut page, "n").await;
    for says in
        ["Enter shows NVDA, the button adds N.", "Enter shows NFLX, the button adds N.", "Enter adds N."]
    {
        assert_eq!(hint(&mut page).await, says);
        page.press("ArrowDown").await;
    }
    page.press("ArrowUp").await;
    page.until("#form .main.next", "Add").await;
    page.picture("search-adds").await;
    page.press("ArrowUp").await;
    page.press("Enter").await;
    page.until("#chosen", "NFLX").await;

    typed(&mut page, "aapl").await;
    assert_eq!(hint(&mut page).await, "Enter shows AAPL.", "it is watched already");
    page.press("Enter").await;
    page.until("#chosen", "AAPL").await;
    typed(&mut page, "nv").await;
    page.press("Escape").await;
    page.until("#rows li[data-symbol=AAPL]:visible", "AAPL").await;
    assert_eq!(hint(&mut page).await, "");
    assert_eq!(page.symbols().await, ["AAPL", "NVDA", "NFLX"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_known_name_has_is_added_and_so_is_what_the_button_is_pressed_for() {
    let (_gateway, mut page) = watching("AAPL,NVDA").await;
    typed(&mut page, "tsla").await;
    assert_eq!(hint(&mut page).await, "Enter adds TSLA.");
    page.press("Enter").await;
    page.until_traded("TSLA").await;
    page.add("nv").await;
    page.until_row("NV", "NV").await;
    typed(&mut page, "a").await;
    page.press("ArrowUp").await;
    assert_eq!(hint(&mut page).await, "Enter adds A.");
    page.press("Enter").await;
    page.until_row("A", "A").await;
    for (text, says) in [
        ("amzn, nvda", "Enter adds AMZN, NVDA."),
        ("btc-*", "Enter adds BTC-*."),
        ("amzn meta nflx msft", "Enter adds 4 symbols."),
    ] {
        typed(&mut page, text).await;
        assert_eq!(hint(&mut page).await, says);
    }
    page.press("Enter").await;
    page.until_traded("NFLX").await;
    assert_eq!(page.symbols().await, ["AAPL", "NVDA", "TSLA", "NV", "A", "AMZN", "META", "NFLX", "MSFT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_for_everybody() {
    crate::page_is_what_its_sources_make::installed().await;
    let (_gateway, mut page) = watching("AAPL,NVDA").await;
    page.act(json!({"do": "run", "at": AXE})).await;
    for (text, says) in [("nv", "Enter shows NVDA"), ("tsla", "Enter adds TSLA")] {
        for scheme in ["light", "dark"] {
            page.act(json!({"do": "scheme", "with": scheme})).await;
            for (width, height) in [(1280, 800), PHONE, (320, 568)] {
                page.size(width, height).await;
                typed(&mut page, text).await;
                page.until("#hint:visible", says).await;
                assert_eq!(faults(&mut page).await, json!([]), "{text}, {scheme}, {width} px");
                assert_eq!(overhang(&mut page).await, json!(0), "{text}, {width} px");
            }
        }
    }
    // On a phone the symbol's chart is another part of the page.
    typed(&mut page, "nv").await;
    page.press("Enter").await;
    page.until("#panel-chart:visible", "NVDA").await;
}
