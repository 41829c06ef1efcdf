//! The terms of a subscription, as a request names them: each is optional.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::read::Fields;
use crate::market::Symbol;
use crate::market::event::SEQ_END;
use crate::protocol::refusal::{Refusal, invalid};
use crate::protocol::request::{Grammar, Resume, Selection};
use crate::protocol::terms::{Conflate, MaxRate, Options, SlowClientPolicy};

pub(super) fn options(fields: &Fields<'_>) -> Result<Options, Refusal> {
    let conflate = fields.conflate.map(conflate).transpose()?;
    let max_rate = fields.max_rate.map(max_rate).transpose()?;
    if let (Some(raw), Some(Conflate::Off), Some(_)) = (fields.conflate, conflate, max_rate) {
        return Err(invalid("conflate", raw.get(), "true or \"aggregate\" with maxRate, which implies it"));
    }
    Ok(Options {
        snapshot: switch("snapshot", fields.snapshot)?,
        conflate,
        max_rate,
        on_slow: fields.on_slow.map(on_slow).transpose()?,
        heartbeat: switch("heartbeat", fields.heartbeat)?,
    })
}

pub(super) fn switch(field: &str, raw: Option<&RawValue>) -> Result<Option<bool>, Refusal> {
    raw.map(|raw| match raw.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(invalid(field, other, "true or false")),
    })
    .transpose()
}

fn conflate(raw: &RawValue) -> Result<Conflate, Refusal> {
    match raw.get() {
        "true" => Ok(Conflate::Latest),
        "false" => Ok(Conflate::Off),
        "\"aggregate\"" => Ok(Conflate::Aggregate),
        other => Err(invalid("conflate", other, "true, false or \"aggregate\"")),
    }
}

fn max_rate(raw: &RawValue) -> Result<MaxRate, Refusal> {
    let rate = serde_json::from_str(raw.get()).ok().and_then(MaxRate::new);
    rate.ok_or_else(|| invalid("maxRate", raw.get(), "a number from 0.1 to 1000"))
}

fn on_slow(raw: &RawValue) -> Result<SlowClientPolicy, Refusal> {
    match raw.get() {
        "\"skip\"" => Ok(SlowClientPolicy::Skip),
        "\"conflate\"" => Ok(SlowClientPolicy::Conflate),
        "\"disconnect\"" => Ok(SlowClientPolicy::Disconnect),
        other => Err(invalid("onSlow", other, "\"skip\", \"conflate\" or \"disconnect\"")),
    }
}

/// The names and values of an object, in its order, also those that stand twice.
struct Seen(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(SeenVisitor)
    }
}

struct SeenVisitor;

impl<'de> Visitor<'de> for SeenVisitor {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Seen, A::Error> {
        let mut seen = Vec::new();
        while let Some(entry) = object.next_entry()? {
            seen.push(entry);
        }
        Ok(Seen(seen))
    }
}

const ONES_OF_THE_REQUEST: &str = "of symbols that the request subscribes to, each once";

/// The symbols to resume, in the order of the request: each is one that it names, once.
pub(super) fn resume(
    raw: Option<&RawValue>,
    selection: &Selection,
    grammar: &Grammar,
) -> Result<Resume, Refusal> {
    let Some(raw) = raw else { return Ok(Resume::default()) };
    let bad = |allowed: &str| invalid("resume", raw.get(), allowed);
    let Seen(seen) = serde_json::from_str(raw.get())
        .map_err(|_| bad("an object of symbols and the last seq seen of each"))?;
    let [kind] = selection.types[..] else {
        return Err(bad("absent unless the request names exactly one type"));
    };
    // By place, as a client may name thousands before it is held to its limit.
    let places: HashMap<_, _> = selection.names.iter().map(|chosen| chosen.name.symbol()).zip(0..).collect();
    let mut resume = BTreeMap::new();
    for (name, seq) in seen {
        let symbol = Symbol::parse(name.as_bytes(), kind.case(grammar.symbol_case))
            .ok_or_else(|| bad(ONES_OF_THE_REQUEST))?;
        let place: usize = *places.get(&Some(&symbol)).ok_or_else(|| bad(ONES_OF_THE_REQUEST))?;
        let seq = seq.as_u64().filter(|seq| *seq < SEQ_END);
        let seq = seq.ok_or_else(|| bad("of integers from 0 to 2^53 - 1"))?;
        if resume.insert(place, (symbol, seq)).is_some() {
            return Err(bad(ONES_OF_THE_REQUEST));
        }
    }
    Ok(resume.into_values().collect())
}
