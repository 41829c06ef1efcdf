//! Who clients are, turn by turn: tokens, renewals and ends, with the test in place of the control side.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::ShardConfig;
use super::turn_tests::{Client, ROOMY, World, config, prices};
use crate::bus::{Denied, Standing, ToControl, ToShard, UserSeat, UserShare, Verified};
use crate::identity::scope::Scopes;
use crate::identity::{Expiry, Identity, Rights, User};
use crate::market::SymbolCase;
use crate::protocol::terms::MaxRate;
use crate::rate::Rate;

const SECOND: Duration = Duration::from_secs(1);

fn rights(names: &[&str]) -> Rights {
    let scopes = Some(Scopes::new(names, SymbolCase::Upper).unwrap());
    Rights { scopes, ..Rights::of_gateway(true, 100) }
}

pub(super) fn user(name: &str, rights: Rights) -> Arc<Identity> {
    Arc::new(Identity { user: User::parse(name), rights, expiry: None })
}

/// Sends a token and answers for the control side.
pub(super) fn authenticate(world: &mut World, client: &Client, result: Result<Arc<Identity>, String>) {
    world.send(client, &json!({"action": "auth", "token": "t", "id": 1}));
    answer(world, result);
}

/// Answers the token that was sent last.
fn answer(world: &mut World, result: Result<Arc<Identity>, String>) {
    let told = std::mem::take(&mut *world.control.lock().unwrap());
    let Some(ToControl::Verify { shard, ticket, token, has_seat }) = told.into_iter().last() else {
        panic!("no token")
    };
    assert_eq!(token.as_str(), "t");
    let verified = |identity: Arc<Identity>| {
        let seat = identity.user.as_ref().filter(|_| !has_seat).map(|_| UserSeat::new(1, share()));
        Verified { identity, seat }
    };
    world.tell(shard, ToShard::Verified { ticket, result: result.map(verified).map_err(Denied::token) });
}

/// A user without a connection yet.
fn share() -> Arc<UserShare> {
    UserShare::new(&Arc::default())
}

/// Frames since the last call, without pings.
fn said(client: &Client) -> Vec<(u8, Vec<u8>)> {
    client.frames().into_iter().filter(|(opcode, _)| *opcode != 9).collect()
}

/// A shard that hardly ever sends a ping.
pub(super) fn quiet() -> World {
    World::new(1, &ShardConfig { ping_interval: Duration::from_secs(86_400), ..config() })
}

fn error(message: &Value) -> (&str, &str) {
    (message["type"].as_str().unwrap(), message["code"].as_str().unwrap())
}

#[test]
fn a_newcomer_is_served_nothing_but_auth_and_ping() {
    let mut world = quiet();
    let client = world.connect_as(0, ROOMY, Standing::Unknown);
    client.received();
    for message in [
        r#"{"action":"subscribe","symbols":["AAPL"],"id":7}"#,
        r#"{"action":"unsubscribe","symbols":["AAPL"],"id":7}"#,
        r#"{"action":"list","id":7}"#,
        r#"{"action":"buy","id":7}"#,
        r#"{"action":"subscribe","id":7}"#,
    ] {
        world.send(&client, &serde_json::from_str(message).unwrap());
        let replies = client.received();
        assert_eq!((error(&replies[0]), &replies[0]["id"]), (("error", "UNAUTHORIZED"), &json!(7)));
    }
    world.send(&client, &json!({"action": "ping"}));
    assert_eq!(client.received()[0]["type"], "pong");
    authenticate(&mut world, &client, Ok(user("u", Rights::of_gateway(true, 5))));
    let reply = &client.received()[0];
    assert_eq!((&reply["data"], &reply["id"]), (&json!({"user": "u"}), &json!(1)));
    world.subscribe(&client, &["AAPL"]);
    world.advance(60 * SECOND);
    assert!(!client.pipe.is_gone(), "the time for the token is over, and doesn't count");
}

#[test]
fn a_newcomer_has_its_time() {
    let mut world = quiet();
    let client = world.connect_as(0, ROOMY, Standing::Unknown);
    client.received();
    world.advance(9 * SECOND);
    assert_eq!(said(&client), []);
    world.advance(2 * SECOND);
    let frames = said(&client);
    let [(1, refusal), (8, close)] = frames.as_slice() else { panic!("{frames:?}") };
    let refusal: Value = serde_json::from_slice(refusal).unwrap();
    assert_eq!(error(&refusal), ("error", "UNAUTHORIZED"));
    assert!(refusal["message"].as_str().unwrap().contains("AUTH_TIMEOUT"), "{refusal}");
    assert_eq!(close[..2], 1008_u16.to_be_bytes());
}

