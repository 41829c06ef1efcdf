//! What holds for rooms while gateways are killed and rolled and Redis is restarted, while thousands come back at once, and where everybody is in one room.
//!
//! DESK_FULL_SIZE=1 runs them as large as they are meant to be; without, a part of it that takes seconds.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::desk::{count, gateway, user};
use crate::support::judge::judge;
use crate::support::process::Process;
use crate::support::talkers::{Addresses, Phase, Records, talk};
use crate::support::tokens::SECRET;
use crate::support::{Client, Redis, until};

fn is_full_size() -> bool {
    std::env::var_os("DESK_FULL_SIZE").is_some()
}

fn full_or(full: usize, part: usize) -> usize {
    if is_full_size() { full } else { part }
}

/// Fails if more than 3 s have passed since the last change. At full size the machine is there for this test alone; beside other tests
/// any step may take long.
fn is_within_3_s(changed: Instant) {
    let took = changed.elapsed();
    assert!(!is_full_size() || took < Duration::from_secs(3), "{took:?} after the last change");
}

/// Waits until `more` messages were taken since now.
async fn after_more(records: &Records, more: usize) {
    let taken = || records.lock().unwrap().said.len();
    let from = taken();
    until("people to go on talking", async || (taken() >= from + more).then_some(())).await;
}

/// Waits until messages were taken for a second.
async fn after_a_second_more(records: &Records) {
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(1) {
        after_more(records, 1).await;
    }
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
    let is_full = || records.lock().unwrap().present.len() == rooms * members;
    until("everyone to be there", async || is_full().then_some(())).await;
    let some = rooms * members * 40;
    after_more(&records, some).await;
    let mut nest = None;
    for (at, signal) in [(0, "KILL"), (1, "TERM"), (2, "KILL")] {
        let gone = gateways[at].addr();
        if at == 2 {
            nest = Some(Nest::new(gateways[0].addr(), gone).await);
        }
        addresses.lock().unwrap().retain(|address| *address != gone);
        if signal == "KILL" {
            records.lock().unwrap().killed.insert(gone, Instant::now());
        }
        if at == 0 {
            // It stands still before it dies: its connections end long after it has sent its last message.
            gateways[at].signal("STOP");
            after_a_second_more(&records).await;
        }
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
    let changed = Instant::now();
    everyone_is_known(&gateways, rooms, members).await;
    eprintln!(
        "presence was right {:?} after the last message, over 2 changes of those who ask",
        changed.elapsed()
    );
    records.lock().unwrap().is_quiet = true;
    nest.expect("the last was killed").until_all_is_told(gateways[1].addr()).await;
    everyone_is_seen(&records, rooms, members);
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

/// A room of its own, in which somebody is told of what takes longest to be told: that users of a gateway that was killed have left, and that one who was cut off has
/// not come back within the grace. What is wrong in other rooms has been told by then as well.
struct Nest {
    /// Ends once both are told; how long after the kill the first was.
    told: JoinHandle<Duration>,
    _canary: Client,
}

impl Nest {
    /// The second gateway is about to be killed.
    async fn new(stays: SocketAddr, killed: SocketAddr) -> Self {
        let (mut watcher, mut canary) = (user(stays, "nest").await, user(killed, "canary").await);
        watcher.join("nest").await;
        canary.join("nest").await;
        let killed = Instant::now();
        // Read as it comes, whatever else the test waits for.
        let told = tokio::spawn(async move {
            let (mut there, mut took) = (BTreeSet::from(["canary", "cut off"]), None);
            while !there.is_empty() {
                let left = watcher.next_of("user_left").await;
                let name = left["user_id"].as_str().expect("a name");
                assert!(there.remove(name), "{left}");
                if name == "canary" {
                    took = Some(killed.elapsed());
                }
            }
            took.expect("the canary has left")
        });
        Self { told, _canary: canary }
    }

    /// From now on nobody else comes or goes.
    async fn until_all_is_told(self, lives: SocketAddr) {
        let mut cut_off = user(lives, "cut off").await;
        cut_off.join("nest").await;
        drop(cut_off);
        let took = self.told.await.expect("both leave");
        assert!(took < Duration::from_secs(45), "{took:?} after a kill -9");
        eprintln!("a user of a killed gateway had left {took:?} after its kill");
    }
}

/// Each member was told by joins and leaves who is there, from its own join on: all who are, and nobody has been told of anybody since all were back.
fn everyone_is_seen(records: &Records, rooms: usize, members: usize) {
    let records = records.lock().unwrap();
    assert_eq!(records.told_in_quiet, [""; 0]);
    for user in 0..rooms * members {
        let all = (0..rooms * members).filter(|other| other % rooms == user % rooms);
        let all: BTreeSet<_> = all.map(|other| format!("user-{other}")).collect();
        let present = records.present.get(&user);
        let talkers =
            present.map(|there| there.iter().filter(|name| name.starts_with("user-")).cloned().collect());
        assert_eq!(talkers, Some(all), "as user {user} was told");
    }
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
        let changed = Instant::now();
        for watcher in &mut watchers[..asking] {
            for room in 0..rooms {
                let what = format!("{there} to be in room {room} ({asked})");
                let is_right =
                    async || (count(watcher, &format!("room-{room}")).await as usize == there).then_some(());
                until(&what, is_right).await;
            }
        }
        is_within_3_s(changed);
    }
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
    is_within_3_s(changed);
    assert!(one_by_one <= single, "{one_by_one} were told one by one");
    assert_eq!(count(watcher, "lobby").await, expected);
}
