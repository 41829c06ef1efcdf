//! Streams, as far as inboxes need them: in memory, bounded in bytes for all together. Pure; the clock's time comes in as a number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a stream counts beside its key, in bytes.
const STREAM_BYTES: usize = 128;

/// What an entry counts beside its fields, in bytes, and what a field does beside its text.
const ENTRY_BYTES: usize = 64;
const FIELD_BYTES: usize = 16;

/// The name of an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId {
    pub(super) ms: u64,
    pub(super) seq: u64,
}

impl StreamId {
    pub(super) const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The next name; `None` behind the last.
    pub(super) fn next(self) -> Option<Self> {
        match (self.ms.checked_add(1), self.seq.checked_add(1)) {
            (_, Some(seq)) => Some(Self { seq, ..self }),
            (Some(ms), None) => Some(Self { ms, seq: 0 }),
            (None, None) => None,
        }
    }

    /// Reads `ms-seq`, or `ms` alone with this `seq`.
    pub(super) fn parse(text: &[u8], seq: u64) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if is_plain { text.parse().ok() } else { None }
        };
        match text.split_once('-') {
            Some((ms, seq)) => Some(Self { ms: number(ms)?, seq: number(seq)? }),
            None => Some(Self { ms: number(text)?, seq }),
        }
    }
}

/// The words of an entry's fields: names and values in turn.
pub(super) type Fields = Box<[Box<[u8]>]>;

#[derive(Debug, Default)]
struct Stream {
    entries: BTreeMap<StreamId, Fields>,
    last: StreamId,
    has_group: bool,
    expires_ms: Option<u64>,
}

/// All streams.
#[derive(Debug)]
pub(super) struct Streams {
    max_bytes: usize,
    bytes: usize,
    streams: HashMap<Box<[u8]>, Stream>,
    /// When streams end, in order.
    ends: BTreeSet<(u64, Box<[u8]>)>,
}

/// Why something is not done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no room for it.
    Full,
    /// The group exists.
    GroupExists,
    /// There is no such stream.
    NoStream,
    /// There are entries with such a name, or later ones.
    NotLater,
}

impl Streams {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, streams: HashMap::new(), ends: BTreeSet::new() }
    }

    /// Ends the streams whose time is up.
    pub(super) fn expire(&mut self, now_ms: u64) {
        while self.ends.first().is_some_and(|(ends_ms, _)| *ends_ms <= now_ms) {
            let Some((_, key)) = self.ends.pop_first() else { break };
            self.drop_stream(&key);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Adds an entry, under the next name or a given one. `None` if there is no such stream and none is to be made.
    pub(super) fn add(
        &mut self,
        key: &[u8],
        id: Option<StreamId>,
        fields: &[&[u8]],
        may_make: bool,
        now_ms: u64,
    ) -> Result<Option<StreamId>, Refused> {
        let is_new = !self.streams.contains_key(key);
        if is_new && !may_make {
            return Ok(None);
        }
        let last = self.streams.get(key).map_or_else(StreamId::default, |stream| stream.last);
        let next = || match now_ms > last.ms {
            true => Some(StreamId { ms: now_ms, seq: 0 }),
            false => last.next(),
        };
        let id = id.or_else(next).filter(|id| *id > last).ok_or(Refused::NotLater)?;
        let fields: Fields = fields.iter().map(|&field| field.into()).collect();
        let more = entry_bytes(&fields) + if is_new { stream_bytes(key) } else { 0 };
        if self.bytes + more > self.max_bytes {
            return Err(Refused::Full);
        }
        self.bytes += more;
        let stream = self.streams.entry(key.into()).or_default();
        stream.entries.insert(id, fields);
        stream.last = id;
        Ok(Some(id))
    }

    /// Deletes the oldest entries beyond so many.
    pub(super) fn trim(&mut self, key: &[u8], max: usize) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        while stream.entries.len() > max {
            let Some((_, fields)) = stream.entries.pop_first() else { break };
            self.bytes -= entry_bytes(&fields);
        }
    }

    /// Deletes an entry; `false` if it isn't there.
    pub(super) fn delete(&mut self, key: &[u8], id: StreamId) -> bool {
        let Some(fields) = self.streams.get_mut(key).and_then(|stream| stream.entries.remove(&id)) else {
            return false;
        };
        self.bytes -= entry_bytes(&fields);
        true
    }

    /// Deletes a stream; `false` if there is none.
    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        if let Some(expires_ms) = self.streams.get(key).and_then(|stream| stream.expires_ms) {
            self.ends.remove(&(expires_ms, key.into()));
        }
        self.drop_stream(key)
    }

    fn drop_stream(&mut self, key: &[u8]) -> bool {
        let Some(stream) = self.streams.remove(key) else { return false };
        self.bytes -= stream_bytes(key) + stream.entries.values().map(entry_bytes).sum::<usize>();
        true
    }

    /// How many entries there are.
    pub(super) fn count(&self, key: &[u8]) -> usize {
        self.streams.get(key).map_or(0, |stream| stream.entries.len())
    }

    /// The entries between two names, both included.
    pub(super) fn range(
        &self,
        key: &[u8],
        from: StreamId,
        to: StreamId,
    ) -> impl Iterator<Item = (StreamId, &Fields)> {
        let stream = self.streams.get(key).filter(|_| from <= to);
        stream
            .into_iter()
            .flat_map(move |stream| stream.entries.range(from..=to))
            .map(|(id, fields)| (*id, fields))
    }

    /// Makes a group, and the stream if there is none and it is to be made.
    pub(super) fn make_group(&mut self, key: &[u8], may_make: bool) -> Result<(), Refused> {
        if !self.streams.contains_key(key) {
            if !may_make {
                return Err(Refused::NoStream);
            }
            if self.bytes + stream_bytes(key) > self.max_bytes {
                return Err(Refused::Full);
            }
            self.bytes += stream_bytes(key);
            self.streams.insert(key.into(), Stream::default());
        }
        let stream = self.streams.get_mut(key).ok_or(Refused::NoStream)?;
        match std::mem::replace(&mut stream.has_group, true) {
            true => Err(Refused::GroupExists),
            false => Ok(()),
        }
    }

    /// Has a stream end at that time; `false` if there is none.
    pub(super) fn expire_at(&mut self, key: &[u8], ends_ms: u64) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return false };
        if let Some(old_ms) = stream.expires_ms.replace(ends_ms) {
            self.ends.remove(&(old_ms, key.into()));
        }
        self.ends.insert((ends_ms, key.into()));
        true
    }
}

