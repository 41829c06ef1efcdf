//! Events of the desk to the outboxes of those whom they are for.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::super::super::batch::Batch;
use super::super::super::conflation::TopicRun;
use super::super::Shard;
use super::super::conn::{Conn, ConnKey};
use super::super::output::{Output, Written};
use super::{Desk, Member};
use crate::bus::{DeskEvents, DeskNews, Entry, Frames, TopicId};
use crate::desk::DeskId;
use crate::desk::event::{Addressee, Lost, Told};
use crate::desk::inbox::Kept;
use crate::protocol::Dialect;
use crate::protocol::reply::Reply;
use crate::protocol::socketio::namespace::Joined;
use crate::websocket::deflate::Compressor;

/// The connections that an event is for, and of clients of Socket.IO the namespaces.
type Targets = SmallVec<[Member; 8]>;

impl Shard {
    /// Takes what ingest or the control side says of the desk.
    pub(in super::super) fn on_desk_news(&mut self, news: DeskNews) {
        match news {
            DeskNews::Events(events) => self.apply_desk(&events),
            DeskNews::Lost { counts, is_uncounted } => self.note_lost_at_desk(&counts, is_uncounted),
            DeskNews::Moved { ticket, room, has_joined, object, origin } => {
                self.on_moved(ticket, &room, has_joined, object.as_deref(), &origin);
            }
            DeskNews::Answer { ticket, answer } => self.on_desk_answer(ticket, answer),
            DeskNews::Response { connection, request_id, object } => {
                self.on_response(connection, &request_id, &object);
            }
            DeskNews::Inbox { connection, entries, upto, is_last } => {
                self.on_inbox(connection, entries, upto, is_last);
            }
            DeskNews::Count { room, count } => self.tell_count(&room, count),
        }
    }

    /// Queues events to the outboxes of those whom they are for. Each is framed once in each form that one of them has.
    fn apply_desk(&mut self, events: &DeskEvents) {
        let Self { desk: Some(desk), conns, output, metrics, .. } = self else { return };
        let mut batches = Written::new();
        let (mut replaced, mut skipped) = (0, 0);
        let mut got_kept = SmallVec::<[ConnKey; 8]>::new();
        for (index, (event, object)) in events.iter().enumerate() {
            let Some(topic) = desk.topic_of(&event.to) else { continue };
            let index = index as u32;
            for Member { key, namespaces } in desk.targets(&event.to) {
                let Some(conn) = conns.get_mut(key).filter(|conn| conn.is_live()) else { continue };
                if let Some(kept) = desk.kept_for(key, &event.to) {
                    if let Some(object) = desk.said_live(key, events.bytes.slice_ref(object), kept) {
                        output.tell(key, conn, &Told::plain(&object), namespaces);
                        if !got_kept.contains(&key) {
                            got_kept.push(key);
                        }
                    }
                    continue;
                }
                let compresses = conn.compresses_each();
                for voice in conn.dialect.voices(namespaces) {
                    let batch = batches.once_for((voice, compresses), || {
                        let compressor = compresses.then(|| output.backlog.compressor());
                        Batch::shared(desk.frames(events, voice, compressor), &output.backlog)
                    });
                    let run = TopicRun::new(&batch, topic, index, index + 1);
                    match &mut conn.extras {
                        None => conn.outbox.push_events(&batch, index, index + 1, run.bytes),
                        Some(extras) => {
                            skipped += extras.queue(&mut conn.outbox, &run, topic);
                            replaced += extras.conflation.take_replaced();
                        }
                    }
                    output.mark_dirty(key, conn);
                }
            }
        }
        metrics.events_conflated.add(replaced);
        metrics.events_skipped.add(skipped);
        got_kept.into_iter().for_each(|key| self.ping_behind(key));
    }

    /// Ingest had to drop events: they are announced like those skipped from an outbox.
    fn note_lost_at_desk(&mut self, counts: &[(Lost, u64)], is_uncounted: bool) {
        let Self { desk: Some(desk), conns, output, metrics, .. } = self else { return };
        for (lost, count) in counts {
            let to = match lost {
                Lost::Room(room) => Addressee::Room { room: room.clone(), except: None },
                Lost::User(user) => Addressee::User { user: user.clone(), from: None, kept: None },
                Lost::Everyone => Addressee::Everyone,
            };
            let Some(topic) = desk.topic_of(&to) else { continue };
            for Member { key, .. } in desk.targets(&to) {
                let Some(conn) = conns.get_mut(key).filter(|conn| conn.is_live()) else { continue };
                conn.outbox.note_skipped(topic, *count);
                conn.extras.get_or_insert_default().skipped += count;
                metrics.events_skipped.add(*count);
                output.mark_dirty(key, conn);
            }
        }
        if is_uncounted {
            let clients: HashSet<_> = desk.clients.keys().copied().collect();
            self.close_uncounted_clients(clients);
        }
    }

