//! Clients of delayed feeds beside those of the real-time feed, turn by turn.

use serde_json::{Value, json};

use super::auth_tests::{authenticate, quiet, user};
use super::turn_tests::{Client, ROOMY, World, delays, prices};
use crate::bus::{Feed, Standing, ToShard};
use crate::identity::Rights;
use crate::market::Delay;

/// The delay that a client gets that may see nothing that is younger.
fn delay_of(delay_ms: u64) -> Delay {
    delays().at_least(delay_ms).unwrap()
}

fn rights(delay_ms: u64) -> Rights {
    Rights { delay: delay_of(delay_ms), ..Rights::of_gateway(true, 100) }
}

fn connect(world: &mut World, delay_ms: u64) -> Client {
    world.connect_as(0, ROOMY, Standing::Known(user("u", rights(delay_ms))))
}

/// The upstream of every feed is there.
fn world() -> World {
    let mut world = quiet();
    Delay::ALL.into_iter().for_each(|delay| world.tell(0, ToShard::Feed(delay, Feed::Up { gap_ms: 0 })));
    world
}

fn events(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|message| message["event"].as_str()).collect()
}

#[test]
fn each_client_has_its_own_feed_and_nothing_of_the_others() {
    let mut world = world();
    let delays_ms = [0, 1_000, 60_000];
    let names = ["AAPL", "A*"];
    let clients: Vec<_> =
        delays_ms.into_iter().flat_map(|delay_ms| names.map(|name| (delay_ms, name))).collect();
    let clients: Vec<_> = clients
        .into_iter()
        .map(|(delay_ms, name)| {
            let client = connect(&mut world, delay_ms);
            world.subscribe(&client, &[name]);
            (delay_ms, client)
        })
        .collect();
    for (at, delay_ms) in delays_ms.into_iter().enumerate() {
        world.publish_in(delay_of(delay_ms), "AAPL", 2);
        let first = 2 * at as u64 + 1;
        for (own_ms, client) in &clients {
            let received = client.received();
            let expected = if *own_ms == delay_ms { vec![first, first + 1] } else { vec![] };
            assert_eq!(prices(&received), expected, "{own_ms} in {delay_ms}");
            let marks: Vec<_> =
                received.iter().map(|event| event["delayedMs"].as_u64().unwrap_or(0)).collect();
            assert!(marks.iter().all(|mark| *mark == delay_ms), "{marks:?}");
        }
    }
    for (_, client) in &clients {
        world.send(client, &json!({"action": "unsubscribe", "symbols": names}));
    }
    assert_eq!(world.router.topics(), 0);
}

