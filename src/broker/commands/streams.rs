//! The commands of streams that inboxes need. A broker that keeps none doesn't know them.

use std::time::UNIX_EPOCH;

use super::{Context, Flow, Session};
use crate::broker::streams::{Fields, Refused, StreamId, Streams};
use crate::resp::{Protocol, decimal, write_array_header, write_bulk, write_map_header, write_null};

/// Their names, but for the subcommand of `XGROUP`.
pub(super) const NAMES: [&str; 8] = ["xadd", "xlen", "xrange", "xdel", "xread", "xgroup", "pexpire", "del"];

const INVALID_ID: &str = "ERR Invalid stream ID specified as stream command argument";
const NOT_LATER: &str = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
const FULL: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const NO_NUMBER: &str = "ERR value is not an integer or out of range";
const SYNTAX: &str = "ERR syntax error";

impl Context<'_> {
    fn now_ms(&self) -> u64 {
        self.turn.wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    /// The streams; those whose time is up have ended.
    fn streams(&mut self) -> Option<&mut Streams> {
        let now_ms = self.now_ms();
        let streams = self.hub.streams.as_mut()?;
        streams.expire(now_ms);
        Some(streams)
    }
}

/// What `XADD` is to do beside adding.
struct Adding<'a> {
    may_make: bool,
    max: Option<usize>,
    id: Option<StreamId>,
    fields: &'a [&'a [u8]],
}

impl<'a> Adding<'a> {
    /// Reads what stands behind the key. The error is the reply's text.
    fn parse(mut words: &'a [&'a [u8]]) -> Result<Self, &'static str> {
        let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let mut adding = Self { may_make: true, max: None, id: None, fields: &[] };
        loop {
            words = match words {
                [word, rest @ ..] if is(word, "nomkstream") => {
                    adding.may_make = false;
                    rest
                }
                [word, b"=" | b"~", max, rest @ ..] | [word, max, rest @ ..] if is(word, "maxlen") => {
                    let max = decimal(max).and_then(|max| usize::try_from(max).ok());
                    adding.max = Some(max.ok_or(NO_NUMBER)?);
                    rest
                }
                [id, fields @ ..] => {
                    if *id != b"*" {
                        adding.id = Some(StreamId::parse(id, 0).ok_or(INVALID_ID)?);
                    }
                    adding.fields = fields;
                    break;
                }
                [] => break,
            };
        }
        match adding.fields.len() {
            0 => Err("ERR wrong number of arguments for 'xadd' command"),
            len if len % 2 == 1 => Err("ERR wrong number of arguments for 'xadd' command"),
            _ => Ok(adding),
        }
    }
}

impl Session {
    pub(super) fn xadd(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let Adding { may_make, max, id, fields } = match Adding::parse(&args[2..]) {
            Ok(adding) => adding,
            Err(text) => return context.error(text),
        };
        let (key, now_ms) = (args[1], context.now_ms());
        let Some(streams) = context.streams() else { return Flow::Continue };
        match streams.add(key, id, fields, may_make, now_ms) {
            Ok(Some(id)) => {
                if let Some(max) = max {
                    streams.trim(key, max);
                }
                write_id(context.out, id);
            }
            Ok(None) => write_null(context.out, self.protocol),
            Err(refused) => return context.refuse(&refused),
        }
        Flow::Continue
    }

    pub(super) fn xlen(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let count = context.streams().map_or(0, |streams| streams.count(args[1]));
        context.integer(count)
    }

    pub(super) fn xdel(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let ids: Option<Vec<_>> = args[2..].iter().map(|id| StreamId::parse(id, 0)).collect();
        let Some(ids) = ids else { return context.error(INVALID_ID) };
        let Some(streams) = context.streams() else { return Flow::Continue };
        let deleted = ids.into_iter().filter(|id| streams.delete(args[1], *id)).count();
        context.integer(deleted)
    }

    pub(super) fn xrange(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let count = match &args[4..] {
            [] => Ok(usize::MAX),
            [word, count] if word.eq_ignore_ascii_case(b"count") => {
                decimal(count).map(|count| usize::try_from(count).unwrap_or(0)).ok_or(NO_NUMBER)
            }
            _ => Err(SYNTAX),
        };
        let count = match count {
            Ok(count) => count,
            Err(text) => return context.error(text),
        };
        let (Some(from), Some(to)) = (bound(args[2], 0), bound(args[3], u64::MAX)) else {
            return context.error(INVALID_ID);
        };
        let Some(streams) = context.streams() else { return Flow::Continue };
        let entries: Vec<_> = streams.range(args[1], from, to).take(count).collect();
        let mut reply = Vec::new();
        write_entries(&mut reply, &entries);
        context.out.extend_from_slice(&reply);
        Flow::Continue
    }

