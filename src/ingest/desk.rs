//! What comes of the desk: envelopes of gateways and objects of workers, read once, written as clients get them, and handed to the shards that
//! have anybody for them.
//!
//! Interest in rooms is counted here: a join of one of this gateway's connections comes back, and from then on its shard gets the events of the
//! room, until the shard has given back as many members as it has got.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::quality::RandomState;
use smallvec::SmallVec;
use tokio::sync::mpsc::Sender;

use super::Ingest;
use super::handover::Handover;
use crate::bus::{DeskEvent, DeskEvents, DeskHeard, DeskNews, DeskWish, Ticket};
use crate::desk::envelope::{Envelope, Moved};
use crate::desk::event::{Addressee, Lost, check_of_worker, write_for_room, write_for_user, write_moved};
use crate::desk::presence::{Gossip, NoGossip};
use crate::desk::{DESK_CHANNELS, DeskId, GatewayId, Origin, PRESENCE, REPLY, ROOM, USER};
use crate::limits::DESK_LOSSES_MAX;
use crate::market::Kinds;
use crate::market::event::{Reject, check_object};
use crate::protocol::desk::RequestId;

/// What ingest needs to know of the desk.
#[derive(Debug, Clone)]
pub struct DeskIngest {
    /// This run of the gateway.
    pub me: GatewayId,
    /// Where what gateways tell each other goes.
    pub heard: Sender<DeskHeard>,
    /// `REQUESTS`.
    pub has_requests: bool,
}

type Map<K, V> = HashMap<K, V, RandomState>;

/// The desk's part of ingest.
pub(super) struct Desk {
    me: GatewayId,
    heard: Sender<DeskHeard>,
    max_event_bytes: usize,
    kinds: Kinds,
    shards: Vec<ShardDesk>,
    /// The members of rooms that shards have.
    interest: Map<DeskId, SmallVec<[(usize, u32); 1]>>,
}

/// What a shard is to be handed.
#[derive(Default)]
struct ShardDesk {
    bytes: Vec<u8>,
    events: Vec<DeskEvent>,
    has_users: bool,
    /// While the shard is behind: what it has lost.
    lost: Map<Lost, u64>,
    is_uncounted: bool,
}

impl ShardDesk {
    fn is_behind(&self) -> bool {
        self.is_uncounted || !self.lost.is_empty()
    }

    fn count_lost(&mut self, to: &Addressee) {
        for lost in to.lost() {
            if self.lost.len() < DESK_LOSSES_MAX || self.lost.contains_key(&lost) {
                *self.lost.entry(lost).or_default() += 1;
            } else {
                self.is_uncounted = true;
            }
        }
    }

    fn take_lost(&mut self) -> DeskNews {
        let counts = std::mem::take(&mut self.lost).into_iter().collect();
        DeskNews::Lost { counts, is_uncounted: std::mem::take(&mut self.is_uncounted) }
    }
}

impl Desk {
    pub(super) fn new(config: DeskIngest, shards: usize, max_event_bytes: usize, kinds: Kinds) -> Self {
        let DeskIngest { me, heard, has_requests: _ } = config;
        let shards = (0..shards).map(|_| ShardDesk::default()).collect();
        Self { me, heard, max_event_bytes, kinds, shards, interest: Map::default() }
    }

    /// Takes what a shard wishes.
    pub(super) fn wish(&mut self, wish: DeskWish) {
        match wish {
            DeskWish::Users { shard, are_there } => {
                if let Some(shard) = self.shards.get_mut(shard) {
                    shard.has_users = are_there;
                }
            }
            DeskWish::Left { shard, room } => {
                let Some(members) = self.interest.get_mut(&room) else { return };
                if let Some(of_shard) = members.iter_mut().find(|(each, _)| *each == shard) {
                    of_shard.1 -= 1;
                }
                members.retain(|(_, count)| *count > 0);
                if members.is_empty() {
                    self.interest.remove(&room);
                }
            }
        }
    }

    fn add_member(&mut self, shard: usize, room: &DeskId) {
        let members = self.interest.entry(room.clone()).or_default();
        match members.iter_mut().find(|(each, _)| *each == shard) {
            Some((_, count)) => *count += 1,
            None => members.push((shard, 1)),
        }
    }

    /// Puts an event into the buffers of the shards that have anybody for it.
    fn push(&mut self, object: &[u8], to: &Addressee, origin: &Origin) {
        let shards: SmallVec<[usize; 8]> = match to {
            Addressee::Room { room, .. } => {
                self.interest.get(room).into_iter().flatten().map(|(shard, _)| *shard).collect()
            }
            Addressee::User { .. } | Addressee::Everyone => {
                (0..self.shards.len()).filter(|shard| self.shards[*shard].has_users).collect()
            }
        };
        for shard in shards {
            let Some(shard) = self.shards.get_mut(shard) else { continue };
            if shard.is_behind() {
                shard.count_lost(to);
                continue;
            }
            shard.bytes.extend_from_slice(object);
            let end = shard.bytes.len() as u32;
            shard.events.push(DeskEvent { end, to: to.clone(), origin: origin.clone() });
        }
    }