#[test]
fn snapshots_and_what_was_missed_are_of_the_clients_feed() {
    let mut world = world();
    world.publish_in(Delay::NONE, "AAPL", 2);
    world.publish_in(delay_of(1_000), "AAPL", 1);
    let mut snapshot = |delay_ms| {
        let client = connect(&mut world, delay_ms);
        world.send(&client, &json!({"action": "subscribe", "symbols": ["AAPL"], "snapshot": true}));
        let received = client.received();
        assert_eq!(events(&received), ["snapshotEnd"]);
        let marked = received.iter().filter(|event| event["snapshot"] == true);
        marked.map(|event| (event["data"]["price"].clone(), event["delayedMs"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(snapshot(0), [(json!(2), Value::Null)]);
    assert_eq!(snapshot(1_000), [(json!(3), json!(1_000))]);
    assert_eq!(snapshot(60_000), [], "nothing is so old");
}

#[test]
fn the_upstream_is_told_of_as_it_was() {
    let mut world = quiet();
    let delay = delay_of(1_000);
    let [at_once, later] = [0, 1_000].map(|delay_ms| connect(&mut world, delay_ms));
    let told = |client: &Client| events(&client.received()).len();
    assert_eq!((told(&at_once), told(&later)), (1, 1), "both feeds are down");
    world.tell(0, ToShard::Feed(Delay::NONE, Feed::Up { gap_ms: 5 }));
    assert_eq!((told(&at_once), told(&later)), (1, 0));
    let newcomer = connect(&mut world, 1_000);
    assert_eq!(newcomer.received()[0]["data"]["state"], "down");
    world.tell(0, ToShard::Feed(delay, Feed::Up { gap_ms: 5 }));
    assert_eq!(later.received()[0]["data"], json!({"state": "up", "gapMs": 5}));
    assert_eq!((told(&at_once), told(&newcomer)), (0, 1));
    world.tell(0, ToShard::Feed(Delay::NONE, Feed::Down));
    world.send(&later, &json!({"action": "subscribe", "symbols": ["A"], "heartbeat": true}));
    world.advance(std::time::Duration::from_secs(2));
    let received = later.received();
    let heartbeat = received.last().expect("a heartbeat");
    assert_eq!(heartbeat["data"]["feed"], "up");
}

#[test]
fn a_conflated_event_keeps_its_mark() {
    let mut world = world();
    let client = connect(&mut world, 1_000);
    let request = json!({"action": "subscribe", "symbols": ["A"], "conflate": "aggregate", "maxRate": 1});
    world.send(&client, &request);
    client.received();
    world.publish_in(delay_of(1_000), "A", 1);
    client.received();
    world.publish_in(delay_of(1_000), "A", 3);
    world.advance(std::time::Duration::from_secs(1));
    let received = client.received();
    let [event] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!((&event["delayedMs"], &event["conflated"]["count"]), (&json!(1_000), &json!(3)));
}

/// Events that a feed had no room for are announced to its clients, before its next event.
#[test]
fn what_a_feed_has_lost_is_announced() {
    let mut world = world();
    let [at_once, by_name, by_pattern] = [0, 1_000, 1_000].map(|delay_ms| connect(&mut world, delay_ms));
    world.subscribe(&at_once, &["A"]);
    world.subscribe(&by_name, &["A"]);
    world.subscribe(&by_pattern, &["*"]);
    let delay = delay_of(1_000);
    world.publish_in(delay, "A", 1);
    [&at_once, &by_name, &by_pattern].into_iter().for_each(|client| _ = client.received());
    world.lose(delay, "A", 7);
    world.publish_in(delay, "A", 1);
    assert_eq!(at_once.received(), [Value::Null; 0]);
    for client in [by_name, by_pattern] {
        let received = client.received();
        assert_eq!(received[0]["data"], json!({"symbol": "A", "type": "trade", "count": 7}), "{received:?}");
        assert_eq!(prices(&received), [2]);
    }
}

#[test]
fn a_delay_may_change_while_nothing_is_subscribed() {
    let mut world = world();
    world.tell(0, ToShard::Feed(delay_of(60_000), Feed::Down));
    let client = connect(&mut world, 0);
    authenticate(&mut world, &client, Ok(user("u", rights(1_000))));
    assert_eq!(client.received().len(), 1, "the reply");
    world.subscribe(&client, &["A"]);
    world.publish_in(Delay::NONE, "A", 1);
    world.publish_in(delay_of(1_000), "A", 1);
    assert_eq!(prices(&client.received()), [2]);
    world.send(&client, &json!({"action": "unsubscribe", "symbols": ["A"]}));
    client.received();
    authenticate(&mut world, &client, Ok(user("u", rights(60_000))));
    let told = client.received();
    assert_eq!((&told[0]["message"], &told[1]["data"]), (&json!("Authenticated"), &json!({"state": "down"})));
    authenticate(&mut world, &client, Ok(user("u", rights(0))));
    assert_eq!(client.received()[1]["data"], json!({"state": "up", "gapMs": 0}));
}

#[test]
fn and_ends_the_connection_while_something_is() {
    let mut world = world();
    let client = connect(&mut world, 1_000);
    world.subscribe(&client, &["A"]);
    authenticate(&mut world, &client, Ok(user("u", rights(1_000))));
    assert_eq!(client.received().len(), 1, "the same delay");
    authenticate(&mut world, &client, Ok(user("u", rights(0))));
    let frames = client.frames();
    let [(1, status), (8, close)] = frames.as_slice() else { panic!("{frames:?}") };
    let status: Value = serde_json::from_slice(status).unwrap();
    assert_eq!(
        (&status["event"], &status["data"]),
        (&json!("shutdown"), &json!({"reason": "delay", "reconnectAfterMs": 0}))
    );
    assert_eq!(close[..2], 1012_u16.to_be_bytes());
}
