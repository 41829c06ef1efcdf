//! Users who talk in rooms and come back wherever they can, a record of what they said and heard, and what has to hold of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use super::tokens::token;
use super::{Client, raw};

/// A connection's time as a member of its user's room.
#[derive(Debug)]
pub(crate) struct Stay {
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
pub(crate) struct Said {
    user: usize,
    number: u64,
    from: Instant,
    until: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    stays: Vec<Stay>,
    pub(crate) said: Vec<Said>,
    refused: u64,
    /// The numbers that users have used.
    last: HashMap<usize, u64>,
}

/// What people are asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Talk,
    /// Stay, come back where that is needed, and say nothing.
    Listen,
    Leave,
}

pub(crate) type Records = Arc<Mutex<Record>>;
pub(crate) type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

/// A user who talks in its room, and comes back wherever it can.
pub(crate) async fn talk(
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

/// One order for all members, nothing twice, and nothing lost without a word.
pub(crate) fn judge(record: &Record, rooms: usize) {
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
