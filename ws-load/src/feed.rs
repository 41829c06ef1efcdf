//! The publisher: trades into Redis on one connection, pipelined, each at its intended time. Blocking; it has a thread
//! of its own.
//!
//! A trade carries the time at which it was meant to be sent. When the publisher itself is late, or Redis doesn't take
//! more, that shows as latency instead of vanishing (no coordinated omission), and how late it was is told apart.

use std::io::{ErrorKind, Read as _, Write as _};
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use fastrand::Rng;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nix::sys::prctl;

use super::clock::{monotonic_ns, unix_ms_of};
use super::dialect::{Dialect, Login};
use super::latency::Latency;
use super::message::Trade;
use super::pace::Pace;
use super::resp::{Replies, TradeWriter};
use super::wire::Window;

/// Trades in one write at most: about 300 KiB.
const BATCH_MAX: usize = 1024;
/// The same without a rate, where a batch is as late as it is long.
const UNBOUNDED_BATCH: usize = 64;
/// Without a rate: trades that Redis may owe a reply for.
const OUTSTANDING_MAX: u64 = 4096;
/// How long connecting may take, and the last replies.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who publishes what.
#[derive(Debug, Clone)]
pub struct FeedConfig {
    /// Redis, or whatever takes trades in its place.
    pub addr: SocketAddr,
    /// As whom, where it wants to know.
    pub login: Option<Login>,
    /// What channels begin with, before `trade:S0000`.
    pub channel_prefix: String,
    /// How many symbols trade; each trade is of one drawn by lot.
    pub symbols: u32,
    /// What the draws follow from.
    pub seed: u64,
    /// When.
    pub pace: Pace,
}

/// What was published.
#[derive(Debug)]
pub struct Published {
    /// Each symbol's last sequence number.
    pub last: Vec<u64>,
    /// Trades in all.
    pub total: u64,
    /// Trades meant to be sent in the window.
    pub in_window: u64,
    /// How late they were written, for those of the window; empty without a rate.
    pub lateness: Latency,
    /// Trades that Redis had no subscriber for.
    pub unheard: u64,
}

impl Published {
    /// What connections have said in rooms themselves: how often each talker. In the window nothing is known to be yet.
    pub fn by_talkers(last: Vec<u64>) -> Self {
        let total = last.iter().sum();
        Self { last, total, in_window: 0, lateness: Latency::new(), unheard: 0 }
    }
}

/// How far publishing has come, for others to see.
#[derive(Debug, Default)]
pub struct Progress {
    /// Trades written.
    pub published: AtomicU64,
    /// Trades that Redis has handed to a subscriber, as its replies say.
    pub reached: AtomicU64,
}

/// A connection to Redis that trades can be published on.
#[derive(Debug)]
pub struct Feed<D> {
    config: FeedConfig,
    stream: TcpStream,
    poll: Poll,
    events: Events,
    writer: TradeWriter,
    symbols: Rng,
    replies: Replies,
    /// Commands whose reply is due.
    commands: u64,
    /// What the socket hasn't taken, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    dialect: PhantomData<D>,
}

