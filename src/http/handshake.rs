//! The rules for a WebSocket handshake (RFC 6455 section 4.2.1). Pure.
//!
//! They apply to requests that hyper has parsed, and to plain ones that [`recognise`] reads directly from their bytes.

use httparse::{EMPTY_HEADER, Header, Status};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::{Method, Version};
use hyper::{Request, Uri};

use super::routes::is_endpoint;
use crate::address::Forwarded;
use crate::origin::Target;
use crate::websocket::extension;

/// The gateway's subprotocol: JSON text frames (docs/protocol.md).
pub const SUBPROTOCOL: &str = "md.v1.json";
/// The same with several events in a message.
pub const SUBPROTOCOL_BATCH: &str = "md.v1.json.batch";
/// Among a client's subprotocols: the next one is no subprotocol, but its token. A browser has no other way to send one in a header.
pub const BEARER: &str = "bearer";
/// The only version there is (RFC 6455 section 4.1).
pub const VERSION: &str = "13";

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The most header fields of a plain request: a browser sends about 15, proxies add a handful.
const PLAIN_FIELDS_MAX: usize = 32;

/// A valid WebSocket handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake<'r> {
    /// `Sec-WebSocket-Key`.
    pub key: &'r str,
    /// `Origin`: `None` without one, empty if there are several or it isn't ASCII.
    pub origin: Option<&'r str>,
    /// The scheme and host that it was sent to.
    pub target: Target<'r>,
    /// The subprotocol that is answered: of those that the client offers the first that we speak, else [`BEARER`].
    pub subprotocol: Option<&'static str>,
    /// Whether it offers permessage-deflate in a way that [`extension::ANSWER`] meets.
    pub offers_deflate: bool,
    /// The token of `Authorization: Bearer`, or else the item behind [`BEARER`] in `Sec-WebSocket-Protocol`.
    pub token: Option<&'r str>,
    /// Whom a proxy has sent it for, if it says so.
    pub forwarded: Forwarded<'r>,
}

/// Why a request is no valid handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not a GET.
    Method,
    /// It asks for no upgrade to WebSocket, or for another version of it.
    NotWebSocket,
    /// It breaks the RFC; the text says how.
    Malformed(&'static str),
}

/// The header fields of a request, as hyper or httparse keeps them.
pub trait Fields {
    /// The values of all lines with this name.
    fn values<'f>(&'f self, name: &HeaderName) -> impl Iterator<Item = &'f [u8]>;
}

impl Fields for HeaderMap {
    fn values<'f>(&'f self, name: &HeaderName) -> impl Iterator<Item = &'f [u8]> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }
}

impl Fields for [Header<'_>] {
    fn values<'f>(&'f self, name: &HeaderName) -> impl Iterator<Item = &'f [u8]> {
        self.iter()
            .filter(move |field| name.as_str().eq_ignore_ascii_case(field.name))
            .map(|field| field.value)
    }
}

impl<'r> Handshake<'r> {
    /// Checks a request that hyper has parsed.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn of<B>(request: &'r Request<B>) -> Result<Self, Fault> {
        Self::check(request.method(), request.version(), request.headers())
    }

    fn check<F: Fields + ?Sized>(method: &Method, version: Version, fields: &'r F) -> Result<Self, Fault> {
        if method != Method::GET {
            return Err(Fault::Method);
        }
        if !is_asked(fields) || !has_token(fields, &CONNECTION, "upgrade") {
            return Err(Fault::NotWebSocket);
        }
        if version != Version::HTTP_11 {
            return Err(Fault::Malformed("A WebSocket handshake needs HTTP/1.1"));
        }
        if only(fields, &SEC_WEBSOCKET_VERSION) != Some(VERSION) {
            return Err(Fault::NotWebSocket);
        }
        if only(fields, &HOST).is_none() {
            return Err(Fault::Malformed("A WebSocket handshake needs one Host header"));
        }
        // Bytes behind the header are the client's first frames, so there can't be a body.
        if has(fields, &TRANSFER_ENCODING)
            || fields.values(&CONTENT_LENGTH).next().is_some_and(|length| length != b"0")
        {
            return Err(Fault::Malformed("A WebSocket handshake has no body"));
        }
        let key = only(fields, &SEC_WEBSOCKET_KEY)
            .filter(|key| is_key(key))
            .ok_or(Fault::Malformed("Sec-WebSocket-Key must be one header with 16 bytes in base64"))?;
        Ok(Self {
            key,
            origin: origin(fields),
            target: target(fields),
            subprotocol: subprotocol(fields),
            offers_deflate: extension::is_offered(
                fields.values(&SEC_WEBSOCKET_EXTENSIONS).filter_map(visible),
            ),
            token: authorization(fields).or_else(|| {
                let mut offered = tokens(fields, &SEC_WEBSOCKET_PROTOCOL);
                offered.find(|offered| *offered == BEARER)?;
                offered.next()
            }),
            forwarded: forwarded(fields),
        })
    }
}

