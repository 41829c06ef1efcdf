//! The result: what was asked for, what came of it, what it cost, and whether the measurement can be trusted.

mod caveats;

use serde::Serialize;

use super::desk::Desk;
use super::feed::Published;
use super::latency::Quantiles;
use super::ledger::Counts;
use super::options::Plan;
use super::pace::Pace;
use super::server::Processes;
use super::wire::{Outcome, Reasons, Window};

/// What opening the crowd took.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// From the first process to the last reply.
    pub seconds: f64,
    /// The server's processor time.
    pub cpu_ns: Option<u64>,
    /// Each worker's.
    pub client_ns: Vec<Option<u64>>,
    /// The server's memory before.
    pub rss_before_bytes: Option<u64>,
    /// The server's memory after, settled.
    pub rss_after_bytes: Option<u64>,
}

/// Processor time of everybody at one moment.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// When.
    pub at_ns: u64,
    /// Trades that Redis had handed to a subscriber.
    pub reached: u64,
    /// The server's, all threads.
    pub server_ns: Option<u64>,
    /// Redis'.
    pub redis_ns: Option<u64>,
    /// How long Redis has waited for a processor.
    pub redis_waited_ns: Option<u64>,
    /// This process', which publishes.
    pub own_ns: Option<u64>,
    /// Each worker's.
    pub client_ns: Vec<Option<u64>>,
    /// How long each worker has waited for a processor.
    pub client_waited_ns: Vec<Option<u64>>,
}

/// What was measured while trades flowed.
#[derive(Debug)]
pub struct Measured {
    /// When.
    pub window: Window,
    /// At its beginning.
    pub begin: Sample,
    /// At its end.
    pub end: Sample,
    /// The most memory the server had.
    pub rss_peak_bytes: Option<u64>,
    /// What was published, if anything.
    pub published: Option<Published>,
}

/// All that a report is made of.
#[derive(Debug)]
pub struct Facts<'r> {
    /// What was asked for.
    pub plan: &'r Plan,
    /// Which protocol.
    pub dialect: &'static str,
    /// The server's processes.
    pub server: &'r Processes,
    /// What opening took.
    pub opening: Opening,
    /// What was measured, unless it was only opened.
    pub measured: Option<Measured>,
    /// What the workers found.
    pub found: Outcome,
}

/// The result of a run, as `--json` prints it. Times in µs unless their names say otherwise.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether the server kept what it promises, on every connection.
    pub ok: bool,
    /// Why the figures say less than they seem to: the load generator or Redis was the limit, something couldn't be
    /// measured.
    pub caveats: Vec<String>,
    /// What was asked for.
    pub scenario: ScenarioFacts,
    /// What became of connections.
    pub connections: Connections,
    /// What was published.
    pub published: PublishedFacts,
    /// What arrived in the window.
    pub delivered: Delivered,
    /// What became of every event, the warm-up's included.
    pub events: Events,
    /// From intended sending to reading.
    pub latency_us: Option<Quantiles>,
    /// From connect to the 101 answer.
    pub handshake_us: Option<Quantiles>,
    /// From a subscribe or unsubscribe to its reply.
    pub reply_us: Option<Quantiles>,
    /// What it cost the server.
    pub server: ServerFacts,
    /// What it cost the load generator.
    pub client: ClientFacts,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "as the flags of the same names")]
pub struct ScenarioFacts {
    pub preset: String,
    pub dialect: &'static str,
    pub address: String,
    pub connections: u32,
    pub symbols: u32,
    pub subscribe: u32,
    pub pace: Option<Pace>,
    pub rooms: Option<Desk>,
    pub churn_per_second: u32,
    pub warmup_seconds: f64,
    /// The window that was measured.
    pub seconds: f64,
}

/// What became of connections.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// Were subscribed.
    pub opened: u32,
    /// Could not be opened.
    pub failed: Reasons,
    /// Ended although nobody had asked for it.
    pub lost: Reasons,
    /// Error replies and messages that can't be understood.
    pub complaints: Reasons,
    /// From the first connect to the last reply.
    pub opening_seconds: f64,
    /// Opened in a second of it.
    pub opened_per_second: f64,
}

/// What was published.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedFacts {
    /// In all.
    pub total: u64,
    /// In the window.
    pub in_window: u64,
    /// A second of the window.
    pub per_second: f64,
    /// Handed to a subscriber by Redis, as far as its replies had come in, between the two looks at the server's
    /// processor time.
    pub reached: u64,
    /// How late the publisher was.
    pub late_us: Option<Quantiles>,
    /// To channels that nobody was subscribed to.
    pub unheard: u64,
}

