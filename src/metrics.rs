//! The process' counters.
//!
//! Every thread of the data path owns one cache-line-aligned block and is its only writer. So counting is a plain load and
//! store ([`Counter::add`]), not a locked read-modify-write. Readers (`/stats`, `/metrics`, the statistics in the log) sum the
//! blocks when they are asked. Some gauges are differences of counters: open connections are those opened less those closed.

mod counter;
mod refusals;

use std::sync::Arc;
use std::time::Instant;

pub use self::counter::{Counter, HISTOGRAM_BUCKETS, Histogram};
pub use self::refusals::{RequestRefusal, UpgradeRefusal};
use crate::market::Delay;
use crate::market::event::Reason;
use crate::protocol::refusal::ErrorCode;
use crate::websocket::deflate::Counts;

/// Messages for clients that have agreed on compression: see [`Counts`].
#[derive(Debug, Default)]
pub struct CompressionMetrics {
    compressed: Counter,
    uncompressed: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
}

impl CompressionMetrics {
    fn get(&self) -> Counts {
        Counts {
            compressed: self.compressed.get(),
            uncompressed: self.uncompressed.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }

    /// Replaces the counts by newer ones of the owning thread.
    pub fn set(&self, counts: Counts) {
        self.compressed.set(counts.compressed);
        self.uncompressed.set(counts.uncompressed);
        self.bytes_in.set(counts.bytes_in);
        self.bytes_out.set(counts.bytes_out);
    }
}

/// One shard's counters. Only the shard's thread writes them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardMetrics {
    /// Connections handed over to the shard.
    pub connections_opened: Counter,
    /// Connections of the shard that have ended.
    pub connections_closed: Counter,
    /// Gauge: connections that have missed a pong and aren't dropped yet.
    pub connections_dead: Counter,
    /// Gauge: (client, topic) pairs.
    pub subscriptions: Counter,
    /// Gauge: topics that clients of this shard want, by symbol or by pattern, and the patterns themselves.
    pub topics: Counter,
    /// Frames written completely to sockets: events, replies and status (not pings, pongs, close).
    pub messages_sent: Counter,
    /// Bytes written to sockets.
    pub bytes_sent: Counter,
    /// Text and binary messages received.
    pub messages_received: Counter,
    /// Bytes of those messages' contents.
    pub message_bytes: Counter,
    /// Gauge: bytes of the largest of them.
    pub largest_message_bytes: Counter,
    /// Those of them that are larger than `MESSAGE_WARN_SIZE`.
    pub messages_over_warn_size: Counter,
    /// Bytes read from sockets.
    pub bytes_received: Counter,
    /// `write` calls on sockets. `messages_sent / writes` is the mean number of frames in a write.
    pub writes: Counter,
    /// Writes that found a socket full, or took only a part.
    pub writes_blocked: Counter,
    /// Events skipped for slow clients, all causes.
    pub events_skipped: Counter,
    /// Events replaced by newer ones, for clients that asked for conflation or fell back to it.
    pub events_conflated: Counter,
    /// Times a client was too slow for every event and fell back to the latest of each topic.
    pub slow_conflated: Counter,
    /// Error replies sent, by [`ErrorCode`].
    pub errors_sent: [Counter; ErrorCode::ALL.len()],
    /// Responses of workers that no client waited for, or not any more.
    pub responses_unasked: Counter,
    /// Gauge: bytes of batches that outboxes keep alive, and of everything else that waits for clients.
    pub backlog_bytes: Counter,
    /// Connections that the gateway closed because the client was too slow (1013, stalled).
    pub slow_closed: Counter,
    /// Connections dropped for missed pongs.
    pub pong_timeouts: Counter,
    /// Pongs that answered a ping of the gateway, the first for each ping.
    pub pongs: Counter,
    /// The time from queueing a ping to its pong, the sum over all `pongs`, in microseconds.
    pub pong_rtt_us_sum: Counter,
    /// Connections closed for breaking the WebSocket protocol (1002, 1007, 1009).
    pub protocol_errors: Counter,
    /// What of its messages was compressed.
    pub compression: CompressionMetrics,
    /// When the shard's loop last turned, in milliseconds since [`Metrics::started`].
    pub tick_ms: Counter,
    /// The time from an event's arrival at ingest until this shard has written its batch.
    pub delivery: Histogram,
}

