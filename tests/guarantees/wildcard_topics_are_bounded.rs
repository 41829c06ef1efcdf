//! However many symbols there are, a gateway with wildcard clients keeps a bounded number of topics at a time, and loses,
//! doubles and reorders nothing.

use std::collections::HashMap;

use crate::support::{Redis, TestGateway, trade};
use serde_json::{Value, json};
use ws_gateway::limits::{MIB, OPENED_TOPICS_MAX};

const TRADES: u64 = 60_000;
const AT_ONCE: u64 = 2_500;

/// 40,000 symbols that come once, 97 that come again and again, and 5,000 that come again when most others have come.
fn symbol(n: u64) -> String {
    match n % 6 {
        0 => format!("BUSY{}", n % 97),
        3 => format!("BACK{}", n % (TRADES / 2)),
        _ => format!("ONCE{n}"),
    }
}

/// Publishes all trades, each with its number, and `exchange` as it is given; so fast that Redis need not cut the gateway off.
async fn publish(redis: &Redis, gateway: &TestGateway, exchange: &str) {
    let mut worker = redis.publisher().await;
    for start in (0..TRADES).step_by(AT_ONCE as usize) {
        gateway.taken(start.saturating_sub(AT_ONCE)).await;
        let payload = |n| trade(&symbol(n), "1", n).replace("NASDAQ", exchange);
        worker.trades((start..start + AT_ONCE).map(|n| (symbol(n), payload(n)))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_once_and_in_order() {
    const SHARDS: usize = 2;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = SHARDS;
        config.delivery.max_outbox_bytes = 64 * MIB;
    })
    .await;
    let mut clients = Vec::new();
    for (symbols, wanted) in [
        (&["*"][..], (|_| true) as fn(&str) -> bool),
        (&["BACK*", "*"], |_| true),
        (&["ONCE*", "BACK3"], |symbol| symbol.starts_with("ONCE") || symbol == "BACK3"),
        (&["BUSY6", "BACK3"], |symbol| ["BUSY6", "BACK3"].contains(&symbol)),
    ] {
        let mut client = gateway.subscriber(symbols).await;
        clients.push(tokio::spawn(async move {
            for n in (0..TRADES).filter(|n| wanted(&symbol(*n))) {
                client.gets(&symbol(n), n).await;
            }
            client
        }));
    }
    publish(&redis, &gateway, "NASDAQ").await;
    let mut connected = Vec::new();
    for client in clients {
        connected.push(client.await.expect("every event, in order"));
    }
    let metrics = &gateway.gateway.state().metrics;
    let topics = metrics.sum(|shard| &shard.topics);
    let most = (SHARDS * (OPENED_TOPICS_MAX + OPENED_TOPICS_MAX / 4)) as u64;
    assert!(topics <= most, "{topics} topics on {SHARDS} shards, at most {most}");
    drop(connected);
    crate::support::until("all topics to end", async || {
        (metrics.sum(|shard| &shard.topics) == 0).then_some(())
    })
    .await;
}

/// A client that comes and goes among the symbols of others' patterns gets what it asks for and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn single_symbols_can_be_subscribed_to_at_any_time() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.process.shards = 1).await;
    let _everything = gateway.subscriber(&["ONCE*", "BACK*"]).await;
    let mut client = gateway.subscriber(&["ONCE4*", "END"]).await;
    let publishing = async {
        publish(&redis, &gateway, "NASDAQ").await;
        redis.publisher().await.numbered("END", TRADES).await;
    };
    let reading = async {
        let mut came: Vec<u64> = Vec::new();
        for asked in 0.. {
            let name = format!("BACK{}", asked * 6 % (TRADES / 2) + 3);
            for action in ["subscribe", "unsubscribe"] {
                client.send(json!({"action": action, "symbols": [name]}).to_string()).await;
                while let Some((symbol, n)) = numbered(&client.json().await) {
                    let held = action == "unsubscribe" && symbol == name;
                    assert!(held || symbol.starts_with("ONCE4") || symbol == "END", "{symbol} came unasked");
                    assert!(came.last().is_none_or(|last| *last < n), "{n} is out of order");
                    came.push(n);
                }
            }
            if came.last() == Some(&TRADES) {
                break;
            }
        }
        came.iter().filter(|n| symbol(**n).starts_with("ONCE4")).count()
    };
    let ((), came) = tokio::join!(publishing, reading);
    assert_eq!(came, (0..TRADES).filter(|n| symbol(*n).starts_with("ONCE4")).count());
}

/// The symbol and the number of an event; `None` for a reply.
fn numbered(message: &Value) -> Option<(String, u64)> {
    assert_ne!(message["type"], "error", "{message}");
    let data = &message["data"];
    Some((data["symbol"].as_str()?.to_owned(), data["timestamp"].as_u64()?))
}

/// What is skipped is announced by the symbol's name, before its next event, also when the gateway has forgotten the symbol since.
#[tokio::test(flavor = "multi_thread")]
async fn losses_are_announced_by_symbol() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = 20_000;
    })
    .await;
    let mut witness = gateway.subscriber(&["END"]).await;
    let mut client = gateway.subscriber(&["*"]).await;
    publish(&redis, &gateway, &"N".repeat(800)).await;
    // The shard has applied everything once another client of it has the last trade.
    redis.publisher().await.numbered("END", TRADES).await;
    witness.gets("END", TRADES).await;
    client.send(r#"{"action":"unsubscribe","symbols":["*"]}"#).await;
    let mut published: HashMap<String, Vec<u64>> = HashMap::new();
    (0..TRADES).for_each(|n| published.entry(symbol(n)).or_default().push(n));
    published.insert("END".to_owned(), vec![TRADES]);
    let mut accounted: HashMap<String, usize> = HashMap::new();
    let mut announced = 0;
    loop {
        let message = client.json().await;
        let data = &message["data"];
        match message["type"].as_str() {
            Some("trade") => {
                let (symbol, n) = numbered(&message).expect("a trade");
                let accounted = accounted.entry(symbol.clone()).or_default();
                assert_eq!(published[&symbol].get(*accounted), Some(&n), "the next one of {symbol}");
                *accounted += 1;
            }
            Some("status") => {
                assert_eq!(message["event"], "skipped", "{message}");
                let count = data["count"].as_u64().expect("a count") as usize;
                *accounted.entry(data["symbol"].as_str().expect("a symbol").to_owned()).or_default() += count;
                announced += count;
            }
            _ => break,
        }
    }
    assert!(announced > 40_000, "{announced}");
    for (symbol, published) in &published {
        assert_eq!(
            accounted.get(symbol),
            Some(&published.len()),
            "delivered + announced = published, of {symbol}"
        );
    }
}
