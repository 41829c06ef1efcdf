//! A run from beginning to end: open the crowd, publish, watch, wait for the last event, close the books.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::clock::{monotonic_ns, process_cpu_ns};
use super::dialect::Dialect;
use super::feed::{self, Feed, Published};
use super::options::Plan;
use super::report::{Facts, Measured, Opening, Report, Sample};
use super::server::{Processes, run_queue_ns};
use super::wire::{Command, Progress, Window};
use super::workers::Workers;
use tools::term::tell;

/// Between two lines of progress.
const PROGRESS_NS: u64 = 1_000_000_000;
/// Between two looks at the server's memory.
const MEMORY_NS: u64 = 500_000_000;
/// After the last connection is in: the server ends what it put off, and gives back what handshakes needed.
const SETTLE: Duration = Duration::from_secs(1);
/// From the order to measure to the first trade, so that every worker has heard of it.
const START_DELAY_NS: u64 = 50_000_000;
/// The longest wait for the crowd to get in: at 100 handshakes a second 10,000 take 100 s.
const OPEN_TIMEOUT_NS: u64 = 300_000_000_000;
/// Nothing more for so long, and what hasn't come is lost.
const PATIENCE_NS: u64 = 3_000_000_000;
/// The longest wait for the workers' results.
const FINISH_TIMEOUT_NS: u64 = 60_000_000_000;

/// Runs a plan and reports. Progress goes to standard error.
///
/// # Errors
/// If it can't be run at all: no Redis, a worker that ends, a crowd that doesn't get in. What the server does wrong is
/// no error, but what the report is about.
pub fn run<D: Dialect>(plan: &Plan) -> anyhow::Result<Report> {
    let server = match &plan.server_pids[..] {
        [] => Processes::listening_at(plan.crowd.addr),
        pids => Processes::new(pids.to_vec()),
    };
    let redis = plan.upstream.map(Processes::listening_at).unwrap_or_default();
    // The embedded broker is a part of the server.
    let redis = if redis == server { Processes::default() } else { redis };
    let feed = plan.feed.clone().map(Feed::<D>::connect).transpose()?;
    let tokens = plan.tokens()?;
    let (mut workers, opening) = open::<D>(plan, &tokens, &server)?;
    let stage = Stage { server: &server, redis: &redis, clients: workers.pids() };
    let mut measured = None;
    if workers.progress().open > 0 && !plan.duration.is_zero() {
        measured = Some(stage.measure(plan, feed, &mut workers)?);
    }
    if let Some(measured) = &mut measured
        && plan.crowd.desk.is_some()
    {
        measured.published = Some(Published::by_talkers(until_all_is_said(&mut workers)?));
    }
    let last = match &measured {
        Some(Measured { published: Some(published), .. }) => published.last.clone(),
        _ => vec![0; plan.crowd.symbols as usize],
    };
    workers.tell(&Command::Finish { last, patience_ns: PATIENCE_NS })?;
    let deadline_ns = monotonic_ns() + FINISH_TIMEOUT_NS;
    while !workers.are_done() {
        workers.hear(Duration::from_millis(100))?;
        if monotonic_ns() > deadline_ns {
            bail!("the worker processes have not finished after {} s", FINISH_TIMEOUT_NS / 1_000_000_000);
        }
    }
    let found = workers.outcome();
    if let Some(Measured { published: Some(published), .. }) = &mut measured
        && plan.crowd.desk.is_some()
    {
        published.in_window = found.said_in_window;
        published.lateness = found.lateness.clone();
    }
    Ok(Report::new(&Facts { plan, dialect: D::NAME, server: &server, opening, measured, found }))
}

/// How often each talker has talked, once every process has said all.
fn until_all_is_said(workers: &mut Workers) -> anyhow::Result<Vec<u64>> {
    let deadline_ns = monotonic_ns() + FINISH_TIMEOUT_NS;
    loop {
        if let Some(said) = workers.said() {
            return Ok(said);
        }
        workers.hear(Duration::from_millis(100))?;
        if monotonic_ns() > deadline_ns {
            bail!("the worker processes have not said all after {} s", FINISH_TIMEOUT_NS / 1_000_000_000);
        }
    }
}

/// Opens the crowd, and measures what that takes.
fn open<D: Dialect>(
    plan: &Plan,
    tokens: &[String],
    server: &Processes,
) -> anyhow::Result<(Workers, Opening)> {
    let rss_before_bytes = server.rss_bytes();
    let cpu_before_ns = server.cpu_ns();
    let begin_ns = monotonic_ns();
    let mut workers = Workers::start::<D>(&plan.crowd, tokens, plan.workers)?;
    let mut lines = Lines::new("opening", begin_ns);
    while !workers.are_opened() {
        workers.hear(Duration::from_millis(100))?;
        lines.tell(&workers.progress(), 0);
        if monotonic_ns() > begin_ns + OPEN_TIMEOUT_NS {
            bail!(
                "only {} of {} connections are open after 300 s",
                workers.progress().open,
                plan.crowd.connections
            );
        }
    }
    let end_ns = monotonic_ns();
    let client_ns = workers.pids().into_iter().map(process_cpu_ns).collect();
    std::thread::sleep(SETTLE);
    let cpu_ns = server.cpu_ns().zip(cpu_before_ns).map(|(after, before)| after - before);
    let opening = Opening {
        seconds: (end_ns - begin_ns) as f64 / 1e9,
        cpu_ns,
        client_ns,
        rss_before_bytes,
        rss_after_bytes: server.rss_bytes(),
    };
    Ok((workers, opening))
}

