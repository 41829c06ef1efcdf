use super::*;
use crate::desk::DeskId;
use crate::market::SymbolCase;
use crate::protocol::desk::DeskRequest;

fn grammar() -> Grammar {
    Grammar::new("trade,quote,case".parse().unwrap(), SymbolCase::Upper)
}

fn said(message: &str) -> Said {
    read(message, Joined::default().with(Namespace::Events), &grammar())
}

fn asked(message: &str) -> Result<Request, Refusal> {
    match said(message) {
        Said::Asked(asked, _) => *asked,
        other => panic!("{message}: {other:?}"),
    }
}

#[test]
fn packets_of_the_connection() {
    assert_eq!(said("3"), Said::Pong);
    assert_eq!((said("2"), said("2probe")), (Said::Ping { is_probe: false }, Said::Ping { is_probe: true }));
    assert_eq!((said("5"), said("6"), said("1")), (Said::Upgrade, Said::Nothing, Said::Close));
    assert_eq!(said("40"), Said::Connect(Namespace::Root, None));
    let token = |text: &str| Some(Token::new(text));
    for (auth, expected) in [
        (r#"{"token":"JWT"}"#, token("JWT")),
        (r#"{"token":"Bearer JWT","more":1}"#, token("JWT")),
        (r#"{"token":null}"#, None),
        (r#"{"token":7}"#, token("")),
        ("{}", None),
    ] {
        assert_eq!(
            said(&format!("40/messaging,{auth}")),
            Said::Connect(Namespace::Messaging, expected),
            "{auth}"
        );
    }
    assert_eq!(said("41/events,"), Said::Disconnect(Namespace::Events));
    assert_eq!(said("43/events,1[]"), Said::Nothing);
    for broken in [
        "",
        "x",
        "0{}",
        "40/events,{}",
        "41",
        r#"42["subscribe"]"#,
        r#"42/events,["connect"]"#,
        "4x",
        "44/events,{}",
        "461-/events,1[]",
    ] {
        assert!(matches!(said(broken), Said::Broken(_)), "{broken}");
    }
}

#[test]
fn a_subscription_is_of_its_namespace() {
    let request = asked(
        r#"42/events,7["subscribe",{"symbols":["aapl","BTC-*"],"types":["trade","quote"],"maxRate":4}]"#,
    );
    let Request { action: Action::Subscribe(subscribe), id } = request.unwrap() else { panic!() };
    let mark = Mark { namespace: Namespace::Events, verb: Verb::Status, ack: Some(7), text: "" };
    assert_eq!(Mark::of_id(&id.unwrap()), Some(mark));
    let subjects = subscribe.selection.subjects(Form::JSON);
    assert_eq!(subjects.len(), 4);
    assert!(subjects.iter().all(|subject| subject.form == Form::socketio(Namespace::Events)));
    assert!(subscribe.options.max_rate.is_some());
    let deflated = subscribe.selection.form(Form::JSON_DEFLATED);
    assert_eq!(deflated, Form::socketio(Namespace::Events).deflated());
}

#[test]
fn a_topic_of_a_custom_type() {
    for (object, member) in [
        (r#"{"caseId":"c1"}"#, r#""caseId":"c1""#),
        (r#"{"id":"c1","snapshot":true}"#, r#""id":"c1""#),
        (r#"{"caseId":17}"#, r#""caseId":17"#),
    ] {
        let Request { action, id } = asked(&format!(r#"42/events,0["subscribe:case",{object}]"#)).unwrap();
        let Action::Subscribe(Subscribe { selection, options, .. }) = action else { panic!() };
        assert_eq!(options.wants_snapshot(), object.contains("snapshot"));
        assert_eq!(selection.names().len(), 1);
        assert_eq!(Mark::of_id(&id.unwrap()).unwrap().text, member);
    }
    let Request { action, .. } = asked(r#"42/events,["unsubscribe:case",{"id":"c1"}]"#).unwrap();
    assert!(matches!(action, Action::Unsubscribe(_)));
}

#[test]
fn refusals_go_where_the_request_was() {
    use ErrorCode::{InvalidInput, UnknownAction};
    for (event, code, part) in [
        (r#"["subscribe"]"#, InvalidInput, "Missing field data"),
        (r#"["subscribe",[]]"#, InvalidInput, "must be a JSON object"),
        (r#"["subscribe",{"symbols":[]}]"#, InvalidInput, "at least one symbol"),
        (r#"["subscribe:case",{}]"#, InvalidInput, "Missing field caseId"),
        (r#"["subscribe:case",7]"#, InvalidInput, "Invalid data 7"),
        (r#"["subscribe:case",{"caseId":["c1"]}]"#, InvalidInput, "Invalid caseId"),
        (r#"["subscribe:trade",{"id":"AAPL"}]"#, InvalidInput, "no custom type trade"),
        (r#"["auth",{}]"#, InvalidInput, "Missing field token"),
        (r#"["dance",{}]"#, UnknownAction, "Unknown event \"dance\""),
        ("[7]", UnknownAction, "Unknown event 7"),
        (r#"["join_room",{"room":""}]"#, InvalidInput, "Invalid room"),
        (r#"["send_message",{"room":"r"}]"#, InvalidInput, "Missing field message"),
    ] {
        let refusal = asked(&format!("42/events,3{event}")).unwrap_err();
        assert!(refusal.code == code && refusal.message.contains(part), "{event}: {}", refusal.message);
        let id = refusal.id.unwrap();
        let mark = Mark::of_id(&id).unwrap();
        assert_eq!((mark.namespace, mark.ack), (Namespace::Events, Some(3)));
    }
    let Said::Asked(asked, attachments) = said(r#"452-/events,["bin",{"_placeholder":true,"num":0}]"#) else {
        panic!()
    };
    assert_eq!((asked.unwrap_err().code, attachments), (InvalidInput, 2));
    let Said::Asked(asked, 0) = said("40/nope,{}") else { panic!() };
    let id = asked.unwrap_err().id.unwrap();
    assert_eq!(Mark::of_id(&id).map(|mark| (mark.verb, mark.text)), Some((Verb::Nowhere, "/nope")));
}

#[test]
fn the_desk_is_asked_by_events() {
    let desk = |event: &str| match asked(&format!("42/events,{event}")).unwrap().action {
        Action::Desk(request) => *request,
        other => panic!("{other:?}"),
    };
    let room = || DeskId::parse("r").unwrap();
    assert_eq!(
        desk(r#"["join_room",{"room":"r","userId":"me"}]"#),
        DeskRequest::Join { room: room(), label: DeskId::parse("me") }
    );
    assert_eq!(desk(r#"["leave_room",{"room":"r"}]"#), DeskRequest::Leave(room()));
    assert_eq!(desk(r#"["typing",{"room":"r"}]"#), DeskRequest::Typing(room()));
    assert_eq!(desk(r#"["presence",{"room":"r"}]"#), DeskRequest::Presence(room()));
    let message: Box<str> = r#"{"a":1.50}"#.into();
    let expected = DeskRequest::Message { room: room(), message: message.clone() };
    assert_eq!(desk(r#"["send_message",{"room":"r","message":{"a":1.50}}]"#), expected);
    assert_eq!(
        desk(r#"["chat",{"to":"r","message":{"a":1.50}}]"#),
        DeskRequest::Chat { to: room(), message }
    );
}
