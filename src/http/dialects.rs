//! Where clients of other APIs connect: `DIALECTS` turns their paths on. A handshake there is held to the rules of every other one; what is
//! particular is how a client shows who it is, and what it is told first.

use std::borrow::Cow;
use std::net::IpAddr;

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::{Request, Uri};
use percent_encoding::percent_decode_str;

use super::admit::Refused;
use super::handshake::Handshake;
use super::upgrade::{self, Accepted, Spoken};
use super::{Http, routes};
use crate::auth::Patience;
use crate::market::{BinanceShape, MassiveMarket};
use crate::protocol::api::Api;
use crate::protocol::native::read::parse_terms;
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::request::{FirstRequest, Token};
use crate::protocol::socketio::namespace::Joined;
use crate::protocol::terms::Options;
use crate::protocol::{Dialect, binance};

/// Of Alpaca's API: the key, and its secret.
const APCA_API_KEY_ID: HeaderName = HeaderName::from_static("apca-api-key-id");
const APCA_API_SECRET_KEY: HeaderName = HeaderName::from_static("apca-api-secret-key");

/// Of Binance's API.
const X_MBX_APIKEY: HeaderName = HeaderName::from_static("x-mbx-apikey");

/// What a client connects to at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Alpaca's stream, whatever the feed.
    Alpaca,
    /// One of Massive's markets.
    Massive(MassiveMarket),
    /// Finnhub's stream.
    Finnhub,
    /// Binance's streams, with the stream's name around each event.
    BinanceStream,
    /// The same without; names of streams may stand behind the path.
    BinanceWs,
    /// Socket.IO's: see [`socketio`](super::socketio).
    SocketIo,
}

/// The paths of each API's endpoints. Each may stand behind a prefix as well, the API's name ([`Api::word`]): `/alpaca/v2/iex`. An empty one
/// has to.
const PATHS: [(&str, Endpoint); 15] = [
    ("/v2/iex", Endpoint::Alpaca),
    ("/v2/sip", Endpoint::Alpaca),
    ("/v2/delayed_sip", Endpoint::Alpaca),
    ("/v2/test", Endpoint::Alpaca),
    ("/v1beta3/crypto/us", Endpoint::Alpaca),
    // Where ccxt connects.
    ("/v1beta2/crypto", Endpoint::Alpaca),
    ("/v1beta1/news", Endpoint::Alpaca),
    // Options.
    ("/v1beta1/opra", Endpoint::Alpaca),
    ("/v1beta1/indicative", Endpoint::Alpaca),
    ("/stocks", Endpoint::Massive(MassiveMarket::Stocks)),
    ("/crypto", Endpoint::Massive(MassiveMarket::Crypto)),
    ("/forex", Endpoint::Massive(MassiveMarket::Forex)),
    ("", Endpoint::Finnhub),
    ("/socket.io/", Endpoint::SocketIo),
    ("/socket.io", Endpoint::SocketIo),
];

impl Endpoint {
    /// The endpoint at a path, if there is one and the gateway serves its API.
    pub(super) fn find(path: &str, http: &Http) -> Option<Self> {
        let endpoint = Self::of(path).or_else(|| Self::of_binance(path))?;
        http.apis.has(endpoint.api()).then_some(endpoint)
    }

    fn of(path: &str) -> Option<Self> {
        let of_path = |(at, endpoint): &(&str, Self)| {
            let bare = path.strip_prefix('/').and_then(|path| path.strip_prefix(endpoint.api().word()));
            path == *at || bare == Some(at)
        };
        PATHS.iter().find(|each| of_path(each)).map(|(_, endpoint)| *endpoint)
    }

    /// Binance's, whose paths may name streams. `/ws` by itself is the gateway's own, and so is what it has behind it.
    fn of_binance(path: &str) -> Option<Self> {
        let (is_prefixed, bare) = match path.strip_prefix("/binance") {
            Some(bare) => (true, bare),
            None => (false, path),
        };
        match bare.trim_end_matches('/') {
            "/stream" => Some(Self::BinanceStream),
            "/ws" => is_prefixed.then_some(Self::BinanceWs),
            bare if bare.starts_with("/ws/") => {
                (is_prefixed || !routes::is_route(path)).then_some(Self::BinanceWs)
            }
            _ => None,
        }
    }

