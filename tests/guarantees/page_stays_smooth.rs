//! The live page under 500 trades a second, once everything that it keeps is full: it counts each trade, paints at most once a frame, and
//! holds nothing more for each trade that comes. Under 1,000 it paints at most once a frame as well, and shows the last price of each symbol
//! in the end. `PAGE_SOAK_SECONDS=1800 cargo test --test guarantees page_stays -- --nocapture` makes it half an hour, which nextest would
//! end, and prints a report. The report's frames say something on a machine that does nothing else; no test asserts how long they took.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Interval, interval};

use crate::support::browser::{Browser, Memory};
use crate::support::process::Process;
use crate::support::{Publisher, Redis, trade};

const SYMBOLS: [&str; 10] = ["AAPL", "AMD", "AMZN", "GOOGL", "INTC", "META", "MSFT", "NFLX", "NVDA", "TSLA"];
const PER_SECOND: u64 = 500;
/// Batches of a second: as a feed comes that is read with others.
const BATCHES: u64 = 50;
/// When the workers' day begins.
const BEGIN_MS: u64 = 1_795_000_000_000;
/// Trades of each symbol, a minute apart: more than the page keeps candles of any interval, points of sparklines and lines of the tape.
const FILLING: u64 = 650;
/// Seconds between the filling and the first look: what a busy page compiles and allocates once has been then.
const SETTLING_SECONDS: u64 = 8;
/// Looks at the page's memory; the least of the first half is compared with the least of the second.
const LOOKS: u64 = 8;
/// A number in a list takes 4 to 8 bytes, an object 16 and more: half an hour finds either, the shorter run a page that keeps each trade.
const GROWTH_BYTES_A_TRADE: i64 = 4;
/// What the engine adds by itself while a page runs, and the candles that the chart draws before it begins again.
const GROWTH_BYTES: i64 = 192 << 10;
/// A page that leaves a node in every tenth frame makes more in the shortest run.
const GROWTH_NODES: i64 = 40;

/// Trades of all symbols by turns, numbered, in batches at an even pace.
struct Feed {
    worker: Publisher,
    pace: Interval,
    n: u64,
    at_ms: u64,
}

impl Feed {
    /// Publishes a batch in which each trade is so much later than the one before.
    async fn batch(&mut self, size: u64, step_ms: u64) {
        self.pace.tick().await;
        let mut batch = Vec::new();
        for n in self.n..self.n + size {
            let symbol = SYMBOLS[n as usize % SYMBOLS.len()];
            let price = format!("{}.{:02}", 100 + n / 1_000 % 9, n * 7 % 100);
            batch.push((symbol.to_owned(), trade(symbol, &price, self.at_ms)));
            self.at_ms += step_ms;
        }
        self.n += size;
        self.worker.trades(batch).await;
    }

    async fn second(&mut self) {
        for _ in 0..BATCHES {
            self.batch(PER_SECOND / BATCHES, 1_000 / PER_SECOND).await;
        }
    }
}

/// The page with all symbols, watched.
async fn watched(gateway: &Process, more: &str) -> Browser {
    let mut page =
        Browser::open_at(&format!("http://{}/?symbols={}{more}", gateway.addr(), SYMBOLS.join(","))).await;
    page.until("#note", "Successfully subscribed to 10").await;
    page.watch_frames().await;
    page
}

fn assert_one_paint_a_frame(seen: &Value) {
    assert_eq!(seen["twiceInAFrame"], json!(0), "{seen}");
    assert!(seen["paints"].as_u64().is_some_and(|paints| paints > 0), "{seen}");
}