/// The counters of ingest.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct IngestMetrics {
    /// Events that came in, wanted or not, good or bad.
    pub events: Counter,
    /// Bytes of those events' payloads.
    pub event_bytes: Counter,
    /// Events of topics that no client wants. They are not framed.
    pub events_unwanted: Counter,
    /// Events checked, framed and handed to shards.
    pub events_framed: Counter,
    /// Repeats of a `seq`, dropped.
    pub events_duplicate: Counter,
    /// Events whose `seq` had been missing when newer ones came.
    pub events_late: Counter,
    /// Events with a `seq` that is no integer below 2^53, delivered without regard to it.
    pub events_odd_seq: Counter,
    /// Events that a dialect has no words for, once for each of its forms in which they were wanted: its clients don't get them.
    pub events_unwritten: Counter,
    /// Gaps in the `seq` of wanted topics.
    pub gaps: Counter,
    /// Events missing in these gaps.
    pub events_missing: Counter,
    /// Topics that a client asked to resume and got every missed event of.
    pub topics_recovered: Counter,
    /// Topics that a client asked to resume and that could not be resumed.
    pub topics_not_recovered: Counter,
    /// Gauge: topics with a history.
    pub topics_remembered: Counter,
    /// Gauge: wanted topics that have been silent for `STALE_AFTER`.
    pub topics_stale: Counter,
    /// Events dropped, by [`Reason`].
    pub rejected: [Counter; Reason::ALL.len()],
    /// What of the events was compressed.
    pub compression: CompressionMetrics,
    /// Batches handed to shards.
    pub batches: Counter,
    /// Events dropped because a shard's inbox had no room, counted for each shard.
    pub events_dropped: Counter,
    /// Times the upstream was lost.
    pub upstream_losses: Counter,
    /// When the last event came in, in milliseconds since [`Metrics::started`]; 0 before the first.
    pub last_event_ms: Counter,
    /// Events that were released to a delayed feed, once for each delay.
    pub delayed_events: Counter,
    /// Events that a delayed feed had no room for, once for each delay.
    pub delayed_events_lost: Counter,
    /// Gauge: events that delayed feeds keep until they are due.
    pub delayed_waiting: Counter,
    /// Gauge: memory that they take.
    pub delayed_bytes: Counter,
    /// When the last event was released to each delayed feed, as [`IngestMetrics::last_event_ms`]; by its number.
    pub delayed_last_event_ms: [Counter; Delay::COUNT],
    /// When the loop last turned, in milliseconds since [`Metrics::started`].
    pub tick_ms: Counter,
}

/// The counters of the control side. Several tasks write them, with [`Counter::add_shared`].
#[derive(Debug, Default)]
pub struct ControlMetrics {
    /// Connections accepted from the listening socket.
    pub accepted: Counter,
    /// `accept` calls that failed because of that connection alone (reset before it was accepted).
    pub accept_errors_connection: Counter,
    /// `accept` calls that failed because the process or the system ran out of something.
    pub accept_errors_exhausted: Counter,
    /// Upgrades completed.
    pub upgrades: Counter,
    /// Upgrades refused, by [`UpgradeRefusal`].
    pub upgrades_refused: [Counter; UpgradeRefusal::ALL.len()],
    /// HTTP requests refused, other than upgrades, by [`RequestRefusal`].
    pub requests_refused: [Counter; RequestRefusal::ALL.len()],
    /// HTTP connections closed because a newer one needed their place.
    pub http_evicted: Counter,
    /// HTTP requests answered, other than upgrades.
    pub http_requests: Counter,
    /// TLS handshakes completed.
    pub tls_handshakes: Counter,
    /// TLS handshakes that failed, by [`TlsFailure`].
    pub tls_handshakes_failed: [Counter; TlsFailure::ALL.len()],
    /// Times the port's certificate was read again and taken into use.
    pub tls_reloads: Counter,
    /// Times what was read again could not be used.
    pub tls_reloads_refused: Counter,
    /// Gauge: when the port's certificate ends, in seconds since 1970; 0 = it has none.
    pub tls_not_after_s: Counter,
    /// Tokens that did not hold.
    pub tokens_refused: Counter,
    /// Connections whose place a newer one of their user has taken.
    pub connections_replaced: Counter,
    /// Times a key file was read again and taken.
    pub key_files_taken: Counter,
    /// Times a key file was read again and could not be used.
    pub key_files_refused: Counter,
    /// Attempts to fetch keys from the key server, by [`KeyFetch`].
    pub key_fetches: [Counter; KeyFetch::ALL.len()],
    /// Gauge: when the keys in use were fetched, in milliseconds since [`Metrics::started`]; 0 = there are none.
    pub keys_fetched_ms: Counter,
    /// Gauge: how many keys of the key server are in use.
    pub keys_fetched: Counter,
    /// What clients have said, and the gateway of itself, that the upstream has taken.
    pub desk_published: Counter,
    /// The same that it has not confirmed.
    pub desk_unconfirmed: Counter,
    /// Entries that were put into inboxes of users for clients.
    pub inbox_entries: Counter,
    /// Entries of inboxes that clients have confirmed.
    pub inbox_entries_confirmed: Counter,
    /// Entries that workers have put into inboxes and that can't be delivered.
    pub inbox_entries_refused: Counter,
    /// Gauge: how many rooms have somebody in them, at any gateway.
    pub rooms_open: Counter,
    /// Attempts to reach the upstream.
    pub upstream_connects: Counter,
    /// Attempts to reach the upstream that failed.
    pub upstream_connect_failures: Counter,
}