    const fn api(self) -> Api {
        match self {
            Self::Alpaca => Api::Alpaca,
            Self::Massive(_) => Api::Massive,
            Self::Finnhub => Api::Finnhub,
            Self::BinanceStream | Self::BinanceWs => Api::Binance,
            Self::SocketIo => Api::SocketIo,
        }
    }

    /// What the connection speaks.
    fn dialect(self, headers: &HeaderMap, query: Option<&str>) -> Result<Dialect, Refused> {
        Ok(match self {
            Self::Alpaca => {
                let is_msgpack = headers.get(CONTENT_TYPE).is_some_and(|sent| sent == "application/msgpack");
                if is_msgpack { Dialect::AlpacaMsgpack } else { Dialect::AlpacaJson }
            }
            Self::Massive(MassiveMarket::Stocks) => Dialect::MassiveStocks,
            Self::Massive(MassiveMarket::Crypto) => Dialect::MassiveCrypto,
            Self::Massive(MassiveMarket::Forex) => Dialect::MassiveForex,
            Self::Finnhub => Dialect::Finnhub,
            Self::SocketIo => Dialect::SocketIo(Joined::NONE),
            Self::BinanceStream | Self::BinanceWs => {
                let is_micros = match parameter(query, "timeUnit").as_deref() {
                    None | Some("MILLISECOND" | "millisecond") => false,
                    Some("MICROSECOND" | "microsecond") => true,
                    Some(_) => {
                        let message = "Invalid timeUnit: must be MILLISECOND or MICROSECOND";
                        return Err(Refused::Query(Refusal::new(ErrorCode::InvalidInput, message)));
                    }
                };
                Dialect::Binance(BinanceShape::of(self == Self::BinanceStream, is_micros))
            }
        })
    }

    /// What the URL asks for in the API's own way.
    fn request(self, uri: &Uri, dialect: Dialect, http: &Http) -> Option<FirstRequest> {
        let Dialect::Binance(shape) = dialect else { return None };
        let streams = match self {
            Self::BinanceStream => parameter(uri.query(), "streams")?,
            _ => percent_decode_str(uri.path().split_once("/ws/")?.1).decode_utf8_lossy(),
        };
        binance::read::parse_url(&streams, shape, &http.grammar)
    }

    /// The key in a header of the API's own.
    fn key(self, headers: &HeaderMap) -> Option<Token> {
        let value =
            |name: &HeaderName| Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned());
        match self {
            Self::Alpaca => Some(Token::with_secret(value(&APCA_API_KEY_ID)?, value(&APCA_API_SECRET_KEY))),
            Self::BinanceStream | Self::BinanceWs => value(&X_MBX_APIKEY).map(Token::new),
            Self::Massive(_) | Self::Finnhub | Self::SocketIo => None,
        }
    }
}

/// A parameter of a URL of Binance's, decoded. Its clients put their path behind whatever address they were given: one with a key, as
/// `/stream?token=KEY&`, becomes `/stream?token=KEY&/stream?streams=…`.
fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<Cow<'q, str>> {
    let pairs = query?.split(['&', '?']).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(each, _)| *each == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy())
}

/// On which terms a client is served, as its URL says.
pub(super) fn terms(uri: &Uri) -> Result<Option<Box<Options>>, Refused> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (name, percent_decode_str(value).decode_utf8_lossy()));
    Ok(parse_terms(pairs).map_err(Refused::Query)?.map(Box::new))
}

/// Decides on a handshake at an endpoint, whose connection comes from `address`, and takes a seat for its client.
pub(super) fn accept<B>(
    endpoint: Endpoint,
    request: &Request<B>,
    address: IpAddr,
    http: &Http,
    patience: Patience,
) -> Result<Accepted, Refused> {
    let handshake = Handshake::of(request)?;
    let (headers, uri) = (request.headers(), request.uri());
    let terms = terms(uri)?;
    let dialect = endpoint.dialect(headers, uri.query())?;
    let spoken = Spoken {
        dialect,
        token: endpoint.key(headers),
        request: endpoint.request(uri, dialect, http),
        terms,
    };
    upgrade::accept_as(&handshake, uri, address, http, patience, spoken)
}
