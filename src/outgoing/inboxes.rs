//! Inboxes in Redis: a stream for each user, which keeps what is said to it until one of its connections has got it.
//!
//! | what | how |
//! |---|---|
//! | a user is known for the queue's time after it was connected | its stream exists that long, also while it is empty (`XGROUP CREATE … MKSTREAM`, `PEXPIRE`) |
//! | a chat | `XADD … NOMKSTREAM`, then the envelope with the entry's name to all gateways |
//! | all inboxes are bounded | a hash counts bytes by the part of the time in which they were written: `HINCRBY` |
//! | one inbox is bounded | the oldest entries beyond the bound are deleted, and given back |
//! | what workers put there comes to users who are here | `XREAD` once a second over all users who are here, and at once again where there is more; what no gateway has told yet is told |
//! | a user who is here stays known | `PEXPIRE` says where Redis has lost an inbox; it is made again |
//!
//! What was confirmed is deleted with one `XDEL` for each entry, so that each is given back once, whoever deletes it.

mod counting;
mod entries;
mod here;
mod prolonging;
mod rounds;
mod sweep;

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use bytes::Bytes;
use foldhash::quality::RandomState;

use self::counting::why_not_counted;
use self::entries::{Entry, Told, entries_of};
use self::here::{Here, Reader};
use self::prolonging::{Prolonged, Prolonging, touch};
use self::rounds::{Look, Rounds};
use super::redis::{Commands, Job, Said, Work};
use super::{Purpose, Task};
use crate::bus::{DeskAnswer, DeskNews, OutgoingHeld, Ticket};
use crate::desk::DeskId;
use crate::desk::envelope::{Envelope, user_channel};
use crate::desk::inbox::{CHAT, EntryId, InboxConfig, Kept, counted_bytes, inbox_key};
use crate::limits;
use crate::market::Kinds;

/// How much is kept, and what it may be.
#[derive(Debug)]
pub struct InboxesConfig {
    /// The bounds.
    pub bounds: InboxConfig,
    /// `MAX_EVENT_BYTES`.
    pub max_event_bytes: usize,
    /// `CHANNEL_TYPES`.
    pub kinds: Kinds,
}

/// What commands about inboxes are for.
#[derive(Debug)]
pub enum InboxPurpose {
    /// A client has said something to a user.
    Chat {
        /// Who is answered.
        asked_by: (usize, Ticket),
        /// The user.
        to: DeskId,
        /// The envelope.
        payload: Vec<u8>,
        /// When it was said.
        at_ms: u64,
    },
    /// A connection gets its user's inbox.
    Read(Reading),
    /// The oldest entries of an inbox are to be deleted.
    Oldest(DeskId),
    /// Entries are deleted.
    Delete(Vec<Kept>),
    /// Inboxes of users who are here are looked through.
    Look(Look),
    /// They are prolonged.
    Prolong(Prolonged),
    /// Nobody waits for it.
    Quiet,
}

/// A connection gets its user's inbox.
#[derive(Debug, Clone)]
pub struct Reading {
    shard: usize,
    connection: u64,
    user: DeskId,
    behind: Option<EntryId>,
}

/// The inboxes, as far as this gateway has to do with them.
pub(super) struct Inboxes {
    config: InboxesConfig,
    here: HashMap<DeskId, Here, RandomState>,
    /// What connections are to get next: while there is no connection to Redis, or while other parts are being read. One for each that is here.
    waiting: BTreeMap<Reader, Reading>,
    /// Parts that are being read.
    under_way: usize,
    rounds: Rounds,
    /// When the last round was due.
    swept: Instant,
    prolonging: Prolonging,
}

impl Inboxes {
    pub(super) fn new(config: InboxesConfig) -> Self {
        let now = Instant::now();
        let (here, waiting) = (HashMap::default(), BTreeMap::new());
        let (rounds, prolonging) = (Rounds::default(), Prolonging::new(now));
        Self { config, here, waiting, under_way: 0, rounds, swept: now, prolonging }
    }

    /// An entry has been told to all gateways.
    pub(super) fn heard(&mut self, user: &DeskId, entry: EntryId) {
        if let Some(here) = self.here.get_mut(user) {
            here.heard(entry);
        }
    }

