//! Replies that say what a client holds. Pure.
//!
//! They are written part by part: symbols, types and ids need no escape, for which serde_json looks at each byte. That was 28 % of what a
//! request cost in user space.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::market::{Kind, Kinds, Name, Subject};
use crate::protocol::request::{Id, Selection};

/// Most of these replies are shorter: one written into so much room isn't moved as it grows.
const TYPICAL_BYTES: usize = 512;

/// What a client holds, and the names of the types.
#[derive(Clone, Copy)]
pub struct Held<'m> {
    /// The subjects, in the order in which the client was first subscribed.
    pub subjects: &'m [&'m Subject],
    /// The configured types.
    pub kinds: &'m Kinds,
}

/// The reply to a subscribe. `recovered` says of each name that the client resumes whether all it has missed follows.
pub fn subscribed(
    selection: &Selection,
    held: Held<'_>,
    recovered: &[(Name, bool)],
    id: Option<&Id>,
    now_ms: u64,
) -> Vec<u8> {
    let mut reply = Success::new(&["Successfully subscribed to ", &count(selection.names.len())]);
    reply.list("subscribed", selection.names.iter().map(|chosen| &chosen.name));
    reply.push(b",");
    reply.held(held);
    reply.recovered(recovered);
    reply.end(id, now_ms)
}

/// The reply to an unsubscribe: `left` is what the client held of it.
pub fn unsubscribed(left: &[Subject], held: Held<'_>, id: Option<&Id>, now_ms: u64) -> Vec<u8> {
    // What is a symbol to clients may be a pattern inside: see `Subject::new`.
    let mut named = HashSet::with_hasher(RandomState::default());
    let names = left.iter().map(|left| &left.name);
    let names: Vec<_> = names.filter(|name| named.insert((name.text(), name.is_wildcard()))).collect();
    let mut reply = Success::new(&["Successfully unsubscribed from ", &count(names.len())]);
    reply.list("unsubscribed", names.into_iter());
    reply.push(b",");
    reply.held(held);
    reply.end(id, now_ms)
}

/// The reply to a `list`.
pub fn list(held: Held<'_>, id: Option<&Id>, now_ms: u64) -> Vec<u8> {
    let mut reply = Success::new(&["Subscribed to ", &count(held.of(Kind::TRADE).count())]);
    reply.held(held);
    reply.end(id, now_ms)
}

/// The reply to an `auth`. `held` is what the client holds now, if its new rights have taken something away.
pub fn authenticated(
    user: Option<&str>,
    expires_ms: Option<u64>,
    held: Option<Held<'_>>,
    id: Option<&Id>,
    now_ms: u64,
) -> Vec<u8> {
    let mut reply = Success::new(&["Authenticated"]);
    reply.push(b"\"user\":");
    // A user's name may need escapes.
    reply.push(serde_json::Value::from(user).to_string().as_bytes());
    if let Some(expires_ms) = expires_ms {
        reply.push(b",\"expiresAt\":");
        reply.number(expires_ms);
    }
    if let Some(held) = held {
        reply.push(b",");
        reply.held(held);
    }
    reply.end(id, now_ms)
}

fn count(symbols: usize) -> String {
    format!("{symbols} symbol(s)")
}

impl<'m> Held<'m> {
    fn of(self, kind: Kind) -> impl Iterator<Item = &'m Name> {
        self.subjects.iter().filter(move |held| held.kind == kind).map(|held| &held.name)
    }
}

/// `{"type":"success","message":…,"data":{…},"timestamp":…,"id":…}` as far as it is written.
struct Success(Vec<u8>);

impl Success {
    /// Up to the brace of `data`. The parts of the message need no escape.
    fn new(message: &[&str]) -> Self {
        let mut reply = Self(Vec::with_capacity(TYPICAL_BYTES));
        reply.push(br#"{"type":"success","message":""#);
        message.iter().for_each(|part| reply.push(part.as_bytes()));
        reply.push(br#"","data":{"#);
        reply
    }

    fn push(&mut self, part: &[u8]) {
        self.0.extend_from_slice(part);
    }

    fn number(&mut self, number: u64) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }

    /// The items with commas between them.
    fn separated<T>(&mut self, items: impl Iterator<Item = T>, write: impl Fn(&mut Self, T)) {
        for (at, item) in items.enumerate() {
            if at > 0 {
                self.push(b",");
            }
            write(self, item);
        }
    }

    /// `"key":["AAPL","BTC-*"]`.
    fn list<'n>(&mut self, key: &str, names: impl Iterator<Item = &'n Name>) {
        self.push(b"\"");
        self.push(key.as_bytes());
        self.push(b"\":[");
        self.separated(names, Self::name);
        self.push(b"]");
    }

    fn name(&mut self, name: &Name) {
        self.push(b"\"");
        self.push(name.text());
        self.push(if name.is_wildcard() { b"*\"" } else { b"\"" });
    }

    /// The trades, and the other types only where there are any.
    fn held(&mut self, held: Held<'_>) {
        self.list("currentSubscriptions", held.of(Kind::TRADE));
        let is_held = |kind: &Kind| *kind != Kind::TRADE && held.of(*kind).next().is_some();
        let mut kinds = held.kinds.iter().filter(is_held).peekable();
        if kinds.peek().is_none() {
            return;
        }
        self.push(b",\"currentByType\":{");
        self.separated(kinds, |reply, kind| reply.list(held.kinds.name(kind), held.of(kind)));
        self.push(b"}");
    }

    fn recovered(&mut self, recovered: &[(Name, bool)]) {
        if recovered.is_empty() {
            return;
        }
        self.push(b",\"recovered\":{");
        self.separated(recovered.iter(), |reply, (name, is_whole)| {
            reply.name(name);
            reply.push(if *is_whole { b":true" } else { b":false" });
        });
        self.push(b"}");
    }

    /// The rest, with the request's id as the client wrote it: it was read as JSON, so it is JSON.
    fn end(mut self, id: Option<&Id>, now_ms: u64) -> Vec<u8> {
        self.push(b"},\"timestamp\":");
        self.number(now_ms);
        if let Some(id) = id {
            self.push(b",\"id\":");
            self.push(id.as_str().as_bytes());
        }
        self.push(b"}");
        self.0
    }
}
