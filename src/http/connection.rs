//! Serves one HTTP connection, from `accept` to its end or its hand-over to a shard.

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Http;
use super::answers::{Answer, error_body, refusal};
use super::client_stream::{Begun, ClientStream};
use super::door::{self, Caller, Look};
use super::last::Asked;
use super::places::{Place, Stage};
use super::polling::Posted;
use super::routes::{self, Outcome};
use super::secure::{self, Certificate, Spoken};
use super::upgrade::Accepted;
use crate::auth::Patience;
use crate::limits::*;
use crate::metrics::UpgradeRefusal;

/// Answers the requests that hyper reads, in their order.
struct Requests(Arc<Serving>);

/// What it takes to answer the requests of a connection.
struct Serving {
    http: Arc<Http>,
    place: Place,
    /// The number of requests begun. At its deadline the connection looks whether this has grown.
    begun: AtomicU64,
    /// The address that the connection comes from.
    address: IpAddr,
    /// Set by the request that was answered 101, or that a shard answers; it is the connection's last.
    accepted: Mutex<Option<Accepted>>,
    /// A shard is to answer the request.
    taken: Notify,
    expected: Expected,
}

/// Whether the peer speaks the port's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The peer speaks the port's protocol.
    Spoken,
    /// The peer speaks plain HTTP to a port that speaks TLS.
    Tls,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let serving = &self.0;
        serving.begun.fetch_add(1, Ordering::Relaxed);
        serving.place.enter(Stage::Answered);
        let outcome = match serving.expected {
            Expected::Spoken => routes::answer(&request, serving.address, &serving.http, Patience::Left),
            Expected::Tls => {
                let message = "This port speaks TLS: use https:// or wss://";
                let answer = refusal(StatusCode::BAD_REQUEST, "INVALID_INPUT", message);
                Outcome::Refused(answer, UpgradeRefusal::Handshake)
            }
        };
        match serving.settle(outcome) {
            Settled::Answer(answer) => Box::pin(ready(Ok(answer))),
            Settled::Asked(asked, is_last) => Box::pin(async move { Ok(closing(asked.await, is_last)) }),
            Settled::Posted(posted) => Box::pin(async move { Ok(posted.answer(request.into_body()).await) }),
            Settled::Taken => Box::pin(pending()),
            Settled::Waits => {
                let serving = Arc::clone(serving);
                Box::pin(async move { Ok(serving.answer_later(request).await) })
            }
        }
    }
}

/// What becomes of a request, once it is counted.
enum Settled {
    Answer(Answer),
    /// The answer comes from ingest; whether it is the connection's last.
    Asked(Asked, bool),
    /// The answer comes once the body is read.
    Posted(Box<Posted>),
    /// A shard answers it. hyper has nothing to write, and is dropped.
    Taken,
    /// It is not counted: its token's key is being fetched.
    Waits,
}

impl Serving {
    /// Answers a request whose token's key is being fetched.
    async fn answer_later(&self, request: Request<Incoming>) -> Answer {
        self.http.auth.keys_fetched().await;
        let outcome = routes::answer(&request, self.address, &self.http, Patience::Gone);
        match self.settle(outcome) {
            Settled::Answer(answer) => answer,
            Settled::Asked(asked, is_last) => closing(asked.await, is_last),
            Settled::Posted(posted) => posted.answer(request.into_body()).await,
            Settled::Taken => pending().await,
            Settled::Waits => {
                let message = "The token's key can't be fetched";
                closing(refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message), true)
            }
        }
    }

    fn settle(&self, outcome: Outcome) -> Settled {
        let control = &self.http.state.metrics.control;
        let (answer, is_last) = match outcome {
            Outcome::Plain(answer) => {
                control.http_requests.add_shared(1);
                (answer, self.is_crowded())
            }
            Outcome::Declined(answer, why) => {
                control.http_requests.add_shared(1);
                control.request_refused(why).add_shared(1);
                (answer, self.is_crowded())
            }
            Outcome::Asked(asked) => {
                control.http_requests.add_shared(1);
                return Settled::Asked(asked, self.is_crowded());
            }
            Outcome::Posted(posted) => {
                control.http_requests.add_shared(1);
                return Settled::Posted(posted);
            }
            // A refused client has no reason to keep the connection.
            Outcome::Refused(answer, why) => {
                control.upgrade_refused(why).add_shared(1);
                (answer, true)
            }
            Outcome::Upgrade(answer, accepted) => {
                *self.accepted() = Some(accepted);
                return Settled::Answer(answer);
            }
            Outcome::Stream(accepted) => {
                *self.accepted() = Some(accepted);
                self.taken.notify_one();
                return Settled::Taken;
            }
            Outcome::Waits => return Settled::Waits,
        };
        Settled::Answer(closing(answer, is_last))
    }

    /// Nothing panics under the lock, so poisoning means nothing.
    fn accepted(&self) -> MutexGuard<'_, Option<Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so few places are free that no connection is kept alive for further requests.
    fn is_crowded(&self) -> bool {
        let places = self.place.places();
        places.free() < (places.max() / HTTP_CROWDED_PART).max(1)
    }
}

