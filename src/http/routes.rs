//! The table of routes: chooses the answer to a request.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::http::{Method, StatusCode};

use super::admit::Refused;
use super::answers::{Answer, refusal, wrong_method};
use super::dialects::{self, Endpoint};
use super::handshake::{self, Handshake};
use super::last::{self, Asked, Declined};
use super::polling::Posted;
use super::upgrade::{self, Accepted};
use super::{Http, cors, metrics_text, pages, reports, socketio, sse};
use crate::auth::Patience;
use crate::metrics::{RequestRefusal, UpgradeRefusal};

/// The answer to a request.
pub(super) enum Outcome {
    /// To a request that is no handshake.
    Plain(Answer),
    /// To a request that is no handshake and is refused, and why.
    Declined(Answer, RequestRefusal),
    /// To a request that waits for ingest.
    Asked(Asked),
    /// To a handshake that is refused, and why: 4xx or 503.
    Refused(Answer, UpgradeRefusal),
    /// To a handshake that is accepted: 101.
    Upgrade(Answer, Accepted),
    /// To a request whose body has packets for a session: it is yet to be read.
    Posted(Box<Posted>),
    /// To a request for a stream that is accepted: the shard answers it.
    Stream(Accepted),
    /// To a request whose token's key is being fetched: none yet. It is to be answered once [`crate::auth::Auth::keys_fetched`] is
    /// done, with no patience left.
    Waits,
}

/// Whom a route or a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Clients and browsers.
    Public,
    /// Operators: routes that report on the gateway as a whole.
    Operator,
    /// Both. The gateway's only port serves every route.
    Both,
}

impl Surface {
    /// Whether a port for `port` serves a route for `self`.
    fn is_served_on(self, port: Self) -> bool {
        self == port || self == Self::Both || port == Self::Both
    }
}

/// A path that is served.
struct Route {
    path: &'static str,
    surface: Surface,
    /// The methods, as in `Allow`.
    methods: &'static str,
    /// Whether the operator's port asks nobody for `OPS_TOKEN` there.
    is_open: bool,
    content: Content,
}

/// The content of a route's answer.
#[derive(Clone, Copy)]
enum Content {
    Home,
    Style,
    Script,
    Chart,
    WebSocket,
    Health,
    HealthOfConnections,
    Ready,
    Stats,
    Metrics,
    Last,
    Stream,
}

const READ: &str = "GET, HEAD, OPTIONS";
const UPGRADE: &str = "GET, OPTIONS";

/// Every route.
const ROUTES: [Route; 14] = [
    route("/", Surface::Public, READ, Content::Home),
    route("/live.css", Surface::Public, READ, Content::Style),
    route("/live.js", Surface::Public, READ, Content::Script),
    route("/chart.js", Surface::Public, READ, Content::Chart),
    route("/ws", Surface::Public, UPGRADE, Content::WebSocket),
    route("/ws/", Surface::Public, UPGRADE, Content::WebSocket),
    route("/sse", Surface::Public, UPGRADE, Content::Stream),
    route("/v1/last", Surface::Public, READ, Content::Last),
    route(last::PATH, Surface::Public, READ, Content::Last),
    route("/health", Surface::Both, READ, Content::Health),
    route("/ws/health", Surface::Both, READ, Content::HealthOfConnections),
    route("/ready", Surface::Both, READ, Content::Ready),
    route("/stats", Surface::Operator, READ, Content::Stats),
    route("/metrics", Surface::Operator, READ, Content::Metrics),
];

const fn route(path: &'static str, surface: Surface, methods: &'static str, content: Content) -> Route {
    // What balancers and containers ask, which know no token.
    let is_open = matches!(content, Content::Health | Content::Ready);
    Route { path, surface, methods, is_open, content }
}

/// Whether clients connect at this path.
pub(super) fn is_endpoint(path: &str) -> bool {
    find(path, Surface::Public)
        .is_some_and(|route| matches!(route.content, Content::Home | Content::WebSocket))
}

/// Whether it is a path of the gateway's own.
pub(super) fn is_route(path: &str) -> bool {
    find(path, Surface::Both).is_some()
}

fn find(path: &str, port: Surface) -> Option<&'static Route> {
    // A symbol stands behind the path, and may have any character in it.
    let is_at =
        |route: &Route| route.path == path || (route.path == last::PATH && path.starts_with(route.path));
    ROUTES.iter().find(|route| is_at(route) && route.surface.is_served_on(port))
}

/// Answers a request on a connection from `address`. Ignores its body, if it has one.
pub(super) fn answer<B>(request: &Request<B>, address: IpAddr, http: &Http, patience: Patience) -> Outcome {
    let outcome = outcome(request, address, http, patience);
    // No browser shows its page the answer to a handshake, and the operator's port is for no page.
    if http.surface == Surface::Operator {
        return outcome;
    }
    match outcome {
        Outcome::Plain(mut answer) => {
            cors::Mark::of(request.headers(), http).put_into(&mut answer);
            Outcome::Plain(answer)
        }
        Outcome::Declined(mut answer, why) => {
            cors::Mark::of(request.headers(), http).put_into(&mut answer);
            Outcome::Declined(answer, why)
        }
        Outcome::Asked(asked) => {
            let mark = cors::Mark::of(request.headers(), http);
            Outcome::Asked(Box::pin(async move {
                let mut answer = asked.await;
                mark.put_into(&mut answer);
                answer
            }))
        }
        outcome => outcome,
    }
}

