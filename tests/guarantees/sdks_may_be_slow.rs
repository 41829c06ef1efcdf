//! Vendors' clients that stand still for a while: they lose events, as many as the gateway counts and, where their API has words for it, tells them; they
//! keep their connection, and others get every event. Where the policy is to close them, they come back as their documents say. Elsewhere: alpaca-py,
//! Alpaca's for Node.js, binance-connector, Massive's for Python and Finnhub's, each in its own file.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use ws_gateway::config::SlowClientPolicy;
use ws_gateway::metrics::{Counter, Metrics, ShardMetrics};
use ws_gateway::protocol::api::Api;
use ws_gateway::state::State;

use crate::alpaca_ccxt::{self, Language};
use crate::support::detour::Detour;
use crate::support::heard::Heard;
use crate::support::program::{Program, python};
use crate::support::redis::Publisher;
use crate::support::{Client, Redis, TestGateway, until};
use crate::{binance_sdks, massive_sdks, socketio_clients};

/// The price of the trade behind all others, which have the numbers from 1.
const LAST: u64 = 1_000_000;

const BATCH: u64 = 100;

/// The room for one client.
const OUTBOX_BYTES: usize = 64 * 1_024;

/// So much is waiting for a client that it is more than the room also when the kernel has taken what it still can.
const FULL_BYTES: u64 = 4 * OUTBOX_BYTES as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sdk {
    AlpacaTradeApi,
    CcxtForAlpaca(Language),
    BinanceSdkSpot,
    BinanceSpot,
    Binance,
    CcxtForBinance(Language),
    MassiveForNode,
    Polygon,
    SocketIo,
}

impl Sdk {
    const fn api(self) -> Api {
        match self {
            Self::AlpacaTradeApi | Self::CcxtForAlpaca(_) => Api::Alpaca,
            Self::BinanceSdkSpot | Self::BinanceSpot | Self::Binance | Self::CcxtForBinance(_) => {
                Api::Binance
            }
            Self::MassiveForNode | Self::Polygon => Api::Massive,
            Self::SocketIo => Api::SocketIo,
        }
    }

