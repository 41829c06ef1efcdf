//! Inboxes of users who are here are kept, and made again where Redis has lost them.
//!
//! All are prolonged once in a while, and when there is a new connection: it may lead to a Redis that has come back without its keys, or to one that knows less. That
//! all keys were deleted is not to be seen on a connection; so with each round one inbox is prolonged, and if it is not there, all are.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{InboxPurpose, Inboxes};
use crate::desk::DeskId;
use crate::limits;
use crate::outgoing::Task;
use crate::outgoing::redis::{Commands, Said};

/// The group that streams are made with; nothing reads by it.
const GROUP: &[u8] = b"gateways";

/// Inboxes that are prolonged.
#[derive(Debug)]
pub struct Prolonged {
    users: Vec<DeskId>,
    /// One of them stands for all.
    is_sample: bool,
}

/// Whose inbox is prolonged next.
#[derive(Debug)]
pub(super) struct Prolonging {
    due: VecDeque<DeskId>,
    is_under_way: bool,
    /// When all were last due.
    since: Instant,
    /// The connection over which they were.
    connection: Option<u64>,
    /// Which one stands for all.
    sample: usize,
}

impl Prolonging {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: VecDeque::new(), is_under_way: false, since: now, connection: None, sample: 0 }
    }
}

/// Makes a user known, and has its inbox kept from now on as long as inboxes are.
pub(super) fn touch(commands: &mut Commands, key: &str, keep_ms: u64) {
    // An error says that it exists.
    commands.add(&[b"XGROUP", b"CREATE", key.as_bytes(), GROUP, b"$", b"MKSTREAM"]);
    prolong(commands, key, keep_ms);
}

/// Answered with 0 where there is no inbox.
fn prolong(commands: &mut Commands, key: &str, keep_ms: u64) {
    commands.add(&[b"PEXPIRE", key.as_bytes(), keep_ms.to_string().as_bytes()]);
}

impl Inboxes {
    /// All inboxes are to be prolonged.
    fn all_are_due(&mut self) {
        self.prolonging.since = Instant::now();
        self.prolonging.due = self.here.keys().cloned().collect();
    }
}

impl Task {
    /// Prolongs inboxes that are due, over this connection.
    pub(super) fn prolong_those_due(&mut self, connection: u64) {
        let Some(inboxes) = &mut self.inboxes else { return };
        let keep = Duration::from_millis(inboxes.config.bounds.keep_ms);
        let is_another = inboxes.prolonging.connection.replace(connection) != Some(connection);
        if is_another || inboxes.prolonging.since.elapsed() >= limits::INBOX_TOUCH.min(keep / 4) {
            inboxes.all_are_due();
        }
        self.prolong_next();
    }

    /// Prolongs the inbox of one user, of another each time.
    pub(super) fn prolong_one(&mut self) {
        let Some(inboxes) = &mut self.inboxes else { return };
        let count = inboxes.here.len().max(1);
        inboxes.prolonging.sample = (inboxes.prolonging.sample + 1) % count;
        let users: Vec<_> = inboxes.here.keys().skip(inboxes.prolonging.sample).take(1).cloned().collect();
        self.prolong(Prolonged { users, is_sample: true });
    }

    /// Prolongs the next of those that are due, some at a time.
    fn prolong_next(&mut self) {
        let Some(inboxes) = &mut self.inboxes else { return };
        let Prolonging { due, is_under_way, .. } = &mut inboxes.prolonging;
        if *is_under_way || due.is_empty() {
            return;
        }
        *is_under_way = true;
        let users = due.drain(..due.len().min(limits::INBOX_TOUCH_USERS)).collect();
        self.prolong(Prolonged { users, is_sample: false });
    }

    fn prolong(&self, prolonged: Prolonged) {
        let Some(inboxes) = &self.inboxes else { return };
        let mut commands = Commands::default();
        for user in &prolonged.users {
            prolong(&mut commands, &self.inbox_of(user), inboxes.config.bounds.keep_ms);
        }
        if !prolonged.users.is_empty() {
            self.send(commands, InboxPurpose::Prolong(prolonged), Instant::now(), None);
        }
    }

    /// Redis has prolonged inboxes; those that it doesn't have are made again. Without an answer the next connection has all prolonged.
    pub(super) fn on_prolonged(&mut self, prolonged: Prolonged, said: Vec<Said>) {
        let Some(inboxes) = &mut self.inboxes else { return };
        let Prolonged { users, is_sample } = prolonged;
        let keep_ms = inboxes.config.bounds.keep_ms;
        let (mut commands, mut lost) = (Commands::default(), 0);
        let missing = users.iter().zip(said).filter(|(_, said)| *said == Said::Number(0));
        for (user, _) in missing {
            if let Some(here) = inboxes.here.get_mut(user) {
                here.has_lost_inbox();
                touch(&mut commands, &super::inbox_key(&self.config.channel_prefix, user), keep_ms);
                lost += 1;
            }
        }
        if is_sample {
            if lost > 0 {
                inboxes.all_are_due();
            }
        } else {
            inboxes.prolonging.is_under_way = false;
        }
        if lost > 0 {
            tracing::info!(
                inboxes = lost,
                "Redis has lost inboxes of users who are here: they are made again"
            );
            self.send(commands, InboxPurpose::Quiet, Instant::now(), None);
        }
        self.prolong_next();
    }
}
