//! Joins that come just after the start. The other gateways tell one that is new who is where, also of users who were at a gateway that it replaces. Until then it
//! can't say whether a user who joins was there before, so joins wait.

use std::time::{Duration, Instant};

use super::Task;
use crate::bus::{DeskAsk, DeskOrder};
use crate::desk::presence::SETTLE_MS;

/// What waits, bounded as all that clients have on its way.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// `None` until the others have been asked.
    until: Option<Instant>,
    joins: Vec<DeskAsk>,
}

impl Task {
    /// Keeps a join that is early; returns anything else.
    pub(super) fn unless_early(&mut self, ask: DeskAsk) -> Option<DeskAsk> {
        match &mut self.early {
            // Without a connection it is refused at once.
            Some(early)
                if matches!(ask.order, DeskOrder::Join { .. }) && self.connected.number().is_some() =>
            {
                early.joins.push(ask);
                None
            }
            _ => Some(ask),
        }
    }

    /// Goes on with what was early, once the others have been asked and have had time, or can't be.
    pub(super) fn take_early(&mut self, is_connected: bool) {
        let Some(early) = &mut self.early else { return };
        if is_connected {
            let settles = Duration::from_millis(SETTLE_MS);
            if *early.until.get_or_insert_with(|| Instant::now() + settles) > Instant::now() {
                return;
            }
        }
        let early = self.early.take().unwrap_or_default();
        early.joins.into_iter().for_each(|join| self.on_ask(join));
        if !is_connected {
            self.early = Some(Early::default());
        }
    }
}