    /// One that all clients of the API know.
    fn symbol(self) -> &'static str {
        if self.api() == Api::Alpaca { "BTC/USD" } else { "BTCUSDT" }
    }

    /// Whether it says how many events it missed. Alpaca's SDKs pass over what they are told of it, and ccxt's connections are raw ones.
    fn is_told(self) -> bool {
        self.api() != Api::Alpaca && !self.is_ccxt()
    }

    /// It keeps the newest 1,000 of what comes before its user asks.
    const fn is_ccxt(self) -> bool {
        matches!(self, Self::CcxtForAlpaca(_) | Self::CcxtForBinance(_))
    }

    /// Starts it, with its subscription.
    async fn start(self, way: &Detour) -> Program {
        let url = format!("ws://{}", way.addr);
        let wanted = json!({"symbol": self.symbol().to_lowercase()});
        let (mut client, call) = match self {
            Self::AlpacaTradeApi => {
                let mut script = python("alpaca-trade-api==3.2.0", "alpaca_trade_api_py.py").await;
                script.args([&format!("http://{}", way.addr), "K", "S"]);
                (Program::start(script), json!({"subscribe": "trades", "symbols": [self.symbol()]}))
            }
            Self::CcxtForAlpaca(language) => {
                let methods = &language.methods()[..1];
                let mut script = alpaca_ccxt::script(way.addr, language, ["K", "S"], methods).await;
                // In Python an error that the stream tells ends what reads the connection, and the next ping ends the call.
                script.env("KEEP_ALIVE_MS", "500");
                return Program::start(script);
            }
            Self::BinanceSdkSpot => {
                (binance_sdks::in_python("binance-sdk-spot", "13.3.0", &url).await, json!(["trade", wanted]))
            }
            Self::BinanceSpot => {
                (binance_sdks::in_node("@binance/spot", &url).await, json!(["trade", wanted]))
            }
            Self::Binance => {
                let client = binance_sdks::in_node("binance", &format!("{url}/binance")).await;
                (client, json!(["subscribe", ["btcusdt@trade"], "main"]))
            }
            Self::CcxtForBinance(Language::JavaScript) => {
                let client = binance_sdks::in_node("ccxt", &format!("{url}/ws")).await;
                (client, json!(["watchTrades", "BTC/USDT"]))
            }
            Self::CcxtForBinance(Language::Python) => {
                let client = binance_sdks::in_python("ccxt", "4.5.90", &format!("{url}/ws")).await;
                (client, json!(["watch_trades", {"symbol": "BTC/USDT"}]))
            }
            Self::MassiveForNode => {
                let client = massive_sdks::in_node(&url, "stocks").await;
                (client, json!({"action": "subscribe", "params": "T.BTCUSDT"}))
            }
            Self::Polygon => {
                let (requirement, module) = ("polygon-api-client==1.16.3", "polygon");
                return massive_sdks::started(requirement, module, way, "stocks", "K", "T.BTCUSDT").await;
            }
            Self::SocketIo => {
                let options = json!({"transports": ["websocket"]});
                let mut client = socketio_clients::client(way.addr, "/events", &options).await;
                let subscribe = json!(["subscribe", {"symbols": [self.symbol()]}]);
                client.say(&json!({"at_connect": [subscribe]}).to_string()).await;
                // It may have been connected before it was told what to ask for then.
                (client, json!({"emit": subscribe}))
            }
        };
        client.say(&call.to_string()).await;
        client
    }

    /// Once its connection is closed: two are told that and start again, the others come back by themselves.
    async fn comes_back(self, client: &mut Program, way: &Detour) {
        match self {
            Self::BinanceSdkSpot => {
                client.logs("losed").await;
                client.say(r#"["connect"]"#).await;
                client.say(r#"["trade", {"symbol": "btcusdt"}]"#).await;
            }
            Self::MassiveForNode => {
                client.line_with("code").await;
                *client = self.start(way).await;
            }
            _ => {}
        }
    }
}

/// Such a client, a gateway of its own with little room for it, and another client there that reads everything.
struct Slow {
    sdk: Sdk,
    gateway: TestGateway,
    way: Detour,
    client: Program,
    quick: Client,
}

async fn gateway(redis: &Redis, sdk: Sdk, policy: SlowClientPolicy) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.clients.dialects = [sdk.api()].into_iter().collect();
        config.events.max_event_bytes = 1_024;
        config.delivery.max_outbox_bytes = OUTBOX_BYTES;
        config.delivery.slow_client_policy = policy;
    })
    .await
}

impl Slow {
    async fn new(redis: &Redis, sdk: Sdk) -> Self {
        let gateway = gateway(redis, sdk, SlowClientPolicy::Skip).await;
        let way = Detour::narrow(gateway.addr).await;
        let client = sdk.start(&way).await;
        let quick = gateway.client().await;
        Self { sdk, gateway, way, client, quick }
    }

    /// Waits until the client has its subscription, and gives the quick one the same.
    async fn is_subscribed(&mut self) {
        self.gateway.subscribed(1).await;
        self.quick.subscribe(&[self.sdk.symbol()]).await;
    }

    /// Restarts the gateway with another policy, and waits until the client is back.
    async fn moves(&mut self, redis: &Redis, policy: SlowClientPolicy) {
        let next = gateway(redis, self.sdk, policy).await;
        self.way.lead_to(next.addr);
        let last = std::mem::replace(&mut self.gateway, next);
        last.gateway.drain().await;
        self.sdk.comes_back(&mut self.client, &self.way).await;
        self.quick = self.gateway.client().await;
        self.is_subscribed().await;
    }

    fn sum(&self, counter: impl Fn(&ShardMetrics) -> &Counter) -> u64 {
        self.gateway.gateway.state().metrics.sum(counter)
    }

