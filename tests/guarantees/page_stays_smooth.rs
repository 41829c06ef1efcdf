//! The live page under 500 trades a second: each is counted, and the page holds no more memory at the end than at the beginning. Under 1,000 it
//! paints at most once a frame, and the last price of each symbol is what it shows in the end. `PAGE_SOAK_SECONDS=1800 cargo test --test guarantees page_stays -- --nocapture` makes it half an hour, which
//! nextest would end; what it says then of long tasks and frames holds on a machine that does nothing else.

use std::time::Duration;

use serde_json::json;
use tokio::time::interval;

use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::{Redis, trade};

const SYMBOLS: [&str; 10] = ["AAPL", "AMD", "AMZN", "GOOGL", "INTC", "META", "MSFT", "NFLX", "NVDA", "TSLA"];
const PER_SECOND: u64 = 500;
/// Batches of a second: as a feed comes that is read with others.
const BATCHES: u64 = 50;
/// What the page may keep more of after more trades: the rest of its bounded candles.
const GROWTH_BYTES: u64 = 3 << 20;

/// Looks at the page from inside: frames, paints, tasks of more than 50 ms.
const WATCH: &str = "(() => {
    const seen = window.seen = { frames: 0, longest: 0, late: 0, longTasks: 0, longestTask: 0 };
    let last = performance.now();
    const frame = (now) => {
        seen.frames++;
        seen.longest = Math.max(seen.longest, now - last);
        if (now - last > 50) seen.late++;
        last = now;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) {
            seen.longTasks++;
            seen.longestTask = Math.max(seen.longestTask, duration);
        }
    }).observe({ entryTypes: ['longtask'] });
})()";

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_trades_a_second_leave_memory_flat() {
    let seconds = std::env::var("PAGE_SOAK_SECONDS").map_or(12, |text| text.parse().expect("seconds"));
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &["--max-symbols-per-client", "20"]).await;
    let mut page =
        Browser::open_at(&format!("http://{}/?symbols={}", gateway.addr(), SYMBOLS.join(","))).await;
    page.until("#note", "Successfully subscribed to 10").await;
    page.evaluate(WATCH).await;
    let mut worker = redis.publisher().await;
    let (mut pace, mut n) = (interval(Duration::from_millis(1_000 / BATCHES)), 0);
    let mut heaps = Vec::new();
    for second in 0..seconds {
        for _ in 0..BATCHES {
            pace.tick().await;
            let batch: Vec<_> = (n..n + PER_SECOND / BATCHES)
                .map(|n| {
                    let symbol = SYMBOLS[n as usize % SYMBOLS.len()];
                    let price = format!("{}.{:02}", 100 + n / 1_000 % 9, n * 7 % 100);
                    let at = 1_795_000_000_000 + n * 1_000 / PER_SECOND;
                    (symbol.to_owned(), trade(symbol, &price, at))
                })
                .collect();
            n += batch.len() as u64;
            worker.trades(batch).await;
        }
        // Before the first look, what is made once has been made; the candles of ten minutes take the place of older ones.
        if second >= (seconds / 3).min(700) && (second + 1) % (seconds / 6).max(1) == 0 {
            heaps.push(page.act(json!({"do": "heap"})).await.as_u64().expect("bytes"));
        }
    }
    let each = n / SYMBOLS.len() as u64;
    let text = if each < 1_000 { each.to_string() } else { format!("{},{:03}", each / 1_000, each % 1_000) };
    page.until_fact("trades", &text).await;
    let seen = page.evaluate("window.seen").await;
    println!("{seconds} s, {n} trades, heaps {heaps:?}, {seen}");
    let (first, last) = (heaps[0], heaps[heaps.len() - 1]);
    assert!(last < first + GROWTH_BYTES, "{heaps:?}");
    page.picture("busy").await;
}

/// Counts what the watchlist's changes are painted in. Changes come to an observer behind the callback that made them, and the page asks for
/// its callback later than this one does: so two of its paints between two callbacks of this one are two in one frame.
const COUNT_PAINTS: &str = "(() => {
    const paints = window.paints = { all: 0, twiceInAFrame: 0 };
    let inThisFrame = 0;
    const frame = () => {
        inThisFrame = 0;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    new MutationObserver(() => {
        paints.all++;
        if (++inThisFrame > 1) paints.twiceInAFrame++;
    }).observe(document.querySelector('#rows'), { subtree: true, childList: true, characterData: true });
})()";

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_updates_a_second_are_one_paint_a_frame() {
    const BATCH: usize = 20;
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &["--max-symbols-per-client", "20"]).await;
    let url = format!("http://{}/?symbols={}&console=open", gateway.addr(), SYMBOLS.join(","));
    let mut page = Browser::open_at(&url).await;
    page.until("#note", "Successfully subscribed to 10").await;
    let mut worker = redis.publisher().await;
    let price = |n: usize| format!("{}.{:02}", 100 + n / 100 % 800, n % 100);
    let trades = |from: usize| {
        let each = from..from + BATCH;
        each.map(|n| {
            let symbol = SYMBOLS[n % SYMBOLS.len()];
            (symbol.to_owned(), trade(symbol, &price(n), 1_795_000_000_000 + n as u64))
        })
        .collect::<Vec<_>>()
    };
    // Each symbol has its row and its price before paints are counted.
    worker.trades(trades(0)).await;
    for symbol in SYMBOLS {
        page.until_traded(symbol).await;
    }
    page.evaluate(COUNT_PAINTS).await;
    let mut pace = interval(Duration::from_millis(20));
    let last = 5_000;
    for from in (BATCH..last).step_by(BATCH) {
        pace.tick().await;
        worker.trades(trades(from)).await;
    }
    for (n, symbol) in (last - SYMBOLS.len()..).zip(SYMBOLS) {
        page.until_row(symbol, &price(n)).await;
    }
    page.until("#chosen-price", &price(last - SYMBOLS.len())).await;
    let paints = page.evaluate("window.paints").await;
    assert_eq!(paints["twiceInAFrame"], json!(0), "{paints}");
    assert!(paints["all"].as_u64().is_some_and(|all| all > 0), "{paints}");
    page.picture("very-busy").await;
}
