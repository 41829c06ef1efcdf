//! The table of metrics: their names, their help and the sources of their values.

use prometheus_client::metrics::MetricType;

use super::{Scrape, seconds};
use crate::logging;
use crate::metrics::{ControlMetrics, IngestMetrics, Metrics, ShardMetrics};

/// One metric. The name of a counter is without `_total`.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) source: Source,
}

/// The source of a metric's value. It also decides the metric's type and labels.
pub(super) enum Source {
    /// A counter of every shard, labelled `shard`.
    ShardCounter(fn(&ShardMetrics) -> u64),
    /// A counter of every shard in microseconds, labelled `shard` and shown in seconds.
    ShardSeconds(fn(&ShardMetrics) -> u64),
    /// A gauge of every shard, labelled `shard`.
    ShardGauge(fn(&ShardMetrics) -> u64),
    /// A counter of the ingest thread.
    Ingest(fn(&IngestMetrics) -> u64),
    /// A counter of ingest and of all shards together.
    DataPath(fn(&Metrics) -> u64),
    /// A counter of the control side.
    Control(fn(&ControlMetrics) -> u64),
    /// A counter of the log.
    Log(fn() -> u64),
    /// A gauge of the process; `None` while it has no value.
    Process(fn(&Scrape) -> Option<f64>),
    /// Rejected events, labelled `reason`.
    Rejected,
    /// Failed `accept` calls, labelled `cause`.
    AcceptErrors,
    /// TLS handshakes that failed, labelled `reason`.
    TlsFailed,
    /// Times the certificate was read again, labelled `outcome`.
    TlsReloads,
    /// Attempts to fetch keys, labelled `result`.
    KeyFetches,
    /// Refused upgrades, labelled `reason`.
    UpgradesRefused,
    /// Refused requests that ask for no connection, labelled `reason`.
    RequestsRefused,
    /// Error replies, labelled `code`.
    Errors,
    /// How long ago each thread's loop last turned, labelled `thread`.
    TickAge,
    /// The histogram of all shards.
    Delivery,
    /// 1, labelled `version` and `server_id`.
    Build,
}

use Source::{
    AcceptErrors, Build, Control, DataPath, Delivery, Errors, Ingest, KeyFetches, Log, Process, Rejected,
    RequestsRefused, ShardCounter, ShardGauge, ShardSeconds, TickAge, TlsFailed, TlsReloads, UpgradesRefused,
};

const fn family(name: &'static str, help: &'static str, source: Source) -> Family {
    Family { name, help, source }
}