    /// Queues what one client alone is told, in its place among the events; one of Socket.IO in those of these namespaces that it is in.
    pub(super) fn tell_alone(&mut self, key: ConnKey, told: &Told<'_>, namespaces: Joined) {
        let Self { conns, output, .. } = self;
        if let Some(conn) = conns.get_mut(key).filter(|conn| conn.is_live()) {
            output.tell(key, conn, told, namespaces);
        }
    }

    /// Tells the members of a large room how many users it has.
    fn tell_count(&mut self, room: &DeskId, count: usize) {
        let Self { desk: Some(desk), conns, output, clocks, .. } = self else { return };
        let reply = Reply::PresenceCount { room, count };
        let mut written = Written::new();
        for &Member { key, namespaces } in desk.rooms.get(room).into_iter().flat_map(|room| &room.members) {
            let Some(conn) = conns.get_mut(key) else { continue };
            for voice in conn.dialect.voices(namespaces) {
                let frame = written.once_for((voice, conn.deflate), || {
                    output.write_as(voice, conn.deflate, &reply, clocks.now.unix_ms)
                });
                output.queue(key, conn, frame);
            }
        }
    }
}

impl Output {
    /// Queues an event of the desk for one client alone.
    fn tell(&mut self, key: ConnKey, conn: &mut Conn, told: &Told<'_>, namespaces: Joined) {
        for voice in conn.dialect.voices(namespaces) {
            let mut frame = voice.frame(told);
            if conn.deflate {
                self.backlog.compressor().compress_each(&mut frame);
            }
            let frame = self.own_frame(frame);
            self.queue(key, conn, frame);
        }
    }
}

impl Desk {
    /// The id that an event has in outboxes; `None` if nobody here gets it.
    fn topic_of(&self, to: &Addressee) -> Option<TopicId> {
        match to {
            Addressee::Room { room, .. } => self.rooms.get(room).map(|room| room.topic),
            Addressee::User { .. } => Some(TopicId::of_desk(0)),
            Addressee::Everyone => Some(TopicId::of_desk(1)),
        }
    }

    /// The connections that an event is for.
    fn targets(&self, to: &Addressee) -> Targets {
        // In each of the namespaces that they are in.
        let everywhere = |key: &ConnKey| Member { key: *key, namespaces: Joined::ALL };
        let of_user = |user| self.users.get(user).into_iter().flatten().map(everywhere);
        match to {
            Addressee::Room { room, except } => {
                let members = self.rooms.get(room).map_or(&[][..], |room| &room.members);
                let is_meant = |member: &Member| match except {
                    None => true,
                    Some(user) => self.clients.get(&member.key).is_some_and(|client| client.user != *user),
                };
                members.iter().copied().filter(is_meant).collect()
            }
            Addressee::User { user, from, .. } => {
                let other = from.as_ref().filter(|from| *from != user);
                of_user(user).chain(other.into_iter().flat_map(of_user)).collect()
            }
            Addressee::Everyone => {
                let at_desk = self.clients.iter().filter(|(_, client)| client.is_at_desk);
                at_desk.map(|(key, _)| everywhere(key)).collect()
            }
        }
    }

    /// Which entry of a client's own inbox an event is, if it is one: of two users the sender has it in none.
    fn kept_for(&self, key: ConnKey, to: &Addressee) -> Option<Kept> {
        let Addressee::User { user, kept: Some(kept), .. } = to else { return None };
        let client = self.clients.get(&key).filter(|client| client.user == *user)?;
        client.inbox.is_some().then_some(*kept)
    }

    /// Events as the clients with a voice get them, compressed where that is agreed on and worth it. One that nobody here gets has no bytes.
    fn frames(&self, events: &DeskEvents, voice: Dialect, compressor: Option<&Compressor>) -> Frames {
        let (mut bytes, mut table) = (Vec::new(), Vec::with_capacity(events.events.len()));
        for (event, object) in events.iter() {
            let topic = self.topic_of(&event.to);
            if topic.is_some() {
                let told = Told { object, room: event.to.room(), origin: &event.origin };
                let start = bytes.len();
                voice.write_event(&mut bytes, &told);
                if let Some(compressor) = compressor {
                    compressor.compress_last(&mut bytes, start);
                }
            }
            table.push(Entry { end: bytes.len() as u32, topic: topic.unwrap_or_default() });
        }
        Frames {
            form: if compressor.is_some() { voice.form().deflated() } else { voice.form() },
            bytes: bytes.into(),
            table,
            arrived_us: events.arrived_us,
            ..Frames::default()
        }
    }
}