impl ControlMetrics {
    /// The counter of TLS handshakes that failed for that reason.
    pub fn tls_failed(&self, failure: TlsFailure) -> &Counter {
        &self.tls_handshakes_failed[failure as usize]
    }

    /// The counter of upgrades that are refused for that reason.
    pub fn upgrade_refused(&self, why: UpgradeRefusal) -> &Counter {
        &self.upgrades_refused[why as usize]
    }

    /// The counter of HTTP requests that are refused for that reason.
    pub fn request_refused(&self, why: RequestRefusal) -> &Counter {
        &self.requests_refused[why as usize]
    }

    /// Upgrades refused for any reason.
    pub fn upgrades_refused(&self) -> u64 {
        self.upgrades_refused.iter().map(Counter::get).sum()
    }
}

/// What an attempt to fetch keys has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFetch {
    /// They are in use.
    Taken,
    /// The server can't be reached, by name, TCP, TLS or HTTP.
    Unreachable,
    /// It took too long.
    Timeout,
    /// The server answers with another status than 200.
    Refused,
    /// What it sends can't be used.
    Unusable,
}

impl KeyFetch {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Taken, Self::Unreachable, Self::Timeout, Self::Refused, Self::Unusable];

    /// As a metric's label has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Unusable => "unusable",
        }
    }
}

/// Why a TLS handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFailure {
    /// The peer did not complete it in time.
    Timeout,
    /// The peer closed or reset the connection.
    Closed,
    /// One side refused what the other offered: no version or cipher in common, an alert, bytes that break TLS.
    Refused,
    /// The peer speaks plain HTTP.
    PlainHttp,
    /// The peer speaks neither.
    NotTls,
}

impl TlsFailure {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Timeout, Self::Closed, Self::Refused, Self::PlainHttp, Self::NotTls];

    /// As a metric's label has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::PlainHttp => "plain_http",
            Self::NotTls => "not_tls",
        }
    }
}

/// All counters of one gateway.
#[derive(Debug)]
pub struct Metrics {
    /// When the gateway was built; all `*_ms` gauges count from here.
    pub started: Instant,
    /// One block a shard.
    pub shards: Box<[Arc<ShardMetrics>]>,
    /// The ingest thread's block.
    pub ingest: Arc<IngestMetrics>,
    /// The control side's block.
    pub control: ControlMetrics,
}

impl Metrics {
    /// Blocks for `shards` shards, all zero.
    pub fn new(shards: usize) -> Self {
        Self {
            started: Instant::now(),
            shards: (0..shards).map(|_| Arc::default()).collect(),
            ingest: Arc::default(),
            control: ControlMetrics::default(),
        }
    }

    /// Milliseconds since the gateway was built.
    pub fn uptime_ms(&self) -> u64 {
        self.uptime_ms_at(Instant::now())
    }

    /// The same at a time that the caller has read.
    pub fn uptime_ms_at(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64
    }

    /// Time since the gateway was built, in microseconds.
    pub fn uptime_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// How long ago the last event of a feed came in, or was released to it, in milliseconds; `None` before the first.
    pub fn last_event_age_ms(&self, delay: Delay) -> Option<u64> {
        let last_ms = match delay.is_none() {
            true => self.ingest.last_event_ms.get(),
            false => self.ingest.delayed_last_event_ms[delay.index()].get(),
        };
        (last_ms > 0).then(|| self.uptime_ms().saturating_sub(last_ms))
    }

    /// The sum of one counter over all shards.
    pub fn sum(&self, counter: impl Fn(&ShardMetrics) -> &Counter) -> u64 {
        self.shards.iter().map(|shard| counter(shard).get()).sum()
    }

    /// What was compressed, by ingest and by all shards.
    pub fn compression(&self) -> Counts {
        let shards = self.shards.iter().map(|shard| &shard.compression);
        shards.chain([&self.ingest.compression]).fold(Counts::default(), |sum, counts| sum + counts.get())
    }

    /// The mean time from a ping to its pong, in microseconds; `None` before the first pong.
    pub fn mean_pong_rtt_us(&self) -> Option<u64> {
        self.sum(|s| &s.pong_rtt_us_sum).checked_div(self.sum(|s| &s.pongs))
    }

    /// Bytes of the largest message that a client has sent.
    pub fn largest_message_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.largest_message_bytes.get()).max().unwrap_or_default()
    }

    /// The mean of clients' messages in bytes; `None` before the first.
    pub fn mean_message_bytes(&self) -> Option<u64> {
        self.sum(|s| &s.message_bytes).checked_div(self.sum(|s| &s.messages_received))
    }

    /// Open WebSocket connections.
    pub fn connections_open(&self) -> u64 {
        self.sum(|s| &s.connections_opened).saturating_sub(self.sum(|s| &s.connections_closed))
    }
}