impl<D: Dialect> Feed<D> {
    /// Connects, and makes sure that it is Redis that answers.
    ///
    /// # Errors
    /// If it isn't, or refuses us.
    pub fn connect(config: FeedConfig) -> anyhow::Result<Self> {
        let stream = greet::<D>(&config).with_context(|| format!("{} at {}", D::UPSTREAM, config.addr))?;
        let poll = Poll::new().context("epoll")?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(0), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            poll,
            events: Events::with_capacity(4),
            writer: TradeWriter::new::<D>(&config.channel_prefix, config.symbols, config.seed),
            symbols: Rng::with_seed(config.seed.wrapping_add(1)),
            replies: Replies::default(),
            commands: 0,
            out: Vec::with_capacity(64 * 1024),
            sent: 0,
            dialect: PhantomData,
            config,
        })
    }

    /// Publishes from `start_ns` to the end of the window, and waits for the last reply.
    ///
    /// # Errors
    /// If Redis goes away, or answers with an error.
    pub fn run(
        mut self,
        start_ns: u64,
        window: Window,
        progress: &Arc<Progress>,
    ) -> anyhow::Result<Published> {
        // Without it the kernel may let a sleeper sleep 50 µs longer than asked, for company's sake.
        prctl::set_timerslack(1).context("timer slack")?;
        let mut published = Published {
            last: vec![0; self.config.symbols as usize],
            total: 0,
            in_window: 0,
            lateness: Latency::new(),
            unheard: 0,
        };
        loop {
            let now_ns = monotonic_ns();
            if self.is_over(start_ns, window, published.total, now_ns) {
                break;
            }
            if self.out.is_empty() && now_ns >= start_ns {
                let before = published.total;
                self.write_due(start_ns, now_ns, window, &mut published);
                self.replies.end_batch::<D>(&mut self.out, published.total - before);
                progress.published.store(published.total, Ordering::Relaxed);
            }
            self.exchange()?;
            progress.reached.store(self.replies.count - self.replies.unheard, Ordering::Relaxed);
            self.rest(start_ns, window, published.total)?;
        }
        self.settle()?;
        published.unheard = self.replies.unheard;
        Ok(published)
    }

    /// Whether all trades of the window are sent; those that are due and late still count, but not for ever.
    fn is_over(&self, start_ns: u64, window: Window, total: u64, now_ns: u64) -> bool {
        match self.config.pace.due_ns(total) {
            Some(due_ns) => {
                start_ns + due_ns >= window.to_ns || now_ns >= window.to_ns + PATIENCE.as_nanos() as u64
            }
            None => now_ns >= window.to_ns,
        }
    }

    /// Writes the trades whose time has come into the buffer.
    fn write_due(&mut self, start_ns: u64, now_ns: u64, window: Window, published: &mut Published) {
        let (batch_max, is_full) = match self.config.pace {
            Pace::Unbounded => (UNBOUNDED_BATCH, self.outstanding() >= OUTSTANDING_MAX),
            _ => (BATCH_MAX, false),
        };
        for _ in 0..if is_full { 0 } else { batch_max } {
            let due_ns = self.config.pace.due_ns(published.total).map(|due_ns| start_ns + due_ns);
            let sent_ns = due_ns.unwrap_or(now_ns);
            if sent_ns > now_ns || sent_ns >= window.to_ns {
                return;
            }
            let symbol = self.symbols.u32(0..self.config.symbols);
            let last = &mut published.last[symbol as usize];
            *last += 1;
            let trade = Trade { symbol, seq: *last, sent_ns };
            self.writer.write::<D>(&mut self.out, &trade, unix_ms_of(sent_ns));
            self.commands += 1;
            published.total += 1;
            if window.contains(sent_ns) {
                published.in_window += 1;
                if due_ns.is_some() {
                    published.lateness.record(now_ns - sent_ns);
                }
            }
        }
    }

    fn outstanding(&self) -> u64 {
        self.commands - self.replies.count.min(self.commands)
    }

    /// Sends what Redis takes, reads what it answers.
    fn exchange(&mut self) -> anyhow::Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context(format!("{} has gone", D::UPSTREAM)),
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => bail!("{} closed the connection", D::UPSTREAM),
                Ok(read) => self.replies.feed::<D>(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context(format!("{} has gone", D::UPSTREAM)),
            }
        }
        self.out.append(&mut self.replies.owed);
        match self.replies.error.take() {
            Some(error) => bail!("{} answers to what is published: {error}", D::UPSTREAM),
            None => Ok(()),
        }
    }

    /// Waits for the next trade's time; for Redis, if that doesn't take or owes too much; or not at all.
    fn rest(&mut self, start_ns: u64, window: Window, total: u64) -> anyhow::Result<()> {
        let is_unbounded = self.config.pace == Pace::Unbounded;
        if !self.out.is_empty() || (is_unbounded && self.outstanding() >= OUTSTANDING_MAX) {
            return self.wait(Duration::from_millis(100));
        }
        let due_ns = start_ns + self.config.pace.due_ns(total).unwrap_or_default();
        let now_ns = monotonic_ns();
        let sleep_ns = due_ns.min(window.to_ns).saturating_sub(now_ns);
        if sleep_ns > 0 {
            std::thread::sleep(Duration::from_nanos(sleep_ns));
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error).context("epoll"),
            _ => Ok(()),
        }
    }

    /// Waits until Redis has answered everything.
    fn settle(&mut self) -> anyhow::Result<()> {
        let deadline_ns = monotonic_ns() + PATIENCE.as_nanos() as u64;
        loop {
            self.exchange()?;
            if self.outstanding() == 0 {
                return Ok(());
            }
            if monotonic_ns() > deadline_ns {
                let upstream = D::UPSTREAM;
                bail!("{upstream} owes replies to {} trades after {PATIENCE:?}", self.outstanding());
            }
            self.wait(Duration::from_millis(100))?;
        }
    }
}

/// Connects and logs in.
fn greet<D: Dialect>(config: &FeedConfig) -> anyhow::Result<StdTcpStream> {
    let stream = StdTcpStream::connect_timeout(&config.addr, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    D::greet(&stream, config.login.as_ref())?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
