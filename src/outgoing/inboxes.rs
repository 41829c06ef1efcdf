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
//! What was confirmed is deleted with one `XDEL` for each entry, so that each is given back once at most, whoever deletes it. While Redis is away the gateway
//! keeps what is to be deleted (`undeleted`).

mod chats;
mod counting;
mod entries;
mod here;
mod prolonging;
mod reading;
mod rounds;
mod sweep;
mod undeleted;

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use foldhash::quality::RandomState;

use self::entries::{Entry, entries_of};
use self::here::{Here, Reader};
use self::prolonging::{Prolonged, Prolonging};
use self::reading::Reading;
use self::rounds::{Look, Rounds};
use self::undeleted::Undeleted;
use super::redis::{Commands, Job, Said, Work};
use super::{Purpose, Task};
use crate::bus::{DeskAnswer, OutgoingHeld, Ticket};
use crate::desk::DeskId;
use crate::desk::inbox::{EntryId, InboxConfig, Kept, inbox_key};
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
    /// Entries of a user's inbox are deleted.
    Delete(DeskId, Vec<Kept>),
    /// Inboxes of users who are here are looked through.
    Look(Look),
    /// They are prolonged.
    Prolong(Prolonged),
    /// Nobody waits for it.
    Quiet,
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
    undeleted: Undeleted,
}

impl Inboxes {
    pub(super) fn new(config: InboxesConfig) -> Self {
        let now = Instant::now();
        let (here, waiting) = (HashMap::default(), BTreeMap::new());
        let (rounds, prolonging) = (Rounds::default(), Prolonging::new(now));
        let undeleted = Undeleted::default();
        Self { config, here, waiting, under_way: 0, rounds, swept: now, prolonging, undeleted }
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

    /// Entries that are read at once.
    fn batch(&self) -> usize {
        (limits::INBOX_SWEEP_BYTES / self.config.max_event_bytes).clamp(1, limits::INBOX_BATCH_ENTRIES)
    }
}

impl Task {
    /// Deletes entries of a user's inbox, once there is a connection.
    pub(super) fn delete(&self, user: &DeskId, entries: Vec<Kept>) {
        let (key, mut commands) = (self.inbox_of(user), Commands::default());
        for entry in &entries {
            commands.add(&[b"XDEL", key.as_bytes(), entry.id.to_string().as_bytes()]);
        }
        if !entries.is_empty() {
            self.send(commands, InboxPurpose::Delete(user.clone(), entries), Instant::now(), None);
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
            InboxPurpose::Delete(user, entries) if !is_confirmed => {
                let is_over =
                    self.inboxes.as_mut().is_some_and(|inboxes| inboxes.undeleted.keep(&user, entries));
                if is_over {
                    let max = limits::INBOX_UNDELETED_MAX;
                    tracing::warn!(%max, "more entries of inboxes are to be deleted than the gateway remembers while Redis is away: of the first ones users get again what they have had");
                }
            }
            InboxPurpose::Delete(user, entries) => self.on_deleted(&user, entries, said),
            InboxPurpose::Look(look) => self.on_looked(&look, said.into_iter().next()),
            InboxPurpose::Prolong(prolonged) => self.on_prolonged(prolonged, said),
            InboxPurpose::Quiet => {}
        }
    }

    /// Redis has answered to each entry that was to be deleted.
    fn on_deleted(&self, user: &DeskId, entries: Vec<Kept>, said: Vec<Said>) {
        let is_refused = |said: &&Said| matches!(said, Said::Error(_));
        if let Some(Said::Error(words)) = said.iter().find(is_refused) {
            let inbox = self.inbox_of(user);
            tracing::warn!(%inbox, said = %words, "Redis refuses to delete entries of an inbox: its user gets them again");
        }
        let deleted = entries.into_iter().zip(said).filter(|(_, said)| *said == Said::Number(1));
        self.give_back(deleted.map(|(entry, _)| entry));
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
