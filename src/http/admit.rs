//! Who is let in, and how those are answered who are not: the rules that hold for every client that connects, whatever it speaks.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE};
use hyper::http::StatusCode;

use super::Http;
use super::answers::{Answer, refusal, refusal_until, wrong_method};
use super::handshake::{Fault, VERSION};
use super::query;
use crate::address::Forwarded;
use crate::admission::{NotAdmitted, UserAdmitted};
use crate::auth::{AuthError, Patience};
use crate::bus::{Denied, Seat, Standing, UserSeat};
use crate::limits::RETRY_AFTER_S;
use crate::metrics::UpgradeRefusal;
use crate::origin::Target;
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::request::Token;

/// A client that is let in.
pub(super) struct Admitted {
    /// Its place in `MAX_CONNECTIONS`.
    pub(super) seat: Seat,
    /// What is known of it.
    pub(super) standing: Standing,
    /// Its place among the connections of its user.
    pub(super) user_seat: Option<Arc<UserSeat>>,
}

/// What a request says of the client that sends it.
pub(super) struct Applicant<'r> {
    /// `Origin`: see [`Handshake::origin`](super::handshake::Handshake::origin).
    pub(super) origin: Option<&'r str>,
    /// The scheme and host that the request was sent to.
    pub(super) target: Target<'r>,
    /// Whom a proxy has sent it for.
    pub(super) forwarded: &'r Forwarded<'r>,
    /// The token in a header.
    pub(super) token: Option<Token>,
    /// The query of the URL.
    pub(super) query: Option<&'r str>,
    /// Whether it would not see the status of an HTTP answer.
    pub(super) is_blind: bool,
}

