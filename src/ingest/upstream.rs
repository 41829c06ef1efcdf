//! The link in the thread's turns: it is registered, read within a budget, and watched; clients are told when it is lost, and when there is another.

use std::time::Instant;

use super::link::{self, Link, Lost};
use super::{Ingest, LINK};
use crate::bus::Feed;
use crate::limits;
use crate::market::Delay;
use crate::unix_time::unix_ms;

impl Ingest {
    pub(super) fn connected(&mut self, link: Option<Box<Link>>) {
        let address = link.as_ref().map_or("embedded", |link| link.address()).to_owned();
        if let Some(mut link) = link {
            if let Err(error) = link.register(&self.registry, LINK) {
                let _ = self.helpers.lost.send(Lost::new(format!("the link could not be polled: {error}")));
                return;
            }
            self.link = Some(link);
        }
        let patterns = self.config.patterns();
        tracing::info!(
            address,
            patterns = patterns.join(" "),
            "Subscribed to {} Redis channel pattern(s)",
            patterns.len()
        );
        // Readiness first: whoever has been told `up` finds the gateway ready.
        self.state.set_redis_connected(true);
        self.state.set_feed_up(true);
        let gap_ms = self.down_since.elapsed().as_millis() as u64;
        self.tell_feed(Feed::Up { gap_ms });
    }

    /// Tells the clients of the real-time feed that the upstream was lost or is back; those of a delayed one are told when that is due.
    pub(super) fn tell_feed(&mut self, feed: Feed) {
        self.handover.tell_feed(&self.router, Delay::NONE, feed);
        // Nothing is ever released a part of a millisecond early.
        self.delayed.keep_feed(feed, self.state.metrics.uptime_ms() + 1);
    }

    /// Reads and routes what the link has, within the budget of a turn; returns how many events of ours came.
    pub(super) fn read_link(&mut self) -> usize {
        let Some(mut link) = self.link.take() else { return 0 };
        let mut came = 0;
        let until = Instant::now() + limits::INGEST_READ_BUDGET;
        let now_ms = unix_ms();
        let mut budget_bytes = limits::INGEST_READ_BUDGET_BYTES;
        while link.is_readable() && budget_bytes > 0 && Instant::now() < until {
            let outcome = link.read(|message| {
                let is_ours = match message {
                    link::Message::Event { channel, payload } => self.event(channel, payload, now_ms),
                    link::Message::TooLarge { channel, payload_bytes, excerpt } => {
                        self.oversized(channel, payload_bytes, excerpt)
                    }
                };
                came += usize::from(is_ours);
            });
            match outcome {
                Ok(bytes) => budget_bytes = budget_bytes.saturating_sub(bytes),
                Err(lost) => {
                    self.disconnected(&mut link, lost);
                    return came;
                }
            }
        }
        self.link = Some(link);
        came
    }

    pub(super) fn watch_link(&mut self, now: Instant) {
        let Some(mut link) = self.link.take() else { return };
        match link.watch(now) {
            Ok(()) => self.link = Some(link),
            Err(lost) => self.disconnected(&mut link, lost),
        }
    }

    /// The link is gone: everyone is told, in order behind the events that did arrive.
    pub(super) fn disconnected(&mut self, link: &mut Link, lost: Lost) {
        link.deregister(&self.registry);
        self.hand_over();
        self.down_since = link.heard();
        self.state.set_redis_connected(false);
        self.state.set_feed_up(false);
        self.state.metrics.ingest.upstream_losses.add(1);
        self.tell_feed(Feed::Down);
        // Without a supervisor the process is on its way out.
        let _ = self.helpers.lost.send(lost);
    }
}
