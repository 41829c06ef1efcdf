//! `/health`, `/ws/health`, `/ready` and `/stats`: the gateway's state as JSON.

use hyper::http::StatusCode;
use serde::{Serialize, Serializer};

use super::Http;
use super::answers::{Answer, json};
use crate::admission::Admission;
use crate::logging;
use crate::market::Delay;
use crate::market::event::Reason;
use crate::metrics::IngestMetrics;
use crate::state::State;

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    /// The thread that is stuck.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
    connections: u64,
    online_users: u64,
    redis: &'static str,
    #[serde(rename = "serverId")]
    server_id: &'a str,
    #[serde(rename = "uptimeSeconds")]
    uptime_seconds: u64,
}

/// `/health`: 503 only if a restart would help, that is, if a thread of the data path is stuck.
pub(super) fn health(state: &State) -> Answer {
    let stuck = state.stuck_thread();
    let (code, status) = match stuck {
        None => (StatusCode::OK, "ok"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "stuck"),
    };
    let health = Health {
        status,
        thread: stuck,
        connections: state.metrics.connections_open(),
        online_users: state.users_online(),
        redis: if state.feed_up() { "ok" } else { "down" },
        server_id: &state.server_id,
        uptime_seconds: state.metrics.uptime_ms() / 1000,
    };
    json(code, &health)
}

#[derive(Serialize)]
struct HealthOfConnections {
    status: &'static str,
    connections: Connections,
    redis: Redis,
}

/// Numbers of connections. `total` equals `local`, because gateways don't know of each other.
#[derive(Serialize)]
struct Connections {
    total: u64,
    local: u64,
    alive: u64,
    dead: u64,
}

#[derive(Serialize)]
struct Redis {
    connected: bool,
    pubsub_connected: bool,
}

