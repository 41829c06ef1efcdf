//! A gateway that has run out of descriptors keeps serving those it has, doesn't spin, says what is wrong, and takes new
//! clients as soon as others have gone.

use crate::support::process::Process;
use crate::support::{Client, Redis, trade, until};

#[tokio::test(flavor = "multi_thread")]
async fn it_backs_off_and_recovers() {
    let redis = Redis::start().await;
    let gateway = Process::limited(&redis, 64, &["--max-connections", "1000"]).await;
    let mut subscriber = Client::connect(&gateway.url()).await;
    subscriber.subscribe(&["AAPL"]).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(tokio::net::TcpStream::connect(gateway.addr()).await.expect("the listen queue takes it"));
    }
    until("accept to fail", async || gateway.has_logged("accept").then_some(())).await;
    let payload = trade("AAPL", "1", 1);
    redis.publisher().await.trade("AAPL", &payload).await;
    assert!(subscriber.text().await.contains(&payload), "those inside are served");
    drop(crowd);
    let mut late = Client::connect(&gateway.url()).await;
    late.subscribe(&["AAPL"]).await;
}