/// Of two places. Nobody answers the close, and no time passes.
#[test]
fn newcomers_that_are_being_closed_are_told_why_and_keep_no_places() {
    let mut world = quiet();
    let clients: Vec<_> = (0..12).map(|_| world.connect_as(0, ROOMY, Standing::Unknown)).collect();
    let (gone, here) = clients.split_at(9);
    for client in gone {
        let frames = said(client);
        assert!(matches!(frames[..], [.., (1, _), (8, _)]) && client.pipe.is_gone(), "{frames:?}");
    }
    assert!(here.iter().all(|client| !client.pipe.is_gone()), "two, and the one that has just made room");
    let is_closed = |client: &&Client| said(client).last().is_some_and(|(opcode, _)| *opcode == 8);
    assert_eq!(here.iter().filter(is_closed).count(), 1);
}

#[test]
fn a_token_that_comes_in_time_may_wait_for_its_key() {
    let mut world = quiet();
    for holds in [true, false] {
        let client = world.connect_as(0, ROOMY, Standing::Unknown);
        world.advance(9 * SECOND);
        client.received();
        world.send(&client, &json!({"action": "auth", "token": "t", "id": 1}));
        world.advance(3 * SECOND);
        assert_eq!(client.closed(), None);
        let user = user("u", Rights::of_gateway(true, 5));
        answer(&mut world, if holds { Ok(user) } else { Err("no key".to_owned()) });
        assert_eq!(client.closed().is_none(), holds);
    }
}

#[test]
fn the_oldest_newcomer_makes_room() {
    let mut world = quiet();
    let connect = |world: &mut World| world.connect_as(0, ROOMY, Standing::Unknown);
    let (known, oldest) = (connect(&mut world), connect(&mut world));
    authenticate(&mut world, &known, Ok(user("u", Rights::of_gateway(true, 5))));
    let newer = connect(&mut world);
    assert!(oldest.closed().is_none(), "two have their places");
    let newest = connect(&mut world);
    assert_eq!(oldest.closed().map(|(code, _)| code), Some(1008));
    for client in [&known, &newer, &newest] {
        assert_eq!(client.closed(), None);
    }
    // Those that leave by themselves free their places, however many there are.
    for _ in 0..20 {
        let passing = connect(&mut world);
        authenticate(&mut world, &passing, Err("no".to_owned()));
        assert_eq!(passing.closed().map(|(code, _)| code), Some(1008));
    }
    assert_eq!((newer.closed().map(|(code, _)| code), newest.closed()), (Some(1008), None));
}

#[test]
fn a_token_ends_and_its_end_is_told_before() {
    let mut world = quiet();
    let now_ms = world.now.get().unix_ms;
    let until = |seconds: u64| {
        let ms = now_ms + seconds * 1_000;
        let expiry = Some(Expiry { expires_ms: ms - 30_000, ends_ms: ms });
        Arc::new(Identity { user: User::parse("u"), rights: Rights::of_gateway(true, 5), expiry })
    };
    let client = world.connect_as(0, ROOMY, Standing::Known(until(100)));
    client.received();
    world.advance(39 * SECOND);
    assert_eq!(client.received(), Vec::<Value>::new());
    world.advance(2 * SECOND);
    let told = client.received();
    assert_eq!((&told[0]["type"], &told[0]["event"]), (&json!("status"), &json!("tokenExpiring")));
    assert_eq!(told[0]["data"], json!({"expiresInMs": 59_000}));
    world.advance(57 * SECOND);
    assert_eq!(client.received(), Vec::<Value>::new(), "told once");
    // The same user comes with a newer token, which is short: its end is told at once.
    authenticate(&mut world, &client, Ok(until(140)));
    let reply = &client.received()[0];
    assert_eq!(reply["data"], json!({"user": "u", "expiresAt": now_ms + 110_000}));
    world.advance(Duration::from_millis(100));
    assert_eq!(client.received()[0]["event"], "tokenExpiring");
    world.advance(41 * SECOND);
    world.advance(SECOND);
    let frames = said(&client);
    let [(1, refusal), (8, close)] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!(error(&serde_json::from_slice(refusal).unwrap()), ("error", "UNAUTHORIZED"));
    assert_eq!(close.as_slice(), [&1008_u16.to_be_bytes()[..], b"token expired"].concat());
}

