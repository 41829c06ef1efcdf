//! Vendors' clients whose gateway is killed, which so says nothing: they have prices again from the next one. Those of Finnhub's API are in
//! `finnhub_clients`, Alpaca's third for Node.js, which speaks TLS alone, in `alpaca_node_3`.

use serde_json::{Value, json};

use crate::support::detour::Detour;
use crate::support::process::Process;
use crate::support::program::{Program, node, python};
use crate::support::{Redis, stats, trade};
use crate::{alpaca_ccxt, alpaca_sdks, binance_sdks, massive_sdks, socketio_clients};

/// The symbol that clients want, unless they know others alone; each has one subscription.
const SYMBOL: &str = "AAPL";

/// A gateway, and the way that clients take to it.
struct Scene {
    redis: Redis,
    way: Detour,
    gateway: Process,
    dialect: &'static str,
    symbol: &'static str,
}

impl Scene {
    async fn of(dialect: &'static str) -> Self {
        let redis = Redis::start().await;
        let gateway = Process::on(&redis, &["--dialects", dialect]).await;
        let way = Detour::to(gateway.addr()).await;
        Self { redis, way, gateway, dialect, symbol: SYMBOL }
    }

    /// A trade, once the client is subscribed.
    async fn publish(&self, price: u64) {
        stats::subscribed(self.gateway.addr(), 1).await;
        self.redis.publisher().await.trade(self.symbol, &trade(self.symbol, &price.to_string(), price)).await;
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
async fn alpaca_trade_api_for_python() {
    let mut scene = Scene::of("alpaca").await;
    let mut script = python("alpaca-trade-api==3.2.0", "alpaca_trade_api_py.py").await;
    script.args([&format!("http://{}", scene.way.addr), "K", "S"]);
    let mut client = Program::start(script);
    client.say(&json!({"subscribe": "trades", "symbols": [SYMBOL]}).to_string()).await;
    scene
        .is_outlived_by(client, async |client| client.line_with("channel").await["event"]["p"].clone())
        .await;
}

async fn ccxt(language: alpaca_ccxt::Language, method: &str) {
    let mut scene = Scene { symbol: "BTC/USD", ..Scene::of("alpaca").await };
    let client = alpaca_ccxt::started(&scene.way, language, &[method]).await;
    scene
        .is_outlived_by(client, async |client| client.line_with("event").await["event"][0]["price"].clone())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ccxt_for_node() {
    ccxt(alpaca_ccxt::Language::JavaScript, "watchTrades").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ccxt_for_python() {
    ccxt(alpaca_ccxt::Language::Python, "watch_trades").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn massive_and_polygon_for_python() {
    for (requirement, module) in [("massive==2.9.1", "massive"), ("polygon-api-client==1.16.3", "polygon")] {
        let mut scene = Scene::of("massive").await;
        let channel = format!("T.{SYMBOL}");
        let client = massive_sdks::started(requirement, module, &scene.way, "stocks", "K", &channel).await;
        scene
            .is_outlived_by(client, async |client| client.line_with("event").await["event"]["price"].clone())
            .await;
    }
}

/// It is told, and doesn't come back by itself: its user makes a new one.
#[tokio::test(flavor = "multi_thread")]
async fn massive_for_node() {
    let mut scene = Scene::of("massive").await;
    for price in 1..=3 {
        let mut client = massive_sdks::in_node(&format!("ws://{}/massive", scene.way.addr), "stocks").await;
        client.say(&json!({"action": "subscribe", "params": format!("T.{SYMBOL}")}).to_string()).await;
        assert_eq!(client.json().await[0]["message"], format!("subscribed to: T.{SYMBOL}"));
        scene.publish(price).await;
        assert_eq!(client.json().await[0]["p"], price);
        scene.kill().await;
        assert_eq!(client.json().await, json!({"code": 1006}));
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn binance_for_node() {
    let mut scene = Scene::of("binance").await;
    let mut client = binance_sdks::in_node("binance", &format!("ws://{}/binance", scene.way.addr)).await;
    let stream = format!("{}@trade", SYMBOL.to_lowercase());
    binance_sdks::call(&mut client, json!(["subscribe", [stream], "main"])).await;
    scene.is_outlived_by(client, price_in_stream).await;
}

/// A client that is told, and doesn't come back by itself: its user makes a new one. `is_over` waits until it is told.
async fn is_made_anew(package: &str, version: &str, is_over: impl AsyncFn(&mut Program)) {
    let mut scene = Scene::of("binance").await;
    let url = format!("ws://{}", scene.way.addr);
    let mut client = binance_sdks::in_python(package, version, &url).await;
    for price in 1..=3 {
        if price > 1 {
            scene.kill().await;
            is_over(&mut client).await;
            binance_sdks::call(&mut client, json!(["connect"])).await;
        }
        binance_sdks::call(&mut client, json!(["trade", {"symbol": SYMBOL}])).await;
        scene.publish(price).await;
        assert_eq!(price_in_stream(&mut client).await.as_f64(), Some(price as f64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_connector() {
    is_made_anew("binance-connector", "3.13.0", async |client| drop(client.line_with("end").await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_sdk_spot() {
    is_made_anew("binance-sdk-spot", "13.3.0", async |client| drop(client.logs("losed").await)).await;
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
