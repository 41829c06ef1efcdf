//! Vendors' clients on a gateway that wants keys, each of which brings its key in its own way: one that doesn't hold is told, a good one opens. Those for
//! Node.js of Alpaca's API, alpaca-py, Massive's for Python and socket.io-client are in their own files.

use serde_json::{Value, json};
use ws_gateway::protocol::api::Api;

use crate::support::detour::Detour;
use crate::support::heard::Heard;
use crate::support::program::{Program, python};
use crate::support::tokens::{SECRET, token};
use crate::support::{Redis, TestGateway, trade, until};
use crate::{alpaca_ccxt, binance_sdks, finnhub_clients, massive_sdks};

/// A symbol that all of them know.
const SYMBOL: &str = "BTC/USD";

const BAD: &str = "nobody";

/// A gateway that lets in who has a token, or an API key with its secret.
struct Scene {
    redis: Redis,
    gateway: TestGateway,
    _keys: tempfile::NamedTempFile,
    good: String,
}

impl Scene {
    async fn of(api: Api) -> Self {
        let redis = Redis::start().await;
        let keys = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(keys.path(), "pair:s3cret\t{\"sub\":\"b\"}\n").expect("written");
        let gateway = TestGateway::on(&redis, |config| {
            config.clients.dialects = [api].into_iter().collect();
            config.access.secret_key = Some(SECRET.to_owned());
            config.access.api_keys_file = Some(keys.path().to_owned());
        })
        .await;
        Self { redis, gateway, _keys: keys, good: token(json!({"sub": "u"})) }
    }

    /// Each client holds a subscription, and gets the next trade.
    async fn serves(&self, clients: &mut [Program], symbol: &str, price: u64) {
        self.gateway.subscribed(clients.len() as u64).await;
        self.redis.publisher().await.trade(symbol, &trade(symbol, &price.to_string(), price)).await;
        for client in clients {
            assert_eq!(Heard::price(client).await, price);
        }
    }
}

/// ccxt for Python says nothing of a bad key, and that for JavaScript is tried with one in `alpaca_ccxt`.
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_alpaca() {
    let scene = Scene::of(Api::Alpaca).await;
    let addr = scene.gateway.addr;
    let trade_api = async |keys: [&str; 2]| {
        let mut script = python("alpaca-trade-api==3.2.0", "alpaca_trade_api_py.py").await;
        script.arg(format!("http://{addr}")).args(keys);
        let mut client = Program::start(script);
        client.say(&json!({"subscribe": "trades", "symbols": [SYMBOL]}).to_string()).await;
        client
    };
    let good = ["pair", "s3cret"];
    let mut clients = vec![trade_api(good).await];
    for (language, method) in
        [(alpaca_ccxt::Language::JavaScript, "watchTrades"), (alpaca_ccxt::Language::Python, "watch_trades")]
    {
        let script = alpaca_ccxt::script(addr, language, good, &[method]).await;
        clients.push(Program::start(script));
    }
    let mut refused = trade_api(["pair", "wrong"]).await;
    refused.logs("error during websocket communication: auth failed").await;
    scene.serves(&mut clients, SYMBOL, 7).await;
}

/// Binance's streams are public: what its clients have is a header, or nothing but their address.
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_binance() {
    let scene = Scene::of(Api::Binance).await;
    let way = Detour::to(scene.gateway.addr).await;
    let (plain, raw) = (format!("ws://{}", way.addr), format!("ws://{}/binance/ws", way.addr));
    let in_url = |key: &str| format!("{plain}/stream?token={key}&");
    let start = async |key: &str| {
        let options = json!({"key": key});
        let in_python = async |package, version, url: &str, call: Value| {
            let mut client = binance_sdks::in_python_with(package, version, url, &[key]).await;
            binance_sdks::call(&mut client, call).await;
            client
        };
        vec![
            in_python("python-binance", "1.0.37", &plain, json!(["trade_socket", {"symbol": "BTCUSDT"}]))
                .await,
            in_python("ccxt", "4.5.90", &raw, json!(["watch_trades", {"symbol": "BTC/USDT"}])).await,
            in_python("binance-connector", "3.13.0", &in_url(key), json!(["trade", {"symbol": "BTCUSDT"}]))
                .await,
            in_python("binance-sdk-spot", "13.3.0", &in_url(key), json!(["trade", {"symbol": "btcusdt"}]))
                .await,
            binance_sdks::starting_in_node("@binance/spot", &in_url(key), &options).await,
            binance_sdks::starting_in_node("binance", &format!("{plain}/binance"), &options).await,
            binance_sdks::starting_in_node("ccxt", &raw, &options).await,
        ]
    };
    let mut refused = start(BAD).await;
    let mut clients = start(&scene.good).await;
    let calls = [
        json!(["trade", {"symbol": "btcusdt"}]),
        json!(["subscribe", ["btcusdt@trade"], "main"]),
        json!(["watchTrades", "BTC/USDT"]),
    ];
    for all in [&mut refused, &mut clients] {
        for (client, call) in all[4..].iter_mut().zip(&calls) {
            binance_sdks::call(client, call.clone()).await;
        }
    }
    for (at, client) in refused.iter_mut().enumerate() {
        // binance-connector's library sends an `Origin`, as browsers do, which are told over WebSocket.
        client.says(if at == 2 { "\"code\": 2, " } else { "401" }).await;
    }
    drop(refused);
    scene.serves(&mut clients, "BTCUSDT", 7).await;

    // Those that come back by themselves bring it again, and one that has it in its address still names its streams there.
    let started = clients.len() as u64;
    way.cut();
    let closed = || scene.gateway.gateway.state().metrics.sum(|shard| &shard.connections_closed);
    until("the cut to be noticed", async || (closed() >= started).then_some(())).await;
    clients.drain(2..4);
    scene.serves(&mut clients, "BTCUSDT", 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn massive_for_node() {
    let scene = Scene::of(Api::Massive).await;
    let url = format!("ws://{}", scene.gateway.addr);
    let mut refused = massive_sdks::in_node_with(&url, "crypto", BAD).await;
    let mut client = massive_sdks::in_node_with(&url, "crypto", &scene.good).await;
    client.says("auth_success").await;
    client.say(&json!({"action": "subscribe", "params": format!("XT.{SYMBOL}")}).to_string()).await;
    scene.serves(&mut [client], SYMBOL, 7).await;
    refused.says("auth_failed").await;
    assert_eq!(refused.json().await, json!({"code": 1008}));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_finnhub() {
    let scene = Scene::of(Api::Finnhub).await;
    let addr = scene.gateway.addr;
    let (mut refused, mut clients) = (Vec::new(), Vec::new());
    for language in [finnhub_clients::Language::Python, finnhub_clients::Language::Node] {
        refused.push(finnhub_clients::started_with(language, addr, BAD, &[SYMBOL]).await);
        clients.push(finnhub_clients::started_with(language, addr, &scene.good, &[SYMBOL]).await);
    }
    scene.serves(&mut clients, SYMBOL, 7).await;
    // The library for Python sends an `Origin`, as browsers do, which are told over WebSocket.
    for (client, told) in refused.iter_mut().zip(["\"type\": \"error\"", "401"]) {
        client.says(told).await;
    }
}