#[test]
fn a_request_is_intersected_with_the_rights() {
    let mut world = quiet();
    let client = world.connect_as(0, ROOMY, Standing::Known(user("u", rights(&["BTC-*", "AAPL"]))));
    client.received();
    world.send(&client, &json!({"action": "subscribe", "symbols": ["MSFT", "*", "AAPL", "ETH"]}));
    let refused = client.received();
    assert_eq!(error(&refused[0]), ("error", "FORBIDDEN"));
    assert_eq!(refused[0]["data"], json!({"symbols": ["MSFT", "ETH"]}));
    assert_eq!(
        world.shards[0].subscriptions.index.topics(),
        0,
        "nothing of the request has changed anything"
    );
    world.send(&client, &json!({"action": "subscribe", "symbols": ["*", "AAPL"]}));
    assert_eq!(
        client.received()[0]["data"],
        json!({"subscribed": ["*", "AAPL"], "currentSubscriptions": ["*", "AAPL"]})
    );
    for symbol in ["AAPL", "MSFT", "BTC-USD", "BTC"] {
        world.publish(symbol, 1);
    }
    assert_eq!(prices(&client.received()), [1, 3]);
    world.send(&client, &json!({"action": "unsubscribe", "symbols": ["*"]}));
    assert_eq!(client.received()[0]["data"]["unsubscribed"], json!(["*", "AAPL"]), "everything");
    world.publish("AAPL", 1);
    assert_eq!((client.received(), world.shards[0].subscriptions.index.topics()), (vec![], 0));
}

#[test]
fn a_pattern_leaves_what_was_named_beside_it() {
    let mut world = quiet();
    let client = world.connect_as(0, ROOMY, Standing::Known(user("u", rights(&["BTC-*", "BRK", "AAPL"]))));
    client.received();
    world.subscribe(&client, &["B*", "BRK"]);
    world.send(&client, &json!({"action": "unsubscribe", "symbols": ["B*", "AAPL"]}));
    assert_eq!(
        client.received()[0]["data"],
        json!({"unsubscribed": ["B*"], "currentSubscriptions": ["BRK"]})
    );
    world.publish("BRK", 1);
    world.publish("BTC-USD", 1);
    assert_eq!(prices(&client.received()), [1]);
}

#[test]
fn a_pattern_counts_as_one() {
    let mut world = quiet();
    let rights = Rights { max_symbols: 2, ..rights(&["A", "B", "C", "D"]) };
    let client = world.connect_as(0, ROOMY, Standing::Known(user("u", rights)));
    client.received();
    world.subscribe(&client, &["*"]);
    world.send(&client, &json!({"action": "subscribe", "symbols": ["A", "B"]}));
    assert_eq!(error(&client.received()[0]), ("error", "SYMBOL_LIMIT_EXCEEDED"));
    world.subscribe(&client, &["A"]);
    world.publish("A", 1);
    assert_eq!(prices(&client.received()), [1], "once, by whatever it comes");
}

#[test]
fn a_renewal_takes_away_what_is_no_longer_allowed() {
    let mut world = quiet();
    let client = world.connect_as(0, ROOMY, Standing::Known(user("u", Rights::of_gateway(true, 100))));
    client.received();
    world.subscribe(&client, &["*", "MSFT", "AAPL", "IBM"]);
    let fewer = Rights { max_symbols: 2, ..rights(&["AAPL", "BTC-*", "IBM"]) };
    authenticate(&mut world, &client, Ok(user("u", fewer)));
    assert_eq!(client.received()[0]["data"], json!({"user": "u", "currentSubscriptions": ["*", "AAPL"]}));
    for symbol in ["MSFT", "AAPL", "BTC-USD", "IBM", "X"] {
        world.publish(symbol, 1);
    }
    assert_eq!(prices(&client.received()), [2, 3, 4], "IBM comes by the pattern");
    // What the pattern stands for grows with the rights, and shrinks with them.
    authenticate(&mut world, &client, Ok(user("u", rights(&["X*", "AAPL"]))));
    assert_eq!(client.received()[0]["data"], json!({"user": "u", "currentSubscriptions": ["*", "AAPL"]}));
    for symbol in ["AAPL", "BTC-USD", "XY"] {
        world.publish(symbol, 1);
    }
    assert_eq!(prices(&client.received()), [6, 8]);
    authenticate(&mut world, &client, Ok(user("u", Rights::of_gateway(true, 100))));
    assert_eq!(client.received()[0]["data"], json!({"user": "u"}), "nothing is lost");
    world.send(&client, &json!({"action": "list"}));
    assert_eq!(client.received()[0]["data"], json!({"currentSubscriptions": ["*", "AAPL"]}));
    world.publish("ANY", 1);
    assert_eq!(prices(&client.received()), [9]);
    authenticate(&mut world, &client, Ok(user("u", rights(&[]))));
    assert_eq!(client.received()[0]["data"], json!({"user": "u", "currentSubscriptions": []}));
    assert_eq!(world.shards[0].subscriptions.index.topics(), 0);
}