    /// Reads to the last trade; returns how many there were before it, and how many the client was told that it missed.
    async fn hears(client: &mut Program) -> (u64, u64) {
        let (mut count, mut missed, mut newest) = (0, 0, 0);
        loop {
            let heard = Heard::of(&client.json().await);
            missed += heard.missed;
            for price in heard.prices {
                if price == LAST {
                    return (count, missed);
                }
                assert!(newest < price, "{price} behind {newest}");
                newest = price;
                count += 1;
            }
        }
    }
}

/// A trade whose price is that number. Large, where the API has room for such conditions.
fn trade(symbol: &str, n: u64) -> (String, String) {
    let conditions = "x".repeat(300);
    let payload = format!(
        r#"{{"symbol":"{symbol}","price":{n},"volume":1,"timestamp":{n},"conditions":["{conditions}"]}}"#
    );
    (symbol.to_owned(), payload)
}

/// Stops the clients, publishes until their outboxes are full, and waits until each gateway has counted something. The quick clients get every event
/// meanwhile. Returns how many there were.
async fn fall_behind(
    all: &mut [Slow],
    worker: &mut Publisher,
    counter: impl Fn(&ShardMetrics) -> &Counter,
) -> u64 {
    let symbol = all[0].sdk.symbol();
    all.iter().for_each(|slow| slow.client.pause());
    let mut published = 0;
    // The policy may be due for one while others have room still.
    let is_behind =
        |slow: &Slow| slow.sum(|shard| &shard.backlog_bytes) >= FULL_BYTES || slow.sum(&counter) > 0;
    while !all.iter().all(is_behind) {
        let next = published + 1..=published + BATCH;
        worker.trades(next.clone().map(|n| trade(symbol, n))).await;
        for slow in &mut *all {
            for n in next.clone() {
                slow.quick.gets(symbol, n).await;
            }
        }
        published += BATCH;
    }
    // Each client's outbox is full; that it takes nothing from there is seen when the second is over in which it might.
    for slow in all {
        until("the policy to be due", async || (slow.sum(&counter) > 0).then_some(())).await;
    }
    published
}

/// Waits until `is_ready` of each gateway, and publishes the last trade. Clients have to read meanwhile.
async fn publish_the_last(
    states: Vec<Arc<State>>,
    worker: &mut Publisher,
    symbol: &str,
    is_ready: impl Fn(&Metrics) -> bool,
) {
    for state in states {
        until("the gateways to be ready", async || is_ready(&state.metrics).then_some(())).await;
    }
    worker.trades([trade(symbol, LAST)]).await;
}

fn states(all: &[Slow]) -> Vec<Arc<State>> {
    all.iter().map(|slow| Arc::clone(slow.gateway.gateway.state())).collect()
}

async fn lose_events_alone(all: &mut [Slow], worker: &mut Publisher) {
    let published = fall_behind(all, worker, |shard| &shard.events_skipped).await;
    all.iter().for_each(|slow| slow.client.go_on());
    let (states, symbol) = (states(all), all[0].sdk.symbol());
    let has_room = |metrics: &Metrics| metrics.sum(|shard| &shard.backlog_bytes) == 0;
    let publishing = publish_the_last(states, worker, symbol, has_room);
    let reading = join_all(all.iter_mut().map(|slow| Slow::hears(&mut slow.client)));
    let (heard, ()) = tokio::join!(reading, publishing);
    for (slow, (count, missed)) in all.iter().zip(heard) {
        let (sdk, skipped) = (slow.sdk, slow.sum(|shard| &shard.events_skipped));
        assert_eq!(missed, if sdk.is_told() { skipped } else { 0 }, "{sdk:?}");
        if sdk.is_ccxt() {
            assert!(count + skipped <= published, "{sdk:?}: {count} + {skipped} of {published}");
        } else {
            assert_eq!(count + skipped, published, "{sdk:?}");
        }
        assert_eq!(slow.sum(|shard| &shard.connections_opened), 2, "{sdk:?} has its connection still");
    }
}

