//! `/metrics`: the counters as OpenMetrics, or as the text that Prometheus read before it. Names, units and help are one table,
//! [`FAMILIES`].
//!
//! Nothing is counted here: at a scrape the blocks of [`crate::metrics`] are read. Counters get `_total` from the encoder.

use std::fmt;
use std::sync::Arc;

use hyper::header::HeaderMap;
use hyper::http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::answers::{Answer, answer as http_answer};
use super::{Http, accept_header};
use crate::admission::Admission;
use crate::logging;
use crate::market::event::Reason;
use crate::metrics::{ControlMetrics, HISTOGRAM_BUCKETS, IngestMetrics, ShardMetrics};
use crate::state::State;

/// The media types of the formats, the one for clients that don't say which first, and what the answer says of each.
const MEDIA_TYPES: [&str; 2] = ["application/openmetrics-text", "text/plain"];
const CONTENT_TYPES: [&str; 2] = [
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "text/plain; version=0.0.4; charset=utf-8",
];

/// One metric: its name (a counter's without `_total`), its help, and where its value is.
struct Family {
    name: &'static str,
    help: &'static str,
    source: Source,
}

/// Where a metric's value is, and so its type and labels.
enum Source {
    /// A counter of every shard, labelled `shard`.
    ShardCounter(fn(&ShardMetrics) -> u64),
    /// A counter of every shard in microseconds, labelled `shard` and shown in seconds.
    ShardSeconds(fn(&ShardMetrics) -> u64),
    /// A gauge of every shard, labelled `shard`.
    ShardGauge(fn(&ShardMetrics) -> u64),
    /// A counter of the ingest thread.
    Ingest(fn(&IngestMetrics) -> u64),
    /// A counter of the control side.
    Control(fn(&ControlMetrics) -> u64),
    /// A counter of the log.
    Log(fn() -> u64),
    /// A gauge of the process; `None` while there is nothing to tell.
    Process(fn(&Scrape) -> Option<f64>),
    /// Rejected events, labelled `reason`.
    Rejected,
    /// Failed `accept` calls, labelled `cause`.
    AcceptErrors,
    /// How long ago each thread's loop last turned, labelled `thread`.
    TickAge,
    /// The histogram of all shards.
    Delivery,
    /// 1, labelled with what the process is.
    Build,
}

use Source::{
    AcceptErrors, Build, Control, Delivery, Ingest, Log, Process, Rejected, ShardCounter, ShardGauge,
    ShardSeconds, TickAge,
};

const fn family(name: &'static str, help: &'static str, source: Source) -> Family {
    Family { name, help, source }
}

