//! Long-polling: the requests of sessions of Socket.IO whose bytes come and go over HTTP. A session is a connection of a shard
//! ([`transport::Polling`](crate::transport::Polling)); here its requests are answered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Limited};
use hyper::body::Incoming;
use hyper::http::StatusCode;
use tokio::time::timeout;

use super::answers::{Answer, answer};
use super::cors;
use crate::limits::POLL_WAIT;
use crate::protocol::socketio::engine::{Packet, Part, parts};
use crate::transport::{Session, Taken, Turn};
use crate::websocket::header::{write_client_binary, write_client_text};

/// What Engine.IO's server sends.
const TEXT: &str = "text/plain; charset=UTF-8";
/// Its answer to packets.
const OK: &str = "ok";

/// Sessions are looked through for those that have ended once there are so many, and then when they have doubled.
const FIRST_LOOK: usize = 64;

/// The sessions that requests may name.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Known>);

#[derive(Debug)]
struct Known {
    sessions: HashMap<Box<str>, Session>,
    look_at: usize,
}

impl Default for Known {
    fn default() -> Self {
        Self { sessions: HashMap::new(), look_at: FIRST_LOOK }
    }
}

impl Sessions {
    /// Nothing panics under the lock, so poisoning means nothing.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session. So there are never more than twice as many as connections.
    pub(super) fn insert(&self, sid: &str, session: Session) {
        let mut known = self.lock();
        if known.sessions.len() >= known.look_at {
            known.sessions.retain(|_, session| !session.is_gone());
            known.look_at = FIRST_LOOK.max(2 * known.sessions.len());
        }
        known.sessions.insert(sid.into(), session);
    }

    /// The session of that id.
    pub(super) fn find(&self, sid: &str) -> Option<Session> {
        self.lock().sessions.get(sid).cloned()
    }

    /// Forgets a session that has ended.
    pub(super) fn forget(&self, sid: &str) {
        self.lock().sessions.remove(sid);
    }
}

/// An answer with packets.
pub(super) fn packets(packets: impl Into<Bytes>) -> Answer {
    answer(StatusCode::OK, TEXT, packets)
}

/// Answers a request for packets, after a while with one that means nothing: whoever is on the way then sees that the connection lives. `None`: the
/// session has ended.
pub(super) async fn poll(turn: Turn) -> Option<Answer> {
    let mut noop = Vec::new();
    Packet::Noop.write(&mut noop);
    match timeout(POLL_WAIT, turn.packets()).await {
        Ok(Taken::Packets(some)) if !some.is_empty() => Some(packets(some)),
        Ok(Taken::Ended) => None,
        Ok(Taken::Packets(_) | Taken::Nothing) | Err(_) => Some(packets(noop)),
    }
}

/// A request that brings packets.
pub(super) struct Posted {
    pub(super) session: Session,
    pub(super) turn: Turn,
    /// `MAX_MESSAGE_SIZE`.
    pub(super) max_bytes: usize,
    pub(super) mark: cors::Mark,
}

impl Posted {
    /// Reads the body and hands the packets to the session's shard. Whatever is wrong with them ends the session.
    pub(super) async fn answer(self, body: Incoming) -> Answer {
        let Self { session, turn, max_bytes, mark } = self;
        let body = Limited::new(body, max_bytes).collect().await;
        let taken = match body.ok().map(Collected::to_bytes) {
            None => Err(StatusCode::PAYLOAD_TOO_LARGE),
            Some(body) => match frames(&body) {
                Some(frames) if turn.put(|out| out.extend_from_slice(&frames)).await => Ok(()),
                _ => Err(StatusCode::BAD_REQUEST),
            },
        };
        let mut answer = match taken {
            Ok(()) => answer(StatusCode::OK, "text/html", OK),
            Err(status) => {
                session.end();
                answer(status, TEXT, "")
            }
        };
        mark.put_into(&mut answer);
        answer
    }
}

/// The packets of a body as a client's WebSocket frames; `None` if they are none.
fn frames(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(2 * body.len());
    for part in parts(std::str::from_utf8(body).ok()?) {
        match part.ok()? {
            Part::Packet(packet) => {
                let mut text = Vec::new();
                packet.write(&mut text);
                write_client_text(&mut out, &text);
            }
            // What is in it is nobody's concern.
            Part::Binary(_) => write_client_binary(&mut out, &[]),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport;

    #[test]
    fn a_body_becomes_frames() {
        let bytes = frames("40\u{1e}bAQID\u{1e}3".as_bytes()).unwrap();
        assert_eq!(bytes, b"\x81\x82\0\0\0\x0040\x82\x80\0\0\0\0\x81\x81\0\0\0\x003");
        for bad in [&b""[..], b"40\x1e", b"x", b"4\xff"] {
            assert_eq!(frames(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sessions_that_have_ended_are_forgotten() {
        let sessions = Sessions::default();
        let mut kept = Vec::new();
        for number in 0..1_000 {
            let (polling, session) = transport::session();
            sessions.insert(&number.to_string(), session);
            if number % 100 == 0 {
                kept.push((number, polling));
            }
        }
        assert!(sessions.lock().sessions.len() <= FIRST_LOOK + kept.len());
        assert!(kept.iter().all(|(number, _)| sessions.find(&number.to_string()).is_some()));
        sessions.forget("0");
        assert!(sessions.find("0").is_none());
    }
}
