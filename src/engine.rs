//! The threads of the data path: ingest, and the shards.
//!
//! With several shards, ingest and each shard have a thread of their own. With one shard (`SHARDS=1`), ingest and the shard share
//! a thread: no event waits for a second thread to wake up, which is most of what a lone trade costs. Either way they speak to
//! each other through their inboxes, so nothing else differs.
//!
//! A thread sleeps in `Poll::poll` until a socket is ready, an inbox has something, or a timer is due. Then each part that it runs takes a
//! turn. Besides, ingest pauses for some 100 µs after each read of a feed that is so fast that the next read then brings several events.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use mio::{Events, Poll};

use crate::bus::inbox::{Alarm, Inbox, Sender, WAKER};
use crate::bus::{ControlSender, LastSender, ShardPort, ToShard};
use crate::fanout::{Fanout, Shard, ShardConfig, ShardHandles};
use crate::ingest::{self, Command, Helpers, Ingest, IngestConfig, LINK};
use crate::state::State;

/// Readiness events taken from one poll.
const EVENTS_MAX: usize = 1_024;

/// How often ingest and a shard on one thread answer each other before sockets get their turn again.
const ANSWERS_PER_TURN: usize = 8;

/// The running data path.
#[derive(Debug)]
pub struct Engine {
    /// The shards, as the control side reaches them.
    pub fanout: Arc<Fanout>,
    /// Where ingest is asked for last events.
    pub last: LastSender,
    /// Where ingest is spoken to.
    pub ingest: Sender<Command>,
    /// What runs them.
    pub threads: Threads,
}

/// The threads of the data path.
#[derive(Debug)]
pub struct Threads {
    /// Each returns how many clients were cut off.
    shards: Vec<JoinHandle<usize>>,
    /// Ingest's own thread, where it has one.
    ingest: Option<JoinHandle<()>>,
    to_ingest: Sender<Command>,
}

/// What a thread sleeps in, and what wakes it.
struct ThreadPoll {
    poll: Poll,
    alarm: Alarm,
    events: Events,
}

impl Engine {
    /// Starts ingest and `shards` shards, which tell the control side through `control` what it has to know.
    ///
    /// # Errors
    /// When the system has no descriptor or thread left.
    pub fn start(
        shards: usize,
        ingest: IngestConfig,
        shard: &ShardConfig,
        state: &Arc<State>,
        helpers: Helpers,
        control: &ControlSender,
    ) -> io::Result<Self> {
        let polls = (0..shards).map(|_| ThreadPoll::new()).collect::<io::Result<Vec<_>>>()?;
        let (senders, inboxes): (Vec<_>, Vec<_>) = polls.iter().map(|own| own.alarm.inbox()).unzip();
        let ports: Vec<_> = senders.into_iter().map(ShardPort::new).collect();
        let fanout = Arc::new(Fanout::new(&ports));
        let apart = (shards > 1).then(ThreadPoll::new).transpose()?;
        // Ingest's own poll, or the one that it shares with the only shard.
        let ingest_poll = apart.as_ref().unwrap_or(&polls[0]);
        let (to_ingest, ingest_inbox) = ingest_poll.alarm.inbox();
        let registry = ingest_poll.poll.registry().try_clone()?;
        let ingest = Ingest::new(registry, ingest_inbox, ingest, ports.clone(), Arc::clone(state), helpers);
        let handles = |id: usize| ShardHandles {
            id,
            wishes: ingest::wishes(&to_ingest),
            control: control.clone(),
            replay_budget: Arc::clone(&ports[id].replay_budget),
            state: Arc::clone(state),
            load: fanout.load(id),
        };
        let mut threads = Threads { shards: Vec::new(), ingest: None, to_ingest: to_ingest.clone() };
        let mut ingest_of_shard = None;
        match apart {
            Some(own) => {
                let thread = Builder::new().name("ingest".to_owned());
                threads.ingest = Some(thread.spawn(move || run_ingest(own, ingest))?);
            }
            None => ingest_of_shard = Some(ingest),
        }
        for (id, (own, inbox)) in polls.into_iter().zip(inboxes).enumerate() {
            let registry = own.poll.registry().try_clone()?;
            let max_unauthenticated = part(shard.max_unauthenticated, id, shards);
            let config = ShardConfig { max_unauthenticated, ..shard.clone() };
            let (handles, ingest) = (handles(id), ingest_of_shard.take());
            // A shard can't be sent to another thread: it begins on its own.
            let run = move || {
                let shard = Shard::start(registry, config, handles);
                match ingest {
                    Some(ingest) => run_both(own, ingest, &inbox, shard),
                    None => run_shard(own, &inbox, shard),
                }
            };
            threads.shards.push(Builder::new().name(format!("shard-{id}")).spawn(run)?);
        }
        Ok(Self { fanout, last: ingest::last_questions(&to_ingest), ingest: to_ingest, threads })
    }
}