#[test]
fn a_connection_stays_one_users() {
    let mut world = quiet();
    let client = world.connect_as(0, ROOMY, Standing::Known(user("alice", Rights::of_gateway(true, 5))));
    client.received();
    authenticate(&mut world, &client, Ok(user("bob", Rights::of_gateway(true, 5))));
    let frames = client.frames();
    let [(1, refusal), (8, close)] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!(error(&serde_json::from_slice(refusal).unwrap()), ("error", "UNAUTHORIZED"));
    assert_eq!(close[..2], 1008_u16.to_be_bytes());
}

#[test]
fn a_place_among_the_users_connections_is_asked_for_once_and_given_back() {
    let mut world = quiet();
    let open = Rights::of_gateway(true, 5);
    let anonymous = Standing::Known(Arc::new(Identity::anonymous(open.clone())));
    let client = world.connect_as(0, ROOMY, anonymous);
    let share = share();
    for (seat, expects) in [(Some(UserSeat::new(1, Arc::clone(&share))), false), (None, true)] {
        world.send(&client, &json!({"action": "auth", "token": "t"}));
        let told = std::mem::take(&mut *world.control.lock().unwrap());
        let [ToControl::Verify { ticket, has_seat, .. }] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(*has_seat, expects);
        let verified = Verified { identity: user("alice", open.clone()), seat };
        world.tell(0, ToShard::Verified { ticket: *ticket, result: Ok(verified) });
    }
    assert!(share.is_online());
    world.send_close(&client);
    assert!(!share.is_online());
}

#[test]
fn a_connection_whose_place_is_taken_is_told_and_closed() {
    let mut world = quiet();
    let share = share();
    let connect = |world: &mut World, seat: &Arc<UserSeat>| {
        let standing = Standing::Known(user("alice", Rights::of_gateway(true, 5)));
        world.connect_in(0, ROOMY, standing, Some(Arc::clone(seat)))
    };
    let [first, second, third] = [1, 2, 3].map(|number| UserSeat::new(number, Arc::clone(&share)));
    let clients = [connect(&mut world, &first), connect(&mut world, &second)];
    first.replace(2);
    world.tell(0, ToShard::Replaced(1));
    // The shard hears of the third before it has it.
    third.replace(2);
    world.tell(0, ToShard::Replaced(3));
    let early = connect(&mut world, &third);
    for client in [&clients[0], &early] {
        let frames = said(client);
        let [.., (1, refusal), (8, close)] = frames.as_slice() else { panic!("{frames:?}") };
        let refusal: Value = serde_json::from_slice(refusal).unwrap();
        assert_eq!(error(&refusal), ("error", "TOO_MANY_CONNECTIONS"));
        assert_eq!((&close[..2], &close[2..]), (&1008_u16.to_be_bytes()[..], &b"replaced"[..]));
    }
    assert_eq!(clients[1].closed(), None);
    world.tell(0, ToShard::Replaced(2));
    assert_eq!(clients[1].closed(), None, "nobody has taken its place");
}

