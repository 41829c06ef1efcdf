//! Prints trades.

use futures_util::StreamExt as _;
use tokio_tungstenite::tungstenite::Message;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://localhost:8080/ws".to_owned());
    let (mut gateway, _) = tokio_tungstenite::connect_async(format!("{url}?symbols=AAPL")).await?;
    while let Some(message) = gateway.next().await {
        // Pings are answered by themselves.
        let Message::Text(text) = message? else { continue };
        let message: serde_json::Value = serde_json::from_str(&text)?;
        if message["type"] == "trade" {
            let trade = &message["data"];
            println!("{} {}", trade["symbol"].as_str().unwrap_or_default(), trade["price"]);
        }
    }
    Ok(())
}