/// What arrived in the window.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivered {
    /// Events, to all connections.
    pub in_window: u64,
    /// A second.
    pub per_second: f64,
    /// Bytes of frames a second.
    pub bytes_per_second: f64,
    /// Subscribes and unsubscribes answered a second.
    pub replies_per_second: f64,
    /// Subscribes and unsubscribes left out, because replies were late.
    pub churn_missed: u64,
}

/// What became of every event.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// Deliveries that the held symbols called for; those of churned ones come on top.
    pub expected: u64,
    /// The books.
    #[serde(flatten)]
    pub counts: Counts,
    /// Connections that heard of a lost upstream.
    pub feed_lost: u64,
    /// Rooms whose members did not all hear the same in the same order.
    pub orders_differ: usize,
    /// Messages that weren't said, because their talker had too many under way or had gone.
    pub unsaid: u64,
}

/// What it cost the server.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerFacts {
    /// Its processes.
    pub pids: Vec<u32>,
    /// Of one core, in the window.
    pub cpu_percent: Option<f64>,
    /// Processor time for each event delivered.
    pub cpu_us_per_delivered: Option<f64>,
    /// Processor time for each event published in the window; without a rate, for each that reached the server.
    pub cpu_us_per_published: Option<f64>,
    /// Processor time for each subscribe or unsubscribe; deliveries included.
    pub cpu_us_per_reply: Option<f64>,
    /// Processor time for each connection opened (and subscribed, if it was).
    pub cpu_us_per_handshake: Option<f64>,
    /// Memory before the first connection.
    pub rss_before_bytes: Option<u64>,
    /// Memory with all of them.
    pub rss_opened_bytes: Option<u64>,
    /// The most while trades flowed.
    pub rss_peak_bytes: Option<u64>,
    /// The difference that a connection makes.
    pub rss_bytes_per_connection: Option<f64>,
    /// Redis, of one core.
    pub redis_cpu_percent: Option<f64>,
    /// The time that Redis waited for a core.
    pub redis_waited_percent: Option<f64>,
}

/// What it cost the load generator.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientFacts {
    /// Processes that held connections.
    pub workers: u32,
    /// The busiest of them, of one core.
    pub busiest_percent: f64,
    /// The time that the one that waited most for a processor did so.
    pub waited_percent: f64,
    /// The process that published, of one core.
    pub publisher_percent: f64,
    /// The busiest of those that held connections, of one core, while connections were opened.
    pub opening_percent: f64,
}

impl Report {
    /// Adds everything up.
    pub fn new(facts: &Facts<'_>) -> Self {
        let found = &facts.found;
        let window = facts.measured.as_ref().map(|measured| measured.window).unwrap_or_default();
        let seconds = window.seconds();
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let published = published(facts.measured.as_ref(), per_second);
        let mut report = Self {
            ok: false,
            caveats: Vec::new(),
            scenario: scenario(facts, seconds),
            connections: Connections {
                opened: found.opened,
                opening_seconds: facts.opening.seconds,
                opened_per_second: f64::from(found.opened) / facts.opening.seconds.max(1e-9),
                failed: found.failed.clone(),
                lost: found.lost.clone(),
                complaints: found.complaints.clone(),
            },
            delivered: Delivered {
                in_window: found.delivered_in_window,
                per_second: per_second(found.delivered_in_window),
                bytes_per_second: per_second(found.bytes_in_window),
                replies_per_second: found
                    .replies
                    .quantiles()
                    .map_or(0.0, |replies| per_second(replies.count)),
                churn_missed: found.churn_missed,
            },
            events: Events {
                expected: found.expected,
                counts: found.counts,
                feed_lost: found.feed_lost,
                orders_differ: found.orders.values().filter(|order| order.is_none()).count(),
                unsaid: found.unsaid,
            },
            latency_us: found.latency.quantiles(),
            handshake_us: found.handshakes.quantiles(),
            reply_us: found.replies.quantiles(),
            server: ServerFacts::default(),
            client: client(facts),
            published,
        };
        report.server = report.server_facts(facts);
        report.ok = report.events.counts.is_clean()
            && report.events.orders_differ == 0
            && report.connections.opened == facts.plan.crowd.connections
            && report.connections.lost.total() == 0
            && report.connections.complaints.total() == 0;
        report.caveats = caveats::find(&report, facts);
        report
    }

