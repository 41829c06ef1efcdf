//! Events of the desk to the outboxes of those whom they are for.

use std::collections::HashSet;
use std::rc::Rc;

use smallvec::SmallVec;

use super::super::super::batch::Batch;
use super::super::super::conflation::TopicRun;
use super::super::Shard;
use super::super::conn::ConnKey;
use super::Desk;
use crate::bus::{DeskEvents, DeskNews, Entry, Frames, TopicId};
use crate::desk::event::{Addressee, Lost};
use crate::desk::inbox::Kept;
use crate::market::Form;
use crate::protocol::Dialect;
use crate::protocol::reply::Reply;

/// The connections that an event is for.
type Targets = SmallVec<[ConnKey; 8]>;

impl Shard {
    /// Takes what ingest or the control side says of the desk.
    pub(in super::super) fn on_desk_news(&mut self, news: DeskNews) {
        match news {
            DeskNews::Events(events) => self.apply_desk(&events),
            DeskNews::Lost { counts, is_uncounted } => self.note_lost_at_desk(&counts, is_uncounted),
            DeskNews::Moved { ticket, room, has_joined, object } => {
                self.on_moved(ticket, &room, has_joined, object.as_deref());
            }
            DeskNews::Answer { ticket, answer } => self.on_desk_answer(ticket, answer),
            DeskNews::Response { connection, request_id, object } => {
                self.on_response(connection, &request_id, &object);
            }
            DeskNews::Inbox { connection, entries, upto, is_last } => {
                self.on_inbox(connection, entries, upto, is_last);
            }
            DeskNews::Count { room, count } => {
                let members = self.desk.as_ref().and_then(|desk| desk.rooms.get(&room));
                let members = members.map(|room| room.members.clone()).unwrap_or_default();
                self.say_to_all(&members, &Reply::PresenceCount { room: &room, count });
            }
        }
    }

    /// Queues events to the outboxes of those whom they are for. Each is framed once in each form that one of them has.
    fn apply_desk(&mut self, events: &DeskEvents) {
        let Self { desk: Some(desk), conns, output, metrics, .. } = self else { return };
        let mut batches: SmallVec<[(Dialect, Rc<Batch>); 2]> = SmallVec::new();
        let (mut replaced, mut start) = (0, 0);
        let mut got_kept = Targets::new();
        for (index, (end, to)) in events.events.iter().enumerate() {
            let object = start..*end as usize;
            start = *end as usize;
            let Some(topic) = desk.topic_of(to) else { continue };
            let index = index as u32;
            for key in desk.targets(to) {
                let Some(conn) = conns.get_mut(key).filter(|conn| conn.is_live()) else { continue };
                if let Some(kept) = desk.kept_for(key, to) {
                    if let Some(object) = desk.said_live(key, events.bytes.slice(object.clone()), kept) {
                        let frame = output.own_frame(conn.dialect.frame(&object));
                        output.queue(key, conn, frame);
                        if !got_kept.contains(&key) {
                            got_kept.push(key);
                        }
                    }
                    continue;
                }
                let known = batches.iter().find(|(dialect, _)| *dialect == conn.dialect);
                let batch = match known {
                    Some((_, batch)) => Rc::clone(batch),
                    None => {
                        let batch = Batch::shared(desk.frames(events, conn.dialect), &output.backlog);
                        batches.push((conn.dialect, Rc::clone(&batch)));
                        batch
                    }
                };
                let run = TopicRun::new(&batch, topic, index, index + 1);
                match &mut conn.extras {
                    None => conn.outbox.push_events(&batch, index, index + 1, run.bytes),
                    Some(extras) => {
                        extras.queue(&mut conn.outbox, &run, topic);
                        replaced += extras.conflation.take_replaced();
                    }
                }
                output.mark_dirty(key, conn);
            }
        }
        metrics.events_conflated.add(replaced);
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
            for key in desk.targets(&to) {
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

    /// Queues what one client alone is told, in its place among the events.
    pub(super) fn tell_alone(&mut self, key: ConnKey, object: &[u8]) {
        let Self { conns, output, .. } = self;
        let Some(conn) = conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        let frame = output.own_frame(conn.dialect.frame(object));
        output.queue(key, conn, frame);
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
        let of_user = |user| self.users.get(user).into_iter().flatten().copied();
        match to {
            Addressee::Room { room, except } => {
                let members = self.rooms.get(room).map_or(&[][..], |room| &room.members);
                let is_meant = |key: &ConnKey| match except {
                    None => true,
                    Some(user) => self.clients.get(key).is_some_and(|client| client.user != *user),
                };
                members.iter().copied().filter(is_meant).collect()
            }
            Addressee::User { user, from, .. } => {
                let other = from.as_ref().filter(|from| *from != user);
                of_user(user).chain(other.into_iter().flat_map(of_user)).collect()
            }
            Addressee::Everyone => {
                let at_desk = self.clients.iter().filter(|(_, client)| client.is_at_desk);
                at_desk.map(|(key, _)| *key).collect()
            }
        }
    }

    /// Which entry of a client's own inbox an event is, if it is one: of two users the sender has it in none.
    fn kept_for(&self, key: ConnKey, to: &Addressee) -> Option<Kept> {
        let Addressee::User { user, kept: Some(kept), .. } = to else { return None };
        let client = self.clients.get(&key).filter(|client| client.user == *user)?;
        client.inbox.is_some().then_some(*kept)
    }

    /// Events as the clients of a dialect get them. One that nobody here gets has no bytes.
    fn frames(&self, events: &DeskEvents, dialect: Dialect) -> Frames {
        let (mut bytes, mut table, mut from) = (Vec::new(), Vec::with_capacity(events.events.len()), 0);
        for (end, to) in &events.events {
            let topic = self.topic_of(to);
            if topic.is_some() {
                dialect.write_event(&mut bytes, &events.bytes[from..*end as usize]);
            }
            from = *end as usize;
            table.push(Entry { end: bytes.len() as u32, topic: topic.unwrap_or_default() });
        }
        let form: Form = dialect.form();
        Frames { form, bytes: bytes.into(), table, arrived_us: events.arrived_us, ..Frames::default() }
    }
}