    pub(super) fn left(&mut self, user: &DeskId, connection: Reader) {
        self.waiting.remove(&connection);
        let Some(here) = self.here.get_mut(user) else { return };
        here.connections.retain(|each| *each != connection);
        if here.connections.is_empty() {
            self.here.remove(user);
        }
    }

    /// The next part that is to be read; it is under way from then on.
    fn next_reading(&mut self) -> Option<Reading> {
        if self.under_way >= limits::INBOX_READS_MAX {
            return None;
        }
        let (_, reading) = self.waiting.pop_first()?;
        self.under_way += 1;
        Some(reading)
    }

    /// A part could not be read: it is once there is a connection to Redis, if the client is still here.
    fn read_later(&mut self, reading: Reading) {
        self.under_way -= 1;
        let reader = (reading.shard, reading.connection);
        if self.here.get(&reading.user).is_some_and(|here| here.connections.contains(&reader)) {
            self.waiting.insert(reader, reading);
        }
    }

    /// Entries that are read at once.
    fn batch(&self) -> usize {
        (limits::INBOX_SWEEP_BYTES / self.config.max_event_bytes).clamp(1, limits::INBOX_BATCH_ENTRIES)
    }
}

impl Task {
    /// A client has said something to a user.
    pub(super) fn put(
        &mut self,
        asked_by: (usize, Ticket),
        to: DeskId,
        payload: Vec<u8>,
        at_ms: u64,
        held: Option<OutgoingHeld>,
    ) {
        let Some(inboxes) = &self.inboxes else {
            return self.answer(asked_by.0, asked_by.1, DeskAnswer::Unavailable);
        };
        let key = self.inbox_of(&to);
        let mut commands = Commands::default();
        if inboxes.config.bounds.is_counted {
            self.count(&mut commands, at_ms, i64::from(counted_bytes(payload.len())));
            commands.add(&[b"HGETALL", self.bytes_key().as_bytes()]);
        }
        commands.add(&[b"XADD", key.as_bytes(), b"NOMKSTREAM", b"*", CHAT.as_bytes(), &payload]);
        commands.add(&[b"XLEN", key.as_bytes()]);
        self.send(commands, InboxPurpose::Chat { asked_by, to, payload, at_ms }, Instant::now(), held);
    }

    /// A connection asks for its user's inbox.
    pub(super) fn read_inbox(
        &mut self,
        shard: usize,
        connection: u64,
        user: DeskId,
        behind: Option<EntryId>,
    ) {
        let Some(inboxes) = &mut self.inboxes else { return };
        let reader = (shard, connection);
        if behind.is_none() {
            inboxes.here.entry(user.clone()).or_default().connections.push(reader);
        }
        inboxes.waiting.insert(reader, Reading { shard, connection, user, behind });
        if self.connected.number().is_some() {
            self.read_waiting();
        }
    }

    /// Reads as many parts as may be under way.
    fn read_waiting(&mut self) {
        while let Some(reading) = self.inboxes.as_mut().and_then(Inboxes::next_reading) {
            self.read(reading);
        }
    }

    fn read(&mut self, reading: Reading) {
        let Some(inboxes) = &self.inboxes else { return };
        let (key, mut commands) = (self.inbox_of(&reading.user), Commands::default());
        if reading.behind.is_none() {
            touch(&mut commands, &key, inboxes.config.bounds.keep_ms);
        }
        let from = reading.behind.map_or_else(|| "-".to_owned(), |behind| format!("({behind}"));
        let batch = inboxes.batch().to_string();
        commands.add(&[b"XRANGE", key.as_bytes(), from.as_bytes(), b"+", b"COUNT", batch.as_bytes()]);
        self.send(commands, InboxPurpose::Read(reading), Instant::now(), None);
    }

    /// Deletes entries of a user's inbox.
    pub(super) fn delete(&self, user: &DeskId, entries: Vec<Kept>) {
        let (key, mut commands) = (self.inbox_of(user), Commands::default());
        for entry in &entries {
            commands.add(&[b"XDEL", key.as_bytes(), entry.id.to_string().as_bytes()]);
        }
        if !entries.is_empty() {
            self.send(commands, InboxPurpose::Delete(entries), Instant::now(), None);
        }
    }