    fn server_facts(&self, facts: &Facts<'_>) -> ServerFacts {
        let opening = &facts.opening;
        let used = |figure: fn(&Sample) -> Option<u64>| {
            let Measured { begin, end, .. } = facts.measured.as_ref()?;
            let cpu_ns = figure(end)?.checked_sub(figure(begin)?)?;
            Some((cpu_ns as f64, (end.at_ns - begin.at_ns).max(1) as f64))
        };
        let server = used(|sample| sample.server_ns);
        let each = |count: u64| server.filter(|_| count > 0).map(|(cpu_ns, _)| cpu_ns / 1e3 / count as f64);
        let percent = |(cpu_ns, wall_ns): (f64, f64)| 100.0 * cpu_ns / wall_ns;
        let opened = f64::from(self.connections.opened.max(1));
        let rss = opening.rss_before_bytes.zip(opening.rss_after_bytes);
        ServerFacts {
            pids: facts.server.pids().to_vec(),
            cpu_percent: server.map(percent),
            cpu_us_per_delivered: each(self.delivered.in_window),
            cpu_us_per_published: each(match self.scenario.pace {
                // What was written by the end of the window isn't yet through Redis.
                Some(Pace::Unbounded) => self.published.reached,
                _ => self.published.in_window,
            }),
            cpu_us_per_reply: each(self.reply_us.map_or(0, |replies| replies.count)),
            cpu_us_per_handshake: opening.cpu_ns.map(|cpu_ns| cpu_ns as f64 / 1e3 / opened),
            rss_before_bytes: opening.rss_before_bytes,
            rss_opened_bytes: opening.rss_after_bytes,
            rss_peak_bytes: facts.measured.as_ref().and_then(|measured| measured.rss_peak_bytes),
            rss_bytes_per_connection: rss.map(|(before, after)| (after as f64 - before as f64) / opened),
            redis_cpu_percent: used(|sample| sample.redis_ns).map(percent),
            redis_waited_percent: used(|sample| sample.redis_waited_ns).map(percent),
        }
    }
}

fn scenario(facts: &Facts<'_>, seconds: f64) -> ScenarioFacts {
    let plan = facts.plan;
    ScenarioFacts {
        preset: plan.preset.clone(),
        dialect: facts.dialect,
        address: plan.crowd.addr.to_string(),
        connections: plan.crowd.connections,
        symbols: plan.crowd.symbols,
        subscribe: plan.crowd.subscribed,
        pace: plan.pace(),
        rooms: plan.crowd.desk,
        churn_per_second: plan.crowd.churn_per_second,
        warmup_seconds: plan.warmup.as_secs_f64(),
        seconds,
    }
}

fn published(measured: Option<&Measured>, per_second: impl Fn(u64) -> f64) -> PublishedFacts {
    let Some(Measured { begin, end, published: Some(published), .. }) = measured else {
        return PublishedFacts::default();
    };
    PublishedFacts {
        reached: end.reached.saturating_sub(begin.reached),
        total: published.total,
        in_window: published.in_window,
        per_second: per_second(published.in_window),
        late_us: published.lateness.quantiles(),
        unheard: published.unheard,
    }
}

fn client(facts: &Facts<'_>) -> ClientFacts {
    let opening_ns = facts.opening.client_ns.iter().flatten().copied().max().unwrap_or_default();
    let opening_percent = opening_ns as f64 / 1e7 / facts.opening.seconds.max(1e-9);
    let opened = ClientFacts { workers: facts.plan.workers, opening_percent, ..ClientFacts::default() };
    let Some(Measured { begin, end, .. }) = &facts.measured else { return opened };
    let wall_ns = (end.at_ns - begin.at_ns).max(1) as f64;
    let percent = |(end, begin): (Option<u64>, Option<u64>)| {
        let used_ns = end.zip(begin).map_or(0, |(end, begin)| end.saturating_sub(begin));
        100.0 * used_ns as f64 / wall_ns
    };
    let most = |end: &[Option<u64>], begin: &[Option<u64>]| {
        end.iter().copied().zip(begin.iter().copied()).map(percent).fold(0.0, f64::max)
    };
    ClientFacts {
        busiest_percent: most(&end.client_ns, &begin.client_ns),
        waited_percent: most(&end.client_waited_ns, &begin.client_waited_ns),
        publisher_percent: percent((end.own_ns, begin.own_ns)),
        ..opened
    }
}