/// All metrics.
pub(super) const FAMILIES: &[Family] = &[
    family("ws_build", "The process' version and server id, as labels", Build),
    family("ws_uptime_seconds", "Time since the gateway was built", Process(|s| Some(seconds(s.now_ms())))),
    family(
        "ws_upstream_up",
        "1 while the upstream subscription is active",
        Process(|s| Some(flag(s.state.feed_up()))),
    ),
    family("ws_draining", "1 once the gateway drains", Process(|s| Some(flag(s.state.draining())))),
    family("ws_connections_max", "MAX_CONNECTIONS", Process(|s| Some(s.admission.max() as f64))),
    family(
        "ws_seats_taken",
        "Clients and handshakes that count towards MAX_CONNECTIONS",
        Process(|s| Some(s.admission.open() as f64)),
    ),
    // Clients.
    family(
        "ws_connections",
        "Open WebSocket connections",
        ShardGauge(|s| s.connections_opened.get().saturating_sub(s.connections_closed.get())),
    ),
    family(
        "ws_connections_opened",
        "WebSocket connections opened",
        ShardCounter(|s| s.connections_opened.get()),
    ),
    family(
        "ws_connections_closed",
        "WebSocket connections closed",
        ShardCounter(|s| s.connections_closed.get()),
    ),
    family(
        "ws_connections_dead",
        "Connections that have missed a pong",
        ShardGauge(|s| s.connections_dead.get()),
    ),
    family(
        "ws_pong_timeouts",
        "Connections dropped for missed pongs",
        ShardCounter(|s| s.pong_timeouts.get()),
    ),
    family("ws_pongs", "Pongs that answered a ping", ShardCounter(|s| s.pongs.get())),
    family(
        "ws_pong_seconds",
        "Time from a ping to its pong, summed over all pongs",
        ShardSeconds(|s| s.pong_rtt_us_sum.get()),
    ),
    family(
        "ws_protocol_errors",
        "Connections closed with 1002, 1007 or 1009",
        ShardCounter(|s| s.protocol_errors.get()),
    ),
    family("ws_subscriptions", "Pairs of client and topic", ShardGauge(|s| s.subscriptions.get())),
    family(
        "ws_topics",
        "Topics that clients of the shard want, by symbol or by pattern, and the patterns",
        ShardGauge(|s| s.topics.get()),
    ),
    // Their sockets.
    family(
        "ws_messages_sent",
        "Events, replies and status written completely, each by itself where several are in one message",
        ShardCounter(|s| s.messages_sent.get()),
    ),
    family(
        "ws_messages_received",
        "Text and binary messages received",
        ShardCounter(|s| s.messages_received.get()),
    ),
    family("ws_message_bytes", "Bytes of the messages received", ShardCounter(|s| s.message_bytes.get())),
    family(
        "ws_largest_message_bytes",
        "Bytes of the largest message received",
        ShardGauge(|s| s.largest_message_bytes.get()),
    ),
    family(
        "ws_messages_over_warn_size",
        "Messages received that were larger than MESSAGE_WARN_SIZE",
        ShardCounter(|s| s.messages_over_warn_size.get()),
    ),
    family("ws_errors_sent", "Error replies sent, by code", Errors),
    family("ws_sent_bytes", "Bytes written to sockets", ShardCounter(|s| s.bytes_sent.get())),
    family("ws_received_bytes", "Bytes read from sockets", ShardCounter(|s| s.bytes_received.get())),
    family("ws_writes", "Write calls on sockets", ShardCounter(|s| s.writes.get())),
    family(
        "ws_writes_blocked",
        "Writes that a socket took in part or not at all",
        ShardCounter(|s| s.writes_blocked.get()),
    ),
    // Compression, once for all clients that share a message.
    family(
        "ws_compression_messages_compressed",
        "Messages compressed, each once for all clients that share it",
        DataPath(|m| m.compression().compressed),
    ),
    family(
        "ws_compression_messages_uncompressed",
        "Messages left as they are for clients that have agreed on compression",
        DataPath(|m| m.compression().uncompressed),
    ),
    family(
        "ws_compression_in_bytes",
        "Bytes of the messages compressed, before",
        DataPath(|m| m.compression().bytes_in),
    ),
    family(
        "ws_compression_out_bytes",
        "Bytes of the messages compressed, after",
        DataPath(|m| m.compression().bytes_out),
    ),
    // Slow clients.
    family("ws_events_skipped", "Events skipped for slow clients", ShardCounter(|s| s.events_skipped.get())),
    family(
        "ws_events_conflated",
        "Events replaced by newer ones for clients that conflate",
        ShardCounter(|s| s.events_conflated.get()),
    ),
    family(
        "ws_slow_clients_conflated",
        "Times a slow client fell back to the latest event of each topic",
        ShardCounter(|s| s.slow_conflated.get()),
    ),
    family(
        "ws_slow_clients_closed",
        "Connections closed for being too slow",
        ShardCounter(|s| s.slow_closed.get()),
    ),
    family(
        "ws_backlog_bytes",
        "Bytes of batches that outboxes keep alive",
        ShardGauge(|s| s.backlog_bytes.get()),
    ),
    family("ws_delivery_seconds", "Time from an event's arrival until it is written to sockets", Delivery),
    // Upstream.
    family("ws_events_received", "Events that came in", Ingest(|i| i.events.get())),
    family("ws_event_bytes", "Bytes of payloads that came in", Ingest(|i| i.event_bytes.get())),
    family(
        "ws_events_unwanted",
        "Events of topics that no client wants",
        Ingest(|i| i.events_unwanted.get()),
    ),
    family(
        "ws_events_framed",
        "Events checked, framed and handed to shards",
        Ingest(|i| i.events_framed.get()),
    ),
    family("ws_events_duplicate", "Repeats of a seq, dropped", Ingest(|i| i.events_duplicate.get())),
    family(
        "ws_events_late",
        "Events whose seq had been missing when newer ones came",
        Ingest(|i| i.events_late.get()),
    ),
    family(
        "ws_events_odd_seq",
        "Events with a seq that is no integer below 2^53, delivered without regard to it",
        Ingest(|i| i.events_odd_seq.get()),
    ),
    family(
        "ws_events_unwritten",
        "Events that a dialect has no words for, once for each form of it in which they were wanted",
        Ingest(|i| i.events_unwritten.get()),
    ),
    family("ws_upstream_gaps", "Gaps in the seq of wanted topics", Ingest(|i| i.gaps.get())),
    family("ws_events_missing", "Events missing in these gaps", Ingest(|i| i.events_missing.get())),
    family(
        "ws_topics_recovered",
        "Topics that clients resumed without a loss",
        Ingest(|i| i.topics_recovered.get()),
    ),
    family(
        "ws_topics_not_recovered",
        "Topics that clients could not resume",
        Ingest(|i| i.topics_not_recovered.get()),
    ),
    family(
        "ws_topics_remembered",
        "Topics with a history, wanted or not",
        Process(|s| Some(s.state.metrics.ingest.topics_remembered.get() as f64)),
    ),
    family(
        "ws_topics_stale",
        "Topics with subscribers that have been silent for STALE_AFTER",
        Process(|s| Some(s.state.metrics.ingest.topics_stale.get() as f64)),
    ),
    family("ws_events_rejected", "Events dropped because they are bad, by reason", Rejected),
    family(
        "ws_events_dropped",
        "Events dropped because a shard had no room",
        Ingest(|i| i.events_dropped.get()),
    ),
    family("ws_batches", "Batches handed to shards", Ingest(|i| i.batches.get())),
    family(
        "ws_delayed_events",
        "Events released to delayed feeds (FEED_DELAYS), once for each",
        Ingest(|i| i.delayed_events.get()),
    ),
    family(
        "ws_delayed_events_lost",
        "Events that a delayed feed had no room for (DELAY_MAX_BYTES), once for each; its clients were told",
        Ingest(|i| i.delayed_events_lost.get()),
    ),
    family(
        "ws_delayed_events_waiting",
        "Events that delayed feeds keep until they are due",
        Process(|s| Some(s.state.metrics.ingest.delayed_waiting.get() as f64)),
    ),
    family(
        "ws_delayed_bytes",
        "Memory that these take",
        Process(|s| Some(s.state.metrics.ingest.delayed_bytes.get() as f64)),
    ),
    family("ws_upstream_losses", "Times the upstream was lost", Ingest(|i| i.upstream_losses.get())),
    family(
        "ws_last_event_age_seconds",
        "Time since the last event; absent before the first",
        Process(Scrape::last_event_age),
    ),
    family("ws_upstream_connects", "Attempts to reach the upstream", Control(|c| c.upstream_connects.get())),
    family(
        "ws_upstream_connect_failures",
        "Attempts to reach the upstream that failed",
        Control(|c| c.upstream_connect_failures.get()),
    ),
    family(
        "ws_responses_unasked",
        "Responses of workers that no client waited for, or not any more",
        ShardCounter(|s| s.responses_unasked.get()),
    ),
    // Control side.
    family("ws_accepted", "Connections accepted", Control(|c| c.accepted.get())),
    family("ws_accept_errors", "Failed accept calls, by cause", AcceptErrors),
    family("ws_upgrades", "WebSocket handshakes completed", Control(|c| c.upgrades.get())),
    family(
        "ws_upgrades_refused",
        "Connections of clients refused before they began, by reason",
        UpgradesRefused,
    ),
    family("ws_tokens_refused", "Tokens that did not hold", Control(|c| c.tokens_refused.get())),
    family(
        "ws_desk_published",
        "What clients have said at the desk, and the gateway of itself, that the upstream has taken",
        Control(|c| c.desk_published.get()),
    ),
    family(
        "ws_desk_unconfirmed",
        "The same that the upstream has not confirmed: clients were told UNAVAILABLE",
        Control(|c| c.desk_unconfirmed.get()),
    ),
    family(
        "ws_inbox_entries",
        "What clients have said to users and is in their inboxes, or was",
        Control(|c| c.inbox_entries.get()),
    ),
    family(
        "ws_inbox_entries_confirmed",
        "Entries of inboxes that clients have confirmed; one may be confirmed by several",
        Control(|c| c.inbox_entries_confirmed.get()),
    ),
    family(
        "ws_inbox_entries_refused",
        "Entries that workers have put into inboxes and that can't be delivered",
        Control(|c| c.inbox_entries_refused.get()),
    ),
    family(
        "ws_rooms",
        "Rooms that somebody is in, at any gateway",
        Process(|s| Some(s.state.rooms_open() as f64)),
    ),
    family(
        "ws_connections_replaced",
        "Connections whose place a newer one of their user has taken",
        Control(|c| c.connections_replaced.get()),
    ),
    family("ws_users", "Distinct users with a connection", Process(|s| Some(s.state.users_online() as f64))),
    family("ws_key_files_taken", "Key files read again and taken", Control(|c| c.key_files_taken.get())),
    family(
        "ws_key_files_refused",
        "Key files read again that could not be used",
        Control(|c| c.key_files_refused.get()),
    ),
    family("ws_jwks_fetches", "Attempts to fetch keys from the key server, by result", KeyFetches),
    family(
        "ws_jwks_age_seconds",
        "Time since the key server's keys in use were fetched; absent without any",
        Process(Scrape::keys_age),
    ),
    family(
        "ws_jwks_keys",
        "Keys of the key server in use",
        Process(|s| Some(s.state.metrics.control.keys_fetched.get() as f64)),
    ),
    family(
        "ws_http_requests",
        "HTTP requests answered, other than handshakes",
        Control(|c| c.http_requests.get()),
    ),
    family(
        "ws_http_requests_refused",
        "Questions to /v1/last and operators' requests refused, by reason",
        RequestsRefused,
    ),
    family(
        "ws_http_evicted",
        "HTTP connections closed because newer ones needed their place",
        Control(|c| c.http_evicted.get()),
    ),
    family("ws_tls_handshakes", "TLS handshakes completed", Control(|c| c.tls_handshakes.get())),
    family("ws_tls_handshakes_failed", "TLS handshakes that failed, by reason", TlsFailed),
    family("ws_tls_reloads", "Times the certificate was read again, by outcome", TlsReloads),
    family(
        "ws_tls_certificate_end_seconds",
        "When the certificate ends, as Unix time; absent without TLS",
        Process(Scrape::certificate_end),
    ),
    family(
        "ws_log_lines_lost",
        "Log lines lost because standard error was not read or could not be written",
        Log(logging::lines_lost),
    ),
    family("ws_tick_age_seconds", "Time since a thread's loop last turned", TickAge),
];

impl Source {
    /// The metric's type in the exposition.
    pub(super) fn metric_type(&self) -> MetricType {
        match self {
            ShardCounter(_) | ShardSeconds(_) | Ingest(_) | DataPath(_) | Control(_) | Log(_) => {
                MetricType::Counter
            }
            Rejected | AcceptErrors | TlsFailed | TlsReloads | KeyFetches | UpgradesRefused
            | RequestsRefused | Errors => MetricType::Counter,
            ShardGauge(_) | Process(_) | TickAge => MetricType::Gauge,
            Delivery => MetricType::Histogram,
            Build => MetricType::Info,
        }
    }
}

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}
