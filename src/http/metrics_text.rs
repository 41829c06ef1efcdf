//! `/metrics`: the counters as OpenMetrics, or as Prometheus' older text format. The table [`FAMILIES`] has names and help.
//!
//! This module counts nothing: each scrape reads the blocks of [`crate::metrics`]. The encoder adds `_total` to counters.

mod families;

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

use self::families::{FAMILIES, Source};
use super::answers::{Answer, answer as http_answer};
use super::{Http, accept_header};
use crate::admission::Admission;
use crate::market::Delay;
use crate::market::event::Reason;
use crate::metrics::{HISTOGRAM_BUCKETS, KeyFetch, RequestRefusal, TlsFailure, UpgradeRefusal};
use crate::protocol::refusal::ErrorCode;
use crate::state::State;

/// The formats' media types; the first is the one for clients that don't ask for any.
const MEDIA_TYPES: [&str; 2] = ["application/openmetrics-text", "text/plain"];
/// `Content-Type` of each format.
const CONTENT_TYPES: [&str; 2] = [
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "text/plain; version=0.0.4; charset=utf-8",
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

/// Rewrites OpenMetrics as Prometheus' text format 0.0.4. There a counter's name ends in `_total` in the comments too, an info
/// is a gauge, and there is no `# EOF`.
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

/// The state that a scrape reads.
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

impl Scrape {
    fn now_ms(&self) -> u64 {
        self.state.metrics.uptime_ms()
    }

    fn last_event_age(&self) -> Option<f64> {
        self.state.metrics.last_event_age_ms(Delay::NONE).map(seconds)
    }

    fn certificate_end(&self) -> Option<f64> {
        let end_s = self.state.metrics.control.tls_not_after_s.get();
        (end_s > 0).then_some(end_s as f64)
    }

    fn keys_age(&self) -> Option<f64> {
        let fetched_ms = self.state.metrics.control.keys_fetched_ms.get();
        (fetched_ms > 0).then(|| seconds(self.now_ms().saturating_sub(fetched_ms)))
    }

    fn encode_family(&self, source: &Source, mut metric: MetricEncoder<'_>) -> fmt::Result {
        let metrics = &self.state.metrics;
        match source {
            Source::ShardCounter(value) => {
                let shards = metrics.shards.iter().enumerate();
                shards
                    .map(|(i, shard)| (i as u64, value(shard)))
                    .try_for_each(|(i, n)| counter(&mut metric, &[("shard", i)], n))
            }
            Source::ShardSeconds(value) => {
                let shards = metrics.shards.iter().enumerate();
                shards
                    .map(|(i, shard)| (i as u64, value(shard) as f64 / 1e6))
                    .try_for_each(|(i, s)| counter(&mut metric, &[("shard", i)], s))
            }
            Source::ShardGauge(value) => {
                let shards = metrics.shards.iter().enumerate();
                shards
                    .map(|(i, shard)| (i as u64, value(shard) as f64))
                    .try_for_each(|(i, n)| gauge(&mut metric, &[("shard", i)], n))
            }
            Source::Ingest(value) => ConstCounter::new(value(&metrics.ingest)).encode(metric),
            Source::DataPath(value) => ConstCounter::new(value(metrics)).encode(metric),
            Source::Control(value) => ConstCounter::new(value(&metrics.control)).encode(metric),
            Source::Log(value) => ConstCounter::new(value()).encode(metric),
            Source::Process(value) => match value(self) {
                Some(value) => ConstGauge::new(value).encode(metric),
                None => Ok(()),
            },
            Source::Rejected => {
                let reasons = Reason::ALL.iter().zip(&metrics.ingest.rejected);
                reasons
                    .into_iter()
                    .try_for_each(|(why, n)| counter(&mut metric, &[("reason", why.label())], n.get()))
            }
            Source::AcceptErrors => {
                let control = &metrics.control;
                counter(&mut metric, &[("cause", "connection")], control.accept_errors_connection.get())?;
                counter(&mut metric, &[("cause", "exhausted")], control.accept_errors_exhausted.get())
            }
            Source::TlsFailed => TlsFailure::ALL.into_iter().try_for_each(|failure| {
                let failed = metrics.control.tls_failed(failure);
                counter(&mut metric, &[("reason", failure.word())], failed.get())
            }),
            Source::TlsReloads => {
                let control = &metrics.control;
                counter(&mut metric, &[("outcome", "loaded")], control.tls_reloads.get())?;
                counter(&mut metric, &[("outcome", "refused")], control.tls_reloads_refused.get())
            }
            Source::KeyFetches => KeyFetch::ALL.into_iter().try_for_each(|result| {
                let fetches = metrics.control.key_fetches[result as usize].get();
                counter(&mut metric, &[("result", result.word())], fetches)
            }),
            Source::UpgradesRefused => UpgradeRefusal::ALL.into_iter().try_for_each(|why| {
                let refused = metrics.control.upgrade_refused(why).get();
                counter(&mut metric, &[("reason", why.word())], refused)
            }),
            Source::RequestsRefused => RequestRefusal::ALL.into_iter().try_for_each(|why| {
                let refused = metrics.control.request_refused(why).get();
                counter(&mut metric, &[("reason", why.word())], refused)
            }),
            Source::Errors => ErrorCode::ALL.into_iter().try_for_each(|code| {
                let sent = metrics.sum(|shard| &shard.errors_sent[code as usize]);
                counter(&mut metric, &[("code", code.as_str())], sent)
            }),
            Source::TickAge => self.encode_tick_ages(&mut metric),
            Source::Delivery => self.encode_delivery(metric),
            Source::Build => metric
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

    /// Writes the sum of the shards' histograms. Bucket `i` counts values up to 2^i µs.
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