#[test]
fn users_have_one_message_rate_for_all_their_connections() {
    let message_rate = Rate::new(3, Duration::from_secs(3_600));
    let mut world = World::new(2, &ShardConfig { message_rate, ..config() });
    let (alice, bob) = (share(), share());
    let mut connect = |shard, number, share: &Arc<UserShare>| {
        let standing = Standing::Known(user("u", Rights::of_gateway(true, 5)));
        world.connect_in(shard, ROOMY, standing, Some(UserSeat::new(number, Arc::clone(share))))
    };
    let (one, two, other) = (connect(0, 1, &alice), connect(1, 2, &alice), connect(0, 3, &bob));
    let anonymous = world.connect(1, ROOMY);
    let ask = |world: &mut World, client: &Client| {
        client.received();
        world.send(client, &json!({"action": "ping"}));
        client.received()[0]["type"] == "pong"
    };
    assert!(ask(&mut world, &one) && ask(&mut world, &two) && ask(&mut world, &one));
    assert!(!ask(&mut world, &two) && !ask(&mut world, &one));
    for client in [&other, &anonymous] {
        for _ in 0..3 {
            assert!(ask(&mut world, client));
        }
        assert!(!ask(&mut world, client));
    }
}

#[test]
fn a_rate_of_the_rights_holds_whatever_is_asked_for() {
    let mut world = quiet();
    let capped = |rate| Rights { max_rate: MaxRate::new(rate), ..Rights::of_gateway(true, 100) };
    let client = world.connect_as(0, ROOMY, Standing::Known(user("u", capped(1.0))));
    let seen = |world: &mut World, symbol: &str, client: &Client| {
        client.received();
        for _ in 0..20 {
            world.publish(symbol, 1);
            world.advance(Duration::from_millis(100));
        }
        prices(&client.received()).len()
    };
    world.subscribe(&client, &["A"]);
    let by_none = seen(&mut world, "A", &client);
    world.send(&client, &json!({"action": "subscribe", "symbols": ["B"], "conflate": false}));
    let by_every = seen(&mut world, "B", &client);
    world.send(&client, &json!({"action": "subscribe", "symbols": ["C"], "maxRate": 1000}));
    let by_more = seen(&mut world, "C", &client);
    world.send(&client, &json!({"action": "subscribe", "symbols": ["D"], "maxRate": 0.5}));
    let by_less = seen(&mut world, "D", &client);
    for (events, at_most) in [(by_none, 3), (by_every, 3), (by_more, 3), (by_less, 2)] {
        assert!((1..=at_most).contains(&events), "{events}");
    }
    authenticate(&mut world, &client, Ok(user("u", capped(0.1))));
    world.advance(20 * SECOND);
    assert!(seen(&mut world, "A", &client) <= 1, "a lower rate holds at once");
}

#[test]
fn what_was_asked_for_counts_again_under_a_higher_rate_of_the_rights() {
    let mut world = quiet();
    let capped = |rate: Option<f64>| Rights {
        max_rate: rate.map(|rate| MaxRate::new(rate).unwrap()),
        ..Rights::of_gateway(true, 100)
    };
    let client = world.connect_as(0, ROOMY, Standing::Known(user("u", capped(Some(0.1)))));
    world.subscribe(&client, &["A", "P*"]);
    world.send(&client, &json!({"action": "subscribe", "symbols": ["B"], "conflate": false}));
    world.send(&client, &json!({"action": "subscribe", "symbols": ["C"], "maxRate": 5}));
    world.send(&client, &json!({"action": "subscribe", "symbols": ["D"], "maxRate": 0.5}));
    let seen = |world: &mut World, client: &Client| {
        world.advance(20 * SECOND);
        ["A", "P1", "B", "C", "D"].map(|symbol| {
            client.received();
            for _ in 0..20 {
                world.publish(symbol, 1);
                world.advance(Duration::from_millis(100));
            }
            let count = prices(&client.received()).len();
            world.advance(20 * SECOND);
            count
        })
    };
    let within = |seen: [usize; 5], at_least: [usize; 5], at_most: [usize; 5]| {
        for at in 0..5 {
            assert!((at_least[at]..=at_most[at]).contains(&seen[at]), "{seen:?}");
        }
    };
    within(seen(&mut world, &client), [0; 5], [1; 5]);
    authenticate(&mut world, &client, Ok(user("u", capped(Some(2.0)))));
    within(seen(&mut world, &client), [3, 3, 3, 3, 1], [6, 6, 6, 6, 3]);
    authenticate(&mut world, &client, Ok(user("u", capped(None))));
    within(seen(&mut world, &client), [20, 20, 20, 7, 1], [20, 20, 20, 12, 3]);
    authenticate(&mut world, &client, Ok(user("u", capped(Some(1.0)))));
    within(seen(&mut world, &client), [1; 5], [3; 5]);
}
