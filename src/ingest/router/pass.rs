//! What belongs to one feed, the real-time one or a delayed one: interest, and what is remembered. Pure.

use std::collections::HashMap;
use std::num::NonZeroU32;

use foldhash::quality::RandomState;

use crate::bus::TopicId;
use crate::ingest::history::{History, HistoryConfig};
use crate::market::patterns::Patterns;
use crate::market::{Delay, Form, Symbol};

#[derive(Debug)]
pub(super) struct Pass {
    delay: Delay,
    pub(super) delayed_ms: Option<NonZeroU32>,
    /// The first topic of each symbol, in whatever form. By type, so that a look-up needs no more than the symbol's bytes.
    pub(super) by_symbol: Vec<HashMap<Symbol, TopicId, RandomState>>,
    /// By form without the delay.
    pub(super) by_pattern: Patterns<TopicId>,
    /// Goes up when a shard begins to want a pattern: topics may have to be opened to it.
    pub(super) epoch: u64,
    pub(super) history: History,
}

impl Pass {
    /// Nobody wants anything of it yet.
    pub(super) fn new(delay: Delay, history: HistoryConfig) -> Self {
        Self {
            delay,
            delayed_ms: history.delayed_ms,
            by_symbol: vec![HashMap::default(); history.kinds.len()],
            by_pattern: Patterns::default(),
            epoch: 0,
            history: History::new(history),
        }
    }

    /// The forms of this feed that have, or have had, patterns, and perhaps some others.
    pub(super) fn forms(&self) -> impl Iterator<Item = Form> + use<> {
        let delay = self.delay;
        self.by_pattern.forms().map(move |form| form.delayed(delay))
    }
}