/// `/ws/health`: the same state in three grades, with the connections that answer pings (`alive`) and those that don't (`dead`).
pub(super) fn health_of_connections(state: &State) -> Answer {
    let open = state.metrics.connections_open();
    let dead = state.metrics.sum(|shard| &shard.connections_dead).min(open);
    let (code, status) = match (state.stuck_thread(), state.feed_up()) {
        (Some(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        (None, false) => (StatusCode::OK, "degraded"),
        (None, true) => (StatusCode::OK, "healthy"),
    };
    let health = HealthOfConnections {
        status,
        connections: Connections { total: open, local: open, alive: open - dead, dead },
        redis: Redis { connected: state.redis_connected(), pubsub_connected: state.feed_up() },
    };
    json(code, &health)
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// `/ready`: 200 if a load balancer should send clients here.
pub(super) fn ready(state: &State, admission: &Admission) -> Answer {
    let reason = if state.draining() {
        Some("draining")
    } else if !state.feed_up() {
        Some("upstream down")
    } else if admission.is_full() {
        Some("full")
    } else {
        None
    };
    match reason {
        None => json(StatusCode::OK, &Ready { status: "ready", reason }),
        Some(_) => json(StatusCode::SERVICE_UNAVAILABLE, &Ready { status: "unavailable", reason }),
    }
}

/// The body of `/stats`. Names, and the order of the first five fields, are fixed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats<'a> {
    active_connections: u64,
    total_symbol_subscriptions: u64,
    messages_sent: u64,
    messages_received: u64,
    uptime_seconds: u64,
    server_id: &'a str,
    version: &'static str,
    draining: bool,
    max_connections: usize,
    /// Topics with subscribers that have been silent for `STALE_AFTER`.
    stale: u64,
    upstream: Upstream,
    events: Events<'a>,
    history: History,
    delayed: Delayed,
    slow_clients: SlowClients,
    sockets: Sockets,
    connections: ConnectionEnds,
    log: Log,
    /// The mean time from a ping to its pong; `null` before the first pong.
    average_latency_ms: Option<f64>,
    /// Of clients' messages.
    largest_message_bytes: u64,
    /// Of clients' messages; `null` before the first.
    mean_message_bytes: Option<u64>,
    messages_over_warn_size: u64,
    /// For clients that have agreed on compression: see [`Counts`](crate::websocket::deflate::Counts).
    messages_compressed: u64,
    messages_uncompressed: u64,
    /// Before and after.
    compression_bytes_in: u64,
    compression_bytes_out: u64,
    #[serde(rename = "total_connections")]
    total_connections: u64,
    #[serde(rename = "online_users")]
    online_users: u64,
    #[serde(rename = "total_rooms")]
    total_rooms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Upstream {
    kind: &'static str,
    connected: bool,
    feed_up: bool,
    losses: u64,
    /// `null` before the first event.
    last_event_age_ms: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Events<'a> {
    received: u64,
    bytes: u64,
    unwanted: u64,
    framed: u64,
    duplicate: u64,
    late: u64,
    odd_seq: u64,
    gaps: u64,
    missing: u64,
    rejected: Rejected<'a>,
    dropped: u64,
}

/// The counts of rejected events by reason, as an object.
struct Rejected<'a>(&'a IngestMetrics);

impl Serialize for Rejected<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            Reason::ALL.iter().zip(&self.0.rejected).map(|(why, count)| (why.label(), count.get())),
        )
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct History {
    topics: u64,
    recovered: u64,
    not_recovered: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SlowClients {
    skipped_events: u64,
    backlog_bytes: u64,
    disconnected: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sockets {
    bytes_sent: u64,
    bytes_received: u64,
    writes: u64,
    writes_blocked: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionEnds {
    opened: u64,
    closed: u64,
    dead: u64,
    refused: u64,
    pong_timeouts: u64,
    protocol_errors: u64,
}

/// Delayed feeds, all together.
#[derive(Serialize)]
struct Delayed {
    events: u64,
    lost: u64,
    waiting: u64,
    bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    lines_lost: u64,
}

/// `/stats`: statistics for people and dashboards. `/metrics` is for Prometheus.
pub(super) fn stats(http: &Http) -> Answer {
    let state = &http.state;
    let metrics = &state.metrics;
    let ingest = &metrics.ingest;
    let compression = metrics.compression();
    let stats = Stats {
        active_connections: metrics.connections_open(),
        total_symbol_subscriptions: metrics.sum(|s| &s.subscriptions),
        messages_sent: metrics.sum(|s| &s.messages_sent),
        messages_received: metrics.sum(|s| &s.messages_received),
        uptime_seconds: metrics.uptime_ms() / 1000,
        server_id: &state.server_id,
        version: env!("CARGO_PKG_VERSION"),
        draining: state.draining(),
        max_connections: http.admission.max(),
        stale: ingest.topics_stale.get(),
        upstream: Upstream {
            kind: if http.embedded_broker { "embedded" } else { "redis" },
            connected: state.redis_connected(),
            feed_up: state.feed_up(),
            losses: ingest.upstream_losses.get(),
            last_event_age_ms: metrics.last_event_age_ms(Delay::NONE),
        },
        events: Events {
            received: ingest.events.get(),
            bytes: ingest.event_bytes.get(),
            unwanted: ingest.events_unwanted.get(),
            framed: ingest.events_framed.get(),
            duplicate: ingest.events_duplicate.get(),
            late: ingest.events_late.get(),
            odd_seq: ingest.events_odd_seq.get(),
            gaps: ingest.gaps.get(),
            missing: ingest.events_missing.get(),
            rejected: Rejected(ingest),
            dropped: ingest.events_dropped.get(),
        },
        history: History {
            topics: ingest.topics_remembered.get(),
            recovered: ingest.topics_recovered.get(),
            not_recovered: ingest.topics_not_recovered.get(),
        },
        delayed: Delayed {
            events: ingest.delayed_events.get(),
            lost: ingest.delayed_events_lost.get(),
            waiting: ingest.delayed_waiting.get(),
            bytes: ingest.delayed_bytes.get(),
        },
        slow_clients: SlowClients {
            skipped_events: metrics.sum(|s| &s.events_skipped),
            backlog_bytes: metrics.sum(|s| &s.backlog_bytes),
            disconnected: metrics.sum(|s| &s.slow_closed),
        },
        sockets: Sockets {
            bytes_sent: metrics.sum(|s| &s.bytes_sent),
            bytes_received: metrics.sum(|s| &s.bytes_received),
            writes: metrics.sum(|s| &s.writes),
            writes_blocked: metrics.sum(|s| &s.writes_blocked),
        },
        connections: ConnectionEnds {
            opened: metrics.sum(|s| &s.connections_opened),
            closed: metrics.sum(|s| &s.connections_closed),
            dead: metrics.sum(|s| &s.connections_dead),
            refused: metrics.control.upgrades_refused(),
            pong_timeouts: metrics.sum(|s| &s.pong_timeouts),
            protocol_errors: metrics.sum(|s| &s.protocol_errors),
        },
        log: Log { lines_lost: logging::lines_lost() },
        average_latency_ms: metrics.mean_pong_rtt_us().map(|us| us as f64 / 1e3),
        largest_message_bytes: metrics.largest_message_bytes(),
        mean_message_bytes: metrics.mean_message_bytes(),
        messages_over_warn_size: metrics.sum(|s| &s.messages_over_warn_size),
        messages_compressed: compression.compressed,
        messages_uncompressed: compression.uncompressed,
        compression_bytes_in: compression.bytes_in,
        compression_bytes_out: compression.bytes_out,
        total_connections: metrics.connections_open(),
        online_users: state.users_online(),
        total_rooms: state.rooms_open(),
    };
    json(StatusCode::OK, &stats)
}