/// A shard's part of a number that all have together: the parts differ by one at most, and none is 0.
fn part(of_all: usize, shard: usize, shards: usize) -> usize {
    (of_all / shards + usize::from(shard < of_all % shards)).max(1)
}

impl Threads {
    /// Waits for the shards to end, which they do when they are drained, and then ends ingest: events flow until the last client
    /// has gone. Returns how many clients had to be cut off. Blocks.
    pub fn join(self) -> usize {
        let end = |thread: JoinHandle<usize>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        let cut_off = self.shards.into_iter().map(end).sum();
        // Ingest that shares the shard's thread has ended with it.
        let _ = self.to_ingest.send(Command::Stop, 0);
        if let Some(ingest) = self.ingest {
            // A panic of the thread has been reported already.
            let _ = ingest.join();
        }
        cut_off
    }
}

impl ThreadPoll {
    fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self { alarm: Alarm::new(&poll)?, poll, events: Events::with_capacity(EVENTS_MAX) })
    }
}

/// Runs ingest until it is told to end.
fn run_ingest(own: ThreadPoll, mut ingest: Ingest) {
    let ThreadPoll { mut poll, alarm, mut events } = own;
    loop {
        let first = match alarm.sleep(&mut poll, &mut events, ingest.sleep_time(), || ingest.pop()) {
            Ok(first) => first,
            Err(error) => return tracing::error!(%error, "poll failed: ingest ends"),
        };
        if let Some(event) = events.iter().find(|event| event.token() == LINK) {
            ingest.link_ready(event.is_read_closed());
        }
        if ingest.turn(first).is_break() {
            return;
        }
        ingest.pause();
    }
}

/// Runs a shard until it is drained; returns how many clients were cut off.
fn run_shard(own: ThreadPoll, inbox: &Inbox<ToShard>, mut shard: Shard) -> usize {
    let ThreadPoll { mut poll, alarm, mut events } = own;
    while !shard.is_drained() {
        let first = match alarm.sleep(&mut poll, &mut events, shard.sleep_time(), || inbox.pop()) {
            Ok(first) => first,
            Err(error) => {
                tracing::error!(%error, "poll failed: the shard ends");
                break;
            }
        };
        take_turn(&mut shard, inbox, first, &events);
    }
    shard.clients()
}

/// What was found in an inbox before a sleep.
enum First {
    ForIngest(Command),
    ForShard(ToShard),
}

/// Runs ingest and the only shard until the shard is drained; returns how many clients were cut off.
fn run_both(own: ThreadPoll, mut ingest: Ingest, inbox: &Inbox<ToShard>, mut shard: Shard) -> usize {
    let ThreadPoll { mut poll, alarm, mut events } = own;
    let nothing = Events::with_capacity(1);
    while !shard.is_drained() {
        let timeout = ingest.sleep_time().min(shard.sleep_time());
        let first = || ingest.pop().map(First::ForIngest).or_else(|| inbox.pop().map(First::ForShard));
        let (for_ingest, for_shard) = match alarm.sleep(&mut poll, &mut events, timeout, first) {
            Ok(Some(First::ForIngest(command))) => (Some(command), None),
            Ok(Some(First::ForShard(command))) => (None, Some(command)),
            Ok(None) => (None, None),
            Err(error) => {
                tracing::error!(%error, "poll failed: the shard and ingest end");
                break;
            }
        };
        if let Some(event) = events.iter().find(|event| event.token() == LINK) {
            ingest.link_ready(event.is_read_closed());
        }
        if ingest.turn(for_ingest).is_break() {
            break;
        }
        take_turn(&mut shard, inbox, for_shard, &events);
        // What the shard has asked is answered before the next sleep, so a request costs no wake-up.
        for _ in 0..ANSWERS_PER_TURN {
            let Some(wish) = ingest.pop() else { break };
            if ingest.turn(Some(wish)).is_break() {
                break;
            }
            take_turn(&mut shard, inbox, None, &nothing);
        }
        ingest.pause();
    }
    shard.clients()
}

/// Has a shard take a turn with all that its inbox has, beginning with `first`.
fn take_turn(shard: &mut Shard, inbox: &Inbox<ToShard>, first: Option<ToShard>, events: &Events) {
    let told = first.into_iter().chain(std::iter::from_fn(|| inbox.pop()));
    let told = told.inspect(|command| inbox.consumed(command.queued_bytes()));
    let of_shard = events.iter().filter(|event| event.token() != WAKER && event.token() != LINK);
    shard.turn(told, of_shard.map(Into::into));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_shards_are_the_whole() {
        for shards in 1..=16 {
            for of_all in 0..100 {
                let parts: Vec<_> = (0..shards).map(|shard| part(of_all, shard, shards)).collect();
                assert_eq!(
                    parts.iter().sum::<usize>(),
                    of_all.max(shards),
                    "{of_all} over {shards}: {parts:?}"
                );
                assert!(
                    parts.iter().all(|one| of_all.max(shards) / shards <= *one
                        && *one <= of_all.max(shards).div_ceil(shards))
                );
            }
        }
    }
}
