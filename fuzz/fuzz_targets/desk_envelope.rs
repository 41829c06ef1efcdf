//! What comes on the desk's channels, whoever may have published it. Nothing may panic; what is taken reads the same when it is written
//! again, and what a worker says is an object of a type of its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::desk::DeskId;
use ws_gateway::desk::GatewayId;
use ws_gateway::desk::envelope::Envelope;
use ws_gateway::desk::event::{check_of_worker, write_for_room, write_for_user};
use ws_gateway::desk::presence::{Gossip, Presence, PresenceConfig};
use ws_gateway::market::{Kinds, RESERVED_TYPES};

fuzz_target!(|bytes: &[u8]| {
    if let Some(envelope) = Envelope::parse(bytes) {
        let written = envelope.write();
        assert_eq!(Envelope::parse(&written).as_ref(), Some(&envelope));
        let room = DeskId::parse("r").expect("a name");
        let mut object = Vec::new();
        let in_room = write_for_room(&mut object, &room, &envelope).is_some();
        assert!(in_room != write_for_user(&mut object, &envelope).is_some(), "one of the two");
        serde_json::from_slice::<serde_json::value::Map<String, serde_json::Value>>(&object)
            .expect("an object");
    }
    if let Ok(Some(gossip)) = Gossip::parse(bytes) {
        assert_eq!(Gossip::parse(&gossip.write()), Ok(Some(gossip.clone())));
        let config = PresenceConfig { grace_ms: 1, max_members: 1, max_rooms: 1, part_pairs: 1 };
        let mut presence = Presence::new(GatewayId::of(1), config);
        presence.heard(gossip, 1);
        presence.tick(2);
    }
    let kinds = Kinds::default();
    if let Ok(object) = check_of_worker(bytes, 10_000, &kinds) {
        let object: serde_json::Value = serde_json::from_str(object).unwrap_or_default();
        if let Some(name) = object["type"].as_str() {
            assert!(!RESERVED_TYPES.contains(&name) && name != "trade", "{name}");
        }
    }
});
