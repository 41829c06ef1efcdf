use proptest::prelude::*;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server;

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn key<B>(request: &Request<B>) -> Result<&str, Fault> {
    Handshake::of(request).map(|handshake| handshake.key)
}

/// A request as browsers send it, with one header replaced (or, if empty, left out).
fn request(replace: (&'static str, &'static str)) -> Request<()> {
    let mut request = Request::get("/ws");
    for (name, value) in [
        ("host", "h"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ] {
        let value = if name == replace.0 { replace.1 } else { value };
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    if !["host", "upgrade", "connection", "sec-websocket-version", "sec-websocket-key"].contains(&replace.0) {
        request = request.header(replace.0, replace.1);
    }
    request.body(()).unwrap()
}

#[test]
fn a_browsers_handshake_is_good() {
    assert_eq!(key(&request(("x", "y"))), Ok(KEY));
    assert_eq!(key(&request(("upgrade", "h2c, WebSocket"))), Ok(KEY));
    assert_eq!(key(&request(("content-length", "0"))), Ok(KEY));
    // RFC 9110 section 5.6.1: tabs as well as blanks.
    assert_eq!(key(&request(("connection", "keep-alive,\tUpgrade"))), Ok(KEY));
}

#[test]
fn each_broken_rule_has_its_status() {
    let status = |request: &Request<()>| match key(request).unwrap_err() {
        Fault::Method => 405,
        Fault::NotWebSocket => 426,
        Fault::Malformed(_) => 400,
    };
    for (header, value, expected) in [
        ("host", "", 400),
        ("upgrade", "", 426),
        ("upgrade", "h2c", 426),
        ("connection", "", 426),
        ("connection", "keep-alive", 426),
        ("sec-websocket-version", "", 426),
        ("sec-websocket-version", "8", 426),
        ("sec-websocket-key", "", 400),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=", 400),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ====", 400),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25j!Q==", 400),
        ("content-length", "5", 400),
        ("transfer-encoding", "chunked", 400),
    ] {
        assert_eq!(status(&request((header, value))), expected, "{header}: {value}");
    }
    let mut old = request(("x", "y"));
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(status(&old), 400);
    let mut head = request(("x", "y"));
    *head.method_mut() = Method::HEAD;
    assert_eq!(status(&head), 405);
    let mut twice = request(("x", "y"));
    twice.headers_mut().append(SEC_WEBSOCKET_KEY, HeaderValue::from_static(KEY));
    assert_eq!(status(&twice), 400);
}

/// A handshake as its parts: key, origin, where it goes, what is answered to its subprotocols, whether it offers compression, token, whom
/// it is sent for, target, length.
type Parts =
    (String, Option<String>, String, Option<&'static str>, bool, Option<String>, String, String, usize);

fn parts(handshake: Handshake<'_>, uri: &Uri, length: usize) -> Parts {
    let Handshake { key, origin, target, subprotocol, offers_deflate, token, forwarded } = handshake;
    let goes_to = format!("{}://{}", target.scheme, target.host);
    let (origin, token) = (origin.map(str::to_owned), token.map(str::to_owned));
    let forwarded = format!("{forwarded:?}");
    (key.to_owned(), origin, goes_to, subprotocol, offers_deflate, token, forwarded, uri.to_string(), length)
}

/// The handshake that [`recognise`] finds in a request.
fn recognised(bytes: &[u8]) -> Option<Parts> {
    recognise(bytes, parts)
}

/// The same in another way: tungstenite parses the bytes, and [`Handshake::of`] checks its request.
fn expected(bytes: &[u8]) -> Option<Parts> {
    let (length, request) = server::Request::try_parse(bytes).ok()??;
    let handshake = Handshake::of(&request).ok()?;
    let headers = request.headers();
    let lines = |name: &HeaderName| headers.get_all(name).iter().count();
    let plain = matches!(request.uri().path(), "/" | "/ws" | "/ws/")
        && request.uri().authority().is_none()
        && lines(&UPGRADE) == 1
        && headers[UPGRADE].as_bytes().eq_ignore_ascii_case(b"websocket")
        && lines(&CONNECTION) == 1
        && [TRANSFER_ENCODING, CONTENT_LENGTH, EXPECT].iter().all(|name| lines(name) == 0);
    plain.then(|| parts(handshake, request.uri(), length))
}

/// Header lines for requests: often one that a handshake needs, sometimes one that makes it invalid.
fn line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Host: h",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "sec-websocket-extensions: permessage-deflate; server_max_window_bits=10, x",
        "host:h:8080",
        "Upgrade: websocket",
        "UPGRADE:  WebSocket ",
        "Upgrade: h2c, websocket",
        "Upgrade: h2c",
        "Connection: Upgrade",
        "Connection: keep-alive, upgrade",
        "Connection: keep-alive,\tUpgrade",
        "Connection: close",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Key: dGhl",
        "Sec-WebSocket-Protocol: chat, md.v1.json",
        "Sec-WebSocket-Protocol: bearer, a.b.c",
        "Authorization: Bearer a.b.c",
        "Authorization: Basic YTpi",
        "Origin: https://app.example.com",
        "X-Forwarded-For: 203.0.113.7, 10.0.0.1",
        "X-Forwarded-For: \u{e9}",
        "X-Real-IP: 203.0.113.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Proto: HTTPS, http",
        "Origin: \u{e9}",
        "Content-Length: 0",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Cookie: a=b; c=d",
        "X-Empty:",
        " folded: line",
        "no colon",
    ])
}

