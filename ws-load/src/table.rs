//! The result for people: one figure or one row of figures a line.

use std::fmt::Write as _;

use super::latency::Quantiles;
use super::pace::Pace;
use super::report::Report;
use super::wire::Reasons;
use tools::term::clean;

/// A report as text, with a line break at the end.
pub fn render(report: &Report) -> String {
    let mut out = Table(String::new());
    out.scenario(report);
    out.connections(report);
    out.events(report);
    out.latencies(report);
    out.server(report);
    out.client(report);
    for caveat in &report.caveats {
        out.row("!!", caveat);
    }
    out.row("verdict", verdict(report));
    out.0
}

fn verdict(report: &Report) -> &'static str {
    match (report.ok, report.published.total) {
        (false, _) => "NOT what was promised",
        (true, 0) => "every connection opened and stayed open",
        (true, _) => "every event once and in order",
    }
}

struct Table(String);

impl Table {
    fn row(&mut self, name: &str, text: &str) {
        let _ = writeln!(self.0, "{name:<12}  {text}");
    }

    fn scenario(&mut self, report: &Report) {
        let scenario = &report.scenario;
        let pace = match scenario.pace {
            None => "nothing published".to_owned(),
            Some(Pace::Steady { per_second }) => format!("{per_second} trades/s"),
            Some(Pace::Bursts { trades, every_ns }) => {
                format!("{trades} trades every {} ms", every_ns as f64 / 1e6)
            }
            Some(Pace::Unbounded) => "as many trades as Redis takes".to_owned(),
        };
        let mut text = format!(
            "{}: {} connections on {} of {} symbols, {pace}",
            scenario.preset, scenario.connections, scenario.subscribe, scenario.symbols
        );
        if scenario.churn_per_second > 0 {
            let _ = write!(text, ", {} (un)subscribes/s", scenario.churn_per_second);
        }
        let _ = write!(text, ", {:.1} s after {:.1} s of warm-up", scenario.seconds, scenario.warmup_seconds);
        self.row("scenario", &text);
    }

    fn connections(&mut self, report: &Report) {
        let connections = &report.connections;
        let text = format!(
            "{} opened in {:.2} s ({:.0}/s)",
            connections.opened, connections.opening_seconds, connections.opened_per_second
        );
        self.row("connections", &text);
        self.reasons("failed", &connections.failed);
        self.reasons("lost", &connections.lost);
        self.reasons("complaints", &connections.complaints);
    }

    fn reasons(&mut self, name: &str, reasons: &Reasons) {
        for (reason, count) in &reasons.0 {
            self.row(name, &format!("{count} × {}", clean(reason, 400)));
        }
    }

    fn events(&mut self, report: &Report) {
        let (published, delivered) = (&report.published, &report.delivered);
        if published.total > 0 {
            let text = format!("{} trades, {:.0}/s in the window", published.total, published.per_second);
            self.row("published", &text);
            let text = format!(
                "{} in the window, {:.0}/s, {}/s",
                delivered.in_window,
                delivered.per_second,
                bytes(delivered.bytes_per_second)
            );
            self.row("delivered", &text);
            let counts = &report.events.counts;
            let text = format!(
                "{} delivered of {} expected, {} missing, {} repeated, {} out of order, {} uninvited, {} skipped with notice",
                counts.delivered,
                report.events.expected,
                counts.missing,
                counts.repeated,
                counts.out_of_order,
                counts.uninvited,
                counts.announced
            );
            self.row("events", &text);
        }
        if report.scenario.churn_per_second > 0 {
            let text = format!(
                "{:.0} (un)subscribes/s answered, {} left out",
                delivered.replies_per_second, delivered.churn_missed
            );
            self.row("churn", &text);
        }
    }

    fn latencies(&mut self, report: &Report) {
        let rows = [
            ("latency", report.latency_us),
            ("reply", report.reply_us),
            ("handshake", report.handshake_us),
            ("sent late", report.published.late_us),
        ];
        if rows.iter().any(|(_, quantiles)| quantiles.is_some()) {
            self.row("µs", &["p50", "p90", "p99", "p99.9", "max"].map(|name| format!("{name:>10}")).concat());
        }
        for (name, quantiles) in rows {
            if let Some(Quantiles { p50, p90, p99, p999, max, .. }) = quantiles {
                self.row(name, &[p50, p90, p99, p999, max].map(|us| format!("{us:>10.0}")).concat());
            }
        }
    }

    fn server(&mut self, report: &Report) {
        let server = &report.server;
        let mut cpu = String::new();
        for (figure, unit) in [
            (server.cpu_percent, "% of a core"),
            (server.cpu_us_per_delivered, "µs a delivered event"),
            (server.cpu_us_per_published, "µs a published one"),
            (server.cpu_us_per_reply, "µs a (un)subscribe, deliveries included"),
            (server.cpu_us_per_handshake, "µs a connection opened"),
        ] {
            if let Some(figure) = figure {
                let comma = if cpu.is_empty() { "" } else { ", " };
                let _ = write!(cpu, "{comma}{figure:.2} {unit}");
            }
        }
        if !cpu.is_empty() {
            self.row("server CPU", &cpu);
        }
        if let (Some(before), Some(opened), Some(each)) =
            (server.rss_before_bytes, server.rss_opened_bytes, server.rss_bytes_per_connection)
        {
            let mut text = format!(
                "{} before, {} with all connections, {each:.0} bytes each",
                bytes(before as f64),
                bytes(opened as f64)
            );
            if let Some(peak) = server.rss_peak_bytes {
                let _ = write!(text, ", at most {}", bytes(peak as f64));
            }
            self.row("server RSS", &text);
        }
        if let Some(redis) = server.redis_cpu_percent {
            let waited = server.redis_waited_percent.unwrap_or_default();
            self.row(
                "Redis CPU",
                &format!("{redis:.1} % of a core, waiting for one {waited:.1} % of the time"),
            );
        }
    }

    fn client(&mut self, report: &Report) {
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
        self.row("load itself", &text);
    }
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
