//! What has to be known to read the figures rightly.

use super::{Facts, Report};

/// A process that uses more of a core than this had nothing to spare.
const BUSY_PERCENT: f64 = 90.0;
/// A publisher that is later than this with one trade of a hundred isn't in time.
const LATE_P99_US: f64 = 1_000.0;
/// The same of talkers, who look once a millisecond what is due.
const LATE_TALK_P99_US: f64 = 3_000.0;
/// So long an opening says something about who was busy in it.
const OPENING_SECONDS: f64 = 0.2;

pub(super) fn find(report: &Report, facts: &Facts<'_>) -> Vec<String> {
    let mut caveats = Vec::new();
    load_itself(report, &mut caveats);
    talk(report, &mut caveats);
    upstream(report, &mut caveats);
    server(report, facts, &mut caveats);
    caveats
}

/// Where the load generator was the limit.
fn load_itself(report: &Report, caveats: &mut Vec<String>) {
    let client = &report.client;
    let is_long = report.connections.opening_seconds > OPENING_SECONDS;
    for (percent, who) in [
        (client.busiest_percent, "a process of its connections"),
        (client.publisher_percent, "its publisher"),
        (if is_long { client.opening_percent } else { 0.0 }, "a process that opened connections"),
    ] {
        if percent > BUSY_PERCENT {
            caveats
                .push(format!("the load generator was the bottleneck: {who} used {percent:.0} % of a core"));
        }
    }
    let wanted = client.busiest_percent + client.waited_percent;
    if client.busiest_percent <= BUSY_PERCENT && wanted > BUSY_PERCENT {
        caveats.push(format!(
            "the load generator lacked a core: a process of its connections used {:.0} % of one and waited for one \
             {:.0} % of the time; latencies are partly its own",
            client.busiest_percent, client.waited_percent
        ));
    }
    let late_p99_us = if report.scenario.rooms.is_some() { LATE_TALK_P99_US } else { LATE_P99_US };
    if let Some(late) = report.published.late_us.filter(|late| late.p99 > late_p99_us) {
        caveats.push(format!(
            "the load generator published late: p99 {:.0} µs, at most {:.0} µs; that much of the latency is its own",
            late.p99, late.max
        ));
    }
    if report.delivered.churn_missed > 0 {
        caveats.push(format!(
            "{} (un)subscribes were left out: no connection was free for them",
            report.delivered.churn_missed
        ));
    }
}

/// What was not said, so that the rate is less than was asked for.
fn talk(report: &Report, caveats: &mut Vec<String>) {
    if report.events.unsaid > 0 {
        caveats.push(format!(
            "{} messages were left out: those who were to say them had gone, or had yet to hear the last ones that they had said",
            report.events.unsaid
        ));
    }
}

/// Where trades didn't reach the server.
fn upstream(report: &Report, caveats: &mut Vec<String>) {
    let published = &report.published;
    let server = &report.server;
    let (redis, waited) =
        (server.redis_cpu_percent.unwrap_or_default(), server.redis_waited_percent.unwrap_or_default());
    if redis + waited > BUSY_PERCENT {
        caveats.push(format!(
            "Redis was at its limit: {redis:.0} % of a core used, waiting for one {waited:.0} % of the time"
        ));
    }
    if published.unheard > 0 {
        caveats.push(format!(
            "Redis had no subscriber for {} of {} trades: is the gateway connected to this Redis, with the same \
             channel prefix?",
            published.unheard, published.total
        ));
    }
    if report.events.feed_lost > 0 {
        caveats.push("the server lost its upstream during the run".to_owned());
    }
    if report.scenario.pace.is_some() && report.events.expected == 0 {
        caveats.push("no trade was of a symbol that a connection holds: nothing was checked".to_owned());
    }
}

/// What couldn't be measured of the server.
fn server(report: &Report, facts: &Facts<'_>, caveats: &mut Vec<String>) {
    if facts.server.is_empty() {
        caveats
            .push("the server's process was not found (--server-pid): its cost was not measured".to_owned());
    } else if facts.opening.cpu_ns.is_none() {
        caveats
            .push(format!("no such process: {:?}: the server's cost was not measured", facts.server.pids()));
    }
    if report.server.rss_bytes_per_connection.is_some_and(|bytes| bytes <= 0.0)
        && report.connections.opened > 100
    {
        caveats.push(
            "the server had memory left from earlier connections: start it anew to measure memory".to_owned(),
        );
    }
}
