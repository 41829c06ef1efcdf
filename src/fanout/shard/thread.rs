//! The thread of a shard: sleeps until something is to do, then has the shard take a turn.

use std::time::Duration;

use mio::{Events, Poll};

use super::clock;
use super::{Links, Ready, Shard, ShardConfig, key_of};
use crate::bus::ToShard;
use crate::bus::inbox::{Inbox, WAKER};

/// Readiness events taken from one poll.
const EVENTS_MAX: usize = 1_024;

/// A shard takes a turn at least so often, so that health can tell an idle one from one that is stuck.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Runs a shard until it is drained; returns how many clients were cut off. Blocks.
pub(in crate::fanout) fn run(
    mut poll: Poll,
    inbox: &Inbox<ToShard>,
    config: ShardConfig,
    links: Links,
) -> usize {
    let id = links.id;
    let registry = match poll.registry().try_clone() {
        Ok(registry) => registry,
        Err(error) => {
            tracing::error!(shard = id, %error, "no descriptor for the shard's poll: the shard ends");
            return 0;
        }
    };
    let time = clock::system(links.state.metrics.started);
    let mut shard = Shard::new(registry, config, links, time);
    let mut events = Events::with_capacity(EVENTS_MAX);
    while !shard.is_drained() {
        let early = match inbox.sleep(&mut poll, &mut events, Some(shard.sleep_time())) {
            Ok(early) => early,
            Err(error) => {
                tracing::error!(shard = id, %error, "poll failed: the shard ends");
                break;
            }
        };
        let told = early.into_iter().chain(std::iter::from_fn(|| inbox.pop()));
        let told = told.inspect(|command| inbox.consumed(command.event_bytes()));
        let ready = events.iter().filter(|event| event.token() != WAKER).map(|event| Ready {
            key: key_of(event.token()),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
        });
        shard.turn(told, ready);
    }
    shard.conns.len()
}

impl Shard {
    /// How long the shard may sleep: not at all with input left over, else until the next flush or timer.
    fn sleep_time(&self) -> Duration {
        if !self.input.unfinished.is_empty() {
            return Duration::ZERO;
        }
        let flush_us = self.output.flushed_us + self.config.flush_interval.as_micros() as u64;
        let flush_us = (!self.output.dirty.is_empty()).then_some(flush_us);
        let due_us = [flush_us, self.clocks.next_us(), self.drain_until_us].into_iter().flatten().min();
        due_us.map_or(SLEEP_MAX, |due_us| self.clocks.until(due_us).min(SLEEP_MAX))
    }
}
