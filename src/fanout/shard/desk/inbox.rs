//! What a client gets of its user's inbox: first what was said while the user was away, then what is said now; and what it has confirmed.
//!
//! A ping follows what is sent, in its place among the frames. The pong that repeats the ping's payload shows that the client has got
//! everything before it, and that is then deleted from the inbox. Nothing of an inbox is skipped: a client that is too slow for it is closed,
//! and gets it when it comes again.

use std::collections::VecDeque;

use bytes::Bytes;
use slotmap::{Key, KeyData};

use super::super::Shard;
use super::super::conn::{ConnKey, Phase};
use super::Desk;
use crate::bus::DeskOrder;
use crate::desk::event::Told;
use crate::desk::inbox::{EntryId, Kept};
use crate::limits::{INBOX_HELD_BYTES, INBOX_HELD_MAX, INBOX_SEEN_MAX, INBOX_UNCONFIRMED_MAX};
use crate::protocol::socketio::namespace::Joined;
use crate::websocket::close::ping_with;

/// What the payload of a ping behind entries of an inbox begins with; its number follows.
const PING: &str = "inbox ";

/// How far a client is with its user's inbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// It has yet to be asked for.
    #[default]
    New,
    /// It has been asked for.
    Asked,
    /// The client has got a part, and the next one is asked for once it has confirmed that.
    Partly,
    /// The client has got everything, and gets what is said as it comes.
    Live,
}

/// A client's part of its user's inbox.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    stage: Stage,
    /// The last entry that was read from the inbox: what it had up to there the client has got, or is getting.
    upto: EntryId,
    /// What was said while the client gets what was said before, and is behind that.
    held: Vec<(Bytes, Kept)>,
    held_bytes: usize,
    /// Something was said that could not be held: it is in the inbox.
    has_overflowed: bool,
    /// Pings sent.
    pings: u32,
    /// What was sent, with the number of the ping behind it.
    unconfirmed: VecDeque<(Kept, u32)>,
    /// Entries that were sent lately.
    seen: VecDeque<EntryId>,
}

impl Inbox {
    /// Whether the control side knows of it.
    pub(super) fn is_known(&self) -> bool {
        self.stage != Stage::New
    }

    /// Notes that an entry is sent; `false` if it was before.
    fn note_sent(&mut self, kept: Kept) -> bool {
        if self.seen.contains(&kept.id) {
            return false;
        }
        push_bounded(&mut self.seen, kept.id, INBOX_SEEN_MAX);
        push_bounded(&mut self.unconfirmed, (kept, self.pings.wrapping_add(1)), INBOX_UNCONFIRMED_MAX);
        true
    }

    fn hold(&mut self, object: Bytes, kept: Kept) {
        if self.held.len() >= INBOX_HELD_MAX || self.held_bytes + object.len() > INBOX_HELD_BYTES {
            self.has_overflowed = true;
        }
        if !self.has_overflowed {
            self.held_bytes += object.len();
            self.held.push((object, kept));
        }
    }

    /// Something has been said that is in the inbox. Returns it if the client gets it now. What was in the inbox when it was read comes from there, and what
    /// had gone from it by then doesn't come.
    fn said(&mut self, object: Bytes, kept: Kept) -> Option<Bytes> {
        if kept.id <= self.upto {
            return None;
        }
        if self.stage != Stage::Live {
            self.hold(object, kept);
            return None;
        }
        self.note_sent(kept).then_some(object)
    }