/// A handshake in the usual order with further lines behind, some left out, and at most one byte changed.
fn request_bytes() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![
        "GET /ws HTTP/1.1",
        "GET / HTTP/1.1",
        "GET /ws/ HTTP/1.1",
        "GET /ws?symbols=AAPL,btc%2Dusd HTTP/1.1",
        "GET /ws#x HTTP/1.1",
        "GET http://h/ws HTTP/1.1",
        "GET //h/ws HTTP/1.1",
        "GET /health HTTP/1.1",
        "GET /ws HTTP/1.0",
        "POST /ws HTTP/1.1",
    ]);
    let good = [
        "Host: h",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let kept = prop::collection::vec(prop::bool::weighted(0.95), good.len());
    let more = prop::collection::vec(line(), 0..4);
    let spoilt = prop::option::weighted(0.5, (any::<prop::sample::Index>(), any::<u8>()));
    let behind = prop::collection::vec(any::<u8>(), 0..8);
    (first, kept, more, spoilt, behind).prop_map(move |(first, kept, more, spoilt, behind)| {
        let kept = good.iter().zip(kept).filter(|(_, kept)| *kept).map(|(line, _)| *line);
        let lines: Vec<&str> = [first].into_iter().chain(kept).chain(more).chain(["", ""]).collect();
        let mut bytes = lines.join("\r\n").into_bytes();
        if let Some((index, byte)) = spoilt {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(behind);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// All plain handshakes are recognised and nothing else, and tungstenite's server accepts them.
    #[test]
    fn what_is_recognised_is_what_tungstenite_accepts(bytes in request_bytes()) {
        let recognised = recognised(&bytes);
        prop_assert_eq!(&recognised, &expected(&bytes));
        if let Some((key, ..)) = recognised {
            let (_, request) = server::Request::try_parse(&bytes).unwrap().unwrap();
            // The last digit of 16 bytes carries only two bits; RFC 4648 section 3.5 doesn't say whether the others must be zero.
            let is_canonical = b"AQgw".contains(&key.as_bytes()[21]);
            // Tabs may stand in a list as blanks do (RFC 9110 section 5.6.1); tungstenite takes them for part of a word.
            let has_tab = request.headers()[CONNECTION].as_bytes().contains(&b'\t');
            if is_canonical && !has_tab {
                let answer = server::create_response(&request).unwrap();
                prop_assert_eq!(&answer.headers()["sec-websocket-accept"], &derive_accept_key(key.as_bytes()));
            }
        }
    }

    /// A request is recognised with its last byte, not before.
    #[test]
    fn a_part_of_a_request_is_none(bytes in request_bytes()) {
        if let Some((.., length)) = recognised(&bytes) {
            prop_assert!((0..length).all(|cut| recognised(&bytes[..cut]).is_none()));
        }
    }
}

#[test]
fn handshakes_of_browsers_and_libraries_are_plain() {
    for more in [
        "",
        "Origin: http://h\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nCache-Control: no-cache\r\n",
        "Sec-WebSocket-Protocol: md.v1.json\r\nUser-Agent: x\r\nCookie: a=b\r\nX-Forwarded-For: 192.0.2.1\r\n",
    ] {
        for connection in ["Upgrade", "keep-alive, Upgrade", "upgrade"] {
            let request = format!(
                "GET /ws?symbols=A HTTP/1.1\r\nHost: h\r\nConnection: {connection}\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\nframes"
            );
            let (key, .., target, length) = recognised(request.as_bytes()).expect(&request);
            assert_eq!((key.as_str(), target.as_str(), &request[length..]), (KEY, "/ws?symbols=A", "frames"));
        }
    }
}

#[test]
fn an_offer_of_compression_is_seen_on_whichever_line_it_is() {
    let offers = |lines: &[&'static str]| {
        let mut request = request(("x", "y"));
        for line in lines {
            request.headers_mut().append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(line));
        }
        Handshake::of(&request).unwrap().offers_deflate
    };
    assert!(offers(&["permessage-deflate; client_max_window_bits"]));
    assert!(offers(&["x-other", "permessage-deflate; server_max_window_bits=10", "permessage-deflate"]));
    assert!(!offers(&["permessage-deflate; server_max_window_bits=10"]) && !offers(&[]));
}

#[test]
fn a_request_with_many_fields_is_not_plain() {
    let request = |fields| {
        let more = "X: y\r\n".repeat(fields);
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
        )
    };
    assert!(recognised(request(PLAIN_FIELDS_MAX - 5).as_bytes()).is_some());
    assert!(recognised(request(PLAIN_FIELDS_MAX - 4).as_bytes()).is_none());
}
