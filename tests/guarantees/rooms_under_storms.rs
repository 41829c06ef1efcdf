//! What holds for rooms while gateways are killed and rolled and Redis is restarted, while thousands come back at once, and where everybody is in one room.
//!
//! DESK_FULL_SIZE=1 runs them as large as they are meant to be; without, a part of it that takes seconds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use crate::support::desk::{gateway, user};
use crate::support::process::Process;
use crate::support::tokens::{SECRET, token};
use crate::support::{Client, Redis, raw, until};

fn full_or(full: usize, part: usize) -> usize {
    if std::env::var_os("DESK_FULL_SIZE").is_some() { full } else { part }
}

async fn count(client: &mut Client, room: &str) -> u64 {
    let (reply, _) = client.ask_for("presence", json!({"room_id": room})).await;
    reply["count"].as_u64().unwrap_or_else(|| panic!("{reply}"))
}

/// A connection's time as a member of its user's room.
#[derive(Debug)]
struct Stay {
    user: usize,
    joined: Instant,
    ended: Instant,
    /// What it has heard, in order: the sender and its number.
    heard: Vec<(usize, u64)>,
    /// When it was told that something may be missing.
    told_of_loss: Vec<Instant>,
}

/// A message that Redis has taken.
#[derive(Debug)]
struct Said {
    user: usize,
    number: u64,
    from: Instant,
    until: Instant,
}

#[derive(Debug, Default)]
struct Record {
    stays: Vec<Stay>,
    said: Vec<Said>,
    refused: u64,
    /// The numbers that users have used.
    last: HashMap<usize, u64>,
}

/// What people are asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Talk,
    /// Stay, come back where that is needed, and say nothing.
    Listen,
    Leave,
}

type Records = Arc<Mutex<Record>>;
type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

/// A user who talks in its room, and comes back wherever it can.
async fn talk(
    user: usize,
    room: String,
    addresses: Addresses,
    records: Records,
    mut phase: watch::Receiver<Phase>,
) {
    while *phase.borrow() != Phase::Leave {
        let address = fastrand::choice(addresses.lock().unwrap().iter().copied());
        let Some(address) = address else {
            tokio::task::yield_now().await;
            continue;
        };
        let Ok(mut client) = come(address, user).await else {
            // Nobody listens there any more: the list is about to say so.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let stay = stay(&mut client, user, &room, &records, &mut phase).await;
        records.lock().unwrap().stays.extend(stay);
    }
}

async fn come(address: SocketAddr, user: usize) -> std::io::Result<Client> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    drop(stream);
    let path = format!("/ws?token={}", token(json!({"sub": format!("user-{user}")})));
    let shaking = tokio::spawn(async move { raw::connect(address, &path, None).await });
    match shaking.await {
        Ok(stream) => Ok(Client::from_raw(stream).await),
        Err(_) => Err(std::io::ErrorKind::ConnectionReset.into()),
    }
}