fn stream_bytes(key: &[u8]) -> usize {
    // The key stands in two places.
    STREAM_BYTES + 2 * key.len()
}

fn entry_bytes(fields: &Fields) -> usize {
    ENTRY_BYTES + fields.iter().map(|field| FIELD_BYTES + field.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&[u8]; 2] = [b"message", b"{}"];

    fn ids(streams: &Streams, key: &[u8]) -> Vec<(u64, u64)> {
        streams.range(key, StreamId::default(), StreamId::MAX).map(|(id, _)| (id.ms, id.seq)).collect()
    }

    #[test]
    fn names_rise_whatever_the_clock_does() {
        let mut streams = Streams::new(1 << 20);
        for now_ms in [10, 10, 5, 11] {
            streams.add(b"a", None, &FIELDS, true, now_ms).unwrap();
        }
        assert_eq!(ids(&streams, b"a"), [(10, 0), (10, 1), (10, 2), (11, 0)]);
        let earlier = StreamId { ms: 11, seq: 0 };
        assert_eq!(streams.add(b"a", Some(earlier), &FIELDS, true, 20), Err(Refused::NotLater));
        // Also after all are deleted.
        ids(&streams, b"a")
            .into_iter()
            .for_each(|(ms, seq)| assert!(streams.delete(b"a", StreamId { ms, seq })));
        assert_eq!(streams.add(b"a", None, &FIELDS, false, 1), Ok(Some(StreamId { ms: 11, seq: 1 })));
    }

    #[test]
    fn a_stream_is_made_only_where_it_may_be() {
        let mut streams = Streams::new(1 << 20);
        assert_eq!(streams.add(b"a", None, &FIELDS, false, 1), Ok(None));
        assert_eq!(streams.make_group(b"a", false), Err(Refused::NoStream));
        assert_eq!(streams.make_group(b"a", true), Ok(()));
        assert_eq!(streams.make_group(b"a", true), Err(Refused::GroupExists));
        assert_eq!(streams.count(b"a"), 0);
        assert!(streams.add(b"a", None, &FIELDS, false, 1).unwrap().is_some());
    }

    #[test]
    fn all_together_are_bounded_and_what_goes_makes_room() {
        let mut streams = Streams::new(10_000);
        let mut added = 0;
        while streams.add(b"a", None, &FIELDS, true, 1).is_ok() {
            added += 1;
        }
        assert!((50..200).contains(&added), "{added}");
        assert_eq!(streams.add(b"b", None, &FIELDS, true, 1), Err(Refused::Full));
        assert_eq!(streams.make_group(b"b", true), Err(Refused::Full));
        streams.trim(b"a", added - 5);
        assert!(streams.add(b"b", None, &FIELDS, true, 1).is_ok());
        assert!(streams.expire_at(b"a", 100) && streams.expire_at(b"a", 200) && streams.expire_at(b"b", 50));
        streams.expire(199);
        assert_eq!((streams.count(b"a"), streams.len()), (added - 5, 1));
        streams.expire(200);
        assert_eq!((streams.len(), streams.bytes), (0, 0));
        assert!(streams.add(b"a", None, &FIELDS, true, 1).is_ok());
        assert!(streams.expire_at(b"a", 300) && streams.remove(b"a") && !streams.remove(b"a"));
        assert_eq!((streams.bytes, streams.ends.len()), (0, 0));
    }

    #[test]
    fn names_are_read_as_redis_reads_them() {
        let id = |ms, seq| Some(StreamId { ms, seq });
        assert_eq!(StreamId::parse(b"5", 0), id(5, 0));
        assert_eq!(StreamId::parse(b"5", u64::MAX), id(5, u64::MAX));
        assert_eq!(StreamId::parse(b"5-3", 0), id(5, 3));
        for bad in ["", "-", "a", "1-", "-1", "+1", "1-2-3", "18446744073709551616"] {
            assert_eq!(StreamId::parse(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(StreamId { ms: 1, seq: u64::MAX }.next(), id(2, 0));
        assert_eq!(StreamId::MAX.next(), None);
    }
}
