//! A worker: publishes a trade of AAPL each second, and goes on when Redis has been away. Copy what you need.
//!
//! `cargo run -p tools --example publish -- redis://127.0.0.1:6379`

use std::time::{Duration, SystemTime};

use redis::{AsyncConnectionConfig, AsyncTypedCommands as _, Client, RedisResult};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let redis = Client::open(url)?;
    let mut seq = 1;
    loop {
        let Err(error) = publish(&redis, &mut seq).await;
        eprintln!("Redis: {error}; trade {seq} again in a second");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Publishes for as long as Redis takes it. `seq` rises with each trade that Redis has acknowledged; by it clients notice what they
/// have missed, and the gateway drops what comes twice.
async fn publish(redis: &Client, seq: &mut u64) -> RedisResult<std::convert::Infallible> {
    // A Redis that doesn't answer is found by these.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(5)))
        .set_response_timeout(Some(Duration::from_secs(5)));
    let mut redis = redis.get_multiplexed_async_connection_with_config(&config).await?;
    loop {
        let timestamp_ms = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        let price = 150.0 + (*seq % 10) as f64 / 4.0;
        let trade = format!(
            r#"{{"symbol":"AAPL","price":{price},"volume":100,"timestamp":{timestamp_ms},"exchange":"NASDAQ","seq":{seq}}}"#
        );
        let gateways = redis.publish("channel:trade:AAPL", &trade).await?;
        println!("trade {seq} → {gateways} gateway(s)");
        *seq += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
