//! What the whole process knows of itself: the few facts that health, readiness and the banner tell.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::metrics::Metrics;

/// A shard or the ingest thread that has not turned its loop for so long is stuck (`/health` answers 503).
pub const STUCK_AFTER_MS: u64 = 5_000;

/// Shared by the control side and the threads of the data path; every field is an atomic or never changes.
#[derive(Debug)]
pub struct State {
    /// `SERVER_ID`.
    pub server_id: String,
    /// All counters.
    pub metrics: Metrics,
    redis_connected: AtomicBool,
    feed_up: AtomicBool,
    draining: AtomicBool,
}

impl State {
    /// A gateway that has just been built: no upstream yet, not draining.
    pub fn new(server_id: String, shards: usize) -> Self {
        Self {
            server_id,
            metrics: Metrics::new(shards),
            redis_connected: AtomicBool::new(false),
            feed_up: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// Whether a connection to the upstream stands (and is authenticated).
    pub fn redis_connected(&self) -> bool {
        self.redis_connected.load(Ordering::Relaxed)
    }

    /// Says whether a connection to the upstream stands.
    pub fn set_redis_connected(&self, connected: bool) {
        self.redis_connected.store(connected, Ordering::Relaxed);
    }

    /// Whether the upstream subscription lives: events can arrive.
    pub fn feed_up(&self) -> bool {
        self.feed_up.load(Ordering::Relaxed)
    }

    /// Says whether the upstream subscription lives.
    pub fn set_feed_up(&self, up: bool) {
        self.feed_up.store(up, Ordering::Relaxed);
    }

    /// Distinct authenticated users: none, because no client can authenticate.
    pub const fn users_online(&self) -> u64 {
        0
    }

    /// Rooms with members: none, because there are no rooms.
    pub const fn rooms_open(&self) -> u64 {
        0
    }

    /// Whether the gateway is on its way out.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// From now on the gateway is not ready and takes no new connections.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The first thread of the data path whose loop has stood still for [`STUCK_AFTER_MS`], by name.
    pub fn stuck_thread(&self) -> Option<String> {
        let now_ms = self.metrics.uptime_ms();
        let stuck = |tick_ms: u64| now_ms.saturating_sub(tick_ms) >= STUCK_AFTER_MS;
        if stuck(self.metrics.ingest.tick_ms.get()) {
            return Some("ingest".to_owned());
        }
        let shard = self.metrics.shards.iter().position(|shard| stuck(shard.tick_ms.get()))?;
        Some(format!("shard-{shard}"))
    }
}
