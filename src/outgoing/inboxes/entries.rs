//! Entries of inboxes as Redis tells them.

use crate::desk::inbox::{Content, EntryId};
use crate::outgoing::redis::Said;

/// An entry of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// Bytes of its values.
    pub(super) fn bytes(&self) -> usize {
        self.fields.iter().map(|(_, value)| value.len()).sum()
    }

    /// What is in it, if that is known.
    pub(super) fn content(&self) -> Option<Content<'_>> {
        Content::of(self.fields.iter().map(|(name, value)| (&**name, &**value)))
    }
}

/// The entries of a reply to `XRANGE`.
pub(super) fn entries_of(said: Said) -> Vec<Entry> {
    let Said::Array(entries) = said else { return Vec::new() };
    entries.into_iter().filter_map(entry_of).collect()
}

fn entry_of(said: Said) -> Option<Entry> {
    let Said::Array(mut parts) = said else { return None };
    let (Some(Said::Array(fields)), Some(Said::Text(id))) = (parts.pop(), parts.pop()) else { return None };
    let id = std::str::from_utf8(&id).ok()?.parse().ok()?;
    let mut fields = fields.into_iter();
    let mut pairs = Vec::new();
    while let (Some(Said::Text(name)), Some(Said::Text(value))) = (fields.next(), fields.next()) {
        pairs.push((name, value));
    }
    Some(Entry { id, fields: pairs })
}

/// The keys and entries of a reply to `XREAD`.
pub(super) fn streams_of(said: Said) -> Vec<(Vec<u8>, Vec<Entry>)> {
    let Said::Array(streams) = said else { return Vec::new() };
    let stream = |said| match said {
        Said::Array(mut parts) => {
            let (entries, Some(Said::Text(key))) = (parts.pop()?, parts.pop()) else { return None };
            Some((key, entries_of(entries)))
        }
        _ => None,
    };
    streams.into_iter().filter_map(stream).collect()
}

#[cfg(test)]
impl Entry {
    /// One with a field.
    pub(super) fn of(id: EntryId, name: &str) -> Self {
        Self { id, fields: vec![(name.as_bytes().to_vec(), b"{}".to_vec())] }
    }
}
