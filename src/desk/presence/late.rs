//! Joins and leaves that are refused and may be delivered all the same, later than what was said behind them: a proxy may still have them.

use std::collections::VecDeque;

use super::Change;
use crate::desk::DeskId;
use crate::desk::envelope::Moved;

/// So long one may be on its way.
const LATE_MS: u64 = 60_000;
/// Most that are remembered.
const LATE_MAX: usize = 1_024;

/// The oldest first.
#[derive(Debug, Default)]
pub(super) struct Late(VecDeque<(u64, Change)>);

impl Late {
    pub(super) fn note(&mut self, change: &Change, may_have_come: bool, now_ms: u64) {
        if !may_have_come {
            return;
        }
        self.0.retain(|(until_ms, late)| now_ms < *until_ms && late != change);
        if self.0.len() >= LATE_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now_ms + LATE_MS, change.clone()));
    }

    /// Whether this may be one of them: what no client has asked for may be another one that is the same.
    pub(super) fn has(&self, room: &DeskId, moved: &Moved) -> bool {
        if self.0.is_empty() {
            // Nearly always.
            return false;
        }
        let change = Change::of(room, moved);
        self.0.iter().any(|(_, late)| *late == change)
    }
}
