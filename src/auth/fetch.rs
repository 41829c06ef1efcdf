//! Fetches a small document from a server, with bounds on its size and on the time. It follows no redirects: where keys come from is
//! the operator's word.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, HOST, HeaderMap, USER_AGENT};
use hyper::http::StatusCode;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::{Host, Position, Url};

use crate::dial::{Resolver, first_to_connect, in_order};
use crate::limits::{JWKS_ADDRESSES_MAX, JWKS_BYTES_MAX, JWKS_HEADER_BYTES_MAX};
use crate::metrics::KeyFetch;

/// Fetches documents.
#[derive(Debug)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
    resolver: Resolver,
    /// Attempts so far: each begins with another of the host's addresses.
    attempts: usize,
}

/// A document.
#[derive(Debug)]
pub struct Document {
    /// What the server has sent.
    pub bytes: Bytes,
    /// For how long its server says that it is fresh.
    pub fresh_for: Option<Duration>,
}

/// Why a document could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The host has no address, or can't be looked up.
    #[error("look up the host: {0}")]
    LookUp(io::Error),
    /// No address of the host could be connected to.
    #[error("connect: {}", Each(.0))]
    Unreachable(Vec<(SocketAddr, io::Error)>),
    /// The TLS handshake failed.
    #[error("TLS handshake: {0}")]
    Tls(io::Error),
    /// It took too long.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The server doesn't speak HTTP, or has gone in between.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// Its answer is no document.
    #[error("it answers {}{}", .0, advice(*.0))]
    Status(StatusCode),
    /// The document is too large.
    #[error("it is larger than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// It is compressed, which nobody has asked for.
    #[error("it has a Content-Encoding")]
    Encoded,
    /// It is not what it should be.
    #[error("{0}")]
    Unusable(String),
}

impl FetchError {
    /// Under which result the failure is counted.
    pub const fn result(&self) -> KeyFetch {
        match self {
            Self::LookUp(_) | Self::Unreachable(_) | Self::Tls(_) | Self::Http(_) => KeyFetch::Unreachable,
            Self::Timeout(_) => KeyFetch::Timeout,
            Self::Status(_) => KeyFetch::Refused,
            Self::TooLarge | Self::Encoded | Self::Unusable(_) => KeyFetch::Unusable,
        }
    }
}

impl Fetcher {
    /// A fetcher that checks servers' certificates so.
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls, resolver: Resolver::default(), attempts: 0 }
    }

    /// Fetches the document at an address with `https` or `http`. Takes as long as the server does: the caller bounds it.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch(&mut self, url: &Url) -> Result<Document, FetchError> {
        let stream = self.connect(url).await?;
        if url.scheme() != "https" {
            return ask(stream, url).await;
        }
        let name = match url.host() {
            Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::from(address)),
            Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::from(address)),
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
                .map_err(|error| FetchError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
            None => return Err(FetchError::LookUp(io::ErrorKind::NotFound.into())),
        };
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        ask(connector.connect(name, stream).await.map_err(FetchError::Tls)?, url).await
    }

    async fn connect(&mut self, url: &Url) -> Result<TcpStream, FetchError> {
        let port = url.port_or_known_default().unwrap_or_default();
        let addresses = match url.host() {
            Some(Host::Ipv4(address)) => vec![(address, port).into()],
            Some(Host::Ipv6(address)) => vec![(address, port).into()],
            Some(Host::Domain(name)) => {
                let resolution = self.resolver.start(name, port).map_err(FetchError::LookUp)?;
                let resolved =
                    resolution.await.unwrap_or_else(|_| Err(io::Error::other("the resolver panicked")));
                resolved.map_err(FetchError::LookUp)?
            }
            None => Vec::new(),
        };
        // Plain HTTP is for this machine only, whatever `localhost` is said to be.
        let is_plain = url.scheme() == "http";
        let addresses =
            addresses.into_iter().filter(|address| !is_plain || address.ip().is_loopback()).collect();
        let addresses = in_order(addresses, self.attempts, JWKS_ADDRESSES_MAX);
        self.attempts = self.attempts.wrapping_add(1);
        if addresses.is_empty() {
            let none = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            return Err(FetchError::LookUp(none));
        }
        first_to_connect(addresses, TcpStream::connect).await.map_err(FetchError::Unreachable)
    }
}

