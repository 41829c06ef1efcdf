//! Every client gets every event of its symbols, once and in order, however fast Redis hands them out.

use crate::support::{Redis, TestGateway, trade};
use futures_util::future::join_all;

const TRADES: u64 = 20_000;
const SYMBOLS: [&str; 4] = ["AAPL", "MSFT", "TSLA", "AMZN"];

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_trades_reach_a_hundred_clients_of_two_shards() {
    twenty_thousand_trades_reach_a_hundred_clients(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_trades_reach_a_hundred_clients_on_the_thread_that_reads_redis() {
    twenty_thousand_trades_reach_a_hundred_clients(1).await;
}

async fn twenty_thousand_trades_reach_a_hundred_clients(shards: usize) {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.process.shards = shards).await;
    let clients = join_all((0..100).map(|_| gateway.subscriber(&SYMBOLS))).await;
    let readers = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.gets_exactly((0..TRADES).map(payload)).await }));
    let readers: Vec<_> = readers.collect();
    let mut worker = redis.publisher().await;
    for chunk in (0..TRADES).collect::<Vec<_>>().chunks(1_000) {
        worker.trades(chunk.iter().map(|n| (symbol(*n).to_owned(), payload(*n)))).await;
    }
    for reader in readers {
        reader.await.expect("a complete, ordered feed");
    }
}

fn symbol(n: u64) -> &'static str {
    SYMBOLS[(n % SYMBOLS.len() as u64) as usize]
}

fn payload(n: u64) -> String {
    trade(symbol(n), "10.50", n)
}