/// All metrics.
const FAMILIES: &[Family] = &[
    family("ws_build", "What this process is, as labels", Build),
    family("ws_uptime_seconds", "Time since the gateway was built", Process(|s| Some(seconds(s.now_ms())))),
    family(
        "ws_upstream_up",
        "1 while the upstream subscription lives",
        Process(|s| Some(flag(s.state.feed_up()))),
    ),
    family(
        "ws_draining",
        "1 once the gateway is on its way out",
        Process(|s| Some(flag(s.state.draining()))),
    ),
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
        "From a ping to its pong, all pongs together",
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
    // What goes over their sockets.
    family(
        "ws_messages_sent",
        "Events, replies and status written completely",
        ShardCounter(|s| s.messages_sent.get()),
    ),
    family(
        "ws_messages_received",
        "Text and binary messages received",
        ShardCounter(|s| s.messages_received.get()),
    ),
    family("ws_errors_sent", "Error replies sent", ShardCounter(|s| s.errors_sent.get())),
    family("ws_sent_bytes", "Bytes written to sockets", ShardCounter(|s| s.bytes_sent.get())),
    family("ws_received_bytes", "Bytes read from sockets", ShardCounter(|s| s.bytes_received.get())),
    family("ws_writes", "Write calls on sockets", ShardCounter(|s| s.writes.get())),
    family(
        "ws_writes_blocked",
        "Writes that a socket took in part or not at all",
        ShardCounter(|s| s.writes_blocked.get()),
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
    family("ws_delivery_seconds", "From an event's arrival to its being written", Delivery),
    // Upstream.
    family("ws_events_received", "Events that came in", Ingest(|i| i.events.get())),
    family("ws_event_bytes", "Bytes of payloads that came in", Ingest(|i| i.event_bytes.get())),
    family("ws_events_unwanted", "Events of topics that nobody wants", Ingest(|i| i.events_unwanted.get())),
    family("ws_events_framed", "Events checked, framed and handed on", Ingest(|i| i.events_framed.get())),
    family("ws_events_duplicate", "Repeats of a seq, dropped", Ingest(|i| i.events_duplicate.get())),
    family("ws_upstream_gaps", "Times the seq of a wanted topic jumped", Ingest(|i| i.gaps.get())),
    family("ws_events_missing", "Events that these jumps left out", Ingest(|i| i.events_missing.get())),
    family(
        "ws_topics_recovered",
        "Topics that clients resumed and got all of",
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
    family("ws_upstream_losses", "Times the upstream was lost", Ingest(|i| i.upstream_losses.get())),
    family(
        "ws_last_event_age_seconds",
        "Time since the last event; absent before the first",
        Process(Scrape::last_event_age),
    ),
    family("ws_upstream_connects", "Attempts to reach the upstream", Control(|c| c.upstream_connects.get())),
    family(
        "ws_upstream_connect_failures",
        "Attempts that failed",
        Control(|c| c.upstream_connect_failures.get()),
    ),
    // Control side.
    family("ws_accepted", "Connections accepted", Control(|c| c.accepted.get())),
    family("ws_accept_errors", "Failed accept calls, by cause", AcceptErrors),
    family("ws_upgrades", "WebSocket handshakes completed", Control(|c| c.upgrades.get())),
    family("ws_upgrades_refused", "WebSocket handshakes refused", Control(|c| c.upgrades_refused.get())),
    family(
        "ws_http_requests",
        "Requests answered that were no handshake",
        Control(|c| c.http_requests.get()),
    ),
    family(
        "ws_http_evicted",
        "HTTP connections closed while they waited for their peer, to make room for newer ones",
        Control(|c| c.http_evicted.get()),
    ),
    family(
        "ws_log_lines_lost",
        "Log lines that nobody read or that could not be written",
        Log(logging::lines_lost),
    ),
    family("ws_tick_age_seconds", "Time since a thread's loop last turned", TickAge),
];

/// Answers a scrape in the format that it asks for.
pub(super) fn answer(http: &Http, request: &HeaderMap) -> Answer {
    let scrape = Scrape { state: Arc::clone(&http.state), admission: Arc::clone(&http.admission) };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => {
            let format = accept_header::preferred(request, &MEDIA_TYPES);
            let text = if format == 0 { text } else { as_prometheus_text(&text) };
            http_answer(StatusCode::OK, CONTENT_TYPES[format], text)
        }
        Err(fmt::Error) => {
            http_answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "cannot write metrics\n")
        }
    }
}

