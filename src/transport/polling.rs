//! A connection whose bytes come and go in HTTP requests: long-polling, as Engine.IO has it.
//!
//! A shard has one end of it and sees a WebSocket: it reads a client's frames and writes its own. The HTTP side has the other end: it puts in what the body of
//! a request brings, and takes out what waits for the next answer, as packets. Both ends have a lock in common, which nobody holds for longer than a copy
//! takes. What waits is bounded, and while there is no room the shard's outbox holds back the rest, as it does for a socket.
//!
//! A client asks for the next packets once it has those before. So a ping of the shard's is answered here, when the client asks behind an answer that had
//! everything before the ping.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::limits::POLLING_BYTES_MAX;
use crate::websocket::close::ping_with;
use crate::websocket::header;

/// What stands between two packets of an answer.
const SEPARATOR: u8 = 0x1e;
/// Engine.IO's packet that ends a connection.
const CLOSE_PACKET: &[u8] = b"1";

/// First bytes of frames: FIN and an opcode.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// Tells the shard that the connection with that token may be read and written.
pub type Wake = Box<dyn Fn(usize) + Send>;

/// The shard's end. Dropping it ends the session.
#[derive(Debug)]
pub struct Polling(Arc<Shared>);

/// The end of the HTTP side. Clones are the same.
#[derive(Debug, Clone)]
pub struct Session(Arc<Shared>);

/// A WebSocket that may take the session's place. Dropping it makes room for another try.
#[derive(Debug)]
pub struct Probe {
    shared: Arc<Shared>,
    shard: usize,
    token: usize,
}

/// The session's only request that waits for packets, or brings some.
#[derive(Debug)]
pub struct Turn {
    shared: Arc<Shared>,
    is_poll: bool,
}

/// What there is for an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Packets, with separators between them.
    Packets(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The session has ended.
    Ended,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A request that waits for packets is to look again.
    to_poll: Notify,
    /// A request that waits for room is to look again.
    to_post: Notify,
}

#[derive(Default)]
struct State {
    /// How the shard is told, and which one it is.
    wake: Option<(usize, Wake)>,
    /// Under which token the shard knows the connection.
    token: Option<usize>,
    /// Frames of the client that the shard is yet to read.
    incoming: Vec<u8>,
    /// Whole packets that are yet to be taken.
    outgoing: Vec<u8>,
    /// The payload of the shard's last ping behind packets that are yet to be taken.
    ping: Option<Vec<u8>>,
    /// That of the last one behind packets that have been taken: the next request shows that the client has them.
    ping_taken: Option<Vec<u8>>,
    /// The frame that the shard has written in part.
    frame: Frame,
    /// The shard waits for room.
    is_blocked: bool,
    is_polled: bool,
    is_posted: bool,
    is_probed: bool,
    /// A request that waits is to be answered, with nothing if need be.
    is_hurried: bool,
    /// The shard writes no more.
    is_shut: bool,
    /// The HTTP side has ended the session, or has taken the last packets of one that is shut.
    is_over: bool,
    /// The shard has let go of it.
    is_gone: bool,
}

/// A frame of the shard's, as far as it has been written.
#[derive(Debug, Default)]
struct Frame {
    header: Vec<u8>,
    payload: Vec<u8>,
}

/// A session, by its two ends.
pub fn session() -> (Polling, Session) {
    let shared = Arc::<Shared>::default();
    (Polling(Arc::clone(&shared)), Session(shared))
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    /// Nothing panics under the lock, so poisoning means nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&self) {
        if let (Some((_, wake)), Some(token)) = (&self.wake, self.token) {
            wake(token);
        }
    }

    /// The client asks again, so it has everything that was taken. The shard is told so by a pong, as over a WebSocket.
    fn answer_ping(&mut self) {
        if let Some(payload) = self.ping_taken.take() {
            header::write_client_pong(&mut self.incoming, &payload);
            self.wake();
        }
    }

    fn push(&mut self, packet: &[u8]) {
        if !self.outgoing.is_empty() {
            self.outgoing.push(SEPARATOR);
        }
        self.outgoing.extend_from_slice(packet);
    }

    /// Takes bytes of frames as they come.
    fn take_frames(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            let Some(payload_bytes) = header::payload_bytes(&self.frame.header) else {
                self.frame.header.push(*first);
                bytes = rest;
                if header::payload_bytes(&self.frame.header) == Some(0) {
                    self.end_frame();
                }
                continue;
            };
            let left = payload_bytes - self.frame.payload.len();
            let (part, rest) = bytes.split_at(left.min(bytes.len()));
            self.frame.payload.extend_from_slice(part);
            bytes = rest;
            if self.frame.payload.len() == payload_bytes {
                self.end_frame();
            }
        }
    }

    /// A text is a packet, and a close frame becomes Engine.IO's own. A ping is answered once the client has what stands before it.
    fn end_frame(&mut self) {
        let Frame { header, payload } = std::mem::take(&mut self.frame);
        match header.first() {
            Some(&TEXT) => self.push(&payload),
            Some(&CLOSE) => self.push(CLOSE_PACKET),
            Some(&PING) if self.outgoing.is_empty() => self.ping_taken = Some(payload),
            Some(&PING) => self.ping = Some(payload),
            _ => {}
        }
    }
}

impl Polling {
    /// How the shard, which has that number, is told that there is something to do.
    pub fn attach(&self, shard: usize, wake: Wake) {
        self.0.lock().wake = Some((shard, wake));
    }

    pub(super) fn register(&self, token: usize) {
        self.0.lock().token = Some(token);
    }

