//! The search field of the live page: Enter shows the symbol that is marked in the watchlist, or adds what is typed, and a line below the field
//! says which. Arrows go from one to the other; the button adds what is typed in any case.

use serde_json::json;

use crate::page_is_for_everybody::{AXE, PHONE, faults, overhang};
use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::{Redis, trade};

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
        ("amzn, nvda", "Enter adds AMZN."),
        ("amzn Amzn meta", "Enter adds AMZN, META."),
        ("tsla, nvda", "Watched already."),
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
async fn what_it_says_goes_with_the_rows() {
    let redis = Redis::start().await;
    let mut gateway = Process::on(&redis, &[]).await;
    let mut worker = redis.publisher().await;
    let mut page = Browser::open_at(&format!("http://{}/?symbols=AAPL,NV*", gateway.addr())).await;
    page.until("#note", "Successfully subscribed").await;
    typed(&mut page, "nv").await;
    assert_eq!(hint(&mut page).await, "Enter adds NV.");
    worker.trade("NVDA", &trade("NVDA", "150.25", 1)).await;
    page.until("#hint", "Enter shows NVDA, the button adds NV.").await;
    page.until("#rows li.next:visible", "NVDA").await;
    // What arrows have chosen stays chosen.
    page.press("ArrowUp").await;
    assert_eq!(hint(&mut page).await, "Enter adds NV.");
    worker.trade("NVAX", &trade("NVAX", "7.5", 1)).await;
    page.until_row("NVAX", "7.50").await;
    assert_eq!(hint(&mut page).await, "Enter adds NV.");

    typed(&mut page, "nv*").await;
    assert_eq!(hint(&mut page).await, "Watched already.");
    typed(&mut page, "aap").await;
    assert_eq!(hint(&mut page).await, "Enter shows AAPL, the button adds AAP.");
    page.unsubscribe("AAPL").await;
    page.until("#hint", "Enter adds AAP.").await;

    gateway.signal("TERM");
    assert!(gateway.exit().await.success());
    page.until("#hint", "Without a connection AAP can't be added.").await;
    let port = gateway.port.to_string();
    let _restarted = Process::on(&redis, &["--ws-port", &port]).await;
    page.until("#hint", "Enter adds AAP.").await;
    typed(&mut page, "nvda").await;
    assert_eq!(hint(&mut page).await, "Enter shows NVDA, the button adds NVDA.", "the pattern brought it");
    page.press("Enter").await;
    page.until("#chosen", "NVDA").await;
}

/// An input method's Enter, and keys with Shift or Alt, are not the search's.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_mean_something_else_are_left_alone() {
    let (_gateway, mut page) = watching("AAPL,NVDA,NFLX").await;
    typed(&mut page, "n").await;
    for keys in ["Shift+ArrowDown", "Alt+ArrowDown"] {
        page.press(keys).await;
        assert_eq!(hint(&mut page).await, "Enter shows NVDA, the button adds N.", "{keys}");
    }
    // As Safari tells of the Enter that ends a composition.
    let composed = "document.querySelector('#symbols').dispatchEvent(
        new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true }))";
    assert_eq!(page.evaluate(composed).await, json!(true), "its default is not prevented");
    assert_eq!(hint(&mut page).await, "Enter shows NVDA, the button adds N.");
    page.press("ArrowDown").await;
    assert_eq!(hint(&mut page).await, "Enter shows NFLX, the button adds N.");
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
