//! Publishes a trade.

use std::time::SystemTime;

use redis::TypedCommands as _;

fn main() -> redis::RedisResult<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://localhost:6379".to_owned());
    let mut redis = redis::Client::open(url)?.get_connection()?;
    let timestamp_ms = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
    let trade = format!(r#"{{"symbol":"AAPL","price":150.25,"volume":100,"timestamp":{timestamp_ms}}}"#);
    redis.publish("channel:trade:AAPL", trade)?;
    Ok(())
}