    /// Hands each shard what is for it, if it has room.
    pub(super) fn hand_over(&mut self, handover: &Handover, arrived_us: u64) {
        for id in 0..self.shards.len() {
            self.hand_to(handover, id, arrived_us);
        }
    }

    fn hand_to(&mut self, handover: &Handover, id: usize, arrived_us: u64) {
        let shard = &mut self.shards[id];
        if shard.is_behind() {
            if handover.is_half_empty(id) {
                handover.tell_desk(id, shard.take_lost());
            }
            return;
        }
        if shard.events.is_empty() {
            return;
        }
        let events = std::mem::take(&mut shard.events);
        if !handover.fits(id, shard.bytes.len()) {
            shard.bytes.clear();
            events.iter().for_each(|event| shard.count_lost(&event.to));
            return;
        }
        let bytes = Bytes::copy_from_slice(&shard.bytes);
        shard.bytes.clear();
        handover.tell_desk(id, DeskNews::Events(DeskEvents { bytes, events, arrived_us }));
    }

    /// Tells a shard that a request of its has come back: behind everything that came before. `object` is what its client is told, if
    /// nobody else is.
    fn tell_moved(
        &mut self,
        handover: &Handover,
        moved: &Moved,
        room: &DeskId,
        object: &[u8],
        arrived_us: u64,
    ) {
        let Some(mark) = moved.asked.filter(|_| moved.gateway == self.me) else { return };
        let id = mark.shard as usize;
        if id >= self.shards.len() {
            return;
        }
        self.hand_to(handover, id, arrived_us);
        let shard = &mut self.shards[id];
        if shard.is_behind() {
            handover.tell_desk(id, shard.take_lost());
        }
        if moved.has_joined {
            self.add_member(id, room);
        }
        let object = (!moved.is_told).then(|| Bytes::copy_from_slice(object));
        let ticket = Ticket::of_number(mark.ticket);
        let (room, has_joined) = (room.clone(), moved.has_joined);
        let origin = moved.origin.clone();
        handover.tell_desk(id, DeskNews::Moved { ticket, room, has_joined, object, origin });
    }

    /// Whether a shard has yet to be told of losses.
    pub(super) fn is_any_behind(&self) -> bool {
        self.shards.iter().any(ShardDesk::is_behind)
    }
}

