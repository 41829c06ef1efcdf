//! The result for people: one figure or one row of figures a line.

use super::latency::Quantiles;
use super::pace::Pace;
use super::report::Report;
use tools::term::clean;

/// A name, and what stands behind it.
type Row = (&'static str, String);

/// A report as text, with a line break at the end.
pub fn render(report: &Report) -> String {
    let caveats = report.caveats.iter().map(|caveat| ("!!", caveat.clone()));
    let verdict = match (report.ok, report.published.total) {
        (false, _) => "NOT what was promised",
        (true, 0) => "every connection opened and stayed open",
        (true, _) => "every event once and in order",
    };
    let figures = [scenario, connections, events, latencies, server, client].into_iter();
    let rows = figures.flat_map(|rows| rows(report)).chain(caveats).chain([("verdict", verdict.to_owned())]);
    rows.map(|(name, text)| format!("{name:<12}  {text}\n")).collect()
}

fn scenario(report: &Report) -> Vec<Row> {
    let scenario = &report.scenario;
    let pace = match scenario.pace {
        None => "nothing published".to_owned(),
        Some(Pace::Steady { per_second }) if scenario.rooms.is_some() => format!("{per_second} messages/s"),
        Some(Pace::Steady { per_second }) => format!("{per_second} trades/s"),
        Some(Pace::Bursts { trades, every_ns }) => {
            format!("{trades} trades every {} ms", every_ns as f64 / 1e6)
        }
        Some(Pace::Unbounded) => "as many trades as Redis takes".to_owned(),
    };
    let churn = match scenario.churn_per_second {
        0 => String::new(),
        per_second => format!(", {per_second} (un)subscribes/s"),
    };
    let holds = match scenario.rooms {
        None => format!("on {} of {} symbols", scenario.subscribe, scenario.symbols),
        Some(rooms) => format!("in {} room(s) of {}, {} talk", rooms.rooms, rooms.members, rooms.talkers),
    };
    let text = format!(
        "{}: {} connections {holds}, {pace}{churn}, {:.1} s after {:.1} s of warm-up",
        scenario.preset, scenario.connections, scenario.seconds, scenario.warmup_seconds
    );
    vec![("scenario", text)]
}

fn connections(report: &Report) -> Vec<Row> {
    let connections = &report.connections;
    let opened = format!(
        "{} opened in {:.2} s ({:.0}/s)",
        connections.opened, connections.opening_seconds, connections.opened_per_second
    );
    let reasons = [
        ("failed", &connections.failed),
        ("lost", &connections.lost),
        ("complaints", &connections.complaints),
    ];
    let reasons = reasons.into_iter().flat_map(|(name, reasons)| {
        reasons.0.iter().map(move |(reason, count)| (name, format!("{count} × {}", clean(reason, 400))))
    });
    [("connections", opened)].into_iter().chain(reasons).collect()
}

fn events(report: &Report) -> Vec<Row> {
    let (published, delivered, counts) = (&report.published, &report.delivered, &report.events.counts);
    let mut rows = Vec::new();
    if published.total > 0 {
        let noun = if report.scenario.rooms.is_some() { "messages" } else { "trades" };
        let trades = format!("{} {noun}, {:.0}/s in the window", published.total, published.per_second);
        let bytes = bytes(delivered.bytes_per_second);
        let arrived =
            format!("{} in the window, {:.0}/s, {bytes}/s", delivered.in_window, delivered.per_second);
        let books = format!(
            "{} delivered of {} expected, {} missing, {} repeated, {} out of order, {} uninvited, {} skipped with notice",
            counts.delivered,
            report.events.expected,
            counts.missing,
            counts.repeated,
            counts.out_of_order,
            counts.uninvited,
            counts.announced
        );
        rows.extend([("published", trades), ("delivered", arrived), ("events", books)]);
    }
    if let Some(rooms) = report.scenario.rooms.filter(|_| published.total > 0) {
        let order = match report.events.orders_differ {
            0 => "every room in one order".to_owned(),
            differ => format!("{differ} of {} rooms NOT in one order", rooms.rooms),
        };
        rows.push(("rooms", order));
    }
    if report.scenario.churn_per_second > 0 {
        let (answered, missed) = (delivered.replies_per_second, delivered.churn_missed);
        rows.push(("churn", format!("{answered:.0} (un)subscribes/s answered, {missed} left out")));
    }
    rows
}

fn latencies(report: &Report) -> Vec<Row> {
    let all = [
        ("latency", report.latency_us),
        ("reply", report.reply_us),
        ("handshake", report.handshake_us),
        ("sent late", report.published.late_us),
    ];
    let figures = |Quantiles { p50, p90, p99, p999, max, .. }| {
        [p50, p90, p99, p999, max].map(|us| format!("{us:>10.0}")).concat()
    };
    let mut rows: Vec<Row> =
        all.into_iter().filter_map(|(name, quantiles)| Some((name, figures(quantiles?)))).collect();
    if !rows.is_empty() {
        let heading = ["p50", "p90", "p99", "p99.9", "max"].map(|name| format!("{name:>10}")).concat();
        rows.insert(0, ("µs", heading));
    }
    rows
}

fn server(report: &Report) -> Vec<Row> {
    let server = &report.server;
    let cpu = [
        (server.cpu_percent, "% of a core"),
        (server.cpu_us_per_delivered, "µs a delivered event"),
        (server.cpu_us_per_published, "µs a published one"),
        (server.cpu_us_per_reply, "µs a (un)subscribe, deliveries included"),
        (server.cpu_us_per_handshake, "µs a connection opened"),
    ];
    let cpu = cpu.into_iter().filter_map(|(figure, unit)| Some(format!("{:.2} {unit}", figure?)));
    let cpu = cpu.collect::<Vec<_>>().join(", ");
    let rss = || {
        let (before, opened) =
            (bytes(server.rss_before_bytes? as f64), bytes(server.rss_opened_bytes? as f64));
        let each = server.rss_bytes_per_connection?;
        let peak = server.rss_peak_bytes.map(|peak| format!(", at most {}", bytes(peak as f64)));
        let peak = peak.unwrap_or_default();
        Some(format!("{before} before, {opened} with all connections, {each:.0} bytes each{peak}"))
    };
    let redis = server.redis_cpu_percent.map(|redis| {
        let waited = server.redis_waited_percent.unwrap_or_default();
        format!("{redis:.1} % of a core, waiting for one {waited:.1} % of the time")
    });
    let rows = [
        ("server CPU", Some(cpu).filter(|cpu| !cpu.is_empty())),
        ("server RSS", rss()),
        ("Redis CPU", redis),
    ];
    rows.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

fn client(report: &Report) -> Vec<Row> {
    let client = &report.client;
    let text = format!(
        "{} process(es), the busiest {:.1} % of a core ({:.1} % while opening), waiting for one {:.1} % of the time; \
         publisher {:.1} %",
        client.workers,
        client.busiest_percent,
        client.opening_percent,
        client.waited_percent,
        client.publisher_percent
    );
    vec![("load itself", text)]
}

/// Bytes in the unit that suits them.
fn bytes(bytes: f64) -> String {
    match bytes {
        small if small < 1024.0 * 10.0 => format!("{small:.0} B"),
        medium if medium < 1024.0 * 1024.0 * 10.0 => format!("{:.0} KiB", medium / 1024.0),
        large => format!("{:.1} MiB", large / 1024.0 / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        let texts = [0.0, 9_000.0, 20_480.0, 20_971_520.0, -900.0].map(bytes);
        assert_eq!(texts, ["0 B", "9000 B", "20 KiB", "20.0 MiB", "-900 B"]);
    }
}
