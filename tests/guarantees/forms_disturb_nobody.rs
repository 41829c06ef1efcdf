//! Clients in every form and dialect share a gateway; some are slow and some leave. Whoever stays gets each trade of its symbols in order, or is told
//! of it: delivered + announced = published, in every form.
//!
//! `FORMS_CLIENTS=1000 FORMS_TRADES=30000 cargo test --release --test guarantees forms_disturb -- --nocapture` is the whole size.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::ways::{Subscriber, Told, WAYS, Way, long_trade};
use crate::support::{Redis, TestGateway};
use tokio::sync::watch;
use ws_gateway::protocol::api::Api;

const SYMBOLS: u64 = 100;
/// Each client wants 5 % of them, and one that is to be slow all of them: kernels hold a lot before a gateway notices.
const WANTED: u64 = 5;
/// Trades a second.
const RATE: u64 = 1_000;

/// What a client does besides reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Reads,
    /// It doesn't read before everything is published.
    Slow,
    /// It leaves after so many trades.
    Leaves(u64),
}

/// What became of the trades of one client.
struct Books {
    way: Way,
    habit: Habit,
    delivered: u64,
    announced: u64,
}

fn size(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn symbol(n: u64) -> String {
    format!("S{:02}", n % SYMBOLS)
}

/// The symbols of a client: each symbol has as many clients as the others.
fn wanted(client: u64) -> Vec<String> {
    let wanted = if habit(client) == Habit::Slow { SYMBOLS } else { WANTED };
    (0..wanted).map(|n| symbol(client * 7 + n * 13)).collect()
}

fn habit(client: u64) -> Habit {
    match client / WAYS.len() as u64 % 5 {
        3 => Habit::Slow,
        4 => Habit::Leaves(client),
        _ => Habit::Reads,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn and_each_gets_every_trade_or_is_told_of_it() {
    let (clients, trades) = (size("FORMS_CLIENTS", 119), size("FORMS_TRADES", 4_000));
    assert!(trades.is_multiple_of(SYMBOLS), "each symbol has as many trades as the others");
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.clients.dialects = Api::ALL.into_iter().collect();
        config.delivery.compress = true;
        config.delivery.compression_threshold_bytes = 0;
        config.delivery.max_outbox_bytes = 20_000;
        // A slow client reads nothing until all is published.
        config.delivery.stall_timeout = Duration::from_secs(600);
        config.clients.max_symbols_per_client = SYMBOLS as usize;
        config.clients.dialect_max_symbols = SYMBOLS as usize;
    })
    .await;
    let (published, is_published) = watch::channel(false);
    let mut tasks = Vec::new();
    for n in 0..clients {
        let (way, habit) = (WAYS[n as usize % WAYS.len()], habit(n));
        let buffer_bytes = (habit == Habit::Slow).then_some(4_096);
        let wanted = wanted(n);
        let client = Subscriber::enter(way, gateway.addr, &wanted, "&onSlow=skip", buffer_bytes).await;
        let expected = wanted.len() as u64 * trades / SYMBOLS;
        tasks.push(tokio::spawn(count(client, way, habit, expected, is_published.clone())));
    }
    let mut worker = redis.publisher().await;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for start in (0..trades).step_by(20 * RATE as usize / 1_000) {
        pace.tick().await;
        let burst = start..trades.min(start + 20 * RATE / 1_000);
        worker.trades(burst.map(event)).await;
    }
    published.send_replace(true);
    let mut books = Vec::new();
    for task in tasks {
        books.push(task.await.expect("the equation holds"));
    }
    judge(&books, trades);
}

/// The n-th trade. Its price without the fraction is its place among the trades of its symbol, from 1.
fn event(n: u64) -> (String, String) {
    (symbol(n), long_trade(&symbol(n), n / SYMBOLS + 1, n, 200, 100))
}

/// Reads until all is delivered or announced. Panics where a trade is repeated, out of order or missing in silence.
async fn count(
    mut client: Subscriber,
    way: Way,
    habit: Habit,
    expected: u64,
    mut is_published: watch::Receiver<bool>,
) -> Books {
    if habit == Habit::Slow {
        is_published.wait_for(|is_it| *is_it).await.expect("the publisher tells");
    }
    let mut last: HashMap<String, u64> = HashMap::new();
    let mut books = Books { way, habit, delivered: 0, announced: 0 };
    let until = if let Habit::Leaves(after) = habit { expected.min(after) } else { expected };
    while books.delivered + books.announced < until {
        for told in client.told().await {
            match told {
                Told::Trade { symbol, price } => {
                    let last = last.entry(symbol).or_default();
                    *last += 1;
                    assert_eq!(price.floor(), *last as f64, "{way:?}, {habit:?}");
                    books.delivered += 1;
                }
                Told::Skipped { symbol, count } => {
                    *last.entry(symbol).or_default() += count;
                    books.announced += count;
                }
            }
        }
    }
    let may_be_plain = matches!(habit, Habit::Leaves(_));
    assert!(may_be_plain || client.was_compressed() != Some(false), "{way:?}: no message was compressed");
    books
}

fn judge(books: &[Books], trades: u64) {
    let of = |way: Way, habit: fn(Habit) -> bool| -> Vec<&Books> {
        books.iter().filter(|books| books.way == way && habit(books.habit)).collect()
    };
    println!(
        "| way | read all | trades they got | slow | trades they got | announced to them | left |\n|---|---:|---:|---:|---:|---:|---:|"
    );
    for way in WAYS {
        let reading = of(way, |habit| habit == Habit::Reads);
        let slow = of(way, |habit| habit == Habit::Slow);
        let (delivered, announced) = slow.iter().fold((0, 0), |(delivered, announced), books| {
            (delivered + books.delivered, announced + books.announced)
        });
        println!(
            "| {way:?} | {} | {} | {} | {delivered} | {announced} | {} |",
            reading.len(),
            reading.iter().map(|books| books.delivered).sum::<u64>(),
            slow.len(),
            of(way, |habit| matches!(habit, Habit::Leaves(_))).len(),
        );
        assert!(!reading.is_empty() && !slow.is_empty());
        for books in &reading {
            let expected = WANTED * trades / SYMBOLS;
            assert_eq!(
                (books.delivered, books.announced),
                (expected, 0),
                "{way:?}: nobody disturbs one who reads"
            );
        }
        assert!(announced > 0, "{way:?}: nobody was slow");
        assert_eq!(delivered + announced, slow.len() as u64 * trades, "{way:?}");
    }
}
