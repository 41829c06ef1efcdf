//! Publishes over one connection, until it is lost.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::output::Output;
use super::sieve::{Bounds, Sieve};
use super::{Done, Job, Said, Work};
use crate::bus::OutgoingHeld;
use crate::ingest::redis::dial::Address;
use crate::ingest::redis::error::Words;
use crate::limits;
use crate::outgoing::{Purpose, cluster};
use crate::resp::{Progress, Reply, ReplyLimits, parse_reply, write_command};

/// Bytes of commands that are written at once, at most, unless one alone is larger.
const WRITE_BYTES: usize = 256 * 1024;

/// The longest replies are those about inboxes.
const LIMITS: ReplyLimits = ReplyLimits {
    total_bytes_max: limits::INBOX_REPLY_BYTES,
    bulk_bytes_max: 2 * limits::MIB,
    ..ReplyLimits::DEFAULT
};

/// What of a reply gets that far. Only what workers have put into inboxes can be more.
const BOUNDS: Bounds = Bounds {
    bulk_bytes_max: LIMITS.bulk_bytes_max,
    elements_max: limits::INBOX_REPLY_ELEMENTS,
    reply_bytes_max: limits::INBOX_SWEEP_BYTES,
};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// Why a connection is not published over any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nobody has jobs any more, and all are done.
    NoJobs,
    /// Another node has slot 0 now. Everything that was under way is done.
    Moved,
    /// It was lost.
    Lost(String),
}

/// Something that is under way.
struct Sent {
    /// `None` for the gateway's question who has slot 0.
    purpose: Option<Purpose>,
    asked: Instant,
    held: Option<OutgoingHeld>,
    /// Replies that have yet to come; `None` for a `PUBLISH`.
    commands: Option<usize>,
    said: Vec<Said>,
}

impl Sent {
    /// Writes the job's commands.
    fn write(job: Job, output: &mut Vec<u8>) -> Self {
        let Job { work, purpose, asked, held } = job;
        let commands = match work {
            Work::Publish { channel, payload } => {
                write_command(output, &[b"PUBLISH", channel.as_bytes(), &payload]);
                None
            }
            Work::Commands(commands) => {
                output.extend_from_slice(&commands.bytes);
                Some(commands.count)
            }
        };
        Self { purpose: Some(purpose), asked, held, commands, said: Vec::new() }
    }

    /// Asks who has slot 0.
    fn question(output: &mut Vec<u8>) -> Self {
        write_command(output, cluster::QUESTION);
        Self { purpose: None, asked: now(), held: None, commands: Some(1), said: Vec::new() }
    }
}

/// A connection that is published over.
pub(super) struct Publishing<'d> {
    /// Bytes as they have come from Redis.
    read: Vec<u8>,
    sieve: Sieve,
    /// What is kept of them.
    input: Vec<u8>,
    output: Output,
    /// Not written yet.
    waiting: VecDeque<Job>,
    under_way: VecDeque<Sent>,
    done: &'d UnboundedSender<Done>,
    /// The node's address, if it is one of a cluster.
    node: Option<Address>,
    /// When it is asked again who has slot 0.
    next_question: Instant,
    /// It has said that another node has.
    has_moved: bool,
}

impl<'d> Publishing<'d> {
    /// Bytes that have come already, and the node's address if it is one of a cluster.
    pub(super) fn new(read: Vec<u8>, node: Option<Address>, done: &'d UnboundedSender<Done>) -> Self {
        Self {
            read,
            sieve: Sieve::new(BOUNDS),
            input: Vec::new(),
            output: Output::default(),
            waiting: VecDeque::new(),
            under_way: VecDeque::new(),
            done,
            node,
            next_question: now() + limits::CLUSTER_ASK,
            has_moved: false,
        }
    }

