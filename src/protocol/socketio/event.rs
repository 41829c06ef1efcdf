//! Events of Socket.IO: complete frames, written once for all clients that have a topic in a namespace. Pure.
//!
//! A market event's name is its type, and with it comes the gateway's own object; a custom type's is `<type>:updated`, and with it comes the
//! worker's object alone.

use super::namespace::name;
use crate::market::Namespace;
use crate::protocol::form::EventParts;
use crate::protocol::native::event::{Marker, Openings, TRADE_OPENING, write_as};
use crate::websocket::header::write_header;

/// Engine.IO's message and Socket.IO's event.
const EVENT: &[u8] = b"42";
const UPDATED: &[u8] = b":updated";

/// What stands between the first bytes of an event and its name.
pub(super) const fn place(namespace: Namespace) -> &'static str {
    match namespace {
        Namespace::Root => "",
        Namespace::Events => "/events,",
        Namespace::Messaging => "/messaging,",
    }
}

const _: () = assert!(name(Namespace::Root).len() == 1, "the namespace that is left out");

/// Appends an event.
pub fn write(out: &mut Vec<u8>, namespace: Namespace, event: &EventParts<'_>, openings: &Openings) {
    let &EventParts { kind, object, at_ms, marker, .. } = event;
    let type_name = openings.name(kind).as_bytes();
    let before = |suffix| [EVENT, place(namespace).as_bytes(), b"[\"", type_name, suffix, b"\","];
    if kind.is_market() {
        let before = before(b"");
        let begin = |out: &mut Vec<u8>, object_bytes| begin(out, &before, object_bytes);
        write_as(out, openings.of(kind), object, at_ms, marker, begin);
    } else {
        begin(out, &before(UPDATED), object.len());
        out.extend_from_slice(object.as_bytes());
    }
    out.push(b']');
}

/// Appends a trade that stands for several.
pub fn write_totals(out: &mut Vec<u8>, namespace: Namespace, object: &str, at_ms: u64, marker: Marker<'_>) {
    let before = [EVENT, place(namespace).as_bytes(), b"[\"trade\","];
    let begin = |out: &mut Vec<u8>, object_bytes| begin(out, &before, object_bytes);
    write_as(out, TRADE_OPENING, object, at_ms, marker, begin);
    out.push(b']');
}

/// Appends an event of that name with a JSON value.
pub fn write_named(out: &mut Vec<u8>, namespace: Namespace, name: &str, value: &[u8]) {
    begin(out, &[EVENT, place(namespace).as_bytes(), b"[\"", name.as_bytes(), b"\","], value.len());
    out.extend_from_slice(value);
    out.push(b']');
}

/// Appends the header, and what stands before an object of so many bytes.
fn begin(out: &mut Vec<u8>, before: &[&[u8]], object_bytes: usize) {
    let before_bytes: usize = before.iter().map(|part| part.len()).sum();
    write_header(out, before_bytes + object_bytes + 1);
    before.iter().for_each(|part| out.extend_from_slice(part));
}

/// The gateway's object in the payload of an event of the market; empty if there is none.
pub fn object_of(payload: &[u8]) -> &[u8] {
    let start = memchr::memmem::find(payload, b"\",{").map(|comma| comma + 2);
    start.and_then(|start| payload.get(start..payload.len().checked_sub(1)?)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Kind, Kinds, Symbol, SymbolCase};
    use crate::websocket::header;

    fn written(namespace: Namespace, kind: Kind, object: &str) -> String {
        let openings = Openings::new(&"trade,case".parse::<Kinds>().unwrap());
        let symbol = Symbol::parse(b"X", SymbolCase::Upper).unwrap();
        let event =
            EventParts { kind, symbol: &symbol, seq: None, object, at_ms: 7, marker: Marker::SNAPSHOT };
        let mut out = Vec::new();
        write(&mut out, namespace, &event, &openings);
        assert_eq!(out, header::text(header::payload(&out)), "one frame");
        String::from_utf8(header::payload(&out).to_vec()).unwrap()
    }

    #[test]
    fn the_worker_s_object_is_spliced() {
        let object = r#"{"symbol":"X","price":1.50}"#;
        let ours = format!(r#"{{"type":"trade","data":{object},"timestamp":7,"snapshot":true}}"#);
        let event = written(Namespace::Events, Kind::TRADE, object);
        assert_eq!(event, format!(r#"42/events,["trade",{ours}]"#));
        assert_eq!(object_of(event.as_bytes()), ours.as_bytes());
        assert_eq!(written(Namespace::Root, Kind::TRADE, object), format!(r#"42["trade",{ours}]"#));
        let custom = "trade,case".parse::<Kinds>().unwrap().find(b"case").unwrap();
        let event = written(Namespace::Messaging, custom, object);
        assert_eq!(event, format!(r#"42/messaging,["case:updated",{object}]"#));
        for none in ["", "42", "42[\"trade\",", "42[\"trade\",{"] {
            let found = object_of(none.as_bytes());
            assert!(found.is_empty(), "{none}");
        }
    }
}
