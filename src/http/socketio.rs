//! Where clients of Socket.IO connect: `/socket.io/`, whatever the namespace. A handshake there is held to the rules of every other one. Errors have
//! the shapes of Engine.IO, which its clients show.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HeaderMap;
use hyper::http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use super::answers::{Answer, json};
use super::handshake::{Fault, Handshake};
use super::routes::{Outcome, answer_handshake};
use super::upgrade::{self, Accepted, Refused, Spoken};
use super::{Http, cors};
use crate::auth::Patience;
use crate::metrics::UpgradeRefusal;
use crate::protocol::Dialect;
use crate::protocol::api::Api;
use crate::protocol::native::read::parse_terms;
use crate::protocol::socketio::namespace::{self, Joined};
use crate::protocol::socketio::write;
use crate::websocket::header;

/// The methods at the path, as in `Allow`.
const METHODS: &str = "GET, POST, OPTIONS";

/// The version of Engine.IO's protocol.
const EIO: &str = "4";

/// What Engine.IO's server says of a request that it doesn't take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    Transport,
    Session,
    Method,
    Request,
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
            Self::Version => (5, "Unsupported protocol version"),
        };
        json(StatusCode::BAD_REQUEST, &Body { code, message })
    }
}

/// Whether it is the path of a namespace: nobody connects there, but people look there whether their page may.
pub(super) fn is_of_namespace(path: &str, http: &Http) -> bool {
    http.apis.has(Api::SocketIo) && path != "/" && namespace::find(path).is_some()
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
    let bad = match (value("transport"), value("sid")) {
        (Some("websocket"), None) if request.method() != Method::GET => Bad::Method,
        (Some("websocket"), None) if value("EIO") != Some(EIO) => Bad::Version,
        (Some("websocket"), None) => match accept(request, address, http, patience) {
            Err(Refused::Fault(Fault::NotWebSocket)) => Bad::Request,
            accepted => return answer_handshake(accepted, http),
        },
        (Some("websocket"), Some(_)) => Bad::Session,
        _ => Bad::Transport,
    };
    Outcome::Refused(bad.into_answer(), UpgradeRefusal::Handshake)
}

fn accept<B>(
    request: &Request<B>,
    address: IpAddr,
    http: &Http,
    patience: Patience,
) -> Result<Accepted, Refused> {
    let handshake = Handshake::of(request)?;
    let uri = request.uri();
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (name, percent_decode_str(value).decode_utf8_lossy()));
    let terms = parse_terms(pairs).map_err(Refused::Query)?.map(Box::new);
    let spoken = Spoken { dialect: Dialect::SocketIo(Joined::NONE), token: None, request: None, terms };
    let accepted = upgrade::accept_as(&handshake, uri, address, http, patience, spoken)?;
    let open = write::open(&new_sid(), false, http.max_message_bytes);
    Ok(Accepted { greeting: header::text(open.as_bytes()).into(), ..accepted })
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
