//! The desk on a shard, turn by turn, with the test in place of ingest and of the control side.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::turn_tests::{Client, ROOMY, World, config};
use super::{DeskConfig, ShardConfig, Workers};
use crate::bus::{
    DeskAnswer, DeskAsk, DeskEvent, DeskEvents, DeskNews, DeskOrder, DeskWish, OutgoingSpace, Standing,
    Ticket, ToControl, ToShard,
};
use crate::desk::event::{Addressee, Lost};
use crate::desk::presence::Change;
use crate::desk::{DeskId, GatewayId, Origin};
use crate::identity::{Identity, Rights, User};
use crate::protocol::desk::RequestId;
use crate::protocol::terms::SlowClientPolicy;

fn desk(space: usize) -> ShardConfig {
    let desk = DeskConfig {
        channel_prefix: "channel:".to_owned(),
        max_event_bytes: 10_000,
        is_open: false,
        space: OutgoingSpace::of(space),
        has_inboxes: false,
        workers: Some(Workers { me: GatewayId::of(7), timeout: Duration::from_secs(30) }),
    };
    ShardConfig { desk: Some(desk), ping_interval: Duration::from_secs(86_400), ..config() }
}

fn world() -> World {
    World::new(1, &desk(1 << 20))
}

fn id(name: &str) -> DeskId {
    DeskId::parse(name).unwrap()
}

fn connect(world: &mut World, name: &str, room_bytes: usize) -> Client {
    let rights = Rights::of_gateway(true, 100);
    let identity = Identity { user: User::parse(name), rights, expiry: None };
    let client = world.connect_as(0, room_bytes, Standing::Known(Arc::new(identity)));
    client.received();
    client
}

/// What the shard has asked of the control side since the last call.
fn asked(world: &World) -> Vec<DeskAsk> {
    let told = std::mem::take(&mut *world.control.lock().unwrap());
    let of_desk = told.into_iter().map(|told| match told {
        ToControl::Desk(ask) => ask,
        other => panic!("{other:?}"),
    });
    of_desk.collect()
}

/// The ticket of the only thing that has been asked.
fn ticket(world: &World) -> Ticket {
    let asked = asked(world);
    assert_eq!(asked.len(), 1, "{asked:?}");
    asked[0].ticket.expect("it is to be answered")
}

fn news(world: &mut World, news: DeskNews) {
    world.tell(0, ToShard::Desk(Box::new(news)));
}

fn answer(world: &mut World, ticket: Ticket, answer: DeskAnswer) {
    news(world, DeskNews::Answer { ticket, answer });
}

fn moved(world: &mut World, ticket: Ticket, has_joined: bool) {
    let name = if has_joined { "user_joined" } else { "user_left" };
    let object = format!(r#"{{"type":"{name}"}}"#).into_bytes();
    let (room, object, origin) = (id("r"), Some(object.into()), Origin::default());
    news(world, DeskNews::Moved { ticket, room, has_joined, object, origin });
}

fn join(world: &mut World, client: &Client) {
    world.send(client, &json!({"type": "join_room", "payload": {"room_id": "r"}}));
    let ticket = ticket(world);
    moved(world, ticket, true);
    assert_eq!(types(&client.received()), ["user_joined"]);
}

fn say(world: &mut World, objects: impl IntoIterator<Item = String>) {
    let to = Addressee::Room { room: id("r"), except: None };
    let (mut bytes, mut events) = (Vec::new(), Vec::new());
    for object in objects {
        bytes.extend_from_slice(object.as_bytes());
        let end = bytes.len() as u32;
        events.push(DeskEvent { end, to: to.clone(), origin: Origin::default() });
    }
    news(world, DeskNews::Events(DeskEvents { bytes: bytes.into(), events, arrived_us: 1 }));
}

fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap_or("")).collect()
}

fn gives_back(world: &mut World) -> usize {
    let wishes = std::mem::take(&mut world.desk_wishes);
    wishes.iter().filter(|wish| matches!(wish, DeskWish::Left { .. })).count()
}