    /// A part of the inbox has been read, up to that entry. Returns what the client gets now: it, and what was held of before that entry or, where nothing is
    /// left to be read, all that was held. The oldest come first, and each once.
    fn take(&mut self, entries: Vec<(Bytes, Kept)>, upto: EntryId, is_last: bool) -> Vec<(Bytes, Kept)> {
        let is_all = is_last && !std::mem::take(&mut self.has_overflowed);
        self.stage = if is_all { Stage::Live } else { Stage::Partly };
        self.upto = self.upto.max(upto);
        let (mut said, mut now) = (std::mem::take(&mut self.held), entries);
        let is_due = |(_, kept): &mut (Bytes, Kept)| is_all || kept.id <= upto;
        now.extend(said.extract_if(.., is_due));
        self.held_bytes = said.iter().map(|(object, _)| object.len()).sum();
        self.held = said;
        // Of two alike the one that was read is first.
        now.sort_by_key(|(_, kept)| kept.id);
        now.retain(|(_, kept)| self.note_sent(*kept));
        now
    }

    /// What a pong of that number confirms.
    fn confirm(&mut self, number: u32) -> Vec<Kept> {
        if number > self.pings {
            return Vec::new();
        }
        let count = self.unconfirmed.partition_point(|(_, behind)| *behind <= number);
        self.unconfirmed.drain(..count).map(|(kept, _)| kept).collect()
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() >= max {
        queue.pop_front();
    }
    queue.push_back(item);
}

impl Desk {
    /// Something has been said to a client's user that is in the inbox. Returns it if the client gets it now.
    pub(super) fn said_live(&mut self, key: ConnKey, object: Bytes, kept: Kept) -> Option<Bytes> {
        let inbox = self.clients.get_mut(&key)?.inbox.as_mut()?;
        inbox.said(object, kept)
    }
}

impl Shard {
    /// Asks for the inbox of a new client's user, behind the reply to `?symbols=`: that is the first frame.
    pub(in super::super) fn ask_inbox_once(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key).filter(|conn| conn.phase == Phase::Open) else { return };
        let Some(client) = self.desk.as_mut().and_then(|desk| desk.clients.get_mut(&key)) else { return };
        let Some(inbox) = client.inbox.as_mut().filter(|inbox| inbox.stage == Stage::New) else { return };
        debug_assert!(conn.dialect.has_desk(), "others have no client here");
        inbox.stage = Stage::Asked;
        let user = client.user.clone();
        self.order(None, DeskOrder::Inbox { user, connection: key.data().as_ffi(), behind: None }, None);
    }

    /// The next entries of a client's inbox.
    pub(super) fn on_inbox(
        &mut self,
        connection: u64,
        entries: Vec<(Bytes, Kept)>,
        upto: EntryId,
        is_last: bool,
    ) {
        let key = ConnKey::from(KeyData::from_ffi(connection));
        let Some(inbox) = self.inbox(key).filter(|inbox| inbox.stage == Stage::Asked) else { return };
        let objects = inbox.take(entries, upto, is_last);
        for (object, _) in &objects {
            self.tell_alone(key, &Told::plain(object), Joined::ALL);
        }
        if objects.is_empty() {
            self.read_on(key);
        } else {
            self.ping_behind(key);
        }
    }

    /// Sends a ping behind what a client has been sent of its inbox.
    pub(super) fn ping_behind(&mut self, key: ConnKey) {
        let Some(inbox) = self.inbox(key) else { return };
        inbox.pings = inbox.pings.wrapping_add(1);
        let payload = format!("{PING}{}", inbox.pings);
        let Self { conns, output, .. } = self;
        let Some(conn) = conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        let frame = output.own_frame(ping_with(payload.as_bytes()));
        output.queue(key, conn, frame);
    }

    /// A client may answer only its newest ping, so while entries are unconfirmed an inbox ping follows each ordinary one.
    pub(in super::super) fn ping_for_inbox(&mut self, key: ConnKey) {
        if self.inbox(key).is_some_and(|inbox| !inbox.unconfirmed.is_empty()) {
            self.ping_behind(key);
        }
    }