/// One connection, until it ends or all is over.
async fn stay(
    client: &mut Client,
    user: usize,
    room: &str,
    records: &Records,
    phase: &mut watch::Receiver<Phase>,
) -> Option<Stay> {
    let mut stay: Option<Stay> = None;
    let mut asked: Option<(u64, Instant)> = None;
    let join = json!({"type": "join_room", "payload": {"room_id": room}, "id": "join"}).to_string();
    client.ws.send(Message::text(join.clone())).await.ok()?;
    loop {
        let message = tokio::select! {
            message = client.message() => message,
            _ = phase.changed() => {
                if *phase.borrow() != Phase::Leave {
                    continue;
                }
                None
            }
        };
        let now = Instant::now();
        let Some(Message::Text(text)) = message else {
            if let Some(stay) = &mut stay {
                stay.ended = now;
            }
            return stay;
        };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        let member = stay.as_mut();
        match (frame["type"].as_str(), frame["id"].as_str()) {
            (Some("room_message"), _) => {
                let (from, number) = (frame["message"]["u"].as_u64(), frame["message"]["n"].as_u64());
                let key = (from.expect("a sender") as usize, number.expect("a number"));
                member.expect("only members hear").heard.push(key);
            }
            (Some("status"), _) if frame["event"] != "shutdown" => {
                if let Some(stay) = member {
                    stay.told_of_loss.push(now);
                }
            }
            (Some("success"), Some("join")) => {
                let heard = Vec::new();
                stay = Some(Stay { user, joined: now, ended: now, heard, told_of_loss: Vec::new() });
            }
            (Some("success"), Some("say")) => {
                let (number, from) = asked.take().expect("it was asked");
                records.lock().unwrap().said.push(Said { user, number, from, until: now });
            }
            (Some("error"), Some(id)) => {
                assert_eq!(frame["code"], "UNAVAILABLE", "{frame}");
                records.lock().unwrap().refused += 1;
                asked = None;
                if id == "join" {
                    client.ws.send(Message::text(join.clone())).await.ok()?;
                }
            }
            _ => {}
        }
        if stay.is_some() && asked.is_none() && *phase.borrow() == Phase::Talk {
            let number = {
                let mut records = records.lock().unwrap();
                let last = records.last.entry(user).or_default();
                *last += 1;
                *last
            };
            let payload = json!({"room_id": room, "message": {"u": user, "n": number}});
            let request = json!({"type": "room_message", "payload": payload, "id": "say"});
            asked = Some((number, Instant::now()));
            if client.ws.send(Message::text(request.to_string())).await.is_err() {
                if let Some(stay) = &mut stay {
                    stay.ended = Instant::now();
                }
                return stay;
            }
        }
    }
}

