//! Packets of Engine.IO and Socket.IO, as foreign bytes: nothing may panic, and what is read is written as the same bytes again, but for what the
//! format lets a writer choose.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::protocol::socketio::engine;
use ws_gateway::protocol::socketio::packet::Packet;

fuzz_target!(|text: &str| {
    let Ok(outer) = engine::Packet::read(text) else { return };
    let mut out = Vec::new();
    outer.write(&mut out);
    assert!(text.as_bytes().starts_with(&out), "as it came, but for what has no meaning");
    let engine::Packet::Message(message) = outer else { return };
    let Ok(packet) = Packet::read(message) else { return };
    let mut out = Vec::new();
    packet.write(&mut out);
    let written = String::from_utf8(out).expect("parts of a text");
    // Zeros before a number, and the namespace `/` by its name, are left out.
    assert_eq!(Packet::read(&written), Ok(packet), "{message}");
    let _ = packet.elements();
});