    /// Without `BLOCK`: nobody waits.
    pub(super) fn xread(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let (count, names) = match &args[1..] {
            [count_word, count, streams_word, names @ ..]
                if count_word.eq_ignore_ascii_case(b"count")
                    && streams_word.eq_ignore_ascii_case(b"streams") =>
            {
                match decimal(count).and_then(|count| usize::try_from(count).ok()) {
                    Some(count) => (count, names),
                    None => return context.error(NO_NUMBER),
                }
            }
            [word, names @ ..] if word.eq_ignore_ascii_case(b"streams") => (usize::MAX, names),
            _ => return context.error(SYNTAX),
        };
        if names.is_empty() || names.len() % 2 == 1 {
            return context.error(
                "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.",
            );
        }
        let (keys, ids) = names.split_at(names.len() / 2);
        let ids: Option<Vec<_>> = ids.iter().map(|id| StreamId::parse(id, 0)).collect();
        let Some(ids) = ids else { return context.error(INVALID_ID) };
        let Some(streams) = context.streams() else { return Flow::Continue };
        let mut found = Vec::new();
        for (key, id) in keys.iter().zip(ids) {
            let Some(from) = id.next() else { continue };
            let entries: Vec<_> = streams.range(key, from, StreamId::MAX).take(count).collect();
            if !entries.is_empty() {
                found.push((key, entries));
            }
        }
        let mut reply = Vec::new();
        match (found.is_empty(), self.protocol) {
            (true, _) => match self.protocol {
                Protocol::Resp2 => reply.extend_from_slice(b"*-1\r\n"),
                Protocol::Resp3 => write_null(&mut reply, self.protocol),
            },
            (false, Protocol::Resp2) => write_array_header(&mut reply, found.len()),
            (false, Protocol::Resp3) => write_map_header(&mut reply, self.protocol, found.len()),
        }
        for (key, entries) in found {
            if self.protocol == Protocol::Resp2 {
                write_array_header(&mut reply, 2);
            }
            write_bulk(&mut reply, key);
            write_entries(&mut reply, &entries);
        }
        context.out.extend_from_slice(&reply);
        Flow::Continue
    }

    pub(super) fn xgroup_create(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let may_make = match &args[5..] {
            [] => false,
            [word] if word.eq_ignore_ascii_case(b"mkstream") => true,
            _ => return context.error(SYNTAX),
        };
        let Some(streams) = context.streams() else { return Flow::Continue };
        match streams.make_group(args[2], may_make) {
            Ok(()) => context.ok(),
            Err(refused) => context.refuse(&refused),
        }
    }

    pub(super) fn pexpire(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let Some(ms) = decimal(args[2]) else { return context.error(NO_NUMBER) };
        let ends_ms = context.now_ms().saturating_add_signed(ms);
        let Some(streams) = context.streams() else { return Flow::Continue };
        let is_there = streams.expire_at(args[1], ends_ms);
        context.integer(usize::from(is_there))
    }

    pub(super) fn del(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let Some(streams) = context.streams() else { return Flow::Continue };
        let removed = args[1..].iter().filter(|key| streams.remove(key)).count();
        context.integer(removed)
    }
}

impl Context<'_> {
    fn refuse(&mut self, refused: &Refused) -> Flow {
        self.error(match refused {
            Refused::Full => FULL,
            Refused::GroupExists => "BUSYGROUP Consumer Group name already exists",
            Refused::NoStream => {
                "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically."
            }
            Refused::NotLater => NOT_LATER,
        })
    }
}

/// An end of a range: `-`, `+`, or a name, `(` before it for the next one behind it.
fn bound(word: &[u8], seq: u64) -> Option<StreamId> {
    match word {
        b"-" => Some(StreamId::default()),
        b"+" => Some(StreamId::MAX),
        [b'(', id @ ..] if seq == 0 => StreamId::parse(id, seq)?.next(),
        _ => StreamId::parse(word, seq),
    }
}

fn write_id(out: &mut Vec<u8>, id: StreamId) {
    write_bulk(out, format!("{}-{}", id.ms, id.seq).as_bytes());
}

fn write_entries(out: &mut Vec<u8>, entries: &[(StreamId, &Fields)]) {
    write_array_header(out, entries.len());
    for (id, fields) in entries {
        write_array_header(out, 2);
        write_id(out, *id);
        write_array_header(out, fields.len());
        fields.iter().for_each(|field| write_bulk(out, field));
    }
}
