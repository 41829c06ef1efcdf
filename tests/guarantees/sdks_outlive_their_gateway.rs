//! Vendors' clients whose gateway is killed, which so says nothing: they have prices again from the next one. Those of Finnhub's API are in
//! `finnhub_clients`.

use serde_json::{Value, json};

use crate::support::detour::Detour;
use crate::support::process::Process;
use crate::support::program::{Program, node};
use crate::support::{Redis, stats, trade};
use crate::{alpaca_sdks, binance_sdks, massive_sdks, socketio_clients};

/// The symbol that every client wants; each has one subscription.
const SYMBOL: &str = "AAPL";

/// A gateway, and the way that clients take to it.
struct Scene {
    redis: Redis,
    way: Detour,
    gateway: Process,
    dialect: &'static str,
}

impl Scene {
    async fn of(dialect: &'static str) -> Self {
        let redis = Redis::start().await;
        let gateway = Process::on(&redis, &["--dialects", dialect]).await;
        let way = Detour::to(gateway.addr()).await;
        Self { redis, way, gateway, dialect }
    }

    /// A trade, once the client is subscribed.
    async fn publish(&self, price: u64) {
        stats::subscribed(self.gateway.addr(), 1).await;
        self.redis.publisher().await.trade(SYMBOL, &trade(SYMBOL, &price.to_string(), price)).await;
    }

    /// The gateway is killed, and there is another one.
    async fn kill(&mut self) {
        let next = Process::on(&self.redis, &["--dialects", self.dialect]).await;
        let killed = std::mem::replace(&mut self.gateway, next);
        self.way.outlive(killed, &self.gateway).await;
    }

    /// A client gets prices, comes back by itself when its gateway is killed, and gets prices. `price` is that of its next trade.
    async fn is_outlived_by(&mut self, mut client: Program, price: impl AsyncFn(&mut Program) -> Value) {
        for expected in 1..=3 {
            if expected > 1 {
                self.kill().await;
            }
            self.publish(expected).await;
            assert_eq!(price(&mut client).await.as_f64(), Some(expected as f64));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alpaca_for_python() {
    let mut scene = Scene::of("alpaca").await;
    let url = format!("ws://{}/v2/iex", scene.way.addr);
    let first = json!({"subscribe": "trades", "symbols": [SYMBOL]});
    let client = alpaca_sdks::alpaca_py("StockDataStream", &url, &first).await;
    scene
        .is_outlived_by(client, async |client| client.line_with("channel").await["event"]["price"].clone())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alpaca_for_node() {
    let mut scene = Scene::of("alpaca").await;
    let mut script = node("alpaca_node.js").await;
    script.args([&format!("ws://{}/v2/iex", scene.way.addr), "K", "S"]);
    let mut client = Program::start(script);
    client.say(&json!({"subscribeForTrades": [SYMBOL]}).to_string()).await;
    scene
        .is_outlived_by(client, async |client| client.line_with("TRADE").await["TRADE"]["price"].clone())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn massive_for_python() {
    let mut scene = Scene::of("massive").await;
    let channel = format!("T.{SYMBOL}");
    let client =
        massive_sdks::started("massive==2.9.1", "massive", &scene.way, "stocks", "K", &channel).await;
    scene
        .is_outlived_by(client, async |client| client.line_with("event").await["event"]["price"].clone())
        .await;
}

/// The price of the next trade in a stream of Binance's.
async fn price_in_stream(client: &mut Program) -> Value {
    let event = binance_sdks::event(client).await["event"].clone();
    let price = event.get("data").unwrap_or(&event)["p"].as_str().expect("a text").to_owned();
    json!(price.parse::<f64>().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn python_binance() {
    let mut scene = Scene::of("binance").await;
    let mut client =
        binance_sdks::in_python("python-binance", "1.0.37", &format!("ws://{}", scene.way.addr)).await;
    binance_sdks::call(&mut client, json!(["trade_socket", {"symbol": SYMBOL}])).await;
    scene.is_outlived_by(client, price_in_stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_spot_for_node() {
    let mut scene = Scene::of("binance").await;
    let mut client = binance_sdks::in_node("@binance/spot", &format!("ws://{}", scene.way.addr)).await;
    binance_sdks::call(&mut client, json!(["trade", {"symbol": SYMBOL}])).await;
    scene.is_outlived_by(client, price_in_stream).await;
}

/// It is told, and doesn't come back by itself: its user makes a new one.
#[tokio::test(flavor = "multi_thread")]
async fn binance_connector() {
    let mut scene = Scene::of("binance").await;
    let url = format!("ws://{}", scene.way.addr);
    let mut client = binance_sdks::in_python("binance-connector", "3.13.0", &url).await;
    for price in 1..=3 {
        if price > 1 {
            scene.kill().await;
            client.line_with("end").await;
            binance_sdks::call(&mut client, json!(["connect"])).await;
        }
        binance_sdks::call(&mut client, json!(["trade", {"symbol": SYMBOL}])).await;
        scene.publish(price).await;
        assert_eq!(price_in_stream(&mut client).await.as_f64(), Some(price as f64));
    }
}

async fn socketio(transports: Value) {
    let mut scene = Scene::of("socketio").await;
    let mut client =
        socketio_clients::client(scene.way.addr, "/events", &json!({"transports": transports})).await;
    let wanted = json!([["subscribe", {"symbols": [SYMBOL]}]]);
    client.say(&json!({"at_connect": wanted}).to_string()).await;
    // It may have been connected before it was told what to ask for then.
    client.say(&json!({"emit": wanted[0]}).to_string()).await;
    scene
        .is_outlived_by(client, async |client| {
            socketio_clients::event(client, "trade").await["data"]["price"].clone()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn socketio_over_web_socket() {
    socketio(json!(["websocket"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn socketio_by_long_polling() {
    socketio(json!(["polling"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn socketio_as_it_is_by_default() {
    socketio(json!(["polling", "websocket"])).await;
}
