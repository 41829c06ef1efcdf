//! Inboxes: what is said to a user is kept in the user's Redis stream until one of its connections has confirmed it. Pure.
//!
//! A stream's entry has one field. `chat` holds the envelope of what a client has said; `message` an object of a worker, as it is.

use std::fmt;
use std::str::FromStr;

use super::DeskId;
use super::envelope::Envelope;
use super::event::{check_of_worker, write_chat};
use crate::market::Kinds;
use crate::market::event::Reject;

/// What the keys of inboxes have behind `CHANNEL_PREFIX`.
pub const INBOX: &str = "inbox:";

/// The key, behind `CHANNEL_PREFIX`, of a hash with the bytes that clients have in all inboxes, by the part of the time in which they wrote them.
pub const INBOX_BYTES: &str = "inboxes";

/// The field of what a client has said.
pub const CHAT: &str = "chat";

/// The field of what a worker has to say.
pub const MESSAGE: &str = "message";

/// What an entry counts among `OFFLINE_MAX_BYTES` beside its value.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// Parts into which the time is divided for which inboxes are kept. What is counted in a part is forgotten with it: so a byte that was
/// counted and never given back, as by a gateway that was killed, is counted for not much longer than that time.
const PARTS: u64 = 8;

/// The name of an entry in its stream: `message_id`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    /// When Redis took it, in Unix milliseconds.
    pub ms: u64,
    /// Which of that millisecond.
    pub seq: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ms, seq) = text.split_once('-').ok_or(())?;
        let number = |text: &str| text.parse().map_err(|_| ());
        Ok(Self { ms: number(ms)?, seq: number(seq)? })
    }
}

/// An entry of an inbox, as far as it has to be known to confirm it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kept {
    /// Its name.
    pub id: EntryId,
    /// What it counts among `OFFLINE_MAX_BYTES`; 0 if a worker has written it.
    pub bytes: u32,
    /// When it was counted, in Unix milliseconds, by the clock of the gateway that did.
    pub counted_ms: u64,
}

impl Kept {
    /// A client's, as its envelope has it.
    pub fn of_client(id: EntryId, envelope_bytes: usize, counted_ms: u64) -> Self {
        Self { id, bytes: counted_bytes(envelope_bytes), counted_ms }
    }

    /// A worker's.
    pub const fn of_worker(id: EntryId) -> Self {
        Self { id, bytes: 0, counted_ms: 0 }
    }
}