    /// A pong has come. Returns whether it answers a ping behind entries of an inbox.
    pub(in super::super) fn pong_for_inbox(&mut self, key: ConnKey, payload: &[u8]) -> bool {
        let Some(number) = payload.strip_prefix(PING.as_bytes()) else { return false };
        let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
        let Some(number) = number else { return false };
        let Some(inbox) = self.inbox(key) else { return false };
        let entries = inbox.confirm(number);
        let is_through = inbox.unconfirmed.is_empty();
        let user = self.desk.as_ref().and_then(|desk| Some(desk.clients.get(&key)?.user.clone()));
        if let Some(user) = user.filter(|_| !entries.is_empty()) {
            self.order(None, DeskOrder::Confirmed { user, entries }, None);
        }
        if is_through {
            self.read_on(key);
        }
        true
    }

    /// Asks for the next entries of a client's inbox, if there may be some.
    fn read_on(&mut self, key: ConnKey) {
        let Some(client) = self.desk.as_mut().and_then(|desk| desk.clients.get_mut(&key)) else { return };
        let Some(inbox) = &mut client.inbox else { return };
        if inbox.stage != Stage::Partly {
            return;
        }
        inbox.stage = Stage::Asked;
        let behind = inbox.upto;
        let (user, connection) = (client.user.clone(), key.data().as_ffi());
        self.order(None, DeskOrder::Inbox { user, connection, behind: Some(behind) }, None);
    }

    fn inbox(&mut self, key: ConnKey) -> Option<&mut Inbox> {
        self.desk.as_mut()?.clients.get_mut(&key)?.inbox.as_deref_mut()
    }
}

#[cfg(test)]
mod order_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ms: u64) -> Kept {
        Kept::of_worker(EntryId { ms, seq: 0 })
    }

    #[test]
    fn a_pong_confirms_what_was_before_its_ping_and_no_more() {
        let mut inbox = Inbox::default();
        assert!(inbox.note_sent(kept(1)));
        assert!(inbox.note_sent(kept(2)));
        assert!(!inbox.note_sent(kept(1)), "it was sent before");
        assert_eq!(inbox.confirm(1), [], "no such ping was sent");
        inbox.pings = 1;
        assert!(inbox.note_sent(kept(3)));
        assert_eq!(inbox.confirm(1), [kept(1), kept(2)]);
        assert_eq!(inbox.confirm(1), []);
        inbox.pings = 3;
        assert_eq!(inbox.confirm(3), [kept(3)]);
        assert!(!inbox.note_sent(kept(3)), "it was confirmed");
    }

    #[test]
    fn what_is_held_is_bounded_and_the_rest_is_in_the_inbox() {
        let mut inbox = Inbox::default();
        for n in 0..INBOX_HELD_MAX as u64 + 5 {
            inbox.hold(Bytes::from_static(b"{}"), kept(n));
        }
        assert_eq!(inbox.held.len(), INBOX_HELD_MAX);
        assert!(inbox.has_overflowed);
        // What comes behind the first that could not be held is not held either: the order would be wrong.
        inbox.take(Vec::new(), kept(10).id, false);
        assert_eq!(inbox.held.len(), INBOX_HELD_MAX - 11, "those behind what was read wait");
        inbox.take(Vec::new(), kept(1_000).id, false);
        inbox.hold(Bytes::from_static(b"{}"), kept(1_001));
        assert_eq!(inbox.held.len(), 0);
        let mut inbox = Inbox::default();
        inbox.hold(vec![b' '; INBOX_HELD_BYTES + 1].into(), kept(1));
        assert!(inbox.has_overflowed && inbox.held.is_empty());
    }

    #[test]
    fn what_waits_to_be_confirmed_is_bounded() {
        let mut inbox = Inbox::default();
        for n in 0..2 * INBOX_UNCONFIRMED_MAX as u64 {
            assert!(inbox.note_sent(kept(n)));
        }
        assert_eq!((inbox.unconfirmed.len(), inbox.seen.len()), (INBOX_UNCONFIRMED_MAX, INBOX_SEEN_MAX));
        assert_eq!(inbox.unconfirmed[0].0, kept(INBOX_UNCONFIRMED_MAX as u64));
    }
}
