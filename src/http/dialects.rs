//! Where clients of other APIs connect: `DIALECTS` turns their paths on. A handshake there is held to the rules of every other one; what is
//! particular is how a client shows who it is, and what it is told first.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::Http;
use super::handshake::Handshake;
use super::upgrade::{self, Accepted, Refused, Spoken};
use crate::auth::Patience;
use crate::market::MassiveMarket;
use crate::protocol::Dialect;
use crate::protocol::api::Api;
use crate::protocol::native::read::parse_terms;
use crate::protocol::request::Token;

/// Of Alpaca's API: the key, and its secret.
const APCA_API_KEY_ID: HeaderName = HeaderName::from_static("apca-api-key-id");
const APCA_API_SECRET_KEY: HeaderName = HeaderName::from_static("apca-api-secret-key");

/// What a client connects to at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Alpaca's stream, whatever the feed.
    Alpaca,
    /// One of Massive's markets.
    Massive(MassiveMarket),
    /// Finnhub's stream.
    Finnhub,
}

/// The paths of each API's endpoints. Each may stand behind a prefix as well, the API's name ([`Api::word`]): `/alpaca/v2/iex`. An empty one
/// has to.
const PATHS: [(&str, Endpoint); 10] = [
    ("/v2/iex", Endpoint::Alpaca),
    ("/v2/sip", Endpoint::Alpaca),
    ("/v2/delayed_sip", Endpoint::Alpaca),
    ("/v2/test", Endpoint::Alpaca),
    ("/v1beta3/crypto/us", Endpoint::Alpaca),
    ("/v1beta1/news", Endpoint::Alpaca),
    ("/stocks", Endpoint::Massive(MassiveMarket::Stocks)),
    ("/crypto", Endpoint::Massive(MassiveMarket::Crypto)),
    ("/forex", Endpoint::Massive(MassiveMarket::Forex)),
    ("", Endpoint::Finnhub),
];

impl Endpoint {
    /// The endpoint at a path, if there is one and the gateway serves its API.
    pub(super) fn find(path: &str, http: &Http) -> Option<Self> {
        let of_path = |(at, endpoint): &(&str, Self)| {
            let bare = path.strip_prefix('/').and_then(|path| path.strip_prefix(endpoint.api().word()));
            path == *at || bare == Some(at)
        };
        let (_, endpoint) = PATHS.iter().find(|each| of_path(each))?;
        http.apis.has(endpoint.api()).then_some(*endpoint)
    }

    const fn api(self) -> Api {
        match self {
            Self::Alpaca => Api::Alpaca,
            Self::Massive(_) => Api::Massive,
            Self::Finnhub => Api::Finnhub,
        }
    }

    /// What the connection speaks.
    fn dialect(self, headers: &HeaderMap) -> Dialect {
        match self {
            Self::Alpaca => {
                let is_msgpack = headers.get(CONTENT_TYPE).is_some_and(|sent| sent == "application/msgpack");
                if is_msgpack { Dialect::AlpacaMsgpack } else { Dialect::AlpacaJson }
            }
            Self::Massive(MassiveMarket::Stocks) => Dialect::MassiveStocks,
            Self::Massive(MassiveMarket::Crypto) => Dialect::MassiveCrypto,
            Self::Massive(MassiveMarket::Forex) => Dialect::MassiveForex,
            Self::Finnhub => Dialect::Finnhub,
        }
    }

    /// The key in a header of the API's own.
    fn key(self, headers: &HeaderMap) -> Option<Token> {
        let value =
            |name: &HeaderName| Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned());
        match self {
            Self::Alpaca => Some(Token::with_secret(value(&APCA_API_KEY_ID)?, value(&APCA_API_SECRET_KEY))),
            Self::Massive(_) | Self::Finnhub => None,
        }
    }
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
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (name, percent_decode_str(value).decode_utf8_lossy()));
    let terms = parse_terms(pairs).map_err(Refused::Query)?;
    let spoken = Spoken {
        dialect: endpoint.dialect(headers),
        token: endpoint.key(headers),
        request: None,
        terms: terms.map(Box::new),
    };
    upgrade::accept_as(&handshake, uri, address, http, patience, spoken)
}
