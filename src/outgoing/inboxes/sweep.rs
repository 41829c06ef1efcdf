//! Inboxes of users who are here: looked through for what no gateway has told of.

use std::time::Instant;

use super::entries::{Entry, streams_of};
use super::rounds::Look;
use super::{InboxPurpose, Inboxes, InboxesConfig};
use crate::desk::DeskId;
use crate::desk::envelope::{Envelope, user_channel};
use crate::desk::event::check_of_worker;
use crate::desk::inbox::{Content, EntryId, INBOX, Kept};
use crate::limits;
use crate::outgoing::redis::{Commands, Said};
use crate::outgoing::{Purpose, Task};

impl Task {
    /// What is due for inboxes, over this connection.
    pub(in crate::outgoing) fn tick_inboxes(&mut self, connection: u64) {
        self.read_waiting();
        self.prolong_those_due(connection);
        let Some(inboxes) = &mut self.inboxes else { return };
        if inboxes.swept.elapsed() >= limits::INBOX_SWEEP {
            inboxes.swept = Instant::now();
            inboxes.rounds.begin(inboxes.here.keys().cloned());
            self.prolong_one();
        }
        self.look();
    }

    /// Looks through as many inboxes as may be under way.
    fn look(&mut self) {
        while let Some((look, commands)) =
            self.inboxes.as_mut().and_then(|inboxes| inboxes.next_look(&self.config.channel_prefix))
        {
            self.send(commands, InboxPurpose::Look(look), Instant::now(), None);
        }
    }

    /// Redis has told of entries of users who are here, or nothing.
    pub(super) fn on_looked(&mut self, look: &Look, said: Option<Said>) {
        if let Some(inboxes) = &mut self.inboxes {
            inboxes.rounds.is_done(look);
        }
        // The next round looks again where there was no answer.
        if let Some(said) = said {
            self.on_told(look, said);
        }
        self.look();
    }

    fn on_told(&mut self, look: &Look, said: Said) {
        let for_one = look.users.len() == 1;
        let beginning = format!("{}{INBOX}", self.config.channel_prefix);
        let (streams, is_cut) = streams_of(said, for_one);
        let mut whole: Vec<DeskId> = Vec::new();
        for (key, told) in streams {
            let name = std::str::from_utf8(&key).ok().and_then(|key| key.strip_prefix(&beginning));
            let Some(user) = name.and_then(DeskId::parse) else { continue };
            let Some(inboxes) = &mut self.inboxes else { return };
            let asked = if look.is_further { inboxes.batch() } else { limits::INBOX_SWEEP_ENTRIES };
            let Some(here) = inboxes.here.get_mut(&user) else { continue };
            let untold = here.look_through(&told.entries, look.is_further);
            let last = told.entries.last().map(|entry| entry.id);
            self.tell_all(&user, untold);
            whole.push(user.clone());
            if told.is_cut || told.entries.len() >= asked {
                self.look_further(user, last);
            }
        }
        if is_cut {
            // Those of which the reply had no room to tell.
            for user in look.users.iter().filter(|user| !whole.contains(user)) {
                self.look_further(user.clone(), None);
            }
        }
    }

    /// An inbox has more behind this entry.
    fn look_further(&mut self, user: DeskId, last: Option<EntryId>) {
        let Some(inboxes) = &mut self.inboxes else { return };
        let batch = inboxes.batch();
        let Some(here) = inboxes.here.get_mut(&user) else { return };
        let Some(last) = last.or(here.swept) else { return };
        // It waits for its turn already, or has to wait for the next round.
        if here.further.is_none() && here.may_look_further(batch) {
            here.further = Some(last);
            inboxes.rounds.has_more(user);
        }
    }

    /// Tells all gateways of entries that nobody has told of.
    fn tell_all(&self, user: &DeskId, untold: Vec<&Entry>) {
        let bad = untold.into_iter().filter_map(|entry| {
            self.tell_found(user, entry).err().map(|why| (Kept::of_worker(entry.id), why))
        });
        self.refuse_entries(user, bad.collect());
    }

    /// Tells all gateways of an entry; the error is why it can't be delivered.
    fn tell_found(&self, user: &DeskId, entry: &Entry) -> Result<(), String> {
        let Some(inboxes) = &self.inboxes else { return Ok(()) };
        let asked = Instant::now();
        match entry.content() {
            Some(content @ Content::Chat(payload)) => {
                self.tell_put(user, payload, content.kept(entry.id), Purpose::Own, asked, None);
            }
            Some(Content::Message(object)) => {
                let InboxesConfig { max_event_bytes, kinds, .. } = &inboxes.config;
                let object =
                    check_of_worker(object, *max_event_bytes, kinds).map_err(|reject| reject.to_string())?;
                let kept = Kept::of_worker(entry.id);
                let envelope = Envelope::Kept { user: user.clone(), object, kept };
                let channel = user_channel(&self.config.channel_prefix, user);
                self.publish(channel, envelope.write(), Purpose::Own, None);
            }
            None => return Err(entry.why_not().to_owned()),
        }
        Ok(())
    }
}

impl Inboxes {
    /// The next inboxes to look through, and the command for it.
    fn next_look(&mut self, channel_prefix: &str) -> Option<(Look, Commands)> {
        let entry_bytes = limits::INBOX_SWEEP_ENTRIES * self.config.max_event_bytes;
        let at_once = (limits::INBOX_SWEEP_BYTES / entry_bytes).clamp(1, limits::INBOX_SWEEP_USERS);
        loop {
            let mut look = self.rounds.next(at_once)?;
            let mut from = Vec::new();
            look.users.retain(|user| {
                let entry = self.here.get_mut(user).and_then(|here| match look.is_further {
                    true => here.further.take(),
                    false => here.swept,
                });
                from.extend(entry.map(|entry| entry.to_string()));
                entry.is_some()
            });
            if look.users.is_empty() {
                // They have left, or their inboxes have yet to be read.
                self.rounds.is_done(&look);
                continue;
            }
            let count = if look.is_further { self.batch() } else { limits::INBOX_SWEEP_ENTRIES }.to_string();
            let keys: Vec<_> = look.users.iter().map(|user| super::inbox_key(channel_prefix, user)).collect();
            let mut args: Vec<&[u8]> = vec![b"XREAD", b"COUNT", count.as_bytes(), b"STREAMS"];
            args.extend(keys.iter().chain(&from).map(String::as_bytes));
            let mut commands = Commands::default();
            commands.add(&args);
            return Some((look, commands));
        }
    }
}