    /// Publishes until there is a reason to end.
    pub(super) async fn run(
        mut self,
        io: impl AsyncRead + AsyncWrite,
        jobs: &mut UnboundedReceiver<Job>,
    ) -> End {
        let (mut reader, mut writer) = tokio::io::split(io);
        let mut has_jobs = true;
        let end = loop {
            self.start();
            self.read.reserve(READ_BYTES.saturating_sub(self.read.len()));
            if self.under_way.is_empty() {
                match (self.has_moved, has_jobs || !self.waiting.is_empty()) {
                    (true, _) => break End::Moved,
                    (false, false) => break End::NoJobs,
                    (false, true) => {}
                }
            }
            let until = self.until();
            let may_ask = self.node.is_some() && self.may_start();
            tokio::select! {
                biased;
                read = reader.read_buf(&mut self.read) => match read {
                    Ok(0) => break End::Lost("closed by Redis".to_owned()),
                    Ok(_) => {
                        if let Err(why) = self.take_replies() {
                            break End::Lost(why);
                        }
                    }
                    Err(error) => break End::Lost(error.to_string()),
                },
                // Before writing: the oldest job's time must end also while Redis takes no bytes.
                () = sleep_until(until), if until.is_some() => {
                    break End::Lost(format!("no reply within {} ms", limits::OUTGOING_TIMEOUT.as_millis()));
                }
                written = self.output.write(&mut writer), if !self.output.is_sent => {
                    if let Err(error) = written {
                        break End::Lost(error.to_string());
                    }
                }
                job = jobs.recv(), if has_jobs => {
                    has_jobs = job.is_some();
                    self.waiting.extend(job);
                    while let Ok(job) = jobs.try_recv() {
                        self.waiting.push_back(job);
                    }
                }
                () = sleep_until(Some(self.next_question)), if may_ask => {
                    self.next_question = now() + limits::CLUSTER_ASK;
                    self.under_way.push_back(Sent::question(self.output.start()));
                }
            }
        };
        self.refuse_all();
        end
    }

    /// Whether more may be written.
    fn may_start(&self) -> bool {
        self.output.is_sent && self.under_way.len() < limits::OUTGOING_PIPELINE && !self.has_moved
    }

    /// Has the next jobs written, if it may be.
    fn start(&mut self) {
        if !self.may_start() {
            return;
        }
        while self.output.len() < WRITE_BYTES && self.under_way.len() < limits::OUTGOING_PIPELINE {
            let Some(job) = self.waiting.pop_front() else { return };
            self.under_way.push_back(Sent::write(job, self.output.start()));
        }
    }

    /// When the oldest job's time ends. Not always the front one: a chat's `PUBLISH` keeps the time at which the chat was asked, and is queued behind
    /// younger jobs.
    fn until(&self) -> Option<Instant> {
        let under_way = self.under_way.iter().map(|sent| sent.asked);
        let asked = under_way.chain(self.waiting.iter().map(|job| job.asked)).min();
        asked.map(|asked| asked + limits::OUTGOING_TIMEOUT)
    }

    /// Pairs replies with the commands that are under way.
    fn take_replies(&mut self) -> Result<(), String> {
        self.sieve.pass(&self.read, &mut self.input);
        self.read.clear();
        let mut used = 0;
        loop {
            match parse_reply(&self.input[used..], &LIMITS) {
                Ok(Progress::Incomplete { .. }) => break,
                Err(error) => return Err(format!("not a Redis server: {error}")),
                Ok(Progress::Done { value, used_bytes }) => {
                    used += used_bytes;
                    let Some(sent) = self.under_way.front_mut() else {
                        return Err("a reply that nothing was asked for".to_owned());
                    };
                    let is_confirmed = match &mut sent.commands {
                        None => is_taken(&value),
                        Some(left) => {
                            sent.said.push(Said::of(&value));
                            *left -= 1;
                            if *left > 0 {
                                continue;
                            }
                            true
                        }
                    };
                    let Some(sent) = self.under_way.pop_front() else { break };
                    self.finish(sent, is_confirmed);
                }
            }
        }
        self.input.drain(..used);
        Ok(())
    }

    /// All replies of something have come.
    fn finish(&mut self, sent: Sent, is_confirmed: bool) {
        let Sent { purpose, asked, held, said, .. } = sent;
        if let Some(purpose) = purpose {
            let _ = self.done.send(Done { is_confirmed, said, ..Done::refused(purpose, asked, held) });
        } else if let (Some(Said::Text(nodes)), Some(node)) = (said.first(), &self.node) {
            self.has_moved |= cluster::elsewhere(&String::from_utf8_lossy(nodes), node).is_some();
        }
    }

    /// Nothing more comes of what is left.
    fn refuse_all(self) {
        for Sent { purpose, asked, held, .. } in self.under_way {
            if let Some(purpose) = purpose {
                let _ = self.done.send(Done { may_have_come: true, ..Done::refused(purpose, asked, held) });
            }
        }
        for Job { purpose, asked, held, .. } in self.waiting {
            let _ = self.done.send(Done::refused(purpose, asked, held));
        }
    }
}

/// The runtime's time, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(until: Option<Instant>) {
    if let Some(until) = until {
        tokio::time::sleep_until(until.into()).await;
    }
}