/// What a channel of the desk is, behind `CHANNEL_PREFIX`.
enum Channel<'c> {
    Room(&'c [u8]),
    User(&'c [u8]),
    Presence,
    WorkersRoom(&'c [u8]),
    WorkersUser(&'c [u8]),
    Reply(&'c [u8]),
    Broadcast,
}

impl<'c> Channel<'c> {
    fn of(rest: &'c [u8]) -> Option<Self> {
        if let Some(rest) = rest.strip_prefix(DESK_CHANNELS.as_bytes()) {
            return match rest {
                _ if rest == PRESENCE.as_bytes() => Some(Self::Presence),
                _ => {
                    let room = rest.strip_prefix(ROOM.as_bytes()).map(Self::Room);
                    room.or_else(|| rest.strip_prefix(USER.as_bytes()).map(Self::User))
                }
            };
        }
        match rest {
            b"broadcast" => Some(Self::Broadcast),
            _ => {
                let room = rest.strip_prefix(ROOM.as_bytes()).map(Self::WorkersRoom);
                let of_worker = room.or_else(|| rest.strip_prefix(USER.as_bytes()).map(Self::WorkersUser));
                of_worker.or_else(|| rest.strip_prefix(REPLY.as_bytes()).map(Self::Reply))
            }
        }
    }
}

impl Ingest {
    /// Takes an event whose channel is none of a type of events; `false` if it is none of the desk either.
    pub(super) fn desk_event(&mut self, channel: &[u8], payload: &[u8]) -> bool {
        let Self { desk: Some(desk), config, state, handover, .. } = self else { return false };
        let Some(rest) = channel.strip_prefix(config.channel_prefix.as_bytes()) else { return false };
        let Some(channel) = Channel::of(rest) else { return false };
        let metrics = &state.metrics.ingest;
        metrics.events.add(1);
        metrics.event_bytes.add(payload.len() as u64);
        let arrived_us = state.metrics.uptime_us();
        match desk.event(&channel, payload, handover, arrived_us) {
            Ok(()) => metrics.events_framed.add(1),
            Err(reject) => self.reject(reject, rest, payload.len(), None),
        }
        true
    }
}

impl Desk {
    fn event(
        &mut self,
        channel: &Channel<'_>,
        payload: &[u8],
        handover: &Handover,
        arrived_us: u64,
    ) -> Result<(), Reject> {
        let id = |name: &[u8]| {
            let name = std::str::from_utf8(name).ok().and_then(DeskId::parse);
            name.ok_or(Reject::BadSymbol)
        };
        let mut object = Vec::new();
        match *channel {
            Channel::Room(room) => {
                let room = id(room)?;
                let envelope = Envelope::parse(payload).ok_or(Reject::NotJson)?;
                if let Envelope::Moved(moved) = &envelope {
                    self.moved(&room, moved, handover, arrived_us);
                } else {
                    let to = write_for_room(&mut object, &room, &envelope).ok_or(Reject::WrongSymbol)?;
                    self.push(&object, &to, &envelope.origin());
                }
            }
            Channel::User(user) => {
                let user = id(user)?;
                let envelope = Envelope::parse(payload).ok_or(Reject::NotJson)?;
                let to = write_for_user(&mut object, &envelope).ok_or(Reject::WrongSymbol)?;
                // Only what is for the channel's user: the sender is one of those who get it.
                let Addressee::User { user: named, kept, .. } = &to else { return Err(Reject::WrongSymbol) };
                if *named != user {
                    return Err(Reject::WrongSymbol);
                }
                self.push(&object, &to, &Origin::default());
                if let Some(kept) = kept {
                    // One that is lost is told once more, to clients that know it.
                    let _ = self.heard.try_send(DeskHeard::Kept(user, kept.id));
                }
            }
            Channel::Presence => {
                match Gossip::parse(payload) {
                    // What of this doesn't fit: see the queue's bound.
                    Ok(Some(gossip)) => drop(self.heard.try_send(DeskHeard::Gossip(gossip))),
                    Ok(None) => tracing::debug!("a newer gateway tells what this one doesn't know"),
                    Err(NoGossip) => return Err(Reject::NotJson),
                }
            }
            Channel::WorkersRoom(room) => {
                let room = id(room)?;
                let object = check_of_worker(payload, self.max_event_bytes, &self.kinds)?;
                let to = Addressee::Room { room, except: None };
                self.push(object.as_bytes(), &to, &Origin::default());
            }
            Channel::WorkersUser(user) => {
                let user = id(user)?;
                let object = check_of_worker(payload, self.max_event_bytes, &self.kinds)?;
                let to = Addressee::User { user, from: None, kept: None };
                self.push(object.as_bytes(), &to, &Origin::default());
            }
            Channel::Reply(to) => {
                // Those of other gateways come here as well.
                let text = std::str::from_utf8(to).map_err(|_| Reject::BadSymbol)?;
                let Some((gateway, connection)) = text.split_once(':') else { return Err(Reject::BadSymbol) };
                if gateway.parse() == Ok(self.me) {
                    self.response(connection, payload, handover)?;
                }
            }
            Channel::Broadcast => {
                let object = check_of_worker(payload, self.max_event_bytes, &self.kinds)?;
                self.push(object.as_bytes(), &Addressee::Everyone, &Origin::default());
            }
        }
        Ok(())
    }

    /// A worker has answered: the shard knows whether anybody waits for it. A shard without room loses it, and the client is told that its time
    /// is up.
    fn response(&mut self, connection: &str, payload: &[u8], handover: &Handover) -> Result<(), Reject> {
        let (shard, connection) = connection.split_once('-').ok_or(Reject::BadSymbol)?;
        let shard: usize = shard.parse().map_err(|_| Reject::BadSymbol)?;
        let connection = u64::from_str_radix(connection, 16).map_err(|_| Reject::BadSymbol)?;
        let (object, request_id) = check_response(payload, self.max_event_bytes)?;
        if shard < self.shards.len() && handover.fits(shard, object.len()) {
            let object = Bytes::copy_from_slice(object.as_bytes());
            handover.tell_desk(shard, DeskNews::Response { connection, request_id, object });
        }
        Ok(())
    }

    /// A connection has joined a room, or left it: its membership begins before its join is told, and ends after its leave is.
    fn moved(&mut self, room: &DeskId, moved: &Moved, handover: &Handover, arrived_us: u64) {
        let _ = self.heard.try_send(DeskHeard::Moved(room.clone(), moved.clone()));
        let mut object = Vec::new();
        write_moved(&mut object, room, &moved.user, moved.has_joined);
        let to = Addressee::Room { room: room.clone(), except: None };
        if moved.has_joined {
            self.tell_moved(handover, moved, room, &object, arrived_us);
        }
        if moved.is_told {
            self.push(&object, &to, &moved.origin);
        }
        if !moved.has_joined {
            self.tell_moved(handover, moved, room, &object, arrived_us);
        }
    }
}

/// A worker's response: its object, and the question that it answers.
fn check_response(payload: &[u8], max_bytes: usize) -> Result<(&str, RequestId), Reject> {
    #[derive(serde::Deserialize)]
    struct Response<'r> {
        r#type: Option<String>,
        #[serde(borrow, rename = "requestId")]
        request_id: Option<&'r serde_json::value::RawValue>,
    }
    let object = check_object(payload, max_bytes)?;
    let response: Response<'_> =
        serde_json::from_str(object).map_err(|_| Reject::Twice("type or requestId"))?;
    if response.r#type.as_deref() != Some("response") {
        return Err(Reject::Wrong { field: "type", must_be: "\"response\"" });
    }
    let request_id = response.request_id.ok_or(Reject::Missing("requestId"))?;
    let request_id = RequestId::parse(request_id.get());
    Ok((object, request_id.ok_or(Reject::Wrong { field: "requestId", must_be: "that of the request" })?))
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("me", &self.me).finish_non_exhaustive()
    }
}
