use super::*;
use crate::market::{Form, Kind as EventKind, Subject, SymbolCase};
use crate::protocol::desk::RequestId;
use crate::protocol::refusal::Forbidden;
use crate::protocol::reply::ShutdownReason;
use crate::protocol::request::Selection;

const EVENTS: Joined = Joined::NONE.with(Namespace::Root).with(Namespace::Events).with(Namespace::Messaging);

fn grammar() -> Grammar {
    Grammar::new("trade,case".parse().unwrap(), SymbolCase::Upper)
}

fn mark(verb: Verb, ack: Option<u64>, text: &str) -> Id {
    Mark { namespace: Namespace::Events, verb, ack, text }.to_id()
}

/// The payloads of the frames of a reply.
fn written(told: &Reply<'_>, joined: Joined) -> String {
    let mut texts = Vec::new();
    let frames = reply(told, joined, &grammar(), 7);
    let mut rest = &frames[..];
    while !rest.is_empty() {
        let bytes = header::frame_bytes(rest);
        texts.push(String::from_utf8(header::payload(&rest[..bytes]).to_vec()).unwrap());
        rest = &rest[bytes..];
    }
    texts.join("\n")
}

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes(), SymbolCase::Upper).unwrap()
}

#[test]
fn acknowledgements() {
    let form = Form::socketio(Namespace::Events);
    let names = [(EventKind::TRADE, form, name("AAPL")), (EventKind::QUOTE, form, name("AAPL"))];
    let selection = Selection::of_channels(names);
    let subscribed = |id: &Id, recovered: &[(Name, bool)]| {
        written(&Reply::Subscribed { selection: &selection, held: &[], recovered, id: Some(id) }, EVENTS)
    };
    let id = mark(Verb::Status, Some(7), "");
    assert_eq!(subscribed(&id, &[]), r#"43/events,7[{"status":"subscribed","symbols":["AAPL"]}]"#);
    let recovered = r#"43/events,7[{"status":"subscribed","symbols":["AAPL"],"recovered":{"AAPL":true}}]"#;
    assert_eq!(subscribed(&id, &[(name("AAPL"), true)]), recovered);
    let topic = mark(Verb::Topic, Some(0), r#""caseId":"c1""#);
    assert_eq!(subscribed(&topic, &[]), r#"43/events,0[{"status":"subscribed","caseId":"c1"}]"#);
    assert_eq!(subscribed(&mark(Verb::Status, None, ""), &[]), "", "nobody waits for it");
    let left = [Subject::wanted(EventKind::TRADE, form, name("AAPL"))];
    let reply = Reply::Unsubscribed { left: &left, held: &[], id: Some(&id) };
    assert_eq!(written(&reply, EVENTS), r#"43/events,7[{"status":"unsubscribed","symbols":["AAPL"]}]"#);
    let reply = Reply::Authenticated { user: Some("u"), expires_ms: Some(5), held: None, id: Some(&id) };
    assert_eq!(
        written(&reply, EVENTS),
        r#"43/events,7[{"status":"authenticated","user":"u","expiresAt":5}]"#
    );
    let connect = mark(Verb::Connect, None, "public");
    let reply = Reply::Authenticated { user: None, expires_ms: None, held: None, id: Some(&connect) };
    assert_eq!(written(&reply, Joined::default()), r#"40/events,{"sid":"public"}"#);
}

#[test]
fn refusals() {
    let refused = |code, id: Option<Id>, joined| {
        let refusal = Refusal { id, ..Refusal::new(code, "No") };
        written(&Reply::Refused(&refusal), joined)
    };
    use ErrorCode::{InvalidInput, RateLimitExceeded, Timeout, Unauthorized};
    let connect = || Some(mark(Verb::Connect, None, "x"));
    let expected = r#"44/events,{"message":"Unauthorized","data":{"code":"UNAUTHORIZED"}}"#;
    assert_eq!(refused(Unauthorized, connect(), Joined::default()), expected);
    let expected = r#"44/events,{"message":"No","data":{"code":"RATE_LIMIT_EXCEEDED"}}"#;
    assert_eq!(refused(RateLimitExceeded, connect(), Joined::default()), expected);
    let nowhere = Some(mark(Verb::Nowhere, None, "/nope"));
    assert_eq!(refused(InvalidInput, nowhere, EVENTS), r#"44/nope,{"message":"Invalid namespace"}"#);
    let status = Some(mark(Verb::Status, Some(1), ""));
    let expected = r#"43/events,1[{"status":"error","error":"No","code":"INVALID_INPUT"}]"#;
    assert_eq!(refused(InvalidInput, status, EVENTS), expected);
    let event = r#"42/events,["error",{"code":"INVALID_INPUT","message":"No"}]"#;
    assert_eq!(refused(InvalidInput, Some(mark(Verb::Topic, None, "")), EVENTS), event);
    assert_eq!(refused(InvalidInput, None, Joined::default().with(Namespace::Events)), event);
    assert_eq!(refused(InvalidInput, None, Joined::default()), "");
    let both = format!("43/events,2[{{\"success\":false,\"error\":\"No\"}}]\n{event}");
    assert_eq!(refused(InvalidInput, Some(mark(Verb::Desk, Some(2), "")), EVENTS), both);
    let forbidden = Forbidden { symbols: vec![name("X")], types: Vec::new() };
    let refusal = Refusal {
        retry_after_s: Some(3),
        concern: Some(Box::new(Concern::Current(50))),
        id: Some(mark(Verb::Status, None, "")),
        ..Refusal::forbidden(forbidden)
    };
    let text = written(&Reply::Refused(&refusal), EVENTS);
    let limit = Refusal::symbol_limit(5, 4, Some(mark(Verb::Topic, Some(3), "")));
    let told = written(&Reply::Refused(&limit), EVENTS);
    let expected = r#"43/events,3[{"status":"error","error":"Cannot subscribe: would exceed maximum of 5 symbols","code":"SYMBOL_LIMIT_EXCEEDED","currentRoomCount":4}]"#;
    assert_eq!(told, expected);
    let request_id = RequestId::parse("\"r1\"").map(Box::new);
    let id = Some(mark(Verb::Desk, Some(4), ""));
    let timeout = Refusal { request_id, id, ..Refusal::new(Timeout, "No response within 30 s") };
    let both = "43/events,4[{\"success\":false,\"error\":\"No response within 30 s\"}]\n\
        42/events,[\"error\",{\"code\":\"TIMEOUT\",\"message\":\"No response within 30 s\",\"requestId\":\"r1\"}]";
    assert_eq!(written(&Reply::Refused(&timeout), EVENTS), both);
    assert!(
        text.ends_with(r#""currentRoomCount":50,"retryAfter":3,"data":{"symbols":["X"],"types":[]}}]"#),
        "{text}"
    );
}

#[test]
fn statuses_come_in_their_namespace() {
    let subject = Subject::wanted(EventKind::TRADE, Form::socketio(Namespace::Messaging), name("X"));
    let skipped = Reply::Status(Status::Skipped { subject: &subject, count: 3 });
    let object =
        r#"{"type":"status","event":"skipped","data":{"symbol":"X","type":"trade","count":3},"timestamp":7}"#;
    assert_eq!(written(&skipped, EVENTS), format!(r#"42/messaging,["status",{object}]"#));
    let events = Joined::default().with(Namespace::Events);
    assert_eq!(written(&skipped, events), format!(r#"42/events,["status",{object}]"#));
    let shutdown = Status::Shutdown { reason: ShutdownReason::Shutdown, reconnect_after_ms: 5 };
    let text = written(&Reply::Status(shutdown.clone()), EVENTS);
    assert!(text.starts_with(r#"42["status",{"type":"status","event":"shutdown""#), "{text}");
    assert_eq!(written(&Reply::Status(shutdown), Joined::default()), "");
}

#[test]
fn the_first_words() {
    let expected = r#"0{"sid":"s","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":65536}"#;
    assert_eq!(open("s", true, 65_536), expected);
    let text = connected(Namespace::Root, Some("u1"), "gw");
    assert_eq!(header::payload(&text), br#"42["connected",{"userId":"u1","serverId":"gw"}]"#);
}