    #[inline(never)]
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.incoming.is_empty() {
            return if state.is_over { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = state.incoming.len().min(buffer.len());
        buffer[..count].copy_from_slice(&state.incoming[..count]);
        state.incoming.drain(..count);
        if state.incoming.is_empty() {
            state.incoming = Vec::new();
            self.0.to_post.notify_one();
        }
        Ok(count)
    }

    #[inline(never)]
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        let waiting = state.outgoing.len() + state.frame.payload.len();
        let room = match state.outgoing.is_empty() {
            true => POLLING_BYTES_MAX,
            false => POLLING_BYTES_MAX.saturating_sub(waiting),
        };
        if room == 0 {
            state.is_blocked = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut count = room.min(bytes.len());
        state.take_frames(&bytes[..count]);
        // A frame is taken whole, however long, or nothing could ever be taken out.
        while state.outgoing.is_empty() && count < bytes.len() {
            let more = POLLING_BYTES_MAX.min(bytes.len() - count);
            state.take_frames(&bytes[count..count + more]);
            count += more;
        }
        state.is_blocked = count < bytes.len();
        if !state.outgoing.is_empty() {
            self.0.to_poll.notify_one();
        }
        Ok(count)
    }

    pub(super) fn shut(&self) {
        self.0.lock().is_shut = true;
        self.0.to_poll.notify_one();
    }

    /// A WebSocket is about to take its place: the client waits until its request is answered.
    pub fn hurry(&self) {
        self.0.lock().is_hurried = true;
        self.0.to_poll.notify_one();
    }

    /// Ends the session, as a WebSocket takes its place: the bytes that it has to send first.
    pub fn release(&self) -> Vec<u8> {
        let mut state = self.0.lock();
        // A client on a WebSocket answers pings itself, what it got by long-polling included.
        let mut first = state.ping_taken.take().map(|payload| ping_with(&payload)).unwrap_or_default();
        let outgoing = std::mem::take(&mut state.outgoing);
        if !outgoing.is_empty() {
            outgoing
                .split(|byte| *byte == SEPARATOR)
                .for_each(|packet| first.extend_from_slice(&header::text(packet)));
        }
        if let Some(payload) = state.ping.take() {
            first.extend_from_slice(&ping_with(&payload));
        }
        let Frame { header, payload } = std::mem::take(&mut state.frame);
        first.extend_from_slice(&header);
        first.extend_from_slice(&payload);
        first
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_gone = true;
        state.wake = None;
        state.incoming = Vec::new();
        if !state.is_polled {
            state.outgoing = Vec::new();
        }
        self.0.to_poll.notify_one();
        self.0.to_post.notify_one();
    }
}

impl Session {
    /// Whether the shard has let go of it.
    pub fn is_gone(&self) -> bool {
        self.0.lock().is_gone
    }

    /// Ends it.
    pub fn end(&self) {
        let mut state = self.0.lock();
        state.is_over = true;
        state.wake();
    }

    /// Begins a request for packets (`is_poll`) or one that brings some; `None` while there is another one.
    pub fn begin(&self, is_poll: bool) -> Option<Turn> {
        let mut state = self.0.lock();
        let is_busy = if is_poll { &mut state.is_polled } else { &mut state.is_posted };
        if std::mem::replace(is_busy, true) {
            return None;
        }
        if is_poll {
            state.answer_ping();
        }
        Some(Turn { shared: Arc::clone(&self.0), is_poll })
    }

    /// A WebSocket that wants to take its place; `None` if there is one already, or the session is on its way out.
    pub fn probe(&self) -> Option<Probe> {
        let mut state = self.0.lock();
        let (Some((shard, _)), Some(token)) = (&state.wake, state.token) else { return None };
        let (shard, is_free) = (*shard, !state.is_probed && !state.is_shut && !state.is_over);
        state.is_probed |= is_free;
        is_free.then(|| Probe { shared: Arc::clone(&self.0), shard, token })
    }
}

impl Turn {
    /// Waits until there is something for an answer.
    pub async fn packets(&self) -> Taken {
        loop {
            match self.take() {
                Taken::Nothing => self.shared.to_poll.notified().await,
                taken => return taken,
            }
        }
    }

    /// What there is for an answer now.
    fn take(&self) -> Taken {
        let mut state = self.shared.lock();
        let packets = std::mem::take(&mut state.outgoing);
        if let Some(ping) = state.ping.take() {
            state.ping_taken = Some(ping);
        }
        let is_hurried = std::mem::take(&mut state.is_hurried);
        if packets.is_empty() && !is_hurried {
            return if state.is_gone || state.is_shut { Taken::Ended } else { Taken::Nothing };
        }
        state.is_over |= state.is_shut;
        if std::mem::take(&mut state.is_blocked) || state.is_over {
            state.wake();
        }
        Taken::Packets(packets)
    }

    /// Waits until the shard has read what was put in before, and puts in the frames that `write` appends. `false`: the session has ended.
    pub async fn put(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        loop {
            {
                let mut state = self.shared.lock();
                if state.is_gone || state.is_over {
                    return false;
                }
                if state.incoming.is_empty() {
                    write(&mut state.incoming);
                    state.wake();
                    return true;
                }
            }
            self.shared.to_post.notified().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if self.is_poll {
            state.is_polled = false;
        } else {
            state.is_posted = false;
        }
    }
}

impl Probe {
    /// The shard of the session.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Under which token the shard knows the session's connection.
    pub fn token(&self) -> usize {
        self.token
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.lock().is_probed = false;
    }
}

#[cfg(test)]
#[path = "polling_tests.rs"]
mod tests;
