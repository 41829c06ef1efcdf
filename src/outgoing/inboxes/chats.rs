//! What clients say to users: put into the user's inbox, within the bounds, and told to all gateways from there.

use std::time::Instant;

use super::InboxPurpose;
use super::counting::why_not_counted;
use crate::bus::{DeskAnswer, OutgoingHeld, Ticket};
use crate::desk::DeskId;
use crate::desk::envelope::{Envelope, user_channel};
use crate::desk::inbox::{CHAT, EntryId, Kept, counted_bytes};
use crate::limits;
use crate::outgoing::redis::{Commands, Job, Said, Work};
use crate::outgoing::{Purpose, Task};

impl Task {
    /// A client has said something to a user.
    pub(in crate::outgoing) fn put(
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

    /// Redis has taken a chat, or not.
    #[expect(clippy::too_many_arguments, reason = "what a job was asked with")]
    pub(super) fn on_put(
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
    pub(super) fn tell_put(
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
}

/// What a client is answered of which Redis refuses to keep what it says, and says so to the log.
fn refused_with(words: &str) -> DeskAnswer {
    tracing::warn!(said = %words, "Redis refuses to keep what a client says to a user");
    if words.starts_with("OOM") { DeskAnswer::Full } else { DeskAnswer::Unavailable }
}
