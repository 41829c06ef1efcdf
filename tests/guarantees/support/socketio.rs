//! Socket.IO by hand: packets as they are, over WebSocket.

use std::net::SocketAddr;

use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

use super::Client;
use super::tokens::SECRET;

pub(crate) fn with_socketio(config: &mut Config) {
    config.clients.dialects = [Api::SocketIo].into_iter().collect();
    config.events.channel_types = "trade,quote,case".parse().unwrap();
}

/// The same with rooms, for users with tokens.
pub(crate) fn with_desk(config: &mut Config) {
    with_socketio(config);
    config.desk.is_on = true;
    config.access.secret_key = Some(SECRET.to_owned());
}

impl Client {
    /// The next packet that is no ping: they come every 25 s, the first one at a random moment of that, and stand among what clients read.
    pub(crate) async fn packet(&mut self) -> String {
        loop {
            match self.text().await {
                ping if ping == "2" => self.send("3").await,
                packet => return packet,
            }
        }
    }
}

pub(crate) fn url(gateway: SocketAddr) -> String {
    format!("ws://{gateway}/socket.io/?EIO=4&transport=websocket")
}

/// A client that has read the server's first packet.
pub(crate) async fn connected(gateway: SocketAddr) -> Client {
    let mut client = Client::connect(&url(gateway)).await;
    let open = client.packet().await;
    let terms: Value = serde_json::from_str(open.strip_prefix('0').expect("the first packet")).expect("JSON");
    assert_eq!(terms["sid"].as_str().map(str::len), Some(32));
    assert_eq!((&terms["upgrades"], &terms["maxPayload"]), (&json!([]), &json!(65_536)));
    assert_eq!((&terms["pingInterval"], &terms["pingTimeout"]), (&json!(25_000), &json!(20_000)));
    client
}

/// Joins a namespace; `place` is how packets name it. Returns the public id of the connection.
pub(crate) async fn join(client: &mut Client, place: &str, auth: &Value) -> String {
    client.send(format!("40{place}{auth}")).await;
    let joined = client.packet().await;
    let joined: Value =
        serde_json::from_str(joined.strip_prefix(&format!("40{place}")).expect(&joined)).expect("JSON");
    let event = client.packet().await;
    assert!(event.starts_with(&format!(r#"42{place}["connected",{{"userId":"#)), "{event}");
    joined["sid"].as_str().expect("an id").to_owned()
}

/// Sends a packet, and returns the next one.
pub(crate) async fn ask(client: &mut Client, packet: &str) -> String {
    client.send(packet).await;
    client.packet().await
}