/// What an envelope of so many bytes counts among `OFFLINE_MAX_BYTES`.
pub fn counted_bytes(envelope_bytes: usize) -> u32 {
    (envelope_bytes + ENTRY_OVERHEAD_BYTES) as u32
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxConfig {
    /// Entries of an inbox, at most: older ones give way.
    pub entries_max: usize,
    /// How long an inbox is kept after its user was last connected, in milliseconds.
    pub keep_ms: u64,
    /// Bytes of what clients have in all inboxes, at most.
    pub max_bytes: u64,
    /// Whether gateways count these bytes. The embedded broker does it by itself.
    pub is_counted: bool,
}

impl InboxConfig {
    /// The part of the time in which something is counted: a field of [`INBOX_BYTES`].
    pub fn part(&self, counted_ms: u64) -> u64 {
        counted_ms / (self.keep_ms / PARTS).max(1)
    }

    /// Whether everything that was counted in a part is gone by now: one part more than inboxes are kept, and one for clocks that differ.
    pub fn is_over(&self, part: u64, now_ms: u64) -> bool {
        part + PARTS + 2 <= self.part(now_ms)
    }
}

/// What is in an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'e> {
    /// The envelope of what a client has said.
    Chat(&'e [u8]),
    /// A worker's object.
    Message(&'e [u8]),
}

impl<'e> Content<'e> {
    /// Reads the fields of an entry: the first that is known.
    pub fn of<'f: 'e>(fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>) -> Option<Self> {
        fields.into_iter().find_map(|(name, value)| match name {
            _ if name == CHAT.as_bytes() => Some(Self::Chat(value)),
            _ if name == MESSAGE.as_bytes() => Some(Self::Message(value)),
            _ => None,
        })
    }

    /// What names the entry.
    pub fn kept(&self, id: EntryId) -> Kept {
        match self {
            Self::Message(_) => Kept::of_worker(id),
            Self::Chat(value) => match Envelope::parse(value) {
                Some(Envelope::Chat { at_ms, .. }) => Kept::of_client(id, value.len(), at_ms),
                _ => Kept::of_worker(id),
            },
        }
    }

    /// Writes it as the user gets it that was away, and returns what names it.
    ///
    /// # Errors
    /// It can't be delivered.
    pub fn write_queued(
        &self,
        out: &mut Vec<u8>,
        user: &DeskId,
        id: EntryId,
        max_bytes: usize,
        kinds: &Kinds,
    ) -> Result<Kept, Reject> {
        let from = out.len();
        match self {
            Self::Chat(value) => match Envelope::parse(value) {
                Some(Envelope::Chat { from, to, at_ms, message, .. }) if to == *user => {
                    write_chat(out, &from, &to, at_ms, message);
                }
                _ => return Err(Reject::NotJson),
            },
            Self::Message(value) => {
                out.extend_from_slice(check_of_worker(value, max_bytes, kinds)?.as_bytes());
            }
        }
        debug_assert!(out.len() > from, "an object");
        mark(out, id, true);
        Ok(self.kept(id))
    }
}

/// Adds to the object at the end of `out` which entry it is of, and whether its user was away when it was said.
pub fn mark(out: &mut Vec<u8>, id: EntryId, is_queued: bool) {
    let closing = out.pop();
    debug_assert_eq!(closing, Some(b'}'), "an object");
    if out.trim_ascii_end().last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(format!(r#""message_id":"{id}""#).as_bytes());
    if is_queued {
        out.extend_from_slice(br#","queued":true"#);
    }
    out.push(b'}');
}

/// The key of a user's inbox.
pub fn inbox_key(channel_prefix: &str, user: &DeskId) -> String {
    format!("{channel_prefix}{INBOX}{user}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> DeskId {
        DeskId::parse(name).unwrap()
    }

    #[test]
    fn names_read_as_they_are_written() {
        let first = EntryId { ms: 1_700_000_000_000, seq: 0 };
        assert_eq!(first.to_string(), "1700000000000-0");
        for entry in [first, EntryId::default(), EntryId { ms: u64::MAX, seq: u64::MAX }] {
            assert_eq!(entry.to_string().parse(), Ok(entry));
        }
        for bad in ["", "-", "1", "1-", "a-1", "1-2-3", "18446744073709551616-0"] {
            assert_eq!(bad.parse::<EntryId>(), Err(()), "{bad}");
        }
        assert!(EntryId { ms: 1, seq: 9 } < EntryId { ms: 2, seq: 0 });
    }

    #[test]
    fn what_was_counted_is_given_back_where_it_was_and_forgotten_in_time() {
        let config = InboxConfig { entries_max: 100, keep_ms: 80_000, max_bytes: 1 << 20, is_counted: true };
        let part = config.part(1_000_000);
        assert_eq!((part, config.part(1_009_999), config.part(1_010_000)), (100, 100, 101));
        // The last that was counted in it is gone 80 s after 1,010,000 at the latest.
        assert!(!config.is_over(part, 1_000_000));
        assert!(!config.is_over(part, 1_099_999));
        assert!(config.is_over(part, 1_100_000));
        // A clock that is behind changes nothing.
        assert!(!config.is_over(part, 0));
    }

    #[test]
    fn entries_are_written_as_their_user_gets_them() {
        let (from, to) = (id("alice"), id("bob"));
        let entry = EntryId { ms: 7, seq: 1 };
        let chat = Envelope::Chat { from, to: to.clone(), at_ms: 5, message: "[1.50]", kept: None }.write();
        let kinds = Kinds::default();
        let write = |content: Content<'_>, user: &DeskId| {
            let mut out = Vec::new();
            content
                .write_queued(&mut out, user, entry, 1_000, &kinds)
                .map(|kept| (String::from_utf8(out).unwrap(), kept))
        };
        let content = Content::of([(&b"x"[..], &b"y"[..]), (b"chat", &chat)]).unwrap();
        let (written, kept) = write(content, &to).unwrap();
        assert_eq!(
            written,
            r#"{"type":"chat","from":"alice","to":"bob","message":[1.50],"timestamp":5,"message_id":"7-1","queued":true}"#
        );
        assert_eq!(kept, Kept { id: entry, bytes: counted_bytes(chat.len()), counted_ms: 5 });
        // It is for nobody else.
        assert!(write(content, &id("carol")).is_err());

        let object = br#" {"type":"task","n":[1]} "#;
        let content = Content::of([(&b"message"[..], &object[..])]).unwrap();
        let (written, kept) = write(content, &to).unwrap();
        assert_eq!(written, r#"{"type":"task","n":[1],"message_id":"7-1","queued":true}"#);
        assert_eq!(kept, Kept::of_worker(entry));

        assert_eq!(Content::of([(&b"text"[..], &b"hello"[..])]), None);
        for bad in [Content::Message(b"{\"type\":\"trade\"}"), Content::Message(b"x"), Content::Chat(b"{}")] {
            assert!(write(bad, &to).is_err(), "{bad:?}");
        }
    }
}
