//! Inboxes of users who are here are kept: all are prolonged once in a while, some at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{InboxPurpose, Inboxes};
use crate::desk::DeskId;
use crate::limits;
use crate::outgoing::Task;
use crate::outgoing::redis::Commands;

/// The group that streams are made with; nothing reads by it.
const GROUP: &[u8] = b"gateways";

/// Whose inbox is prolonged next.
#[derive(Debug)]
pub(super) struct Prolonging {
    due: VecDeque<DeskId>,
    is_under_way: bool,
    /// When all were last due.
    since: Instant,
}

impl Prolonging {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: VecDeque::new(), is_under_way: false, since: now }
    }
}

/// Makes a user known, and has its inbox kept from now on as long as inboxes are.
pub(super) fn touch(commands: &mut Commands, key: &str, keep_ms: u64) {
    // An error says that it exists.
    commands.add(&[b"XGROUP", b"CREATE", key.as_bytes(), GROUP, b"$", b"MKSTREAM"]);
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
    /// Prolongs inboxes that are due.
    pub(super) fn prolong_those_due(&mut self) {
        let Some(inboxes) = &mut self.inboxes else { return };
        let keep = Duration::from_millis(inboxes.config.bounds.keep_ms);
        if inboxes.prolonging.since.elapsed() >= limits::INBOX_TOUCH.min(keep / 4) {
            inboxes.all_are_due();
        }
        self.prolong_next();
    }

    /// Prolongs the next of those that are due, some at a time.
    fn prolong_next(&mut self) {
        let Some(inboxes) = &mut self.inboxes else { return };
        let keep_ms = inboxes.config.bounds.keep_ms;
        let Prolonging { due, is_under_way, .. } = &mut inboxes.prolonging;
        if *is_under_way || due.is_empty() {
            return;
        }
        *is_under_way = true;
        let users: Vec<_> = due.drain(..due.len().min(limits::INBOX_TOUCH_USERS)).collect();
        let mut commands = Commands::default();
        for user in &users {
            touch(&mut commands, &self.inbox_of(user), keep_ms);
        }
        self.send(commands, InboxPurpose::Prolong, Instant::now(), None);
    }

    /// Redis has prolonged inboxes, or not.
    pub(super) fn on_prolonged(&mut self) {
        if let Some(inboxes) = &mut self.inboxes {
            inboxes.prolonging.is_under_way = false;
        }
        self.prolong_next();
    }
}