#[test]
fn what_a_client_says_next_waits_and_keeps_its_order() {
    let mut world = world();
    let client = connect(&mut world, "alice", ROOMY);
    join(&mut world, &client);
    for n in 0..3 {
        world.send(&client, &json!({"type": "room_message", "payload": {"room_id": "r", "message": n}}));
    }
    world.send(&client, &json!({"action": "ping"}));
    for n in 0..3 {
        let asked = asked(&world);
        assert_eq!(asked.len(), 1, "one at a time");
        let DeskOrder::Publish { channel, payload } = &asked[0].order else { panic!("{asked:?}") };
        assert_eq!(channel, "channel:desk:room:r");
        let payload: Value = serde_json::from_slice(payload).unwrap();
        assert_eq!((&payload["u"], &payload["m"]), (&json!("alice"), &json!(n)));
        assert!(client.received().is_empty());
        answer(&mut world, asked[0].ticket.unwrap(), DeskAnswer::Done);
    }
    assert_eq!(types(&client.received()), ["pong"]);
}

#[test]
fn a_full_queue_is_told_and_nothing_is_asked() {
    let mut world = World::new(1, &desk(0));
    let client = connect(&mut world, "alice", ROOMY);
    world.send(&client, &json!({"type": "chat", "payload": {"to": "bob", "message": 1}, "id": 7}));
    let told = client.received();
    assert_eq!(
        (&told[0]["code"], &told[0]["retryAfter"], &told[0]["id"]),
        (&json!("RATE_LIMIT_EXCEEDED"), &json!(1), &json!(7))
    );
    assert!(asked(&world).is_empty());
    world.send(&client, &json!({"action": "ping"}));
    assert_eq!(types(&client.received()), ["pong"]);
}

#[test]
fn a_client_that_goes_while_it_joins_is_given_back_and_in_its_grace() {
    let mut world = world();
    let client = connect(&mut world, "alice", ROOMY);
    world.send(&client, &json!({"type": "join_room", "payload": {"room_id": "r"}}));
    let ticket = ticket(&world);
    world.send_close(&client);
    // The close waits behind the join, as all that a client says.
    moved(&mut world, ticket, true);
    assert_eq!(gives_back(&mut world), 1);
    let asked = asked(&world);
    assert!(matches!(&asked[..], [DeskAsk { order: DeskOrder::Gone { .. }, ticket: None, .. }]), "{asked:?}");
}

