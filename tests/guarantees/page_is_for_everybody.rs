//! The live page on each kind of screen, light and dark, by keyboard and by pointer: axe finds no serious fault, nothing scrolls sideways
//! on a phone, rows move and are remembered, and prices are there soon after it is opened.

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::{Redis, trade};

const DEMO: [&str; 7] = [
    "--embedded-redis-port",
    "0",
    "--demo",
    "--channel-types",
    "trade,quote,candle,news,halt",
    "--max-symbols-per-client",
    "40",
];
pub(crate) const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/web/node_modules/axe-core/axe.min.js");
pub(crate) const PHONE: (u32, u32) = (390, 844);

/// The faults that axe calls serious or critical.
pub(crate) async fn faults(page: &mut Browser) -> Value {
    let run = "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations
        .filter(({ impact }) => ['serious', 'critical'].includes(impact))
        .map(({ id, nodes }) => [id, ...nodes.map(({ target, failureSummary }) => `${target}: ${failureSummary}`)]))";
    page.evaluate(run).await
}

/// By how many pixels the page is wider than its window.
pub(crate) async fn overhang(page: &mut Browser) -> Value {
    page.evaluate("document.documentElement.scrollWidth - innerWidth").await
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_no_serious_fault() {
    crate::page_is_what_its_sources_make::installed().await;
    let gateway = Process::start(&DEMO).await;
    let mut page = Browser::open_at(&format!(
        "http://{}/?symbols=AAPL,BTC-*&types=trade,quote,news,halt&console=open",
        gateway.addr()
    ))
    .await;
    page.until_traded("AAPL").await;
    page.until("#tape li", "AAPL").await;
    page.act(json!({"do": "run", "at": AXE})).await;
    for scheme in ["light", "dark"] {
        page.act(json!({"do": "scheme", "with": scheme})).await;
        page.size(1280, 800).await;
        assert_eq!(faults(&mut page).await, json!([]), "{scheme}");
        page.size(PHONE.0, PHONE.1).await;
        for tab in ["watch", "chart", "tape", "news", "console"] {
            page.click(&format!("#tabs [data-tab={tab}]")).await;
            assert_eq!(faults(&mut page).await, json!([]), "{scheme}, {tab} on a phone");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_scrolls_sideways_on_a_phone() {
    let gateway = Process::start(&DEMO).await;
    let mut page = Browser::start().await;
    page.size(PHONE.0, PHONE.1).await;
    let url = format!("http://{}/?types=trade,quote,candle,news,halt", gateway.addr());
    page.act(json!({"do": "goto", "at": url})).await;
    page.until_traded("AAPL").await;
    // A name of the greatest length, too.
    page.add(&"W".repeat(64)).await;
    page.until("#rows .symbol", &"W".repeat(64)).await;
    for (width, height) in [PHONE, (320, 568)] {
        page.size(width, height).await;
        for tab in ["watch", "chart", "tape", "news", "console"] {
            page.click(&format!("#tabs [data-tab={tab}]")).await;
            page.until(&format!("#panel-{tab}:visible"), "").await;
            if tab == "console" {
                page.until("#frames:visible", "").await;
            }
            assert_eq!(overhang(&mut page).await, json!(0), "{tab} at {width}");
            if tab == "watch" {
                let cut = "Array.from(document.querySelectorAll('#rows .symbol'))
                    .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)
                    .map(({ textContent }) => textContent)";
                assert_eq!(page.evaluate(cut).await, json!(["W".repeat(64)]), "names cut off at {width}");
            }
            if tab == "chart" {
                let below = "document.querySelector('#chart').getBoundingClientRect().bottom
                    - document.querySelector('#tabs').getBoundingClientRect().top";
                let below = page.evaluate(below).await.as_f64().expect("pixels");
                assert!(below <= 0.0, "{below} pixels of the chart are below the fold at {width}");
            }
            page.picture(&format!("phone-{width}-{tab}")).await;
        }
    }
    // A row leads to its chart.
    page.click("#tabs [data-tab=watch]").await;
    page.select("MSFT").await;
    page.until("#panel-chart:visible", "MSFT").await;
    // Wider screens have all of it at once.
    page.size(1024, 768).await;
    assert_eq!(overhang(&mut page).await, json!(0));
    for part in ["watch", "chart", "tape", "news", "console"] {
        page.until(&format!("#panel-{part}:visible"), "").await;
    }
}

/// Columns of the chart that have more than a line's worth of a candle's or a bar's colour, once they are at least so many.
fn coloured_columns(at_least: u32) -> String {
    format!(
        "new Promise((done) => {{ const look = () => {{
            let columns = 0;
            for (const canvas of document.querySelectorAll('#chart canvas')) {{
                const {{ width, height }} = canvas;
                if (!width || !height) continue;
                const {{ data }} = canvas.getContext('2d').getImageData(0, 0, width, height);
                for (let x = 0; x < width; x++) {{
                    let pixels = 0;
                    for (let y = 0; y < height; y++) {{
                        const at = 4 * (y * width + x);
                        if (data[at + 3] && Math.abs(data[at] - data[at + 1]) > 40) pixels++;
                    }}
                    if (pixels >= 8) columns++;
                }}
            }}
            columns >= {at_least} ? done(columns) : setTimeout(look, 100);
        }}; look(); }})"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phones_chart_is_as_wide_as_its_tab_whenever_one_goes_there() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &[]).await;
    numbered_trades(&redis, &gateway).await;
    let mut page = Browser::start().await;
    page.size(PHONE.0, PHONE.1).await;
    page.act(json!({"do": "goto", "at": format!("http://{}/?symbols=AAPL", gateway.addr())})).await;
    page.until_traded("AAPL").await;
    for tab in ["chart", "watch", "chart"] {
        page.click(&format!("#tabs [data-tab={tab}]")).await;
        if tab == "chart" {
            // 24 candles: less than 20 where they were drawn without a width.
            page.evaluate(&coloured_columns(100)).await;
        }
    }
    page.picture("phone-chart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tape_of_any_width_names_its_symbols_and_sides() {
    let gateway = Process::start(&[&DEMO[..], &["--desk"]].concat()).await;
    let mut page =
        Browser::open_at(&format!("http://{}/?symbols=GOOGL&types=trade,news", gateway.addr())).await;
    page.until("#tape li", "GOOGL").await;
    let cut = "[...document.querySelectorAll('#tape li:first-child span, .heads span')]
        .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth).map(({ textContent }) => textContent)";
    for width in [710, 768, 890, 910, 1024, 1170, 1190, 1280, 1600] {
        page.size(width, 900).await;
        assert_eq!(page.evaluate(cut).await, json!([]), "{width} px");
    }
    let side = page.texts("#tape li:first-child .side").await;
    assert!(["buy", "sell", "–"].contains(&side[0].as_str()), "{side:?}");
}

