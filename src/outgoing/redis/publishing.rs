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

/// Who gets the replies.
enum For {
    Job(Purpose, Option<OutgoingHeld>),
    /// The gateway, which has asked who has slot 0.
    Question,
    /// Nobody any more: its time is over.
    Nobody,
}

/// Something that is under way.
struct Sent {
    whose: For,
    asked: Instant,
    /// From when its time counts.
    since: Instant,
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
        let since = if purpose.may_be_late() { now() } else { asked };
        Self { whose: For::Job(purpose, held), asked, since, commands, said: Vec::new() }
    }

    /// Whether it may take longer while the reply to another is coming: no client waits for it.
    fn may_be_late(&self) -> bool {
        matches!(&self.whose, For::Job(purpose, _) if purpose.may_be_late())
    }

    /// Asks who has slot 0.
    fn question(output: &mut Vec<u8>) -> Self {
        write_command(output, cluster::QUESTION);
        let now = now();
        Self { whose: For::Question, asked: now, since: now, commands: Some(1), said: Vec::new() }
    }

    /// What its job is told when its time is over, if it is a job's. From then on its replies are nobody's.
    fn refuse(&mut self) -> Option<Done> {
        let For::Job(purpose, held) = std::mem::replace(&mut self.whose, For::Nobody) else { return None };
        Some(Done { may_have_come: true, ..Done::refused(purpose, self.asked, held) })
    }
}

/// A reply of which a part has come. It may take longer than [`limits::OUTGOING_TIMEOUT`] while more of it comes.
#[derive(Clone, Copy)]
struct Coming {
    begun: Instant,
    last: Instant,
}

impl Coming {
    /// When it is given up, and the connection with it.
    fn until(self) -> Instant {
        (self.last + limits::OUTGOING_TIMEOUT).min(self.begun + limits::OUTGOING_REPLY_MAX)
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
    /// The reply to the first of them, if a part has come.
    coming: Option<Coming>,
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
            coming: None,
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
            self.refuse_those_behind();
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
                    if !self.may_wait() {
                        break End::Lost(format!("no reply within {} ms", limits::OUTGOING_TIMEOUT.as_millis()));
                    }
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
        let first = usize::from(self.coming.is_some());
        let may_wait =
            |sent: &&Sent| matches!(sent.whose, For::Nobody) || self.coming.is_some() && sent.may_be_late();
        let under_way = self.under_way.iter().skip(first).filter(|sent| !may_wait(sent));
        let waiting = self.waiting.iter().filter(|job| !job.purpose.may_be_late());
        let since = under_way.map(|sent| sent.since).chain(waiting.map(|job| job.asked)).min();
        let until = since.map(|since| since + limits::OUTGOING_TIMEOUT);
        until.into_iter().chain(self.coming.map(Coming::until)).min()
    }

    /// Whether the connection is kept although a job's time is over: the reply to the first is coming, and Redis has all that was asked, so that nothing is sent
    /// later.
    fn may_wait(&self) -> bool {
        self.output.is_sent && self.coming.is_some_and(|coming| now() < coming.until())
    }

    /// Refuses what waits behind a reply that is coming, when its time is over and a client waits for it.
    fn refuse_those_behind(&mut self) {
        if !self.may_wait() {
            return;
        }
        let now = now();
        let is_over = |since: Instant| since + limits::OUTGOING_TIMEOUT <= now;
        for sent in
            self.under_way.iter_mut().skip(1).filter(|sent| is_over(sent.since) && !sent.may_be_late())
        {
            if let Some(refused) = sent.refuse() {
                let _ = self.done.send(refused);
            }
        }
        let is_refused = |job: &Job| is_over(job.asked) && !job.purpose.may_be_late();
        while let Some(at) = self.waiting.iter().position(is_refused) {
            let Some(Job { purpose, asked, held, .. }) = self.waiting.remove(at) else { break };
            let _ = self.done.send(Done::refused(purpose, asked, held));
        }
    }

    /// Pairs replies with the commands that are under way.
    fn take_replies(&mut self) -> Result<(), String> {
        self.sieve.pass(&self.read, &mut self.input);
        self.read.clear();
        let mut used = 0;
        let mut has_come = false;
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
                                if self.coming.take().is_some() {
                                    sent.since = now();
                                    has_come = true;
                                }
                                continue;
                            }
                            true
                        }
                    };
                    let Some(sent) = self.under_way.pop_front() else { break };
                    has_come |= self.coming.take().is_some();
                    self.finish(sent, is_confirmed);
                }
            }
        }
        self.input.drain(..used);
        let now = now();
        if has_come {
            self.under_way.iter_mut().filter(|sent| sent.may_be_late()).for_each(|sent| sent.since = now);
        }
        let begun = self.coming.map_or(now, |coming| coming.begun);
        self.coming = self.sieve.is_in_a_reply().then_some(Coming { begun, last: now });
        Ok(())
    }

    /// All replies of something have come.
    fn finish(&mut self, sent: Sent, is_confirmed: bool) {
        let Sent { whose, asked, said, .. } = sent;
        match whose {
            For::Job(purpose, held) => {
                let _ = self.done.send(Done { is_confirmed, said, ..Done::refused(purpose, asked, held) });
            }
            For::Question => {
                if let (Some(Said::Text(nodes)), Some(node)) = (said.first(), &self.node) {
                    self.has_moved |= cluster::elsewhere(&String::from_utf8_lossy(nodes), node).is_some();
                }
            }
            For::Nobody => {}
        }
    }

    /// Nothing more comes of what is left.
    fn refuse_all(self) {
        for mut sent in self.under_way {
            if let Some(refused) = sent.refuse() {
                let _ = self.done.send(refused);
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
mod tests;