fn outcome<B>(request: &Request<B>, address: IpAddr, http: &Http, patience: Patience) -> Outcome {
    let path = socketio::path_of_report(request.uri().path(), http);
    let route = find(path, http.surface);
    let endpoint = Endpoint::find(request.uri().path(), http).filter(|_| http.surface != Surface::Operator);
    if !route.is_some_and(|route| route.is_open) && !http.is_operator(request.headers()) {
        return Outcome::Declined(unauthorized(), RequestRefusal::Operator);
    }
    if socketio::is_cleanup(path, http) {
        return socketio::clean(request, http);
    }
    if let Some(Endpoint::SocketIo) = endpoint {
        return socketio::answer(request, address, http, patience);
    }
    if request.method() == Method::OPTIONS && socketio::is_of_namespace(request.uri().path(), http) {
        return Outcome::Plain(socketio::options(request.headers(), http));
    }
    if let Some(endpoint) = endpoint {
        if request.method() == Method::OPTIONS {
            return Outcome::Plain(cors::options(UPGRADE, request.headers(), http));
        }
        return answer_handshake(dialects::accept(endpoint, request, address, http, patience), http);
    }
    let Some(route) = route else { return Outcome::Plain(not_found(http.surface)) };
    if request.method() == Method::OPTIONS {
        return Outcome::Plain(cors::options(route.methods, request.headers(), http));
    }
    if !route.methods.split(", ").any(|method| method == request.method().as_str()) {
        return Outcome::Plain(wrong_method(route.methods));
    }
    Outcome::Plain(match route.content {
        Content::WebSocket => return shake_hands(request, address, http, patience),
        Content::Last => match last::ask(request, address, http, patience) {
            Ok(asked) => return Outcome::Asked(asked),
            Err(Declined::Waits) => return Outcome::Waits,
            Err(Declined::Refused(answer, why)) => return Outcome::Declined(*answer, why),
        },
        Content::Stream => match sse::open(request, address, http, patience) {
            Ok(accepted) => return Outcome::Stream(accepted),
            Err(sse::Declined::Refused(answer, why)) => return Outcome::Refused(*answer, why),
            Err(sse::Declined::Waits) => return Outcome::Waits,
        },
        Content::Home if handshake::is_asked(request.headers()) => {
            return shake_hands(request, address, http, patience);
        }
        Content::Home => pages::live(&http.page),
        Content::Style => pages::style(request.headers()),
        Content::Script => pages::script(request.headers()),
        Content::Chart => pages::chart(request.headers()),
        Content::Health => reports::health(&http.state),
        Content::HealthOfConnections => reports::health_of_connections(&http.state),
        Content::Ready => reports::ready(&http.state, &http.admission),
        Content::Stats => reports::stats(http),
        Content::Metrics => metrics_text::answer(http, request.headers()),
    })
}

fn shake_hands<B>(request: &Request<B>, address: IpAddr, http: &Http, patience: Patience) -> Outcome {
    let checked = Handshake::of(request).map_err(Refused::from);
    let accepted =
        checked.and_then(|handshake| upgrade::accept(&handshake, request.uri(), address, http, patience));
    answer_handshake(accepted, http)
}

pub(super) fn answer_handshake(accepted: Result<Accepted, Refused>, http: &Http) -> Outcome {
    match accepted {
        Ok(accepted) => Outcome::Upgrade(accepted.answer(), accepted),
        Err(refused) => {
            let Some(refused) = refused.counted(http) else { return Outcome::Waits };
            let reason = refused.reason();
            Outcome::Refused(refused.into_answer(), reason)
        }
    }
}

fn not_found(port: Surface) -> Answer {
    let message = match port {
        Surface::Both => "Not found; there are /, /ws, /sse, /v1/last, /health, /ready, /stats and /metrics",
        Surface::Public => "Not found; there are /, /ws, /sse, /v1/last, /health and /ready",
        Surface::Operator => "Not found; there are /health, /ready, /stats and /metrics",
    };
    refusal(StatusCode::NOT_FOUND, "INVALID_INPUT", message)
}

/// What the operator's port answers without its token.
fn unauthorized() -> Answer {
    let message = "This port asks for OPS_TOKEN: Authorization: Bearer <token>";
    let mut answer = refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_serves_the_routes_for_its_surface() {
        let served = |port| {
            let paths = ROUTES.iter().map(|route| route.path);
            paths.filter(|path| find(path, port).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(served(Surface::Both).len(), ROUTES.len());
        assert_eq!(
            served(Surface::Public),
            [
                "/",
                "/live.css",
                "/live.js",
                "/chart.js",
                "/ws",
                "/ws/",
                "/sse",
                "/v1/last",
                "/v1/last/",
                "/health",
                "/ws/health",
                "/ready"
            ]
        );
        assert_eq!(served(Surface::Operator), ["/health", "/ws/health", "/ready", "/stats", "/metrics"]);
    }
}