/// Whether a `PUBLISH` was.
fn is_taken(reply: &Reply<'_>) -> bool {
    if let Reply::Error(text) = *reply {
        let words = Words::new(text);
        tracing::warn!(said = %words, "Redis refuses to publish what a client says");
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn job(asked: Instant, payload: usize) -> Job {
        let work = Work::Publish { channel: "c".to_owned(), payload: vec![b'x'; payload] };
        Job { work, purpose: Purpose::Own, asked, held: None }
    }

    fn timed_out() -> End {
        End::Lost("no reply within 900 ms".to_owned())
    }

    fn took_the_timeout(start: Instant) {
        let took = now() - start;
        // A timer's step is a millisecond.
        assert!((900..=901).contains(&took.as_millis()), "{took:?}");
    }

    /// How publishing ends, beside something that doesn't.
    async fn end_beside(
        other: impl Future<Output = ()>,
        publishing: Publishing<'_>,
        io: tokio::io::DuplexStream,
        jobs: &mut UnboundedReceiver<Job>,
    ) -> End {
        tokio::select! {
            end = publishing.run(io, jobs) => end,
            () = other => unreachable!(),
        }
    }

    /// Redis takes the first bytes of what is written, and no more.
    #[tokio::test(start_paused = true)]
    async fn what_was_asked_first_ends_in_its_time_however_much_is_written() {
        let (jobs_tx, mut jobs) = unbounded_channel();
        let (done_tx, mut done) = unbounded_channel();
        let (io, _redis) = tokio::io::duplex(64);
        let start = now();
        jobs_tx.send(job(start, 1)).unwrap();
        let later = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            jobs_tx.send(job(now(), 1_000_000)).unwrap();
            std::future::pending::<()>().await;
        };
        let end = end_beside(later, Publishing::new(Vec::new(), None, &done_tx), io, &mut jobs).await;
        assert_eq!(end, timed_out());
        took_the_timeout(start);
        for asked in [0, 400] {
            let refused = done.try_recv().unwrap();
            assert!(!refused.is_confirmed);
            assert_eq!((refused.asked - start).as_millis() / 2, asked / 2);
        }
    }

    /// As a chat's `PUBLISH` does, behind what is written already.
    #[tokio::test(start_paused = true)]
    async fn what_was_asked_before_and_comes_later_ends_in_its_time_too() {
        let (jobs_tx, mut jobs) = unbounded_channel();
        let (done_tx, mut done) = unbounded_channel();
        let (io, _redis) = tokio::io::duplex(64);
        let start = now();
        tokio::time::advance(Duration::from_millis(500)).await;
        jobs_tx.send(job(now(), 1_000_000)).unwrap();
        let later = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            jobs_tx.send(job(start, 1)).unwrap();
            std::future::pending::<()>().await;
        };
        let end = end_beside(later, Publishing::new(Vec::new(), None, &done_tx), io, &mut jobs).await;
        assert_eq!(end, timed_out());
        took_the_timeout(start);
        assert!(!done.try_recv().unwrap().is_confirmed && !done.try_recv().unwrap().is_confirmed);
    }

    /// It is done with what was under way, then it ends. Without a cluster nothing is asked.
    #[tokio::test(start_paused = true)]
    async fn a_node_that_has_lost_slot_0_is_left() {
        let (jobs_tx, mut jobs) = unbounded_channel();
        let (done_tx, mut done) = unbounded_channel::<Done>();
        let node = Address::Tcp { host: "a".to_owned(), port: 1, tls: false };
        let (io, mut redis) = tokio::io::duplex(4_096);
        let start = now();
        let answering = async {
            let mut asked = Vec::new();
            for nodes in
                ["1 a:1@2 myself,master - 0 0 1 connected 0-16383", "2 b:1@2 master - 0 0 1 connected 0"]
            {
                asked.clear();
                while !asked.ends_with(b"NODES\r\n") {
                    redis.read_buf(&mut asked).await.unwrap();
                }
                assert_eq!(asked, b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n");
                jobs_tx.send(job(now(), 1)).unwrap();
                while !asked.ends_with(b"x\r\n") {
                    redis.read_buf(&mut asked).await.unwrap();
                }
                redis.write_all(format!("${}\r\n{nodes}\r\n:1\r\n", nodes.len()).as_bytes()).await.unwrap();
                assert!(done.recv().await.unwrap().is_confirmed);
            }
            std::future::pending::<()>().await;
        };
        let publishing = Publishing::new(Vec::new(), Some(node), &done_tx);
        let end = end_beside(answering, publishing, io, &mut jobs).await;
        assert_eq!(end, End::Moved);
        assert_eq!((now() - start).as_secs(), 2 * limits::CLUSTER_ASK.as_secs());
    }
}
