//! Header fields that say who comes, from where, and from which page. Each line of the input is one of them: a letter (see [`NAMES`]) and
//! the value behind it. Nothing may panic. A token is one that was sent, the subprotocol answered is one that was offered, what a stranger
//! writes changes nobody's address, and no page gets in that the settings don't cover.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use tungstenite::http::{HeaderMap, HeaderValue, Request};
use ws_gateway::address::{Forwarded, Network, Proxies};
use ws_gateway::http::handshake::{BEARER, Handshake, SUBPROTOCOL, SUBPROTOCOL_BATCH};
use ws_gateway::origin::{Origins, Target, normalise, normalise_allowed};

const NAMES: [(u8, &str); 7] = [
    (b'F', "x-forwarded-for"),
    (b'R', "x-real-ip"),
    (b'P', "x-forwarded-proto"),
    (b'A', "authorization"),
    (b'S', "sec-websocket-protocol"),
    (b'O', "origin"),
    (b'H', "host"),
];

fuzz_target!(|lines: &[u8]| {
    let Some(request) = request(lines) else { return };
    let Ok(handshake) = Handshake::of(&request) else { return };
    check_token(&handshake, request.headers());
    check_subprotocol(&handshake, request.headers());
    for peer in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::7", "192.0.2.1", "2001:db8::1"] {
        check_address(&handshake.forwarded, peer.parse().expect("an address"));
    }
    check_origin(&handshake);
});

/// A handshake with these fields; `None` if one of them can't stand in a request.
fn request(lines: &[u8]) -> Option<Request<()>> {
    let mut request = Request::get("/ws");
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        request = request.header(name, value);
    }
    for line in lines.split(|byte| *byte == b'\n') {
        let Some((letter, value)) = line.split_first() else { continue };
        if let Some((_, name)) = NAMES.iter().find(|(known, _)| known == letter) {
            request = request.header(*name, value);
        }
    }
    request.body(()).ok()
}

/// The elements of all lines with that name that are text.
fn elements<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).collect()
}

fn check_token(handshake: &Handshake<'_>, headers: &HeaderMap) {
    let Some(token) = handshake.token else { return };
    assert!(token.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')), "a token that can be written");
    assert_eq!(token, token.trim());
    let is_bearer = |line: &HeaderValue| {
        let line = line.as_bytes();
        line.len() >= BEARER.len() && line[..BEARER.len()].eq_ignore_ascii_case(BEARER.as_bytes())
    };
    let is_sent = |line: &&HeaderValue| {
        let sent = line.to_str().map(|line| line[BEARER.len()..].trim());
        sent.unwrap_or_default() == token
    };
    // The first line of this scheme counts. It must not be passed over for another, not even where it is no token.
    match headers.get_all("authorization").into_iter().find(|line| is_whole_scheme(line) && is_bearer(line)) {
        Some(line) => assert!(is_sent(&line)),
        None => {
            let offered = elements(headers, "sec-websocket-protocol");
            let at = offered.iter().position(|offered| *offered == BEARER).expect("bearer is offered");
            assert_eq!(offered[at + 1], token);
        }
    }
}

/// Whether a blank, or nothing, follows a scheme of six letters.
fn is_whole_scheme(line: &HeaderValue) -> bool {
    matches!(line.as_bytes().get(BEARER.len()), None | Some(b' ' | b'\t'))
}

fn check_subprotocol(handshake: &Handshake<'_>, headers: &HeaderMap) {
    let offered = elements(headers, "sec-websocket-protocol");
    let forms = [SUBPROTOCOL, SUBPROTOCOL_BATCH];
    let form = offered.iter().find_map(|offered| forms.into_iter().find(|form| form == offered));
    let known = form.or_else(|| offered.contains(&BEARER).then_some(BEARER));
    assert_eq!(handshake.subprotocol, known);
}

fn check_address(forwarded: &Forwarded<'_>, peer: IpAddr) {
    let proxies = Proxies::parse("10.0.0.0/8, fd00::/8").expect("networks");
    let client = forwarded.client(peer, &proxies);
    assert_eq!(client, client.to_canonical(), "an IPv4 address counts as such however it is written");
    assert_eq!(Network::from(client), Network::from(client.to_canonical()));
    if !proxies.trust(peer) {
        assert_eq!(client, peer.to_canonical(), "nobody else is believed");
        return;
    }
    // The trusted proxy adds the address that it was asked by: nothing that stands further left counts.
    let asked_by: IpAddr = "203.0.113.7".parse().expect("an address");
    let mut added = forwarded.clone();
    added.for_lines.push("203.0.113.7");
    assert_eq!(added.client(peer, &proxies), asked_by);
    added.for_lines.push("10.1.1.1, fd00::1");
    assert_eq!(added.client(peer, &proxies), asked_by, "behind further proxies");
}

fn check_origin(handshake: &Handshake<'_>) {
    let Some(origin) = handshake.origin else { return };
    if let Some(normal) = normalise(origin) {
        assert_eq!(normalise(&normal), Some(normal));
    }
    if let Some(allowed) = normalise_allowed(origin) {
        assert_eq!(normalise_allowed(&allowed), Some(allowed));
    }
    let allowed = ["https://app.test", "https://*.example.com"];
    let allowed = allowed.map(|origin| normalise_allowed(origin).expect("an origin"));
    let origins = Origins { allowed: Some(allowed.to_vec()), public_hosts: vec!["prices.test".to_owned()] };
    let target = handshake.target;
    assert!(matches!(target.scheme, "http" | "https"));
    if !origins.allow(origin, target) {
        return;
    }
    let (scheme, host, port) = parts(origin);
    let is_allowed = (&*scheme, port) == ("https", 443)
        && (host == "app.test" || host.strip_suffix(".example.com").is_some_and(|sub| !sub.is_empty()));
    assert!(is_allowed || is_own_page(origin, target, &host), "{origin} towards {target:?}");
}

/// Whether a page of that origin, whose host is this, was served by the gateway.
fn is_own_page(origin: &str, Target { scheme, host: own }: Target<'_>, host: &str) -> bool {
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    normalise(&format!("{scheme}://{own}")) == normalise(origin)
        && (is_address || ["localhost", "prices.test"].contains(&host))
}

/// Scheme, host and port of an origin that is one.
fn parts(origin: &str) -> (String, String, u16) {
    let normal = normalise(origin).expect("an origin");
    let (scheme, authority) = normal.split_once("://").expect("a scheme");
    let default = if scheme == "https" { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().expect("a port")),
        _ => (authority, default),
    };
    (scheme.to_owned(), host.to_owned(), port)
}
