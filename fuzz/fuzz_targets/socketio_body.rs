//! Bodies of long-polling requests, as foreign bytes: each is its packets, and they make the same body again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::protocol::socketio::engine::{Part, parts, push};

fuzz_target!(|body: &str| {
    let mut whole = Vec::new();
    for part in parts(body) {
        let mut text = Vec::new();
        match part {
            Ok(Part::Packet(packet)) => packet.write(&mut text),
            Ok(Part::Binary(base64)) => text.extend_from_slice(format!("b{base64}").as_bytes()),
            Err(_) => return,
        }
        push(&mut whole, &text);
    }
    let again = String::from_utf8(whole).expect("parts of a text");
    assert!(parts(&again).eq(parts(body)), "{body:?}");
});
