//! The gateway sends PING on a quiet link, and any answer keeps the link: also a refusal, because the user may not send
//! PING or because a script keeps Redis busy. No client notices, no trade is lost, and the log says once which permission
//! is missing.

use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::{Client, Redis, stats, trade};

/// The gateway has been refused a PING; its link goes on nevertheless.
async fn goes_on(gateway: &Process, client: &mut Client, worker: &mut Publisher) {
    let next = trade("AAPL", "2", 2);
    worker.trade("AAPL", &next).await;
    let frame = client.text().await;
    assert!(frame.contains(&next), "the next frame is the trade: {frame}");
    assert_eq!(stats::number(gateway.addr(), "upstream/losses").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_not_ping() {
    let redis = Redis::start().await;
    let mut worker = redis.publisher().await;
    let () = worker
        .command(&[
            "ACL",
            "SETUSER",
            "gw",
            "on",
            ">pw",
            "-@all",
            "+psubscribe",
            "resetchannels",
            "&channel:trade:*",
        ])
        .await;
    let url = format!("redis://gw:pw@127.0.0.1:{}", redis.port);
    let gateway = Process::start(&["--redis-url", &url]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL"]).await;
    let line = gateway.logs("Redis refuses PING").await;
    assert!(line.contains("NOPERM") && line.contains("ACL SETUSER <user> +ping"), "{line}");
    goes_on(&gateway, &mut client, &mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_keeps_redis_busy() {
    let redis = Redis::start_with(&["--busy-reply-threshold", "10"]).await;
    let gateway = Process::on(&redis, &[]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL"]).await;
    let mut worker = redis.publisher().await;
    let mut looping = redis.publisher().await;
    let script =
        tokio::spawn(async move { looping.try_command::<()>(&["EVAL", "while true do end", "0"]).await });
    let line = gateway.logs("Redis refuses PING").await;
    assert!(line.contains("BUSY"), "{line}");
    let () = worker.command(&["SCRIPT", "KILL"]).await;
    assert!(script.await.unwrap().is_err(), "the script was killed");
    goes_on(&gateway, &mut client, &mut worker).await;
}
