//! A connection gets its user's inbox: a part of it at a time, the next one once the client has the last.

use std::time::Instant;

use bytes::Bytes;

use super::entries::{Entry, Told, entries_of};
use super::prolonging::touch;
use super::{InboxPurpose, Inboxes, InboxesConfig};
use crate::bus::DeskNews;
use crate::desk::DeskId;
use crate::desk::inbox::{EntryId, Kept};
use crate::limits;
use crate::outgoing::Task;
use crate::outgoing::redis::{Commands, Said};

/// A connection gets its user's inbox.
#[derive(Debug, Clone)]
pub struct Reading {
    shard: usize,
    connection: u64,
    user: DeskId,
    behind: Option<EntryId>,
}

impl Task {
    /// A connection asks for its user's inbox.
    pub(in crate::outgoing) fn read_inbox(
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

    /// Deletes what has waited for a connection.
    pub(super) fn delete_waiting(&mut self) {
        let undeleted = self.inboxes.as_mut().map(|inboxes| inboxes.undeleted.take()).unwrap_or_default();
        for (user, entries) in undeleted {
            self.delete(&user, entries);
        }
    }

    /// Reads as many parts as may be under way, behind what is to be deleted.
    pub(super) fn read_waiting(&mut self) {
        self.delete_waiting();
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

    /// A part of an inbox has been read.
    pub(super) fn on_read(&mut self, reading: &Reading, mut said: Vec<Said>) {
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
}

impl Inboxes {
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
    pub(super) fn read_later(&mut self, reading: Reading) {
        self.under_way -= 1;
        let reader = (reading.shard, reading.connection);
        if self.here.get(&reading.user).is_some_and(|here| here.connections.contains(&reader)) {
            self.waiting.insert(reader, reading);
        }
    }

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
