//! Entries of inboxes as Redis tells them.

use crate::desk::inbox::{Content, EntryId};
use crate::outgoing::redis::Said;

/// An entry of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// It is larger than any reply may be: what it has is not known.
    pub(super) is_too_large: bool,
}

/// What a reply tells of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) entries: Vec<Entry>,
    /// The reply had no room for what is behind these.
    pub(super) is_cut: bool,
}

impl Entry {
    /// What is in it, if that is known.
    pub(super) fn content(&self) -> Option<Content<'_>> {
        Content::of(self.fields.iter().map(|(name, value)| (&**name, &**value)))
    }

    /// Why an entry without [`Entry::content`] can't be delivered.
    pub(super) fn why_not(&self) -> &'static str {
        if self.is_too_large {
            "it is too large"
        } else {
            "it has neither a field `message` nor a field `chat`"
        }
    }

    fn too_large(id: EntryId) -> Self {
        Self { id, fields: Vec::new(), is_too_large: true }
    }
}

/// The entries of a reply to `XRANGE`, or of one stream in a reply to `XREAD`.
///
/// What stands for an entry that is too large by itself is an error, and nothing stands for one that had no room. The first of a reply to which the
/// reply was `for_one` stream had all of it, so it is too large as well.
pub(super) fn entries_of(said: Said, for_one: bool) -> Told {
    let Said::Array(entries) = said else { return Told { is_cut: !for_one, ..Told::default() } };
    let mut told = Told::default();
    for entry in entries {
        match entry_of(entry) {
            Some((_, Some(entry))) => told.entries.push(entry),
            Some((id, None)) if for_one && told.entries.is_empty() => told.entries.push(Entry::too_large(id)),
            _ => return Told { is_cut: true, ..told },
        }
    }
    told
}

/// An entry's name, and the entry unless the reply had no room for it.
fn entry_of(said: Said) -> Option<(EntryId, Option<Entry>)> {
    let Said::Array(mut parts) = said else { return None };
    let (Some(fields), Some(Said::Text(id))) = (parts.pop(), parts.pop()) else { return None };
    let id = std::str::from_utf8(&id).ok()?.parse().ok()?;
    let Said::Array(fields) = fields else { return Some((id, Some(Entry::too_large(id)))) };
    if fields.iter().any(|word| matches!(word, Said::Error(_))) {
        return Some((id, Some(Entry::too_large(id))));
    }
    let (mut fields, mut pairs) = (fields.into_iter(), Vec::new());
    while let Some(name) = fields.next() {
        let (Said::Text(name), Some(Said::Text(value))) = (name, fields.next()) else {
            return Some((id, None));
        };
        pairs.push((name, value));
    }
    Some((id, Some(Entry { id, fields: pairs, is_too_large: false })))
}

/// The keys of a reply to `XREAD` and what it tells of each; and whether it had no room for all.
pub(super) fn streams_of(said: Said, for_one: bool) -> (Vec<(Vec<u8>, Told)>, bool) {
    let Said::Array(streams) = said else { return (Vec::new(), false) };
    let count = streams.len();
    let stream = |said| match said {
        Said::Array(mut parts) => {
            let (entries, Some(Said::Text(key))) = (parts.pop()?, parts.pop()) else { return None };
            Some((key, entries_of(entries, for_one)))
        }
        _ => None,
    };
    let streams: Vec<_> = streams.into_iter().filter_map(stream).collect();
    let is_cut = streams.len() < count;
    (streams, is_cut)
}

#[cfg(test)]
impl Entry {
    /// One with a field.
    pub(super) fn of(id: EntryId, name: &str) -> Self {
        Self { id, fields: vec![(name.as_bytes().to_vec(), b"{}".to_vec())], is_too_large: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Said {
        Said::Text(text.into())
    }

    fn entry(ms: u64, fields: Said) -> Said {
        Said::Array(vec![text(&format!("{ms}-0")), fields])
    }

    fn good(ms: u64) -> Said {
        entry(ms, Said::Array(vec![text("message"), text("{}")]))
    }

    /// Their names, `true` for those that are too large; and whether the reply was cut.
    fn read(entries: Vec<Said>, for_one: bool) -> (Vec<(u64, bool)>, bool) {
        let told = entries_of(Said::Array(entries), for_one);
        (told.entries.iter().map(|entry| (entry.id.ms, entry.is_too_large)).collect(), told.is_cut)
    }

    #[test]
    fn one_that_is_too_large_by_itself_is_known_by_its_name() {
        let error = || Said::Error("TOOLARGE".to_owned());
        let value = Said::Array(vec![text("message"), error()]);
        let entries = vec![entry(1, value), good(2), entry(3, error()), good(4)];
        assert_eq!(read(entries, false), (vec![(1, true), (2, false), (3, true), (4, false)], false));
    }

    #[test]
    fn what_had_no_room_is_asked_for_again_and_is_too_large_if_it_was_alone() {
        let cut = |ms| entry(ms, Said::Array(vec![text("message"), Said::Null]));
        assert_eq!(read(vec![good(1), cut(2), good(3)], true), (vec![(1, false)], true));
        assert_eq!(read(vec![cut(1), good(2)], true), (vec![(1, true), (2, false)], false));
        assert_eq!(read(vec![cut(1), good(2)], false), (vec![], true));
        let without_name = Said::Array(vec![Said::Null, Said::Array(vec![])]);
        assert_eq!(read(vec![good(1), without_name], true), (vec![(1, false)], true));
        let stream = |key: Said| Said::Array(vec![key, Said::Array(vec![good(1)])]);
        let (streams, is_cut) = streams_of(Said::Array(vec![stream(text("a")), stream(Said::Null)]), false);
        assert_eq!((streams.len(), is_cut), (1, true));
    }
}