async fn are_closed_and_come_back(all: &mut [Slow], worker: &mut Publisher) {
    fall_behind(all, worker, |shard| &shard.slow_closed).await;
    for slow in &mut *all {
        slow.gateway.subscribed(1).await;
        slow.client.go_on();
    }
    let (states, symbol) = (states(all), all[0].sdk.symbol());
    let is_back = |metrics: &Metrics| metrics.sum(|shard| &shard.subscriptions) == 2;
    let publishing = publish_the_last(states, worker, symbol, is_back);
    let reading = join_all(all.iter_mut().map(async |slow| {
        slow.sdk.comes_back(&mut slow.client, &slow.way).await;
        Slow::hears(&mut slow.client).await;
    }));
    tokio::join!(reading, publishing);
}

async fn may_be_slow(sdks: &[Sdk]) {
    let redis = Redis::start().await;
    let mut worker = redis.publisher().await;
    let mut all = Vec::new();
    for sdk in sdks {
        all.push(Slow::new(&redis, *sdk).await);
    }
    for slow in &mut all {
        slow.is_subscribed().await;
    }
    lose_events_alone(&mut all, &mut worker).await;
    join_all(all.iter_mut().map(|slow| slow.moves(&redis, SlowClientPolicy::Disconnect))).await;
    are_closed_and_come_back(&mut all, &mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_alpaca() {
    use Language::{JavaScript, Python};
    may_be_slow(&[Sdk::AlpacaTradeApi, Sdk::CcxtForAlpaca(JavaScript), Sdk::CcxtForAlpaca(Python)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_binance() {
    use Language::{JavaScript, Python};
    let ccxt = [JavaScript, Python].map(Sdk::CcxtForBinance);
    may_be_slow(&[&[Sdk::BinanceSdkSpot, Sdk::BinanceSpot, Sdk::Binance], &ccxt[..]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_massive() {
    may_be_slow(&[Sdk::MassiveForNode, Sdk::Polygon]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn socketio() {
    may_be_slow(&[Sdk::SocketIo]).await;
}

/// With 100 messages in its queue it reads no more, says so in its log only, and drops them all: the next call ends, and so does the connection.
#[tokio::test(flavor = "multi_thread")]
async fn python_binance_ends_its_connection() {
    let redis = Redis::start().await;
    let mut worker = redis.publisher().await;
    let gateway = gateway(&redis, Sdk::Binance, SlowClientPolicy::Skip).await;
    let way = Detour::narrow(gateway.addr).await;
    let url = format!("ws://{}", way.addr);
    let mut client = binance_sdks::in_python("python-binance", "1.0.37", &url).await;
    let wanted = json!(["trade_socket", {"symbol": "BTCUSDT"}]);
    binance_sdks::call(&mut client, wanted.clone()).await;
    gateway.subscribed(1).await;
    binance_sdks::call(&mut client, json!(["hold"])).await;
    let metrics = &gateway.gateway.state().metrics;
    let is_full = || metrics.sum(|shard| &shard.backlog_bytes) > FULL_BYTES;
    gateway.publish_until(&mut worker, |n| trade("BTCUSDT", n), is_full).await;
    let skipped = || metrics.sum(|shard| &shard.events_skipped);
    until("skips", async || (skipped() > 0).then_some(())).await;
    client.logs("BinanceWebsocketQueueOverflow").await;
    binance_sdks::call(&mut client, json!(["go_on"])).await;
    assert_eq!(client.line_with("end").await["end"], "ReadLoopClosed");
    gateway.subscribed(0).await;
    binance_sdks::call(&mut client, wanted).await;
    gateway.subscribed(1).await;
    worker.trades([trade("BTCUSDT", LAST)]).await;
    assert_eq!(Heard::price(&mut client).await, LAST);
}