/// Why a handshake is refused.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// 400, 405 or 426: the request is no valid handshake.
    Fault(Fault),
    /// 403: `ALLOWED_ORIGINS` doesn't allow the page's origin.
    Origin,
    /// 400: a parameter of the URL has a value that isn't allowed.
    Query(Refusal),
    /// 401.
    Token(AuthError),
    /// 503: the gateway drains.
    Draining,
    /// 503 or 429: a limit on connections.
    NotAdmitted(NotAdmitted),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Refused {
    /// Under which reason it is counted.
    pub(super) const fn reason(&self) -> UpgradeRefusal {
        match self {
            Self::Fault(_) | Self::Query(_) => UpgradeRefusal::Handshake,
            Self::Origin => UpgradeRefusal::Origin,
            Self::Token(_) => UpgradeRefusal::Token,
            Self::Draining => UpgradeRefusal::Draining,
            Self::NotAdmitted(NotAdmitted::Full(_)) => UpgradeRefusal::Full,
            Self::NotAdmitted(NotAdmitted::ConnectionsPerIp(_)) => UpgradeRefusal::ConnectionsPerIp,
            Self::NotAdmitted(NotAdmitted::Rate { .. }) => UpgradeRefusal::ConnectionRate,
            Self::NotAdmitted(NotAdmitted::ConnectionsPerUser(_)) => UpgradeRefusal::ConnectionsPerUser,
        }
    }

    /// Whether it counts towards `CONNECTION_RATE_LIMIT`.
    pub(super) fn is_counted(&self) -> bool {
        match self {
            Self::Token(error) => *error != AuthError::KeyWanted,
            Self::NotAdmitted(limit) => matches!(limit, NotAdmitted::ConnectionsPerUser(_)),
            Self::Fault(_) | Self::Query(_) | Self::Origin | Self::Draining => false,
        }
    }

    /// The same, with a token that doesn't hold counted; `None` if the client is to wait, as its token's key is being fetched.
    pub(super) fn counted(self, http: &Http) -> Option<Self> {
        match &self {
            Self::Token(AuthError::KeyWanted) => return None,
            Self::Token(error) => http.auth.refused(error),
            _ => {}
        }
        Some(self)
    }

    /// The refusal as an HTTP answer.
    pub(super) fn into_answer(self) -> Answer {
        match self {
            Self::Fault(Fault::Method) => wrong_method("GET"),
            Self::Fault(Fault::NotWebSocket) => {
                let message = "This is a WebSocket endpoint: Upgrade: websocket and Sec-WebSocket-Version: 13 are required";
                let mut answer = refusal(StatusCode::UPGRADE_REQUIRED, "INVALID_INPUT", message);
                let headers = answer.headers_mut();
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
                answer
            }
            Self::Fault(Fault::Malformed(message)) => {
                refusal(StatusCode::BAD_REQUEST, "INVALID_INPUT", message)
            }
            Self::Query(error) => refusal(StatusCode::BAD_REQUEST, error.code.as_str(), &error.message),
            Self::Origin => refusal(StatusCode::FORBIDDEN, "FORBIDDEN", "Origin not allowed"),
            Self::Token(error) => {
                let mut answer = refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", &error.to_string());
                let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
                answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                answer
            }
            Self::Draining => refusal_until(
                StatusCode::SERVICE_UNAVAILABLE,
                "INTERNAL_ERROR",
                "The gateway is shutting down",
                RETRY_AFTER_S,
            ),
            Self::NotAdmitted(limit) => {
                let (status, code, retry_after_s) = match limit {
                    NotAdmitted::Full(_) => {
                        (StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_CONNECTIONS", RETRY_AFTER_S)
                    }
                    NotAdmitted::ConnectionsPerIp(_) | NotAdmitted::ConnectionsPerUser(_) => {
                        (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_CONNECTIONS", RETRY_AFTER_S)
                    }
                    NotAdmitted::Rate { retry_after_s, .. } => {
                        (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMIT_EXCEEDED", retry_after_s)
                    }
                };
                refusal_until(status, code, &limit.to_string(), retry_after_s)
            }
        }
    }
}

/// Holds a client that stays connected to the rules for all of them, those for each user included, and takes seats for it. Its connection
/// comes from `address`.
pub(super) fn admit(
    applicant: &Applicant<'_>,
    address: IpAddr,
    http: &Http,
    patience: Patience,
) -> Result<Admitted, Refused> {
    let now_us = http.state.metrics.uptime_us();
    let (seat, standing) = let_in(applicant, address, now_us, http, patience)?;
    let (standing, user_seat) = seat_of_user(standing, applicant.is_blind, now_us, http)?;
    Ok(Admitted { seat, standing, user_seat })
}

/// Holds a client, whose connection comes from `address`, to the rules for all of them, and takes a seat for it.
pub(super) fn let_in(
    applicant: &Applicant<'_>,
    address: IpAddr,
    now_us: u64,
    http: &Http,
    patience: Patience,
) -> Result<(Seat, Standing), Refused> {
    if !http.admits(applicant.origin, applicant.target) {
        return Err(Refused::Origin);
    }
    if http.state.draining() {
        return Err(Refused::Draining);
    }
    let client = http.client(address, applicant.forwarded);
    let seat = http.admission.admit(client, now_us).map_err(Refused::NotAdmitted)?;
    let in_query = || {
        let query = applicant.query.filter(|_| !http.passes_over_token(applicant.query));
        query::token(query).map(Token::new)
    };
    let token = applicant.token.as_ref().map(Cow::Borrowed).or_else(|| in_query().map(Cow::Owned));
    let standing = http.auth.standing(token.as_deref(), applicant.is_blind, patience).map_err(|error| {
        if error == AuthError::KeyWanted {
            http.admission.give_back(client);
        }
        Refused::Token(error)
    })?;
    Ok((seat, standing))
}

/// Takes a place among the connections of the client's user, if it has one. A browser can't read the status of an HTTP answer, so one
/// that gets no place is let in and told, unless too many are at that already.
fn seat_of_user(
    standing: Standing,
    is_browser: bool,
    now_us: u64,
    http: &Http,
) -> Result<(Standing, Option<Arc<UserSeat>>), Refused> {
    let Standing::Known(identity) = &standing else { return Ok((standing, None)) };
    let Some(user) = &identity.user else { return Ok((standing, None)) };
    match http.admission.admit_user(user, now_us) {
        Ok(UserAdmitted { seat, replaces }) => {
            if let Some(number) = replaces {
                http.state.metrics.control.connections_replaced.add_shared(1);
                http.adopt.replace(number);
            }
            Ok((standing, Some(seat)))
        }
        Err(limit) => {
            let place = is_browser.then(|| http.auth.place_to_turn_away()).flatten();
            let place = place.ok_or(Refused::NotAdmitted(limit))?;
            let denied = Denied { code: ErrorCode::TooManyConnections, why: limit.to_string() };
            Ok((Standing::Refused { denied: Box::new(denied), place }, None))
        }
    }
}