/// 120 numbered trades, one a second.
async fn numbered_trades(redis: &Redis, gateway: &Process) {
    let mut worker = redis.publisher().await;
    for n in 1..=120 {
        let payload = trade("AAPL", &format!("{}.5", 100 + n % 7), 1_795_000_000_000 + 1_000 * n);
        worker.trade("AAPL", &payload.replace('}', &format!(r#","seq":{n}}}"#))).await;
    }
    gateway.taken(120).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_move_by_pointer_and_by_keyboard_and_are_remembered() {
    let gateway = Process::start(&DEMO).await;
    let mut page = Browser::open(&gateway).await;
    page.until_traded("MSFT").await;
    page.click("#rows li[data-symbol=AAPL] .pick").await;
    page.press("Alt+ArrowDown").await;
    page.until("#said", "AAPL is now 2 of 3").await;
    assert_eq!(page.symbols().await, ["GOOGL", "AAPL", "MSFT"]);
    let focus = "document.activeElement.closest('li').dataset.symbol";
    assert_eq!(page.evaluate(focus).await, json!("AAPL"), "the focus goes with the row");
    page.press("ArrowDown").await;
    assert_eq!(page.evaluate(focus).await, json!("MSFT"));
    let row = |symbol| format!("#rows li[data-symbol={symbol}]");
    page.act(json!({"do": "drag", "at": row("GOOGL") + " .grip", "with": row("MSFT")})).await;
    assert_eq!(page.symbols().await, ["AAPL", "MSFT", "GOOGL"]);

    page.act(json!({"do": "reload"})).await;
    page.until_traded("GOOGL").await;
    assert_eq!(page.symbols().await, ["AAPL", "MSFT", "GOOGL"]);
    page.press("/").await;
    page.act(json!({"do": "fill", "at": "#symbols:focus", "with": "ms"})).await;
    page.until(&(row("MSFT") + ":visible"), "MSFT").await;
    page.act(json!({"do": "untilGone", "at": row("AAPL") + ":visible"})).await;
    page.act(json!({"do": "fill", "at": "#symbols", "with": ""})).await;
    page.click(&(row("MSFT") + " .pick")).await;
    page.press("Delete").await;
    page.until_no_row("MSFT").await;
    assert_eq!(page.evaluate(focus).await, json!("GOOGL"), "the focus goes on to the next row");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_theme_is_the_systems_or_ones_own() {
    let gateway = Process::start(&DEMO).await;
    let mut page = Browser::open(&gateway).await;
    let background = "getComputedStyle(document.body).backgroundColor";
    page.act(json!({"do": "scheme", "with": "light"})).await;
    let light = page.evaluate(background).await;
    page.act(json!({"do": "scheme", "with": "dark"})).await;
    let dark = page.evaluate(background).await;
    assert_ne!(light, dark);
    page.click("#theme").await;
    assert_eq!(page.evaluate(background).await, light);
    page.act(json!({"do": "reload"})).await;
    page.until("#theme[aria-label='Theme: light']", "").await;
    assert_eq!(page.evaluate(background).await, light, "it is remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_sends_and_shows_and_pauses() {
    let gateway = Process::start(&DEMO).await;
    let mut page = Browser::open(&gateway).await;
    page.until_traded("AAPL").await;
    page.click("#console-open").await;
    page.act(json!({"do": "fill", "at": "#request", "with": r#"{"action":"list","id":"mine"}"#})).await;
    page.act(json!({"do": "fill", "at": "#console-filter", "with": "mine"})).await;
    page.click("#console-form .main").await;
    page.until("#frames li[data-way=out]", r#"{"action":"list","id":"mine"}"#).await;
    page.until("#frames li[data-way=in]", "currentSubscriptions").await;
    page.picture("console").await;
    // What it changes, the page shows.
    let request = r#"{"action":"subscribe","symbols":["TSLA"],"snapshot":true,"id":"mine"}"#;
    page.act(json!({"do": "fill", "at": "#request", "with": request})).await;
    page.click("#console-form .main").await;
    page.until_traded("TSLA").await;

    page.act(json!({"do": "fill", "at": "#console-filter", "with": "TSLA"})).await;
    page.until("#frames li[data-way=in]", r#""type":"trade""#).await;
    page.click("#console-pause").await;
    page.until("#console-pause[aria-pressed=true]", "Go on").await;
    page.act(json!({"do": "fill", "at": "#console-filter", "with": "no such frame"})).await;
    page.act(json!({"do": "untilGone", "at": "#frames li"})).await;
    page.act(json!({"do": "fill", "at": "#request", "with": "{"})).await;
    page.click("#console-form .main").await;
    page.until("#console-note", "No JSON").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_and_a_chart_are_there_within_two_seconds() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &[]).await;
    numbered_trades(&redis, &gateway).await;
    let mut page = Browser::open(&gateway).await;
    page.until_row("AAPL", "101.50").await;
    // By the page's own clock, which begins when one goes there; the browser has been started before.
    let took = page.evaluate("performance.getEntriesByName('first-price')[0].startTime").await;
    assert!(took.as_f64().expect("milliseconds") < 2_000.0, "{took}");
    // A chart's worth of earlier trades comes by itself.
    page.until("#chart[aria-label*=' 24 of 5s'], #chart[aria-label*=' 25 of 5s'] canvas", "").await;
    page.until("#tape li:nth-child(40)", "AAPL").await;
    // The candle under the pointer tells its prices.
    page.act(json!({"do": "hover", "at": "#chart"})).await;
    let bar = page.until("#chart-bar", "volume").await;
    assert!(bar.contains(" open ") && bar.contains(" high ") && bar.contains(" low "), "{bar}");
    page.act(json!({"do": "hover", "at": "#chosen"})).await;
    page.until("#chart-note:visible", "From the trades since").await;
    page.picture("chart-at-once").await;
}