/// Waits until `more` messages were taken since now.
async fn after_more(records: &Records, more: usize) {
    let taken = || records.lock().unwrap().said.len();
    let from = taken();
    until("people to go on talking", async || (taken() >= from + more).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_and_redis_come_and_go_while_everyone_talks() {
    let (rooms, members) = (full_or(50, 6), 6);
    let mut redis = Redis::start().await;
    let flags = ["--desk", "--jwt-secret-key", SECRET, "--drain-timeout", "1s"];
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(Process::on(&redis, &flags).await);
    }
    let addresses: Addresses = Arc::new(Mutex::new(gateways.iter().map(Process::addr).collect()));
    let (records, (phase_tx, phase)) = (Records::default(), watch::channel(Phase::Talk));
    let talking = (0..rooms * members).map(|user| {
        let room = format!("room-{}", user % rooms);
        tokio::spawn(talk(user, room, Arc::clone(&addresses), Arc::clone(&records), phase.clone()))
    });
    let talking: Vec<_> = talking.collect();
    let some = rooms * members * 40;
    after_more(&records, some).await;
    for (at, signal) in [(0, "KILL"), (1, "TERM"), (2, "KILL")] {
        let gone = gateways[at].addr();
        addresses.lock().unwrap().retain(|address| *address != gone);
        gateways[at].signal(signal);
        after_more(&records, some).await;
        gateways[at] = Process::on(&redis, &flags).await;
        addresses.lock().unwrap().push(gateways[at].addr());
        after_more(&records, some).await;
        if at == 1 {
            redis.kill();
            redis.launch();
            redis.until_up().await;
            after_more(&records, some).await;
        }
    }
    phase_tx.send(Phase::Listen).expect("they listen");
    everyone_is_known(&gateways, rooms, members).await;
    phase_tx.send(Phase::Leave).expect("they listen");
    for talking in talking {
        talking.await.expect("nothing was wrong");
    }
    let record = std::mem::take(&mut *records.lock().unwrap());
    judge(&record, rooms);

    // Those who come now are the only ones there, once those who have gone have had their grace.
    let mut watcher = user(gateways[0].addr(), "watcher").await;
    watcher.join("room-0").await;
    tokio::time::timeout(Duration::from_secs(45), async {
        until("the watcher to be alone", async || (count(&mut watcher, "room-0").await == 1).then_some(()))
            .await;
    })
    .await
    .expect("those of gateways that were killed leave within 45 s");
}

/// Within 3 s of the last change every gateway knows how many are in each room: all members, whichever gateways they were on before, and those who have
/// come to ask.
async fn everyone_is_known(gateways: &[Process], rooms: usize, members: usize) {
    let mut watchers = Vec::new();
    for gateway in gateways {
        watchers.push(user(gateway.addr(), &format!("watcher-{}", watchers.len())).await);
    }
    for (asked, there) in [("join_room", members + watchers.len()), ("leave_room", members + 1)] {
        // One stays, to ask.
        let moving = if asked == "leave_room" { 1.. } else { 0.. };
        for watcher in &mut watchers[moving] {
            for room in 0..rooms {
                let (reply, _) = watcher.ask_for(asked, json!({"room_id": format!("room-{room}")})).await;
                assert_eq!(reply["type"], "success", "{reply}");
            }
        }
        let asking = if asked == "leave_room" { 1 } else { watchers.len() };
        let known = async {
            for watcher in &mut watchers[..asking] {
                for room in 0..rooms {
                    let what = format!("{there} to be in room {room} ({asked})");
                    let is_right = async || {
                        (count(watcher, &format!("room-{room}")).await as usize == there).then_some(())
                    };
                    until(&what, is_right).await;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(3), known).await.expect("within 3 s of the last change");
    }
}

/// One order for all members, nothing twice, and nothing lost without a word.
fn judge(record: &Record, rooms: usize) {
    let mut by_user = BTreeMap::<usize, Vec<&Stay>>::new();
    record.stays.iter().for_each(|stay| by_user.entry(stay.user).or_default().push(stay));
    for (user, stays) in &by_user {
        let heard: Vec<_> = stays.iter().flat_map(|stay| &stay.heard).collect();
        let distinct: HashSet<_> = heard.iter().collect();
        assert_eq!(heard.len(), distinct.len(), "user {user} has heard something twice");
    }
    for room in 0..rooms {
        let stays: Vec<_> = record.stays.iter().filter(|stay| stay.user % rooms == room).collect();
        let places: Vec<HashMap<_, _>> =
            stays.iter().map(|stay| stay.heard.iter().zip(0..).collect()).collect();
        for (one, stay) in stays.iter().enumerate() {
            for (other, place) in places.iter().enumerate().filter(|(other, _)| *other != one) {
                let common: Vec<usize> =
                    stay.heard.iter().filter_map(|key| place.get(key).copied()).collect();
                assert!(
                    common.is_sorted(),
                    "stays {one} and {other} of room {room} have heard another order"
                );
            }
        }
    }
    // What is on its way to a connection that ends has no time to come, and a loss is told of somewhat later.
    let (slack, around) = (Duration::from_millis(300), Duration::from_secs(2));
    let mut expected = 0;
    for said in &record.said {
        let there = record.stays.iter().filter(|stay| {
            let covers = stay.joined < said.from && said.until + slack < stay.ended;
            let is_told = |told: &Instant| said.from < *told + around && *told < said.until + around;
            stay.user % rooms == said.user % rooms && covers && !stay.told_of_loss.iter().any(is_told)
        });
        for stay in there {
            expected += 1;
            assert!(stay.heard.contains(&(said.user, said.number)), "{said:?} was lost without a word");
        }
    }
    eprintln!(
        "{} stays, {} messages taken, {} refused, {expected} deliveries owed and made",
        record.stays.len(),
        record.said.len(),
        record.refused
    );
    // The faster the machine, the more of them fall into the two seconds around a loss.
    assert!(expected > record.said.len() / 10, "some were there: {expected} of {}", record.said.len());
}

/// All of a gateway's members are cut off, and come back by another within the grace: nobody is told of one join or leave.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_returns_is_told_to_nobody() {
    let (rooms, members) = (full_or(14, 4), full_or(150, 50));
    let redis = Redis::start().await;
    let grace =
        |config: &mut ws_gateway::config::Config| config.desk.presence_grace = Duration::from_secs(60);
    let (one, other) = (gateway(&redis, grace).await, gateway(&redis, grace).await);
    let mut watchers = Vec::new();
    for room in 0..rooms {
        let mut watcher = user(other.addr, &format!("watcher-{room}")).await;
        watcher.join(&format!("room-{room}")).await;
        watchers.push(watcher);
    }
    let enter = |addr: SocketAddr| {
        let everyone = (0..rooms * members).map(move |n| async move {
            let mut client = user(addr, &format!("user-{n}")).await;
            client.ask("join_room", json!({"room_id": format!("room-{}", n % rooms)})).await;
            let name = format!("user-{n}");
            until("its own join", async || {
                (client.next_of("user_joined").await["user_id"] == *name).then_some(())
            })
            .await;
            client
        });
        // As many at a time as the gateway shakes hands with.
        futures_util::stream::iter(everyone).buffer_unordered(100).collect::<Vec<_>>()
    };
    let everyone = enter(one.addr).await;
    for (room, watcher) in watchers.iter_mut().enumerate() {
        for _ in 0..members {
            watcher.next_of("user_joined").await;
        }
        watcher.gets_nothing().await;
        assert_eq!(count(watcher, &format!("room-{room}")).await as usize, members + 1);
    }
    drop(everyone);
    let _back = enter(other.addr).await;
    for (room, watcher) in watchers.iter_mut().enumerate() {
        watcher.gets_nothing().await;
        assert_eq!(count(watcher, &format!("room-{room}")).await as usize, members + 1);
    }
}

/// Where everybody is in one room, members are told how many, and that is exact within 3 s of the last change.
#[tokio::test(flavor = "multi_thread")]
async fn one_room_for_all_is_counted() {
    let users = full_or(5_000, 400);
    let redis = Redis::start().await;
    let grace = |config: &mut ws_gateway::config::Config| config.desk.presence_grace = Duration::ZERO;
    let (one, other) = (gateway(&redis, grace).await, gateway(&redis, grace).await);
    let mut watcher = user(one.addr, "watcher").await;
    watcher.join("lobby").await;
    let mut everyone = Vec::new();
    for n in 0..users {
        let addr = if n % 2 == 0 { one.addr } else { other.addr };
        let mut client = user(addr, &format!("user-{n}")).await;
        client.ask("join_room", json!({"room_id": "lobby"})).await;
        let name = format!("user-{n}");
        until("its own join", async || {
            (client.next_of("user_joined").await["user_id"] == *name).then_some(())
        })
        .await;
        everyone.push(client);
    }
    is_told(&mut watcher, users as u64 + 1, 200).await;
    // What is said reaches every one of them.
    watcher.write("lobby", json!("all")).await;
    for client in &mut everyone {
        assert_eq!(client.next_of("room_message").await["message"], "all");
    }
    everyone.truncate(users / 2 + 1);
    is_told(&mut watcher, users as u64 / 2 + 2, 0).await;
}

/// Of at most `single` users it is told one by one; of the rest by their number, which is exact within 3 s.
async fn is_told(watcher: &mut Client, expected: u64, single: usize) {
    let changed = Instant::now();
    let mut one_by_one = 0;
    loop {
        let frame = watcher.json().await;
        match frame["type"].as_str() {
            Some("user_joined" | "user_left") => one_by_one += 1,
            Some("presence") if frame["count"] == expected => break,
            _ => {}
        }
    }
    assert!(changed.elapsed() < Duration::from_secs(3), "{:?}", changed.elapsed());
    assert!(one_by_one <= single, "{one_by_one} were told one by one");
    assert_eq!(count(watcher, "lobby").await, expected);
}