/// The least that the page held in the first and in the second half of the looks: what waited for a collection is in the others.
fn halves(looks: &[Memory], of: impl Fn(&Memory) -> i64 + Copy) -> (i64, i64) {
    let (first, second) = looks.split_at(looks.len() / 2);
    let least = |half: &[Memory]| half.iter().map(of).min().expect("looks");
    (least(first), least(second))
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_trades_a_second_leave_memory_flat() {
    let seconds: u64 = std::env::var("PAGE_SOAK_SECONDS").map_or(16, |text| text.parse().expect("seconds"));
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &["--max-symbols-per-client", "20"]).await;
    let mut page = watched(&gateway, "").await;
    let pace = interval(Duration::from_millis(1_000 / BATCHES));
    let mut feed = Feed { worker: redis.publisher().await, pace, n: 0, at_ms: BEGIN_MS };
    for _ in 0..FILLING / 2 {
        feed.batch(2 * SYMBOLS.len() as u64, 60_000 / SYMBOLS.len() as u64).await;
    }
    for _ in 0..SETTLING_SECONDS {
        feed.second().await;
    }
    let (before, every) = (feed.n, (seconds / (LOOKS - 1)).max(1));
    let mut looks = vec![page.memory().await];
    for second in 1..=seconds {
        feed.second().await;
        if second % every == 0 {
            looks.push(page.memory().await);
        }
    }
    let seen = page.evaluate("window.classify()").await;
    for symbol in SYMBOLS {
        page.select(symbol).await;
        page.until_fact("trades", &grouped(feed.n / SYMBOLS.len() as u64)).await;
    }
    report(seconds, feed.n - before, &looks, &seen);
    assert_one_paint_a_frame(&seen);
    let (first, second) = halves(&looks, |look| look.heap_bytes);
    // Between the middles of both halves half of the trades come.
    let bound = GROWTH_BYTES + GROWTH_BYTES_A_TRADE * (feed.n - before) as i64 / 2;
    assert!(second - first < bound, "{} B more, bound {bound}: {looks:?}", second - first);
    let (first, second) = halves(&looks, |look| look.nodes);
    assert!(second - first < GROWTH_NODES, "{looks:?}");
    page.picture("busy").await;
}

/// As the page writes a number.
fn grouped(n: u64) -> String {
    if n < 1_000 { n.to_string() } else { format!("{},{:03}", n / 1_000, n % 1_000) }
}

fn report(seconds: u64, trades: u64, looks: &[Memory], seen: &Value) {
    println!("{seconds} s, {trades} trades");
    println!(
        "frames {}, painted the watchlist in {}, longest {:.0} ms, over 50 ms: {}",
        seen["frames"],
        seen["paints"],
        seen["longestMs"].as_f64().unwrap_or_default(),
        seen["late"]
    );
    for (cause, frames) in seen["causes"].as_object().into_iter().flatten() {
        println!("  {frames} of them: {cause}");
    }
    for late in seen["worst"].as_array().into_iter().flatten() {
        println!("  {} ms, {} s after the page was opened: {}", late["ms"], late["atS"], late["cause"]);
    }
    for Memory { heap_bytes, nodes } in looks {
        println!("heap {heap_bytes} B, nodes {nodes}, after collection");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_updates_a_second_are_one_paint_a_frame() {
    const BATCH: usize = 20;
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &["--max-symbols-per-client", "20"]).await;
    let mut page = watched(&gateway, "&console=open").await;
    let mut worker = redis.publisher().await;
    let price = |n: usize| format!("{}.{:02}", 100 + n / 100 % 800, n % 100);
    let mut pace = interval(Duration::from_millis(20));
    let last = 5_000;
    for from in (0..last).step_by(BATCH) {
        pace.tick().await;
        let batch = (from..from + BATCH).map(|n| {
            let symbol = SYMBOLS[n % SYMBOLS.len()];
            (symbol.to_owned(), trade(symbol, &price(n), BEGIN_MS + n as u64))
        });
        worker.trades(batch).await;
    }
    for (n, symbol) in (last - SYMBOLS.len()..).zip(SYMBOLS) {
        page.until_row(symbol, &price(n)).await;
    }
    page.until("#chosen-price", &price(last - SYMBOLS.len())).await;
    assert_one_paint_a_frame(&page.evaluate("window.seen").await);
    page.picture("very-busy").await;
}
