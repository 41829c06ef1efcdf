//! What workers put into inboxes comes to users who are here: everything, in order, once, however much at a time. An entry that can't be delivered costs nobody
//! else anything.

use std::net::SocketAddr;

use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::gateway::Gateway;

use crate::support::desk::user;
use crate::support::detour::Detour;
use crate::support::inboxes::{WEEK, gateway, queue};
use crate::support::redis::Publisher;
use crate::support::tokens::SECRET;
use crate::support::{Client, Redis, TestGateway, until};

fn task(n: usize) -> String {
    format!(r#"{{"type":"task","n":{n}}}"#)
}

/// Adds entries of one field to an inbox, in one pipeline.
async fn add(worker: &mut Publisher, name: &str, max: &str, values: impl IntoIterator<Item = String>) {
    let key = format!("channel:inbox:{name}");
    let command = |value: String| ["XADD", &key, "MAXLEN", max, "*", "message", &value].map(str::to_owned);
    worker.commands(values.into_iter().map(command)).await;
}

/// A connection that gets what workers put into its user's inbox as it comes.
async fn here(addr: SocketAddr, name: &str, worker: &mut Publisher) -> Client {
    let mut client = user(addr, name).await;
    until("what comes live", async || {
        add(worker, name, "1000", [r#"{"type":"first"}"#.to_owned()]).await;
        (client.next_of("first").await["queued"] == Value::Null).then_some(())
    })
    .await;
    client
}

/// The gateways have looked through all inboxes since the call began.
async fn all_are_looked_through(watch: &mut [Client], worker: &mut Publisher) {
    // The first may be found by a look that was under way.
    for _ in 0..2 {
        add(worker, "watch", "1000", [r#"{"type":"mark"}"#.to_owned()]).await;
        for client in &mut *watch {
            client.next_of("mark").await;
        }
    }
}

/// The numbers of the tasks that a client gets, with their names in order: once there are `count`, no other comes.
async fn tasks(client: &mut Client, count: usize) -> Vec<u64> {
    let (mut numbers, mut last) = (Vec::new(), (0_u64, 0_u64));
    loop {
        let frame = client.json().await;
        match frame["type"].as_str() {
            Some("pong") => return numbers,
            Some("task") => {
                let id = frame["message_id"].as_str().and_then(|id| id.split_once('-')).expect("a name");
                let id = (id.0.parse().unwrap(), id.1.parse().unwrap());
                assert!(id > last, "names rise: {frame}");
                last = id;
                numbers.push(frame["n"].as_u64().unwrap());
                if numbers.len() == count {
                    client.send(r#"{"action":"ping"}"#).await;
                }
            }
            _ => {}
        }
    }
}

async fn bursts(addrs: [SocketAddr; 2], mut worker: Publisher) {
    let (mut watch, mut bob) = (Vec::new(), Vec::new());
    for addr in addrs {
        watch.push(here(addr, "watch", &mut worker).await);
        bob.push(here(addr, "bob", &mut worker).await);
    }
    // The last is as many as the queue of workers may hold, again and again: what is not delivered in time gives way.
    for (count, max, times) in [(10, "1000", 1), (300, "1000", 1), (90, "100", 4)] {
        for _ in 0..times {
            add(&mut worker, "bob", max, (0..count).map(task)).await;
            all_are_looked_through(&mut watch, &mut worker).await;
            for client in &mut bob {
                let expected: Vec<_> = (0..count as u64).collect();
                assert_eq!(tasks(client, count).await, expected, "of {count}");
            }
        }
    }
    until("the confirmations", async || {
        for client in &mut bob {
            client.gets_nothing().await;
        }
        let left: u64 = worker.command(&["XLEN", "channel:inbox:bob"]).await;
        (left == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_come_whole() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis).await, gateway(&redis).await);
    bursts([one.addr, other.addr], redis.publisher().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_come_whole_from_the_embedded_broker() {
    let mut config = Config::for_tests();
    config.access.secret_key = Some(SECRET.to_owned());
    config.clients.max_connections_per_user = None;
    config.desk.is_on = true;
    queue(100, WEEK)(&mut config);
    let gateway = Gateway::build(config).await.expect("the gateway starts");
    let url = format!("redis://{}", gateway.broker_addr().expect("it has one"));
    // Another has it as its Redis.
    let other = TestGateway::with_url(&url, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.desk.is_on = true;
        queue(100, WEEK)(config);
    })
    .await;
    bursts([gateway.local_addr(), other.addr], Publisher::connect(&url).await).await;
}

/// What can't be delivered: too large by itself, too many in one reply, or of too many fields.
async fn add_bad(worker: &mut Publisher, name: &str) {
    let key = format!("channel:inbox:{name}");
    let large = |bytes| format!(r#"{{"type":"task","padding":"{}"}}"#, "x".repeat(bytes));
    add(worker, name, "1000", [large(3 << 20), large(5 << 20)]).await;
    add(worker, name, "1000", (0..70).map(|_| large(300 << 10))).await;
    for (fields, bytes) in [(20_000, 1), (12, 1 << 20)] {
        let begin = ["XADD", &key, "*"].map(str::to_owned);
        let fields = (0..fields).flat_map(|n| [format!("field {n}"), "x".repeat(bytes)]);
        worker.commands([begin.into_iter().chain(fields)]).await;
    }
}

/// As large as an event may be, for the user with the longest name.
async fn the_largest_comes(addr: SocketAddr, worker: &mut Publisher) {
    let name = "n".repeat(128);
    let mut client = here(addr, &name, worker).await;
    for bytes in [65_400, 65_530, 64 * 1024] {
        let (open, close) = (r#"{"type":"large","x":""#, r#""}"#);
        let object = format!("{open}{}{close}", "x".repeat(bytes - open.len() - close.len()));
        add(worker, &name, "1000", [object]).await;
        let frame = client.next_of("large").await;
        assert_eq!(frame["queued"], Value::Null, "it comes at once");
        assert_eq!(frame["x"].as_str().map(str::len), Some(bytes - open.len() - close.len()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_come_too() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    the_largest_comes(gateway.addr, &mut redis.publisher().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_delivered_costs_nobody_anything() {
    let redis = Redis::start().await;
    let gateways = [gateway(&redis).await, gateway(&redis).await];
    let mut worker = redis.publisher().await;
    let (mut watch, mut carol) = (Vec::new(), Vec::new());
    for gateway in &gateways {
        watch.push(here(gateway.addr, "watch", &mut worker).await);
        carol.push(here(gateway.addr, "carol", &mut worker).await);
        // Away, and known.
        drop(here(gateway.addr, "dave", &mut worker).await);
    }
    let publishers = publishers(&mut worker).await;
    for name in ["carol", "dave"] {
        add_bad(&mut worker, name).await;
        add(&mut worker, name, "1000", (0..3).map(task)).await;
    }
    let mut alice = user(gateways[0].addr, "alice").await;
    for _ in 0..3 {
        let (reply, _) = alice.ask_for("chat", json!({"to": "watch", "message": 1})).await;
        assert_eq!(reply["type"], "success", "{reply}");
        all_are_looked_through(&mut watch, &mut worker).await;
    }
    for client in &mut carol {
        assert_eq!(tasks(client, 3).await, [0, 1, 2]);
    }
    let mut dave = user(gateways[1].addr, "dave").await;
    for n in 0..3 {
        assert_eq!(dave.next_of("task").await["n"], n);
    }
    for (name, client) in [("carol", &mut carol[0]), ("dave", &mut dave)] {
        until("all to be deleted", async || {
            client.gets_nothing().await;
            let left: u64 = worker.command(&["XLEN", &format!("channel:inbox:{name}")]).await;
            (left == 0).then_some(())
        })
        .await;
    }
    assert_eq!(self::publishers(&mut worker).await, publishers, "no connection was lost");
    let refused =
        gateways.iter().map(|gateway| gateway.gateway.state().metrics.control.inbox_entries_refused.get());
    assert!(refused.sum::<u64>() >= 2 * 74);
}

/// One that takes Redis seconds to send: the gateway goes on with its connection, and so does everybody else with theirs. Who says something meanwhile may be told
/// that it can't be known whether it has come.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_seconds_to_come_cuts_nothing() {
    let redis = Redis::start().await;
    // 20 MB/s.
    let way = Detour::slow(([127, 0, 0, 1], redis.port).into(), 20_000).await;
    let gateway = TestGateway::with_url(&format!("redis://{}", way.addr), |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.desk.is_on = true;
        queue(100, WEEK)(config);
    })
    .await;
    let mut worker = redis.publisher().await;
    let mut bob = here(gateway.addr, "bob", &mut worker).await;
    let mut alice = here(gateway.addr, "alice", &mut worker).await;
    let publishers = publishers(&mut worker).await;
    let large = format!(r#"{{"type":"task","padding":"{}"}}"#, "x".repeat(60 << 20));
    add(&mut worker, "bob", "1000", [large, task(0)]).await;
    let mut refused = 0;
    until("the entry to be passed over", async || {
        let (reply, _) = alice.ask_for("chat", json!({"to": "alice", "message": 1})).await;
        match reply["code"].as_str() {
            Some("UNAVAILABLE") => refused += 1,
            _ => assert_eq!(reply["type"], "success", "{reply}"),
        }
        (gateway.gateway.state().metrics.control.inbox_entries_refused.get() == 1).then_some(())
    })
    .await;
    assert!(refused > 0, "it took longer than anything may take to be confirmed");
    assert_eq!(bob.next_of("task").await["n"], 0);
    assert_eq!(self::publishers(&mut worker).await, publishers, "no connection was lost");
    let (reply, _) = alice.ask_for("chat", json!({"to": "bob", "message": 2})).await;
    assert_eq!(reply["type"], "success", "{reply}");
    assert_eq!(bob.next_of("chat").await["message"], 2);
}

/// The connections of gateways.
async fn publishers(worker: &mut Publisher) -> Vec<String> {
    let clients: String = worker.command(&["CLIENT", "LIST"]).await;
    let ids = clients.lines().filter(|line| !line.contains(" name= "));
    ids.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}