    /// Redis has answered commands about inboxes, or not.
    pub(super) fn on_inbox_done(
        &mut self,
        purpose: InboxPurpose,
        is_confirmed: bool,
        said: Vec<Said>,
        asked: Instant,
        held: Option<OutgoingHeld>,
    ) {
        match purpose {
            InboxPurpose::Chat { asked_by: (shard, ticket), .. } if !is_confirmed => {
                self.answer(shard, ticket, DeskAnswer::Unavailable);
            }
            InboxPurpose::Chat { asked_by, to, payload, at_ms } => {
                self.on_put(asked_by, &to, &payload, at_ms, said, asked, held);
            }
            InboxPurpose::Read(reading) if !is_confirmed => {
                if let Some(inboxes) = &mut self.inboxes {
                    inboxes.read_later(reading);
                }
            }
            InboxPurpose::Read(reading) => {
                self.on_read(&reading, said);
                self.read_waiting();
            }
            InboxPurpose::Oldest(user) => {
                let oldest =
                    said.into_iter().next().map(|said| entries_of(said, true).entries).unwrap_or_default();
                let kept = |entry: &Entry| {
                    let of_worker = || Kept::of_worker(entry.id);
                    entry.content().map_or_else(of_worker, |content| content.kept(entry.id))
                };
                self.delete(&user, oldest.iter().map(kept).collect());
            }
            InboxPurpose::Delete(entries) => {
                let deleted = entries.into_iter().zip(said).filter(|(_, said)| *said == Said::Number(1));
                self.give_back(deleted.map(|(entry, _)| entry));
            }
            InboxPurpose::Look(look) => self.on_looked(&look, said.into_iter().next()),
            InboxPurpose::Prolong(prolonged) => self.on_prolonged(prolonged, said),
            InboxPurpose::Quiet => {}
        }
    }

    /// Redis has taken a chat, or not.
    #[expect(clippy::too_many_arguments, reason = "what a job was asked with")]
    fn on_put(
        &mut self,
        (shard, ticket): (usize, Ticket),
        to: &DeskId,
        payload: &[u8],
        at_ms: u64,
        mut said: Vec<Said>,
        asked: Instant,
        held: Option<OutgoingHeld>,
    ) {
        let Some(bounds) = self.inboxes.as_ref().map(|inboxes| inboxes.config.bounds) else { return };
        let (Some(len), Some(added)) = (said.pop(), said.pop()) else { return };
        let (total, counted) = (said.pop(), said.pop());
        let is_counted = matches!(counted, Some(Said::Number(_)));
        let not_counted = [&counted, &total].into_iter().find_map(|said| why_not_counted(said.as_ref()?));
        let total = total.and_then(|total| self.total(total));
        let kept = |id| match is_counted {
            true => Kept::of_client(id, payload.len(), at_ms),
            false => Kept::of_worker(id),
        };
        let answer = match added {
            Said::Text(id) => {
                let id = std::str::from_utf8(&id).ok().and_then(|id| id.parse().ok()).unwrap_or_default();
                let kept = kept(id);
                let refused = match not_counted {
                    Some(words) => Some(refused_with(&words)),
                    None => total.filter(|total| *total > bounds.max_bytes).map(|_| DeskAnswer::Full),
                };
                if let Some(refused) = refused {
                    self.delete(to, vec![kept]);
                    return self.answer(shard, ticket, refused);
                }
                if let Said::Number(len) = len {
                    self.delete_oldest(to, len as usize, bounds.entries_max);
                }
                self.state.metrics.control.inbox_entries.add(1);
                return self.tell_put(to, payload, kept, Purpose::Message(shard, ticket), asked, held);
            }
            Said::Null => DeskAnswer::NoUser,
            Said::Error(words) => refused_with(&words),
            _ => DeskAnswer::Unavailable,
        };
        self.give_back(std::iter::once(kept(EntryId::default())));
        self.answer(shard, ticket, answer);
    }

    /// Tells a chat that is in the inbox to both users, on all gateways.
    fn tell_put(
        &self,
        to: &DeskId,
        payload: &[u8],
        kept: Kept,
        purpose: Purpose,
        asked: Instant,
        held: Option<OutgoingHeld>,
    ) {
        let Some(Envelope::Chat { from, to: _, at_ms, message, .. }) = Envelope::parse(payload) else {
            return;
        };
        let envelope = Envelope::Chat { from, to: to.clone(), at_ms, message, kept: Some(kept) };
        let channel = user_channel(&self.config.channel_prefix, to);
        let work = Work::Publish { channel, payload: envelope.write() };
        let _ = self.jobs.send(Job { work, purpose, asked, held });
    }

