//! Vendors' clients on a silent feed: their pings are answered, they answer the gateway's, nobody takes the other for dead, and the next trade comes
//! over the same connection. alpaca-py, and the clients of Binance's, Massive's and Finnhub's APIs that send no pings: see their own files.

use std::time::Duration;

use serde_json::json;
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

use crate::support::detour::Detour;
use crate::support::heard::Heard;
use crate::support::program::{Program, node, python};
use crate::support::tls::Identity;
use crate::support::{Redis, TestGateway, trade};
use crate::{alpaca_ccxt, alpaca_node_3, binance_sdks, socketio_clients};

/// A symbol that all of them know.
const SYMBOL: &str = "BTC/USD";

/// How many of its own pings each client sees answered.
const PONGS: usize = 3;

fn with_pings(api: Api) -> impl FnOnce(&mut Config) {
    move |config| {
        config.clients.dialects = [api].into_iter().collect();
        config.delivery.ping_interval = Duration::from_millis(200);
        config.delivery.pong_timeout = Duration::from_millis(200);
        // A machine with much to do may let a client wait for seconds.
        config.delivery.max_missed_pongs = 50;
    }
}

/// Each client gets the next trade, and none has connected twice.
async fn are_still_there(redis: &Redis, gateways: &[&TestGateway], clients: &mut [Program]) {
    redis.publisher().await.trade(SYMBOL, &trade(SYMBOL, "7", 1)).await;
    for client in &mut *clients {
        assert_eq!(Heard::price(client).await, 7);
    }
    let opened = |gateway: &&TestGateway| {
        gateway.gateway.state().metrics.sum(|shard| &shard.connections_opened) as usize
    };
    assert_eq!(gateways.iter().map(opened).sum::<usize>(), clients.len());
}

/// Version 3 for Node.js has no setting for its interval of 10 s: its pings are asked for. It always speaks TLS.
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_alpaca() {
    let redis = Redis::start().await;
    let identity = Identity::new();
    let plain = TestGateway::on(&redis, with_pings(Api::Alpaca)).await;
    let with_tls = alpaca_node_3::gateway(&redis, &identity, with_pings(Api::Alpaca)).await;

    let mut four = node("alpaca_node.js").await;
    four.args([&format!("ws://{}/v2/iex", plain.addr), "K", "S", "", "100"]);
    let mut for_python = python("alpaca-trade-api==3.2.0", "alpaca_trade_api_py.py").await;
    let parameters = r#"{"ping_interval": 0.1, "ping_timeout": 60}"#;
    for_python.args([&format!("http://{}", plain.addr), "K", "S", parameters]);
    let mut clients = vec![Program::start(four), Program::start(for_python)];
    clients[0].say(&json!({"subscribeForTrades": [SYMBOL]}).to_string()).await;
    clients[1].say(&json!({"subscribe": "trades", "symbols": [SYMBOL]}).to_string()).await;
    for (language, method) in
        [(alpaca_ccxt::Language::JavaScript, "watchTrades"), (alpaca_ccxt::Language::Python, "watch_trades")]
    {
        let mut script = alpaca_ccxt::script(plain.addr, language, ["K", "S"], &[method]).await;
        script.env("KEEP_ALIVE_MS", "100");
        clients.push(Program::start(script));
    }
    let way = Detour::to(with_tls.addr).await;
    let wanted = json!({"subscribeForTrades": [SYMBOL]});
    clients.push(alpaca_node_3::started(&way, &identity, "data_stream_v2", &wanted).await);
    plain.subscribed(4).await;
    alpaca_node_3::subscribed(with_tls.addr, 1).await;

    let (three, others) = clients.split_last_mut().expect("it is the last");
    for _ in 0..PONGS {
        three.say(r#"{"ping":[]}"#).await;
        three.says("pong").await;
    }
    for client in others {
        for _ in 0..PONGS {
            client.says("pong").await;
        }
    }
    // Each client may have answered as many, or one of them more.
    plain.pongs(20).await;
    are_still_there(&redis, &[&plain, &with_tls], &mut clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_for_node() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_pings(Api::Binance)).await;
    let options = json!({"pingInterval": 100});
    let url = format!("ws://{}/binance", gateway.addr);
    let mut client = binance_sdks::starting_in_node("binance", &url, &options).await;
    let stream = format!("{}@trade", SYMBOL.to_lowercase());
    binance_sdks::call(&mut client, json!(["subscribe", [stream], "main"])).await;
    for _ in 0..PONGS {
        client.says("Received pong frame").await;
    }
    gateway.pongs(5).await;
    are_still_there(&redis, &[&gateway], &mut [client]).await;
}

/// Its server sends the pings, every 25 s as Socket.IO's does: so long this may take.
#[tokio::test(flavor = "multi_thread")]
async fn socketio() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_pings(Api::SocketIo)).await;
    let mut clients = Vec::new();
    for transport in ["websocket", "polling"] {
        let options = json!({"transports": [transport]});
        let mut client = socketio_clients::client(gateway.addr, "/events", &options).await;
        client.say(&json!({"emit": ["subscribe", {"symbols": [SYMBOL]}]}).to_string()).await;
        clients.push(client);
    }
    gateway.subscribed(2).await;
    gateway.pongs(2).await;
    are_still_there(&redis, &[&gateway], &mut clients).await;
}