/// The subprotocol that is answered. Clients offer them in the order of preference (section 4.1). One that offers none that we speak is
/// answered none: a server must not name what wasn't offered (section 4.2.2).
fn subprotocol<F: Fields + ?Sized>(fields: &F) -> Option<&'static str> {
    let first_of = |names: &'static [&'static str]| {
        let mut offered = tokens(fields, &SEC_WEBSOCKET_PROTOCOL);
        offered.find_map(|offered| names.iter().copied().find(|name| *name == offered))
    };
    first_of(&[SUBPROTOCOL, SUBPROTOCOL_BATCH]).or_else(|| first_of(&[BEARER]))
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1); empty if it can't be one.
pub(super) fn authorization<F: Fields + ?Sized>(fields: &F) -> Option<&str> {
    let credentials = fields.values(&AUTHORIZATION).find_map(bearer_credentials)?;
    Some(visible(credentials).unwrap_or_default().trim())
}

/// What stands behind `Bearer` in a value of `Authorization`, with the blank between; `None` if it is of another scheme.
pub(super) fn bearer_credentials(value: &[u8]) -> Option<&[u8]> {
    let (scheme, credentials) = value.split_at_checked(BEARER.len())?;
    let is_whole = matches!(credentials.first(), None | Some(b' ' | b'\t'));
    (is_whole && scheme.eq_ignore_ascii_case(BEARER.as_bytes())).then_some(credentials)
}

/// Whether a request asks for a WebSocket. Other upgrades (`h2c`) are ignored, as RFC 9110 section 7.8 allows.
pub fn is_asked<F: Fields + ?Sized>(fields: &F) -> bool {
    has_token(fields, &UPGRADE, "websocket")
}

/// `Origin`: `None` without one, empty if there are several or it isn't ASCII.
pub(super) fn origin<F: Fields + ?Sized>(fields: &F) -> Option<&str> {
    has(fields, &ORIGIN).then(|| only(fields, &ORIGIN).unwrap_or_default())
}

/// The scheme and host that a request was sent to. A proxy that ends TLS says `https` in `X-Forwarded-Proto`. That needn't come
/// from a trusted proxy: origins keep out only pages in browsers, and no page can set this header of a handshake.
pub(super) fn target<F: Fields + ?Sized>(fields: &F) -> Target<'_> {
    let outermost = tokens(fields, &X_FORWARDED_PROTO).next();
    let scheme =
        if outermost.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) { "https" } else { "http" };
    Target { scheme, host: only(fields, &HOST).unwrap_or_default() }
}

/// Whom a request says that it was sent for. A line that isn't text is kept as one that names no address.
pub(super) fn forwarded<F: Fields + ?Sized>(fields: &F) -> Forwarded<'_> {
    let for_lines = fields.values(&X_FORWARDED_FOR).map(|line| visible(line).unwrap_or("?")).collect();
    Forwarded { for_lines, real_ip: only(fields, &X_REAL_IP) }
}

/// Reads a plain handshake directly from its bytes, and calls `accept` with it, its URI and its length in bytes.
///
/// A handshake is plain if it is complete, valid, to a path at which clients connect, and has no unusual header. `None` says only that
/// the bytes are no plain handshake: hyper has to parse them.
pub fn recognise<T>(bytes: &[u8], accept: impl FnOnce(Handshake<'_>, &Uri, usize) -> T) -> Option<T> {
    let mut fields = [EMPTY_HEADER; PLAIN_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(Status::Complete(length)) = request.parse(bytes) else { return None };
    if request.method != Some("GET") || request.version != Some(1) {
        return None;
    }
    // Only the origin form: requests to a proxy and CONNECT have other forms.
    let uri: Uri = request.path.filter(|target| target.starts_with('/'))?.parse().ok()?;
    if !is_endpoint(uri.path()) {
        return None;
    }
    let fields: &[Header<'_>] = request.headers;
    let unusual = [TRANSFER_ENCODING, CONTENT_LENGTH, EXPECT].iter().any(|name| has(fields, name));
    let alone = only(fields, &UPGRADE).is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    if unusual || !alone || only(fields, &CONNECTION).is_none() {
        return None;
    }
    let handshake = Handshake::check(&Method::GET, Version::HTTP_11, fields).ok()?;
    Some(accept(handshake, &uri, length))
}

fn has<F: Fields + ?Sized>(fields: &F, name: &HeaderName) -> bool {
    fields.values(name).next().is_some()
}

/// The field's value, if it occurs once and is visible ASCII.
fn only<'f, F: Fields + ?Sized>(fields: &'f F, name: &HeaderName) -> Option<&'f str> {
    let mut values = fields.values(name);
    match (values.next(), values.next()) {
        (Some(value), None) => visible(value).map(str::trim),
        _ => None,
    }
}

/// The elements of a comma-separated field, over all its lines.
pub(super) fn tokens<'f, F: Fields + ?Sized>(
    fields: &'f F,
    name: &HeaderName,
) -> impl Iterator<Item = &'f str> {
    fields.values(name).filter_map(visible).flat_map(|line| line.split(',')).map(str::trim)
}

fn has_token<F: Fields + ?Sized>(fields: &F, name: &HeaderName, token: &str) -> bool {
    tokens(fields, name).any(|found| found.eq_ignore_ascii_case(token))
}

/// A value as text, if it consists of visible ASCII, blanks and tabs.
fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    value.iter().all(is_visible).then(|| str::from_utf8(value).ok()).flatten()
}

/// Whether `key` is base64 of 16 bytes: 22 characters and two of padding.
fn is_key(key: &str) -> bool {
    let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    key.len() == 24 && key.strip_suffix("==").is_some_and(|digits| digits.bytes().all(in_alphabet))
}

#[cfg(test)]
mod tests;