    fn delete_oldest(&self, user: &DeskId, len: usize, max: usize) {
        let beyond = len.saturating_sub(max).min(limits::INBOX_BATCH_ENTRIES);
        if beyond > 0 {
            let (key, mut commands) = (self.inbox_of(user), Commands::default());
            let count = beyond.to_string();
            commands.add(&[b"XRANGE", key.as_bytes(), b"-", b"+", b"COUNT", count.as_bytes()]);
            self.send(commands, InboxPurpose::Oldest(user.clone()), Instant::now(), None);
        }
    }

    /// A part of an inbox has been read.
    fn on_read(&mut self, reading: &Reading, mut said: Vec<Said>) {
        let Some(inboxes) = &mut self.inboxes else { return };
        inboxes.under_way -= 1;
        let Reading { shard, connection, user, behind } = reading;
        let last = said.pop();
        if let Some(Said::Error(words)) = &last {
            tracing::warn!(said = %words, "Redis refuses to read an inbox: its user gets nothing of it");
        }
        let Told { entries, is_cut } = last.map(|said| entries_of(said, true)).unwrap_or_default();
        let is_short = !is_cut && entries.len() < inboxes.batch();
        let (mut objects, mut bad, mut bytes) = (Vec::new(), Vec::new(), 0);
        // What can't be delivered takes none of the room that the client's part has.
        let fits = entries.iter().take_while(|entry| {
            match inboxes.written(user, entry) {
                Ok((object, _)) if bytes > 0 && bytes + object.len() > limits::INBOX_BATCH_BYTES => {
                    return false;
                }
                Ok(written) => {
                    bytes += written.0.len();
                    objects.push(written);
                }
                Err(why) => bad.push(why),
            }
            true
        });
        // The rest is read once the client has these.
        let fits = fits.count();
        let is_last = is_short && fits >= entries.len();
        let upto = fits.checked_sub(1).map_or_else(|| behind.unwrap_or_default(), |last| entries[last].id);
        if let Some(here) = inboxes.here.get_mut(user).filter(|_| is_last) {
            here.swept = here.swept.or(Some(upto));
        }
        self.refuse_entries(user, bad);
        let news = DeskNews::Inbox { connection: *connection, entries: objects, upto, is_last };
        self.fanout.tell_desk(*shard, news);
    }

    /// Deletes what can't be delivered, and says why.
    fn refuse_entries(&self, user: &DeskId, bad: Vec<(Kept, String)>) {
        self.state.metrics.control.inbox_entries_refused.add(bad.len() as u64);
        if let Some((first, why)) = bad.first() {
            let (inbox, entries) = (self.inbox_of(user), bad.len());
            tracing::warn!(%inbox, %entries, first = %first.id, %why, "an inbox has entries that can't be delivered: deleted");
        }
        self.delete(user, bad.into_iter().map(|(kept, _)| kept).collect());
    }

    fn inbox_of(&self, user: &DeskId) -> String {
        inbox_key(&self.config.channel_prefix, user)
    }

    fn send(&self, commands: Commands, purpose: InboxPurpose, asked: Instant, held: Option<OutgoingHeld>) {
        let (work, purpose) = (Work::Commands(commands), Purpose::Inbox(purpose));
        let _ = self.jobs.send(Job { work, purpose, asked, held });
    }
}

/// What a client is answered of which Redis refuses to keep what it says, and says so to the log.
fn refused_with(words: &str) -> DeskAnswer {
    tracing::warn!(said = %words, "Redis refuses to keep what a client says to a user");
    if words.starts_with("OOM") { DeskAnswer::Full } else { DeskAnswer::Unavailable }
}

impl Inboxes {
    /// An entry as its user gets it that was away, or what names it and why it can't be delivered.
    fn written(&self, user: &DeskId, entry: &Entry) -> Result<(Bytes, Kept), (Kept, String)> {
        let InboxesConfig { max_event_bytes, kinds, .. } = &self.config;
        let Some(content) = entry.content() else {
            return Err((Kept::of_worker(entry.id), entry.why_not().to_owned()));
        };
        let mut object = Vec::new();
        let written = content.write_queued(&mut object, user, entry.id, *max_event_bytes, kinds);
        written
            .map(|kept| (object.into(), kept))
            .map_err(|reject| (content.kept(entry.id), reject.to_string()))
    }
}
