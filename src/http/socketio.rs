//! Where clients of Socket.IO connect: `/socket.io/`, whatever the namespace. A handshake there is held to the rules of every other one. Errors have
//! the shapes of Engine.IO, which its clients show.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Request;
use hyper::header::HeaderMap;
use hyper::http::{Method, StatusCode};

use super::admit::{Admitted, Applicant, Refused, admit};
use super::answers::{Answer, json, refusal, wrong_method};
use super::dialects::{self, Endpoint};
use super::handshake::{self, Fault, Handshake};
use super::polling::{self, Posted};
use super::query;
use super::routes::{Outcome, answer_handshake};
use super::upgrade::{self, Accepted};
use super::{Http, Surface, cors};
use crate::auth::Patience;
use crate::bus::{Arrival, Newcomer};
use crate::metrics::{RequestRefusal, UpgradeRefusal};
use crate::protocol::Dialect;
use crate::protocol::api::Api;
use crate::protocol::request::Token;
use crate::protocol::socketio::namespace::{self, Joined};
use crate::protocol::socketio::write;
use crate::transport::{self, Session, Transport};
use crate::websocket::header;

/// The methods at the path, as in `Allow`.
const METHODS: &str = "GET, POST, OPTIONS";

/// Where systems with Socket.IO have connections closed that don't answer.
const CLEANUP: &str = "/websocket/cleanup";

/// The version of Engine.IO's protocol.
const EIO: &str = "4";

/// What Engine.IO's server says of a request that it doesn't take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    Transport,
    Session,
    Method,
    Request,
    Forbidden,
    Version,
}

impl Bad {
    fn into_answer(self) -> Answer {
        #[derive(serde::Serialize)]
        struct Body {
            code: u8,
            message: &'static str,
        }
        let (code, message) = match self {
            Self::Transport => (0, "Transport unknown"),
            Self::Session => (1, "Session ID unknown"),
            Self::Method => (2, "Bad handshake method"),
            Self::Request => (3, "Bad request"),
            Self::Forbidden => (4, "Forbidden"),
            Self::Version => (5, "Unsupported protocol version"),
        };
        let status = if self == Self::Forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
        json(status, &Body { code, message })
    }
}

/// Whether it is the path of a namespace: nobody connects there, but people look there whether their page may.
pub(super) fn is_of_namespace(path: &str, http: &Http) -> bool {
    http.apis.has(Api::SocketIo) && path != "/" && namespace::find(path).is_some()
}

/// The path of a report that systems with Socket.IO have elsewhere, also behind `/api`; other paths are as they are.
pub(super) fn path_of_report<'p>(path: &'p str, http: &Http) -> &'p str {
    if !http.apis.has(Api::SocketIo) {
        return path;
    }
    match path.strip_prefix("/api").unwrap_or(path) {
        "/websocket/metrics" => "/stats",
        "/websocket/health" => "/ws/health",
        CLEANUP => CLEANUP,
        _ => path,
    }
}

/// Whether a path is that of the operator's order to close connections that have missed a pong.
pub(super) fn is_cleanup(path: &str, http: &Http) -> bool {
    path == CLEANUP && http.surface == Surface::Operator && http.apis.has(Api::SocketIo)
}

/// Carries out that order, on the operator's port for whoever has shown its token.
pub(super) fn clean<B>(request: &Request<B>, http: &Http) -> Outcome {
    if request.method() != Method::POST {
        return Outcome::Plain(wrong_method("POST"));
    }
    if http.operator_token.is_none() {
        let message = "Orders need OPS_TOKEN, which is not set";
        let answer = refusal(StatusCode::FORBIDDEN, "FORBIDDEN", message);
        return Outcome::Declined(answer, RequestRefusal::Operator);
    }
    let told = http.adopt.clean();
    Outcome::Asked(Box::pin(async move {
        let mut cleaned = 0;
        for told in told {
            cleaned += told.await.unwrap_or_default();
        }
        json(StatusCode::OK, &serde_json::json!({"cleaned": cleaned}))
    }))
}

/// What a page of another origin may do at these paths.
pub(super) fn options(request: &HeaderMap, http: &Http) -> Answer {
    cors::options(METHODS, request, http)
}

/// Answers a request at the path.
pub(super) fn answer<B>(request: &Request<B>, address: IpAddr, http: &Http, patience: Patience) -> Outcome {
    if request.method() == Method::OPTIONS {
        return Outcome::Plain(options(request.headers(), http));
    }
    let query = request.uri().query().unwrap_or_default();
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(each, _)| *each == name).map(|(_, value)| value)
    };
    let sid = value("sid");
    let is_first = sid.is_none();
    let session = sid.and_then(|sid| http.sessions.find(sid).map(|session| (sid, session)));
    let bad = match value("transport") {
        Some("websocket" | "polling") if !is_first && session.is_none() => Bad::Session,
        Some("websocket" | "polling") if is_first && request.method() != Method::GET => Bad::Method,
        Some("websocket" | "polling") if is_first && value("EIO") != Some(EIO) => Bad::Version,
        Some("websocket") => {
            let accepted = match &session {
                None => accept(request, address, http, patience),
                Some((_, session)) => accept_probe(session, request, http),
            };
            match accepted {
                Err(Refused::Fault(Fault::NotWebSocket)) => Bad::Request,
                Err(Refused::Origin) => Bad::Forbidden,
                accepted => return answer_handshake(accepted, http),
            }
        }
        Some("polling") => match session {
            None => return open_session(request, address, http, patience),
            Some((sid, session)) => match go_on(sid, session, request, http) {
                Ok(outcome) => return outcome,
                Err(bad) => bad,
            },
        },
        _ => Bad::Transport,
    };
    let why = if bad == Bad::Forbidden { UpgradeRefusal::Origin } else { UpgradeRefusal::Handshake };
    turn_down(bad.into_answer(), why, request.headers(), http)
}