/// The answer; after the last one of a connection it is closed.
fn closing(mut answer: Answer, is_last: bool) -> Answer {
    if is_last {
        answer.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// A connection's server.
pub(super) struct Connection {
    pub(super) http: Arc<Http>,
    pub(super) place: Place,
    pub(super) stop: CancellationToken,
}

impl Connection {
    /// Serves a connection that the fast path ([`door`]) has left, until its end, its deadline or its hand-over.
    pub(super) async fn serve(self, look: Look) {
        let started = Instant::now();
        let looking = timeout(self.http.bounds.handshake_timeout, look_on(look, &self.http));
        let Some(Ok(look)) = self.stop.run_until_cancelled(looking).await else { return };
        if let Some(address) = look.address() {
            self.place.comes_from(address.into());
        }
        match look {
            Look::Other(caller, begun) => {
                // hyper allocates its buffer when it first reads, so it begins only now, when there are bytes to read.
                if let Ok(stream) = TcpStream::from_std(caller.stream) {
                    let stream = Begun::new(begun, stream);
                    self.serve_http(stream, caller.address, started, Expected::Spoken).await;
                }
            }
            // Boxed, so that a session isn't part of every connection's task.
            Look::Encrypted(caller, certificate) => {
                Box::pin(self.serve_encrypted(caller, &certificate, started)).await;
            }
            Look::Upgraded(client) => self.http.adopt.adopt(vec![client]),
            Look::Misintroduced(stream, message) => {
                let control = &self.http.state.metrics.control;
                control.upgrade_refused(UpgradeRefusal::ProxyHeader).add_shared(1);
                self.place.enter(Stage::Ending);
                Box::pin(answer_400(stream, &message)).await;
            }
            Look::Silent(_) | Look::Partial(..) | Look::Gone => {}
        }
    }

    /// Does the TLS handshake, within the first request's time, and serves the connection.
    async fn serve_encrypted(self, caller: Caller, certificate: &Certificate, started: Instant) {
        let Caller { stream, address, .. } = caller;
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let deadline = started + self.http.bounds.handshake_timeout;
        let shaken = secure::shake_hands(stream, certificate, deadline);
        match self.stop.run_until_cancelled(shaken).await.flatten() {
            Some(Spoken::Tls(stream)) => self.serve_http(stream, address, started, Expected::Spoken).await,
            Some(Spoken::Http(stream)) => self.serve_http(stream, address, started, Expected::Tls).await,
            None => {}
        }
    }

    /// Serves HTTP. There is one timer: the first request has to be complete within `handshake_timeout` of `started`, and then each
    /// `idle_timeout` has to bring a new request. That also ends peers that send a header slowly or don't read their answers.
    async fn serve_http<S: ClientStream>(
        self,
        stream: S,
        address: IpAddr,
        started: Instant,
        expected: Expected,
    ) {
        let Self { http, place, stop } = self;
        let serving = Arc::new(Serving {
            http: Arc::clone(&http),
            place,
            begun: AtomicU64::new(0),
            address,
            accepted: Mutex::new(None),
            taken: Notify::new(),
            expected,
        });
        let mut connection = http1::Builder::new()
            .header_read_timeout(None)
            .max_headers(HTTP_HEADERS_MAX)
            .max_buf_size(HTTP_HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), Requests(Arc::clone(&serving)));

        let mut deadline = pin!(sleep_until(started + http.bounds.handshake_timeout));
        let mut stopped = pin!(stop.cancelled());
        let mut stopping = false;
        let mut seen = 0;
        loop {
            tokio::select! {
                // An error is the peer's fault, and hyper has answered a bad request (400, 431).
                _ended = &mut connection => break,
                () = serving.taken.notified() => break,
                () = &mut stopped, if !stopping => {
                    stopping = true;
                    Pin::new(&mut connection).graceful_shutdown();
                    deadline.as_mut().reset(Instant::now() + Duration::from_millis(HTTP_DRAIN_TIMEOUT_MS));
                }
                () = &mut deadline => {
                    let now_begun = serving.begun.load(Ordering::Relaxed);
                    if stopping || now_begun == seen {
                        return;
                    }
                    seen = now_begun;
                    deadline.as_mut().reset(Instant::now() + http.bounds.idle_timeout);
                }
            }
        }

        let parts = connection.into_parts();
        let stream = parts.io.into_inner();
        let accepted = serving.accepted().take();
        match accepted {
            Some(accepted) => hand_over(stream, parts.read_buf, accepted, &http),
            // Boxed, so that its buffer isn't part of every connection's task.
            None if !stopping => {
                serving.place.enter(Stage::Ending);
                Box::pin(linger(stream)).await;
            }
            None => {}
        }
    }
}

/// Looks at a connection until there is something to be done: a handshake mostly arrives whole, and so does a PROXY header.
async fn look_on(mut look: Look, http: &Http) -> Look {
    loop {
        let (caller, seen) = match look {
            Look::Silent(caller) => (caller, 0),
            Look::Partial(caller, seen) => (caller, seen),
            look => return look,
        };
        look = match more_than(seen, caller.stream).await {
            Some(stream) => door::look(Caller { stream, ..caller }, http),
            None => Look::Gone,
        };
    }
}

/// Waits until the peer has sent more than `seen` bytes, or has closed having sent none. `None` if it never will.
async fn more_than(seen: usize, stream: std::net::TcpStream) -> Option<std::net::TcpStream> {
    let stream = TcpStream::from_std(stream).ok()?;
    let mut buffer = vec![0; seen + 1];
    loop {
        let ready = stream.ready(Interest::READABLE).await.ok()?;
        // The socket is ready anew, and tokio says so, once something has come that wasn't there before.
        let peeked = stream.try_io(Interest::READABLE, || {
            match rustix::net::recv(&stream, &mut buffer[..], RecvFlags::PEEK)? {
                (_, count) if count > seen || count == 0 => Ok(()),
                _ => Err(ErrorKind::WouldBlock.into()),
            }
        });
        match peeked {
            Ok(()) => return stream.into_std().ok(),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !ready.is_read_closed() => {}
            Err(_) => return None,
        }
    }
}

/// Answers a connection on which no HTTP was spoken, and ends it.
async fn answer_400(stream: std::net::TcpStream, message: &str) {
    let Ok(mut stream) = TcpStream::from_std(stream) else { return };
    let body = error_body("INVALID_INPUT", message, None);
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // It is short, and nothing was written before: the socket takes it at once, or is gone.
    if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_ok() {
        linger(stream).await;
    }
}

/// Hands an upgraded client to a shard, together with the bytes `early` that came behind its request. If the connection is lost, the
/// seat is free again.
fn hand_over(stream: impl ClientStream, early: Bytes, accepted: Accepted, http: &Http) {
    let Ok((transport, unread)) = stream.into_transport() else { return };
    let early = if unread.is_empty() { early } else { [early, unread].concat().into() };
    http.state.metrics.control.upgrades.add_shared(1);
    http.adopt.adopt(vec![accepted.arrival(transport, early)]);
}

/// Closes the gateway's side of the connection (hyper leaves it open after a request for an upgrade), and discards the peer's input for a
/// while. Otherwise the close would reset the connection, and the peer might lose its answer.
async fn linger(mut stream: impl ClientStream) {
    let discard = async {
        let _ = stream.shutdown().await;
        let mut buffer = [0; 4096];
        let mut left = HTTP_LINGER_BYTES;
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    // After the timeout the socket is closed in any case.
    let _ = timeout(Duration::from_millis(HTTP_LINGER_MS), discard).await;
}
