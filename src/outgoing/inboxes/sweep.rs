//! Once a second: inboxes of users who are here, for what no gateway has told of, and that they are kept.

use std::time::Instant;

use super::entries::{Entry, streams_of};
use super::{InboxPurpose, InboxesConfig, touch};
use crate::desk::DeskId;
use crate::desk::envelope::{Envelope, user_channel};
use crate::desk::event::check_of_worker;
use crate::desk::inbox::{Content, INBOX, Kept};
use crate::limits;
use crate::outgoing::redis::{Commands, Said};
use crate::outgoing::{Purpose, Task};

impl Task {
    /// What is due for inboxes, while there is a connection.
    pub(in crate::outgoing) fn tick_inboxes(&mut self) {
        let Some(inboxes) = &mut self.inboxes else { return };
        for reading in std::mem::take(&mut inboxes.waiting) {
            self.read(reading);
        }
        let Some(inboxes) = &mut self.inboxes else { return };
        if inboxes.sweeps > 0 || inboxes.swept.elapsed() < limits::INBOX_SWEEP {
            return;
        }
        inboxes.swept = Instant::now();
        if inboxes.is_touch_due() {
            inboxes.touched = Instant::now();
            self.touch_all();
        }
        self.sweep();
    }

    /// Says of every inbox whose user is here that it is in use.
    fn touch_all(&self) {
        let Some(inboxes) = &self.inboxes else { return };
        for user in inboxes.here.keys() {
            let mut commands = Commands::default();
            touch(&mut commands, &self.inbox_of(user), inboxes.config.bounds.keep_ms);
            self.send(commands, InboxPurpose::Quiet, Instant::now(), None);
        }
    }

    /// Looks for entries of users who are here that nobody has told of.
    fn sweep(&mut self) {
        let Some(inboxes) = &self.inboxes else { return };
        let users: Vec<_> =
            inboxes.here.iter().filter_map(|(user, here)| Some((self.inbox_of(user), here.swept?))).collect();
        let entry_bytes = limits::INBOX_SWEEP_ENTRIES * inboxes.config.max_event_bytes;
        let at_once = (limits::INBOX_SWEEP_BYTES / entry_bytes).clamp(1, limits::INBOX_SWEEP_USERS);
        let count = limits::INBOX_SWEEP_ENTRIES.to_string();
        let mut sweeps = 0;
        for users in users.chunks(at_once) {
            let names: Vec<_> = users.iter().map(|(_, swept)| swept.to_string()).collect();
            let mut args: Vec<&[u8]> = vec![b"XREAD", b"COUNT", count.as_bytes(), b"STREAMS"];
            args.extend(users.iter().map(|(key, _)| key.as_bytes()));
            args.extend(names.iter().map(String::as_bytes));
            let mut commands = Commands::default();
            commands.add(&args);
            self.send(commands, InboxPurpose::Sweep, Instant::now(), None);
            sweeps += 1;
        }
        if let Some(inboxes) = &mut self.inboxes {
            inboxes.sweeps = sweeps;
        }
    }

    /// Redis has told of entries of users who are here.
    pub(super) fn on_swept(&mut self, said: Said) {
        let beginning = format!("{}{INBOX}", self.config.channel_prefix);
        for (key, entries) in streams_of(said) {
            let name = std::str::from_utf8(&key).ok().and_then(|key| key.strip_prefix(&beginning));
            let Some(user) = name.and_then(DeskId::parse) else { continue };
            let Some(inboxes) = &mut self.inboxes else { return };
            let Some(here) = inboxes.here.get_mut(&user) else { continue };
            let untold = here.look_through(&entries);
            let mut bad = Vec::new();
            for entry in untold {
                if !self.tell_found(&user, entry) {
                    bad.push(Kept::of_worker(entry.id));
                }
            }
            self.refuse_entries(&user, bad);
        }
    }

    /// Tells all gateways of an entry that nobody has told of; `false` if it can't be delivered.
    fn tell_found(&self, user: &DeskId, entry: &Entry) -> bool {
        let Some(inboxes) = &self.inboxes else { return true };
        let asked = Instant::now();
        match entry.content() {
            Some(content @ Content::Chat(payload)) => {
                self.tell_put(user, payload, content.kept(entry.id), Purpose::Own, asked, None);
                true
            }
            Some(Content::Message(object)) => {
                let InboxesConfig { max_event_bytes, kinds, .. } = &inboxes.config;
                let Ok(object) = check_of_worker(object, *max_event_bytes, kinds) else {
                    return false;
                };
                let kept = Kept::of_worker(entry.id);
                let envelope = Envelope::Kept { user: user.clone(), object, kept };
                let channel = user_channel(&self.config.channel_prefix, user);
                self.publish(channel, envelope.write(), Purpose::Own, None);
                true
            }
            None => false,
        }
    }
}