fn turn_down(mut answer: Answer, why: UpgradeRefusal, headers: &HeaderMap, http: &Http) -> Outcome {
    cors::Mark::of(headers, http).put_into(&mut answer);
    Outcome::Refused(answer, why)
}

/// Begins a session over HTTP requests: its connection goes to a shard, and the answer says how to go on.
fn open_session<B>(request: &Request<B>, address: IpAddr, http: &Http, patience: Patience) -> Outcome {
    let headers = request.headers();
    let forwarded = handshake::forwarded(headers);
    let applicant = Applicant {
        origin: handshake::origin(headers),
        target: handshake::target(headers),
        forwarded: &forwarded,
        token: handshake::authorization(headers).map(Token::new),
        query: request.uri().query(),
        is_blind: false,
    };
    let admitted = dialects::terms(request.uri())
        .and_then(|terms| admit(&applicant, address, http, patience).map(|admitted| (admitted, terms)));
    let (Admitted { seat, standing, user_seat }, terms) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            let Some(error) = error.counted(http) else { return Outcome::Waits };
            let why = error.reason();
            let is_foreign = matches!(error, Refused::Origin);
            let answer = if is_foreign { Bad::Forbidden.into_answer() } else { error.into_answer() };
            return turn_down(answer, why, headers, http);
        }
    };
    let sid = new_sid();
    let (polling, session) = transport::session();
    http.sessions.insert(&sid, session);
    http.state.metrics.control.upgrades.add_shared(1);
    let client = Newcomer::new(Dialect::SocketIo(Joined::NONE), standing, seat, user_seat);
    let (transport, early) = (Transport::Polling(polling), Bytes::new());
    let at_desk = query::has_pair(request.uri().query(), query::AT_DESK);
    http.adopt.adopt(vec![Arrival { transport, early, client: Newcomer { terms, at_desk, ..client } }]);
    Outcome::Plain(polling::packets(write::open(&sid, true, http.max_message_bytes)))
}

/// A further request of a session.
fn go_on<B>(sid: &str, session: Session, request: &Request<B>, http: &Http) -> Result<Outcome, Bad> {
    let headers = request.headers();
    if !http.admits(handshake::origin(headers), handshake::target(headers)) {
        return Err(Bad::Forbidden);
    }
    let is_poll = match *request.method() {
        Method::GET => true,
        Method::POST => false,
        _ => return Err(Bad::Request),
    };
    let Some(turn) = session.begin(is_poll) else {
        // As Engine.IO has it: who asks twice at a time has lost its way.
        session.end();
        return Err(Bad::Request);
    };
    if is_poll {
        let (sid, sessions) = (sid.to_owned(), Arc::clone(&http.sessions));
        return Ok(Outcome::Asked(Box::pin(async move {
            polling::poll(turn).await.unwrap_or_else(|| {
                sessions.forget(&sid);
                Bad::Session.into_answer()
            })
        })));
    }
    let mark = cors::Mark::of(headers, http);
    let posted = Posted { session, turn, max_bytes: http.max_message_bytes, mark };
    Ok(Outcome::Posted(Box::new(posted)))
}

/// Decides on a WebSocket that is to take the place of a session's requests: whoever knows the session's id is its client.
fn accept_probe<B>(session: &Session, request: &Request<B>, http: &Http) -> Result<Accepted, Refused> {
    let handshake = Handshake::of(request)?;
    if !http.admits(handshake.origin, handshake.target) {
        return Err(Refused::Origin);
    }
    let (Some(probe), Some(seat)) = (session.probe(), http.probes.take()) else {
        return Err(Fault::Malformed("The session has a WebSocket already, or has ended").into());
    };
    let standing = http.auth.standing(None, false, Patience::Gone).map_err(Refused::Token)?;
    // It is not compressed: its session's subscriptions have the form that they have.
    let client = Newcomer::new(Dialect::SocketIo(Joined::NONE), standing, seat, None);
    let fields = upgrade::fields(&handshake, http, false)?;
    Ok(Accepted { client: Newcomer { probe: Some(probe), ..client }, fields })
}

fn accept<B>(
    request: &Request<B>,
    address: IpAddr,
    http: &Http,
    patience: Patience,
) -> Result<Accepted, Refused> {
    let accepted = dialects::accept(Endpoint::SocketIo, request, address, http, patience)?;
    let open = write::open(&new_sid(), false, http.max_message_bytes);
    let greeting = header::text(open.as_bytes()).into();
    Ok(Accepted { client: Newcomer { greeting, ..accepted.client }, ..accepted })
}

/// A new session's id: 128 bits that nobody can guess, as whoever knows it can speak for the session.
fn new_sid() -> String {
    let mut bytes = [0; 16];
    // It fails only where the system has no randomness, and then no TLS works either.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!("the system has no random numbers: sessions of Socket.IO are not secret");
    }
    format!("{:032x}", u128::from_be_bytes(bytes))
}
