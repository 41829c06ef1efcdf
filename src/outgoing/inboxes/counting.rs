//! What clients have in all inboxes together: a hash in Redis counts the bytes, by the part of the time in which they were written.

use std::time::Instant;

use super::InboxPurpose;
use crate::desk::inbox::{INBOX_BYTES, Kept};
use crate::outgoing::Task;
use crate::outgoing::redis::{Commands, Said};
use crate::unix_time::unix_ms;

impl Task {
    /// The sum of what is counted; `None` if that can't be known. Forgets parts of the time that are over.
    pub(super) fn total(&self, said: Said) -> Option<u64> {
        let Said::Array(fields) = said else { return None };
        let bounds = self.inboxes.as_ref()?.config.bounds;
        let number = |said: &Said| match said {
            Said::Text(text) => std::str::from_utf8(text).ok()?.parse::<i64>().ok(),
            _ => None,
        };
        let now_ms = unix_ms();
        let (mut total, mut old) = (0_i64, Commands::default());
        for pair in fields.chunks_exact(2) {
            let (Some(part), Some(bytes)) = (number(&pair[0]), number(&pair[1])) else { continue };
            if bounds.is_over(part.unsigned_abs(), now_ms) {
                old.add(&[b"HDEL", self.bytes_key().as_bytes(), part.to_string().as_bytes()]);
                self.send(std::mem::take(&mut old), InboxPurpose::Quiet, Instant::now(), None);
            } else {
                total += bytes.max(0);
            }
        }
        Some(total.unsigned_abs())
    }

    /// Gives back what entries were counted for.
    pub(super) fn give_back(&self, entries: impl Iterator<Item = Kept>) {
        let Some(inboxes) = &self.inboxes else { return };
        let mut commands = Commands::default();
        let mut is_any = false;
        for entry in entries.filter(|entry| entry.bytes > 0 && inboxes.config.bounds.is_counted) {
            self.count(&mut commands, entry.counted_ms, -i64::from(entry.bytes));
            is_any = true;
        }
        if is_any {
            self.send(commands, InboxPurpose::Quiet, Instant::now(), None);
        }
    }

    pub(super) fn count(&self, commands: &mut Commands, counted_ms: u64, bytes: i64) {
        let Some(inboxes) = &self.inboxes else { return };
        let part = inboxes.config.bounds.part(counted_ms).to_string();
        let bytes = bytes.to_string();
        commands.add(&[b"HINCRBY", self.bytes_key().as_bytes(), part.as_bytes(), bytes.as_bytes()]);
    }

    pub(super) fn bytes_key(&self) -> String {
        format!("{}{INBOX_BYTES}", self.config.channel_prefix)
    }
}

/// Why Redis doesn't count what is kept. Another gateway's broker counts by itself, and knows no such command.
pub(super) fn why_not_counted(said: &Said) -> Option<String> {
    match said {
        Said::Error(words) if !words.starts_with("ERR unknown command") => Some(words.clone()),
        _ => None,
    }
}