/// Fetches within that time.
///
/// # Errors
/// As `fetching`, or because it took too long.
pub async fn within<T>(
    limit: Duration,
    fetching: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    timeout(limit, fetching).await.unwrap_or(Err(FetchError::Timeout(limit)))
}

/// Asks a server for a document, on a connection of its own.
async fn ask<S>(stream: S, url: &Url) -> Result<Document, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(JWKS_HEADER_BYTES_MAX)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("ws-gateway/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| FetchError::Unusable(error.to_string()))?;
    read(sender.send_request(request).await?).await
}

async fn read(answer: Response<Incoming>) -> Result<Document, FetchError> {
    let (head, body) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(FetchError::Status(head.status));
    }
    if head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(FetchError::Encoded);
    }
    // What `Content-Type` says makes no difference: the content has to be JSON of a certain shape.
    let body = Limited::new(body, JWKS_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => FetchError::Http(*error),
        Err(error) if error.is::<LengthLimitError>() => FetchError::TooLarge,
        Err(error) => FetchError::Unusable(error.to_string()),
    })?;
    Ok(Document { bytes: bytes.to_bytes(), fresh_for: fresh_for(&head.headers) })
}

/// For how long an answer is fresh (RFC 9111 section 4.2), if it says so: at once stale with `no-store` and `no-cache`.
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',')).map(str::trim);
    let mut max_age_s = None;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        if ["no-store", "no-cache"].iter().any(|never| name.eq_ignore_ascii_case(never)) {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age") {
            // A number that is too large counts as large (section 1.2.2), and what is none as 0 (section 4.2.1).
            let digits = value.trim().trim_matches('"');
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let seconds = if is_number { digits.parse().unwrap_or(u32::MAX) } else { 0 };
            max_age_s = Some(max_age_s.map_or(seconds, |shortest: u32| shortest.min(seconds)));
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse::<u32>().ok());
    max_age_s.map(|max_age_s| Duration::from_secs(max_age_s.saturating_sub(age.unwrap_or_default()).into()))
}

/// What an answer that is no document asks of the operator.
fn advice(status: StatusCode) -> &'static str {
    if status.is_redirection() {
        ", and redirects aren't followed: the final address has to be set"
    } else {
        ""
    }
}

/// Addresses, each with why it could not be connected to.
struct Each<'e>(&'e [(SocketAddr, io::Error)]);

impl fmt::Display for Each<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (address, error)) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_document_is_fresh_for_as_long_as_its_server_says() {
        let fresh_s = |cache_control: &'static str, age: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            for line in cache_control.split(';').filter(|line| !line.is_empty()) {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
            }
            if let Some(age) = age {
                headers.insert(AGE, HeaderValue::from_static(age));
            }
            fresh_for(&headers).map(|fresh| fresh.as_secs())
        };
        for (cache_control, age, expected) in [
            ("", None, None),
            ("", Some("10"), None),
            ("public", None, None),
            ("max-age=600", None, Some(600)),
            ("public, Max-Age=600 , must-revalidate", None, Some(600)),
            ("public;max-age=600", None, Some(600)),
            ("max-age=600", Some("100"), Some(500)),
            ("max-age=600", Some("1000"), Some(0)),
            ("max-age=600", Some("old"), Some(600)),
            ("max-age=600, max-age=60", None, Some(60)),
            ("max-age=\"600\"", None, Some(600)),
            ("max-age=99999999999999999999", None, Some(u32::MAX.into())),
            ("max-age=-1", None, Some(0)),
            ("max-age=soon", None, Some(0)),
            ("max-age", None, Some(0)),
            ("s-maxage=9", None, None),
            ("no-store, max-age=600", None, Some(0)),
            ("No-Cache", None, Some(0)),
        ] {
            assert_eq!(fresh_s(cache_control, age), expected, "{cache_control} {age:?}");
        }
    }
}
