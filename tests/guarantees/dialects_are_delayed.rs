//! Clients of other APIs with a delayed feed: what they get is as old as their token says and says so, snapshots too, beside clients who get
//! everything at once.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::market::Delays;
use ws_gateway::protocol::api::Api;

use crate::support::tokens::{SECRET, token};
use crate::support::{Client, Redis, TestGateway, trade};

const DELAY_MS: u64 = 1_000;

fn with_delay(config: &mut Config) {
    config.clients.dialects = [Api::Alpaca, Api::Binance].into_iter().collect();
    config.access.secret_key = Some(SECRET.to_owned());
    config.access.feed_delays = Delays::new([NonZeroU32::new(DELAY_MS as u32).unwrap()]).unwrap();
}

fn key(delay_ms: u64) -> String {
    token(json!({"sub": "u", "delayMs": delay_ms}))
}

/// A client of either API.
struct Reader {
    client: Client,
    /// Objects of an array that are yet to be read: Alpaca's come in arrays.
    waiting: VecDeque<Value>,
}

impl Reader {
    async fn connect(gateway: &TestGateway, path: &str) -> Self {
        let client = Client::connect(&format!("ws://{}{path}", gateway.addr)).await;
        Self { client, waiting: VecDeque::new() }
    }

    /// The next object.
    async fn next(&mut self) -> Value {
        loop {
            if let Some(object) = self.waiting.pop_front() {
                return object;
            }
            match self.client.json().await {
                Value::Array(objects) => self.waiting.extend(objects),
                object => return object,
            }
        }
    }

    /// The next event, and its price, passing over what is said of the feed: a delayed one is not up before the gateway is as old as the delay.
    async fn event(&mut self) -> (Value, f64) {
        loop {
            let object = self.next().await;
            let event = object.get("data").unwrap_or(&object);
            if let Some(price) = event.get("p") {
                let price = price.as_str().map_or_else(|| price.as_f64(), |text| text.parse().ok());
                return (event.clone(), price.expect("a number"));
            }
        }
    }
}

async fn binance(gateway: &TestGateway, delay_ms: u64, more: &str) -> Reader {
    let mut reader = Reader::connect(gateway, &format!("/stream?token={}{more}", key(delay_ms))).await;
    reader.client.send(r#"{"method":"SUBSCRIBE","params":["aapl@trade"],"id":1}"#).await;
    while reader.next().await.get("result").is_none() {}
    reader
}

async fn alpaca(gateway: &TestGateway, delay_ms: u64, more: &str) -> Reader {
    let mut reader = Reader::connect(gateway, &format!("/v2/iex{more}")).await;
    reader.client.send(json!({"action": "auth", "key": key(delay_ms), "secret": ""}).to_string()).await;
    reader.client.send(r#"{"action":"subscribe","trades":["AAPL"]}"#).await;
    while reader.next().await["T"] != "subscription" {}
    reader
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_snapshots_are_as_old_as_the_token_says() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_delay).await;
    let mut worker = redis.publisher().await;
    let mut at_once = [binance(&gateway, 0, "").await, alpaca(&gateway, 0, "").await];
    let mut late = [binance(&gateway, DELAY_MS, "").await, alpaca(&gateway, DELAY_MS, "").await];
    let published = Instant::now();
    for n in 1..=3 {
        worker.trade("AAPL", &trade("AAPL", &n.to_string(), n)).await;
    }
    for client in &mut at_once {
        for n in 1..=3 {
            let (event, price) = client.event().await;
            assert_eq!((price, event.get("delayedMs")), (n as f64, None), "{event}");
        }
    }
    for client in &mut late {
        for n in 1..=3 {
            let (event, price) = client.event().await;
            assert_eq!((price, &event["delayedMs"]), (n as f64, &json!(DELAY_MS)), "{event}");
            assert!(published.elapsed() >= Duration::from_millis(DELAY_MS), "{event}");
        }
    }

    // What is due is the last value there, whatever has come since.
    worker.trade("AAPL", &trade("AAPL", "9", 9)).await;
    assert_eq!(at_once[0].event().await.1, 9.0);
    let newest = [binance(&gateway, 0, "&snapshot=1").await, alpaca(&gateway, 0, "?snapshot=1").await];
    for mut client in newest {
        let (event, price) = client.event().await;
        assert_eq!((price, &event["snapshot"]), (9.0, &json!(true)));
    }
    let due =
        [binance(&gateway, DELAY_MS, "&snapshot=1").await, alpaca(&gateway, DELAY_MS, "?snapshot=1").await];
    for mut client in due {
        let (first, price) = client.event().await;
        assert_eq!(first["delayedMs"], DELAY_MS, "{first}");
        // On a busy machine the newest may be due by now.
        if price < 9.0 {
            assert_eq!((price, &first["snapshot"]), (3.0, &json!(true)), "{first}");
            assert_eq!(client.event().await.1, 9.0);
        }
    }
}
