//! The live page under 500 trades a second: each is counted, the page holds no more memory at the end than at the beginning, and it paints
//! no more often than the screen does. `PAGE_SOAK_SECONDS=1800 cargo test --test guarantees page_stays -- --nocapture` makes it half an hour, which
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