#[test]
fn a_join_that_does_not_come_back_is_withdrawn() {
    let mut world = world();
    let client = connect(&mut world, "alice", ROOMY);
    world.send(&client, &json!({"type": "join_room", "payload": {"room_id": "r"}}));
    let ticket = ticket(&world);
    answer(&mut world, ticket, DeskAnswer::Overdue);
    assert_eq!(client.received()[0]["code"], "UNAVAILABLE");
    let asked = asked(&world);
    assert!(
        matches!(&asked[..], [DeskAsk { order: DeskOrder::Leave { .. }, ticket: None, .. }]),
        "{asked:?}"
    );
    // It comes all the same: what ingest has counted is given back, and the client is no member.
    moved(&mut world, ticket, true);
    assert_eq!(gives_back(&mut world), 1);
    say(&mut world, [r#"{"type":"x"}"#.to_owned()]);
    assert!(client.received().is_empty());
    // A second answer changes nothing.
    answer(&mut world, ticket, DeskAnswer::Overdue);
    assert!(client.received().is_empty());
}

#[test]
fn who_leaves_has_left_even_if_that_does_not_come_back() {
    let mut world = world();
    let client = connect(&mut world, "alice", ROOMY);
    join(&mut world, &client);
    world.send(&client, &json!({"type": "leave_room", "payload": {"room_id": "r"}}));
    let ticket = ticket(&world);
    answer(&mut world, ticket, DeskAnswer::Overdue);
    assert_eq!(types(&client.received()), ["user_left"]);
    assert_eq!(gives_back(&mut world), 1);
    moved(&mut world, ticket, false);
    assert!(client.received().is_empty());
    assert_eq!(gives_back(&mut world), 0, "once");
}

#[test]
fn a_leave_that_redis_does_not_take_changes_nothing() {
    let mut world = world();
    let client = connect(&mut world, "alice", ROOMY);
    join(&mut world, &client);
    world.send(&client, &json!({"type": "leave_room", "payload": {"room_id": "r"}}));
    let ticket = ticket(&world);
    answer(&mut world, ticket, DeskAnswer::Unavailable);
    assert_eq!(client.received()[0]["code"], "UNAVAILABLE");
    say(&mut world, [r#"{"type":"x"}"#.to_owned()]);
    assert_eq!(types(&client.received()), ["x"]);
    // Later it goes without a word, and has its grace.
    world.send_close(&client);
    let asked = asked(&world);
    assert!(matches!(&asked[..], [DeskAsk { order: DeskOrder::Gone { .. }, .. }]), "{asked:?}");
    assert_eq!(gives_back(&mut world), 1);
}

/// The upstream has not said whether it has taken a join or leave: whether that is done or refused, the control side and the client hear the same.
#[test]
fn what_is_unsure_is_done_if_it_has_come_back_and_else_refused() {
    let change = |has_joined| Change {
        room: id("r"),
        user: id("alice"),
        connection: None,
        has_joined,
        is_told: true,
        asked: None,
    };
    for (has_joined, comes_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut world = world();
        let client = connect(&mut world, "alice", ROOMY);
        if !has_joined {
            join(&mut world, &client);
        }
        let name = if has_joined { "join_room" } else { "leave_room" };
        world.send(&client, &json!({"type": name, "payload": {"room_id": "r"}, "id": 1}));
        let ticket = ticket(&world);
        let unsure = |world: &mut World| answer(world, ticket, DeskAnswer::Unsure(change(has_joined)));
        if comes_first {
            moved(&mut world, ticket, has_joined);
            unsure(&mut world);
        } else {
            unsure(&mut world);
            moved(&mut world, ticket, has_joined);
        }
        let told = client.received();
        let is_done = told.last().is_some_and(|frame| frame["type"] == "success");
        assert_eq!(is_done, comes_first, "{told:?}");
        let asked = asked(&world);
        let [DeskAsk { order: DeskOrder::Settled { has_come, .. }, ticket: None, .. }] = &asked[..] else {
            panic!("{asked:?}")
        };
        assert_eq!(*has_come, comes_first);
        say(&mut world, [r#"{"type":"x"}"#.to_owned()]);
        let is_member = types(&client.received()) == ["x"];
        assert_eq!(is_member, has_joined == comes_first, "joins: {has_joined}, comes first: {comes_first}");
    }
}

#[test]
fn interest_in_users_begins_and_ends_with_them() {
    let mut world = world();
    let (alice, bob) = (connect(&mut world, "alice", ROOMY), connect(&mut world, "bob", ROOMY));
    world.send_close(&alice);
    world.send_close(&bob);
    let wishes = std::mem::take(&mut world.desk_wishes);
    let are_there: Vec<_> =
        wishes.iter().map(|wish| matches!(wish, DeskWish::Users { are_there: true, .. })).collect();
    assert_eq!(are_there, [true, false], "{wishes:?}");
}

/// A client that is too slow for prices gets the latest of them. What people say is not replaced by what they say next.
#[test]
fn nothing_that_people_say_is_replaced() {
    let mut world =
        World::new(1, &ShardConfig { slow_client_policy: SlowClientPolicy::Conflate, ..desk(1 << 20) });
    let client = connect(&mut world, "alice", 400);
    join(&mut world, &client);
    let message = |n: usize| format!(r#"{{"type":"x","n":{n},"padding":"{}"}}"#, "p".repeat(100));
    for n in 0..200 {
        say(&mut world, [message(n)]);
    }
    world.advance(Duration::from_secs(2));
    client.pipe.make_room(ROOMY);
    world.writable(&client);
    let (mut numbers, mut skipped) = (Vec::new(), 0);
    for frame in client.received() {
        numbers.extend(frame["n"].as_u64());
        if frame["event"] == "skipped" {
            assert_eq!((&frame["data"]["type"], &frame["data"]["symbol"]), (&json!("room"), &json!("r")));
            skipped += frame["data"]["count"].as_u64().unwrap();
        }
    }
    assert!(numbers.is_sorted());
    assert!(skipped > 0);
    assert_eq!(numbers.len() as u64 + skipped, 200);
}

#[test]
fn losses_of_ingest_are_announced() {
    let mut world = world();
    let client = connect(&mut world, "alice", ROOMY);
    join(&mut world, &client);
    let counts = vec![
        (Lost::Room(id("r")), 3),
        (Lost::Room(id("other")), 5),
        (Lost::User(id("alice")), 2),
        (Lost::User(id("bob")), 7),
        (Lost::Everyone, 1),
    ];
    news(&mut world, DeskNews::Lost { counts, is_uncounted: false });
    let mut told: Vec<_> = client.received().iter().map(|frame| frame["data"].to_string()).collect();
    told.sort_unstable();
    let expected = [
        r#"{"count":1,"symbol":"*","type":"broadcast"}"#,
        r#"{"count":2,"symbol":"alice","type":"user"}"#,
        r#"{"count":3,"symbol":"r","type":"room"}"#,
    ];
    assert_eq!(told, expected);
    news(&mut world, DeskNews::Lost { counts: Vec::new(), is_uncounted: true });
    assert_eq!(client.received()[0]["code"], "SLOW_CLIENT");
}

fn question(number: u64) -> Value {
    json!({"type": "request", "requestId": number, "payload": {"q": 1}})
}

/// The channel that the response to the only question is to be published on, behind the gateway's number.
fn reply_to(asked: &[DeskAsk]) -> String {
    let [DeskAsk { order: DeskOrder::Publish { channel, payload }, .. }] = asked else { panic!("{asked:?}") };
    assert_eq!(channel, "channel:request");
    let question: Value = serde_json::from_slice(payload).unwrap();
    assert_eq!((&question["user"], &question["payload"]), (&json!("alice"), &json!({"q": 1})));
    let reply_to = question["replyTo"].as_str().unwrap();
    reply_to.strip_prefix(&format!("channel:reply:{}:0-", GatewayId::of(7))).unwrap().to_owned()
}

#[test]
fn a_question_is_answered_once_or_its_time_is_up() {
    let mut world = world();
    let client = connect(&mut world, "alice", ROOMY);
    let mut connection = 0;
    for number in [1, 2] {
        world.send(&client, &question(number));
        let asked = asked(&world);
        connection = u64::from_str_radix(&reply_to(&asked), 16).unwrap();
        answer(&mut world, asked[0].ticket.unwrap(), DeskAnswer::Done);
    }
    assert!(client.received().is_empty());
    // A question that waits already.
    world.send(&client, &question(1));
    let told = client.received();
    assert_eq!((&told[0]["code"], &told[0]["requestId"]), (&json!("INVALID_INPUT"), &json!(1)));
    let response = |number: u64, connection| DeskNews::Response {
        connection,
        request_id: RequestId::parse(&number.to_string()).unwrap(),
        object: format!(r#"{{"type":"response","requestId":{number}}}"#).into(),
    };
    news(&mut world, response(1, connection + 1));
    news(&mut world, response(3, connection));
    assert!(client.received().is_empty(), "nobody has asked that");
    news(&mut world, response(1, connection));
    assert_eq!(client.received()[0]["requestId"], 1);
    news(&mut world, response(1, connection));
    assert!(client.received().is_empty(), "once");
    world.advance(Duration::from_secs(31));
    let told = client.received();
    let (code, message) = (&told[0]["code"], &told[0]["message"]);
    assert_eq!((code, message), (&json!("TIMEOUT"), &json!("No response within 30 s")));
    assert_eq!((told.len(), &told[0]["requestId"]), (1, &json!(2)));
    news(&mut world, response(2, connection));
    assert!(client.received().is_empty(), "too late");
}

#[test]
fn questions_are_bounded_and_withdrawn() {
    let mut world = world();
    let client = connect(&mut world, "alice", ROOMY);
    for number in 0..16 {
        world.send(&client, &question(number));
        let ticket = ticket(&world);
        answer(&mut world, ticket, DeskAnswer::Done);
    }
    world.send(&client, &question(16));
    assert_eq!(client.received()[0]["code"], "RATE_LIMIT_EXCEEDED");
    let other = connect(&mut world, "bob", ROOMY);
    world.send(&other, &question(1));
    let ticket = ticket(&world);
    answer(&mut world, ticket, DeskAnswer::Unavailable);
    let told = other.received();
    assert_eq!((&told[0]["code"], &told[0]["requestId"]), (&json!("UNAVAILABLE"), &json!(1)));
    world.send_close(&client);
    world.advance(Duration::from_secs(31));
    assert!(other.received().is_empty(), "neither of what was withdrawn nor of who has gone");
}
