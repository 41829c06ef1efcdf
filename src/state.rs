//! The state of the whole process, as health and readiness report it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::metrics::Metrics;

/// A shard or ingest whose loop has not turned for this long is stuck, and `/health` answers 503.
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
    users_online: Arc<AtomicU64>,
}

impl State {
    /// The state of a new gateway: no upstream yet, not draining.
    pub fn new(server_id: String, shards: usize) -> Self {
        Self {
            server_id,
            metrics: Metrics::new(shards),
            redis_connected: AtomicBool::new(false),
            feed_up: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            users_online: Arc::default(),
        }
    }

    /// Whether the gateway is connected to the upstream and logged in, or was at its last attempt, after which it was refused the subscription.
    pub fn redis_connected(&self) -> bool {
        self.redis_connected.load(Ordering::Relaxed)
    }

    /// Notes whether the gateway is connected to the upstream.
    pub fn set_redis_connected(&self, connected: bool) {
        self.redis_connected.store(connected, Ordering::Relaxed);
    }

    /// Whether the upstream subscription is active, so that events can arrive.
    pub fn feed_up(&self) -> bool {
        self.feed_up.load(Ordering::Relaxed)
    }

    /// Notes whether the upstream subscription is active.
    pub fn set_feed_up(&self, up: bool) {
        self.feed_up.store(up, Ordering::Relaxed);
    }

    /// How many distinct authenticated users have a connection.
    pub fn users_online(&self) -> u64 {
        self.users_online.load(Ordering::Relaxed)
    }

    /// The same count, for the table that counts them.
    pub fn users_counted(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.users_online)
    }

    /// How many rooms have somebody in them, at any gateway, as far as this one knows.
    pub fn rooms_open(&self) -> u64 {
        self.metrics.control.rooms_open.get()
    }

    /// Notes how many rooms have somebody in them.
    pub fn set_rooms_open(&self, rooms: u64) {
        self.metrics.control.rooms_open.set(rooms);
    }

    /// Whether the gateway drains: it ends as soon as its clients have disconnected.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Notes that the gateway drains: it is not ready and accepts no connections any more.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The name of the first thread of the data path whose loop has not turned for [`STUCK_AFTER_MS`].
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