/// OpenMetrics rewritten as Prometheus' text format 0.0.4: there a counter's name ends in `_total` in the comments as well, an
/// info is a gauge, and there is no end mark.
fn as_prometheus_text(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 16);
    for line in openmetrics.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(keyword), Some(name), Some(rest)) => {
                let family = FAMILIES.iter().find(|family| family.name == name);
                let (suffix, kind) = match family.map(|family| family.source.metric_type()) {
                    Some(MetricType::Counter) => ("_total", rest),
                    Some(MetricType::Info) => ("_info", "gauge"),
                    _ => ("", rest),
                };
                let rest = if keyword == "TYPE" { kind } else { rest };
                text.extend(["# ", keyword, " ", name, suffix, " ", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// What a scrape reads.
#[derive(Debug)]
struct Scrape {
    state: Arc<State>,
    admission: Arc<Admission>,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in FAMILIES {
            let kind = family.source.metric_type();
            let metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            self.encode_family(&family.source, metric)?;
        }
        Ok(())
    }
}

impl Source {
    fn metric_type(&self) -> MetricType {
        match self {
            ShardCounter(_) | ShardSeconds(_) | Ingest(_) | Control(_) | Log(_) | Rejected | AcceptErrors => {
                MetricType::Counter
            }
            ShardGauge(_) | Process(_) | TickAge => MetricType::Gauge,
            Delivery => MetricType::Histogram,
            Build => MetricType::Info,
        }
    }
}

impl Scrape {
    fn now_ms(&self) -> u64 {
        self.state.metrics.uptime_ms()
    }

    fn last_event_age(&self) -> Option<f64> {
        self.state.metrics.last_event_age_ms().map(seconds)
    }

    fn encode_family(&self, source: &Source, mut metric: MetricEncoder<'_>) -> fmt::Result {
        let metrics = &self.state.metrics;
        match source {
            ShardCounter(value) => {
                let shards = metrics.shards.iter().enumerate();
                shards
                    .map(|(i, shard)| (i as u64, value(shard)))
                    .try_for_each(|(i, n)| counter(&mut metric, &[("shard", i)], n))
            }
            ShardSeconds(value) => {
                let shards = metrics.shards.iter().enumerate();
                shards
                    .map(|(i, shard)| (i as u64, value(shard) as f64 / 1e6))
                    .try_for_each(|(i, s)| counter(&mut metric, &[("shard", i)], s))
            }
            ShardGauge(value) => {
                let shards = metrics.shards.iter().enumerate();
                shards
                    .map(|(i, shard)| (i as u64, value(shard) as f64))
                    .try_for_each(|(i, n)| gauge(&mut metric, &[("shard", i)], n))
            }
            Ingest(value) => ConstCounter::new(value(&metrics.ingest)).encode(metric),
            Control(value) => ConstCounter::new(value(&metrics.control)).encode(metric),
            Log(value) => ConstCounter::new(value()).encode(metric),
            Process(value) => match value(self) {
                Some(value) => ConstGauge::new(value).encode(metric),
                None => Ok(()),
            },
            Rejected => {
                let reasons = Reason::ALL.iter().zip(&metrics.ingest.rejected);
                reasons
                    .into_iter()
                    .try_for_each(|(why, n)| counter(&mut metric, &[("reason", why.label())], n.get()))
            }
            AcceptErrors => {
                let control = &metrics.control;
                counter(&mut metric, &[("cause", "connection")], control.accept_errors_connection.get())?;
                counter(&mut metric, &[("cause", "exhausted")], control.accept_errors_exhausted.get())
            }
            TickAge => self.encode_tick_ages(&mut metric),
            Delivery => self.encode_delivery(metric),
            Build => metric
                .encode_info(&[("version", env!("CARGO_PKG_VERSION")), ("server_id", &self.state.server_id)]),
        }
    }

    fn encode_tick_ages(&self, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        let metrics = &self.state.metrics;
        let age = |tick_ms: u64| seconds(self.now_ms().saturating_sub(tick_ms));
        gauge(metric, &[("thread", "ingest")], age(metrics.ingest.tick_ms.get()))?;
        for (i, shard) in metrics.shards.iter().enumerate() {
            gauge(metric, &[("thread", format!("shard-{i}"))], age(shard.tick_ms.get()))?;
        }
        Ok(())
    }

    /// Sums the shards' histograms; bucket `i` holds up to 2^i µs.
    fn encode_delivery(&self, mut metric: MetricEncoder<'_>) -> fmt::Result {
        let mut counts = [0; HISTOGRAM_BUCKETS];
        let mut sum_us = 0;
        for shard in &self.state.metrics.shards {
            let (shard_counts, shard_sum_us) = shard.delivery.read();
            counts.iter_mut().zip(shard_counts).for_each(|(count, n)| *count += n);
            sum_us += shard_sum_us;
        }
        let bound =
            |i: usize| if i + 1 == HISTOGRAM_BUCKETS { f64::INFINITY } else { (1_u64 << i) as f64 / 1e6 };
        let buckets: [(f64, u64); HISTOGRAM_BUCKETS] = std::array::from_fn(|i| (bound(i), counts[i]));
        metric.encode_histogram::<NoLabelSet>(sum_us as f64 / 1e6, counts.iter().sum(), &buckets, None)
    }
}

fn counter(
    metric: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: impl EncodeCounterValue,
) -> fmt::Result {
    ConstCounter::new(value).encode(metric.encode_family(labels)?)
}

fn gauge(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(metric.encode_family(labels)?)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}