/// Who takes part, to be measured.
struct Stage<'r> {
    server: &'r Processes,
    redis: &'r Processes,
    clients: Vec<u32>,
}

enum Publisher {
    Runs(JoinHandle<anyhow::Result<Published>>),
    Ended(Published),
}

impl Publisher {
    fn join(self) -> anyhow::Result<Published> {
        match self {
            Self::Runs(thread) => {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).context("publishing")
            }
            Self::Ended(published) => Ok(published),
        }
    }
}

impl Stage<'_> {
    fn measure<D: Dialect>(
        &self,
        plan: &Plan,
        feed: Option<Feed<D>>,
        workers: &mut Workers,
    ) -> anyhow::Result<Measured> {
        let start_ns = monotonic_ns() + START_DELAY_NS;
        let from_ns = start_ns + plan.warmup.as_nanos() as u64;
        let window = Window { from_ns, to_ns: from_ns + plan.duration.as_nanos() as u64 };
        workers.tell(&Command::Measure { start_ns, window })?;
        let feed_progress = Arc::new(feed::Progress::default());
        let publisher = feed.map(|feed| {
            let progress = Arc::clone(&feed_progress);
            let publish = move || feed.run(start_ns, window, &progress);
            std::thread::Builder::new().name("publisher".to_owned()).spawn(publish).map(Publisher::Runs)
        });
        let publisher = publisher.transpose().context("the publisher's thread could not be started")?;
        let mut watch = Watch {
            workers,
            lines: Lines::new("running", start_ns),
            feed: &feed_progress,
            publisher,
            peak: 0,
        };
        watch.until(window.from_ns, self.server)?;
        let begin = self.sample(&feed_progress);
        watch.until(window.to_ns, self.server)?;
        let end = self.sample(&feed_progress);
        let rss_peak_bytes = (watch.peak > 0).then_some(watch.peak);
        let published = watch.publisher.map(Publisher::join).transpose()?;
        Ok(Measured { window, begin, end, rss_peak_bytes, published })
    }

    fn sample(&self, feed: &feed::Progress) -> Sample {
        Sample {
            at_ns: monotonic_ns(),
            reached: feed.reached.load(Ordering::Relaxed),
            server_ns: self.server.cpu_ns(),
            redis_ns: self.redis.cpu_ns(),
            redis_waited_ns: self.redis.pids().first().and_then(|&pid| run_queue_ns(pid)),
            own_ns: process_cpu_ns(std::process::id()),
            client_ns: self.clients.iter().map(|&pid| process_cpu_ns(pid)).collect(),
            client_waited_ns: self.clients.iter().map(|&pid| run_queue_ns(pid)).collect(),
        }
    }
}

/// Watching while trades flow.
struct Watch<'w> {
    workers: &'w mut Workers,
    lines: Lines,
    feed: &'w feed::Progress,
    publisher: Option<Publisher>,
    /// The most memory seen, in bytes.
    peak: u64,
}

impl Watch<'_> {
    /// Until a time; sooner only with an error.
    fn until(&mut self, time_ns: u64, server: &Processes) -> anyhow::Result<()> {
        let mut memory_ns = 0;
        loop {
            let now_ns = monotonic_ns();
            if now_ns >= time_ns {
                return Ok(());
            }
            if now_ns >= memory_ns + MEMORY_NS {
                memory_ns = now_ns;
                self.peak = self.peak.max(server.rss_bytes_quick().unwrap_or_default());
            }
            self.workers.hear(Duration::from_nanos((time_ns - now_ns).min(MEMORY_NS)))?;
            self.lines.tell(&self.workers.progress(), self.feed.published.load(Ordering::Relaxed));
            if let Some(Publisher::Runs(thread)) = &self.publisher
                && thread.is_finished()
            {
                // If it has failed, nobody needs to wait for the window's end.
                self.publisher =
                    self.publisher.take().map(Publisher::join).transpose()?.map(Publisher::Ended);
            }
        }
    }
}

/// Lines of progress.
struct Lines {
    what: &'static str,
    begin_ns: u64,
    told_ns: u64,
    delivered: u64,
}

impl Lines {
    fn new(what: &'static str, begin_ns: u64) -> Self {
        Self { what, begin_ns, told_ns: begin_ns, delivered: 0 }
    }

    fn tell(&mut self, progress: &Progress, published: u64) {
        let now_ns = monotonic_ns();
        if now_ns < self.told_ns + PROGRESS_NS {
            return;
        }
        let counts = progress.counts;
        let per_second = (counts.delivered - self.delivered) as f64 * 1e9 / (now_ns - self.told_ns) as f64;
        let seconds = now_ns.saturating_sub(self.begin_ns) as f64 / 1e9;
        let mut line = format!("{} {seconds:5.1} s: {} open", self.what, progress.open);
        if published > 0 {
            line += &format!(", {published} published");
        }
        if published + counts.delivered > 0 {
            line += &format!(", {} delivered ({per_second:.0}/s)", counts.delivered);
        }
        for (figure, name) in [
            (u64::from(progress.failed), "FAILED"),
            (counts.missing, "MISSING"),
            (counts.repeated, "REPEATED"),
            (counts.out_of_order, "OUT OF ORDER"),
            (counts.uninvited, "UNINVITED"),
            (counts.announced, "skipped with notice"),
        ] {
            if figure > 0 {
                line += &format!(", {figure} {name}");
            }
        }
        tell(line);
        self.told_ns = now_ns;
        self.delivered = counts.delivered;
    }
}
