//! A client: prints the trades of AAPL, says what it has missed, and comes back after a lost connection. Copy what you need.
//!
//! `cargo run -p tools --example subscribe -- ws://127.0.0.1:8080/ws`

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080/ws".to_owned());
    let mut last_seq = None;
    loop {
        let mut pause_ms = 500 + fastrand::u64(..1_500);
        match subscribe(&url, &mut last_seq, &mut pause_ms).await {
            Ok(Some(1002 | 1007..=1009)) => return eprintln!("refused: the same attempt would end the same"),
            Ok(code) => eprintln!("the connection has ended (close code {code:?}); again in {pause_ms} ms"),
            Err(error) => eprintln!("{error}; again in {pause_ms} ms"),
        }
        sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// One connection: returns the close code with which it ended, if one came. A gateway that goes away sets `pause_ms`.
async fn subscribe(url: &str, last_seq: &mut Option<u64>, pause_ms: &mut u64) -> anyhow::Result<Option<u16>> {
    let (mut gateway, _) = timeout(Duration::from_secs(10), connect_async(url)).await??;
    // With "resume" the gateway first sends what came after the last trade that we have seen.
    let resume = last_seq.map_or_else(|| json!({}), |seq| json!({ "AAPL": seq }));
    let request = json!({ "action": "subscribe", "symbols": ["AAPL"], "snapshot": true, "resume": resume });
    gateway.send(Message::text(request.to_string())).await?;
    // The gateway pings every 30 s: silence for longer than 90 s is a dead link.
    while let Some(message) = timeout(Duration::from_secs(90), gateway.next()).await? {
        let text = match message? {
            Message::Text(text) => text,
            Message::Close(frame) => {
                gateway.flush().await.ok(); // sends our half of the closing handshake
                return Ok(frame.map(|frame| frame.code.into()));
            }
            _ => continue,
        };
        let message: Value = serde_json::from_str(&text)?;
        let data = &message["data"];
        match (message["type"].as_str(), message["event"].as_str()) {
            (Some("trade"), _) => {
                *last_seq = data["seq"].as_u64().or(*last_seq);
                println!("{} {} at {}", data["symbol"], data["price"], data["timestamp"]);
            }
            (Some("status"), Some("shutdown")) => {
                *pause_ms = data["reconnectAfterMs"].as_u64().unwrap_or(*pause_ms);
            }
            // Trades are missing: `feed` (the gateway had lost Redis), `skipped` (we were too slow), `gap` (the worker's).
            (Some("status"), Some(event @ ("feed" | "skipped" | "gap"))) => eprintln!("{event}: {data}"),
            (Some("error"), _) => eprintln!("{}: {}", message["code"], message["message"]),
            _ => {}
        }
    }
    Ok(None)
}
