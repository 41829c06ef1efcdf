//! `LAST_VALUE_KEY` on a Redis Cluster: a snapshot has the values of all keys, whichever node `REDIS_URL` names and
//! wherever the keys are.

use redis::RedisResult;
use serde_json::json;

use crate::support::cluster::{Node, cluster};
use crate::support::{Redis, TestGateway, trade};

const SYMBOLS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];

fn key(symbol: &str) -> String {
    format!("last:trade:{symbol}")
}

/// Every symbol's value comes with the snapshot of a gateway on `redis`.
async fn snapshot_is_whole(redis: &Redis) {
    let gateway = TestGateway::on(redis, |config| {
        config.history.last_value_key = Some("last:trade:".to_owned());
        config.clients.max_symbols_per_client = SYMBOLS.len();
    })
    .await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": SYMBOLS, "snapshot": true})).await;
    for symbol in SYMBOLS {
        client.gets(symbol, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_with_keys_of_different_slots() {
    let mut nodes = cluster(1).await;
    let Node { redis, connection: node, .. } = &mut nodes[0];
    for symbol in SYMBOLS {
        let () = node.command(&["SET", &key(symbol), &trade(symbol, "1", 1)]).await;
    }
    let many: RedisResult<Vec<String>> = node.try_command(&["MGET", &key("A"), &key("B")]).await;
    assert_eq!(many.unwrap_err().code(), Some("CROSSSLOT"), "the keys are of different slots");
    snapshot_is_whole(redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_and_a_slot_that_is_being_moved() {
    let mut nodes = cluster(2).await;
    let [first, second] = &mut nodes[..] else { panic!("two nodes") };
    let (on_first, on_second) = (&mut first.connection, &mut second.connection);

    let slot: u16 = on_first.command(&["CLUSTER", "KEYSLOT", &key("A")]).await;
    let ids: [String; 2] =
        [on_first.command(&["CLUSTER", "MYID"]).await, on_second.command(&["CLUSTER", "MYID"]).await];
    // A's slot is on its way to the other node, and A is there already.
    let on = [on_first, on_second];
    let (from, to) = if slot < 8192 { (0, 1) } else { (1, 0) };
    let slot = slot.to_string();
    let () = on[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[to]]).await;
    let () = on[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[from]]).await;
    let () = on[to].command(&["ASKING"]).await;
    let () = on[to].command(&["SET", &key("A"), &trade("A", "1", 1)]).await;

    let mut with_values = [0, 0];
    for symbol in &SYMBOLS[1..] {
        let slot: u16 = on[0].command(&["CLUSTER", "KEYSLOT", &key(symbol)]).await;
        let node = usize::from(slot >= 8192);
        let () = on[node].command(&["SET", &key(symbol), &trade(symbol, "1", 1)]).await;
        with_values[node] += 1;
    }
    assert!(with_values.iter().all(|count| *count > 0), "both nodes have values: {with_values:?}");
    for redis in [&first.redis, &second.redis] {
        snapshot_is_whole(redis).await;
    }
}
