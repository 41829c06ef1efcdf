//! A request's first bytes. Nothing may panic; and what is recognised as a plain handshake is one to tungstenite's
//! server as well: the same length, the same key, the same answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response};
use ws_gateway::http::handshake::{Handshake, recognise};

fuzz_target!(|bytes: &[u8]| {
    recognise(bytes, |handshake, uri, length| {
        let parsed = Request::try_parse(bytes).expect("HTTP to tungstenite");
        let (parsed_length, request) = parsed.expect("whole to tungstenite");
        assert_eq!(parsed_length, length);
        assert_eq!(Handshake::of(&request), Ok(handshake.clone()), "the rules don't depend on the parser");
        assert_eq!(request.uri(), uri);
        assert!(matches!(uri.path(), "/" | "/ws" | "/ws/"));
        for unusual in ["content-length", "transfer-encoding", "expect"] {
            assert!(!request.headers().contains_key(unusual));
        }
        // The last digit of 16 bytes has two bits only; tungstenite minds the rest, RFC 4648 section 3.5 leaves it open.
        let is_canonical = b"AQgw".contains(&handshake.key.as_bytes()[21]);
        // Tabs may stand in a list as blanks do (RFC 9110 section 5.6.1); tungstenite takes them for part of a word.
        let has_tab = request.headers()["connection"].as_bytes().contains(&b'\t');
        if is_canonical && !has_tab {
            let answer = create_response(&request).expect("a handshake to tungstenite");
            let accept = derive_accept_key(handshake.key.as_bytes());
            assert_eq!(answer.headers()["sec-websocket-accept"], accept);
        }
    });
});
