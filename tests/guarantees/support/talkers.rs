//! Users who talk in rooms and come back wherever they can, and a record of what they said and heard. What has to hold of it is in `judge`.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use ws_gateway::unix_time::unix_ms;

use super::tokens::token;
use super::{Client, raw};

/// A connection's time as a member of its user's room.
#[derive(Debug)]
pub(crate) struct Stay {
    pub(super) user: usize,
    pub(super) joined: Instant,
    pub(super) ended: Instant,
    /// What it has heard, in order: the sender and its number.
    pub(super) heard: Vec<(usize, u64)>,
    /// The times in which events may be missing, as it was told: from and until, in Unix milliseconds.
    pub(super) gaps: Vec<(u64, u64)>,
    /// How many events of the room it was told to have missed.
    pub(super) skipped: u64,
    /// When it was told that the feed is down, if it hasn't been told since that it is up.
    down_ms: Option<u64>,
    view: View,
}

/// Who is in the room, as one connection was told.
#[derive(Debug, Default)]
struct View {
    there: BTreeSet<String>,
    /// Who has come or gone since it has asked: the answer may be older.
    since_asked: Vec<(bool, String)>,
}

impl View {
    fn answered(&mut self, users: &Value) {
        let users = users.as_array().expect("a list").iter();
        self.there = users.map(|user| user.as_str().expect("a name").to_owned()).collect();
        for (has_joined, user) in std::mem::take(&mut self.since_asked) {
            self.moved(has_joined, user);
        }
    }

    fn moved(&mut self, has_joined: bool, user: String) {
        if has_joined {
            self.there.insert(user.clone());
        } else {
            self.there.remove(&user);
        }
        self.since_asked.push((has_joined, user));
    }
}

impl Stay {
    fn new(user: usize, now: Instant) -> Self {
        let (heard, gaps, view) = (Vec::new(), Vec::new(), View::default());
        Self { user, joined: now, ended: now, heard, gaps, skipped: 0, down_ms: None, view }
    }

    /// What is announced as lost.
    fn told(&mut self, status: &Value) {
        let (at_ms, data) = (status["timestamp"].as_u64().expect("a time"), &status["data"]);
        match (status["event"].as_str(), data["state"].as_str()) {
            (Some("feed"), Some("down")) => self.down_ms = Some(at_ms),
            (Some("feed"), _) => {
                self.gaps.push((at_ms - data["gapMs"].as_u64().expect("how long"), at_ms));
                self.down_ms = None;
            }
            (Some("skipped"), _) if data["type"] == "room" => {
                self.skipped += data["count"].as_u64().expect("how many");
            }
            _ => {}
        }
    }

    fn end(&mut self, ended: Instant) {
        self.ended = ended;
        // It will not hear when the gap began, nor that it is over.
        self.gaps.extend(self.down_ms.map(|at_ms| (at_ms.saturating_sub(1_000), u64::MAX)));
    }
}

/// A message that Redis has taken.
#[derive(Debug)]
pub(crate) struct Said {
    pub(super) user: usize,
    pub(super) number: u64,
    pub(super) from: Instant,
    pub(super) until: Instant,
    /// The same as Unix times.
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(super) stays: Vec<Stay>,
    pub(crate) said: Vec<Said>,
    pub(super) refused: u64,
    /// The gateways that were killed, and when: a connection may end later, as a process takes its time to die, and a client to read what is under way.
    pub(crate) killed: HashMap<SocketAddr, Instant>,
    /// Who is in each user's room, as the user's connection was told.
    pub(crate) present: HashMap<usize, BTreeSet<String>>,
    /// Nobody comes or goes any more.
    pub(crate) is_quiet: bool,
    /// Joins and leaves of talkers that were told all the same.
    pub(crate) told_in_quiet: Vec<String>,
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
        let mut stay = stay(&mut client, user, &room, &records, &mut phase).await;
        let mut records = records.lock().unwrap();
        let ended = records.killed.get(&address).copied().unwrap_or_else(Instant::now);
        stay.iter_mut().for_each(|stay| stay.end(ended));
        records.stays.extend(stay);
        records.present.remove(&user);
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
    let mut asked: Option<(u64, Instant, u64)> = None;
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
        let Some(Message::Text(text)) = message else { return stay };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        let member = stay.as_mut();
        match (frame["type"].as_str(), frame["id"].as_str()) {
            (Some("room_message"), _) => {
                let (from, number) = (frame["message"]["u"].as_u64(), frame["message"]["n"].as_u64());
                let key = (from.expect("a sender") as usize, number.expect("a number"));
                member.expect("only members hear").heard.push(key);
            }
            (Some("status"), _) => {
                if let Some(stay) = member {
                    stay.told(&frame);
                }
            }
            (Some("success"), Some("join")) => {
                stay = Some(Stay::new(user, now));
                let who = json!({"type": "presence", "payload": {"room_id": room}, "id": "who"}).to_string();
                client.ws.send(Message::text(who)).await.ok()?;
            }
            (Some("presence"), Some("who")) => {
                let view = &mut member.expect("only members are answered").view;
                view.answered(&frame["users"]);
                records.lock().unwrap().present.insert(user, view.there.clone());
            }
            (Some(moved @ ("user_joined" | "user_left")), _) => {
                let name = frame["user_id"].as_str().expect("a name");
                let mut records = records.lock().unwrap();
                if records.is_quiet && name.starts_with("user-") && name != format!("user-{user}") {
                    records.told_in_quiet.push(format!("user {user} heard {frame}"));
                }
                if let Some(stay) = member {
                    stay.view.moved(moved == "user_joined", name.to_owned());
                    records.present.insert(user, stay.view.there.clone());
                }
            }
            (Some("success"), Some("say")) => {
                let (number, from, from_ms) = asked.take().expect("it was asked");
                let (until, until_ms) = (now, unix_ms());
                let said = Said { user, number, from, until, from_ms, until_ms };
                records.lock().unwrap().said.push(said);
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
            asked = Some((number, Instant::now(), unix_ms()));
            if client.ws.send(Message::text(request.to_string())).await.is_err() {
                return stay;
            }
        }
    }
}
