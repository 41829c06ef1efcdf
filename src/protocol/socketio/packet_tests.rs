use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A packet as the reference implementation reads it, character by character and with values in place of texts.
#[derive(Debug, PartialEq)]
struct Model {
    kind: usize,
    attachments: u64,
    namespace: String,
    ack: Option<u64>,
    data: Option<Value>,
}

fn model(text: &str) -> Option<Model> {
    let chars: Vec<char> = text.chars().collect();
    let kind = chars.first()?.to_digit(10).filter(|kind| *kind < 7)? as usize;
    let (mut at, mut attachments) = (1, 0);
    if kind >= 5 {
        let start = at;
        while *chars.get(at)? != '-' {
            at += 1;
        }
        let digits: String = chars[start..at].iter().collect();
        let is_plain = digits.chars().all(|char| char.is_ascii_digit());
        attachments = digits.parse().ok().filter(|count| is_plain && *count <= 10)?;
        at += 1;
    }
    let mut namespace = "/".to_owned();
    if chars.get(at) == Some(&'/') {
        let end = (at..chars.len()).find(|at| chars[*at] == ',').unwrap_or(chars.len());
        namespace = chars[at..end].iter().collect();
        at = (end + 1).min(chars.len());
    }
    let start = at;
    while chars.get(at).is_some_and(char::is_ascii_digit) {
        at += 1;
    }
    let digits: String = chars[start..at].iter().collect();
    let ack = if digits.is_empty() { None } else { Some(digits.parse().ok().filter(|ack| *ack < 1 << 53)?) };
    let rest: String = chars[at..].iter().collect();
    let data = if rest.is_empty() { None } else { Some(serde_json::from_str::<Value>(&rest).ok()?) };
    let is_valid = match (kind, &data) {
        (0, None | Some(Value::Object(_))) | (1, None) => true,
        (4, Some(Value::Object(_) | Value::String(_))) | (3 | 6, Some(Value::Array(_))) => true,
        (2 | 5, Some(Value::Array(elements))) => match elements.first() {
            Some(Value::String(name)) => !RESERVED.contains(&name.as_str()),
            Some(Value::Number(_)) => true,
            _ => false,
        },
        _ => false,
    };
    is_valid.then_some(Model { kind, attachments, namespace, ack, data })
}

fn read(text: &str) -> Option<Model> {
    let packet = Packet::read(text).ok()?;
    let data = packet.data.map(|data| serde_json::from_str(data).unwrap());
    let Packet { kind, attachments, namespace, ack, .. } = packet;
    Some(Model {
        kind: kind as usize,
        attachments: attachments.into(),
        namespace: namespace.to_owned(),
        ack,
        data,
    })
}

fn data() -> impl Strategy<Value = Value> {
    let name = prop_oneof![Just("trade".to_owned()), Just("connect".to_owned()), "[a-zä\"\\\\:]{0,6}"];
    prop_oneof![
        (name, any::<i32>()).prop_map(|(name, number)| json!([name, {"n": number, "of": [null, true]}])),
        any::<i32>().prop_map(|number| json!([number])),
        "[a-z]{0,6}".prop_map(|token| json!({ "token": token })),
        Just(json!([])),
        Just(json!("text")),
        Just(json!(null)),
    ]
}

proptest! {
    #[test]
    fn packets_are_those_of_the_model(
        kind in 0..8_u8,
        attachments in prop_oneof![Just(String::new()), "[0-9]{1,2}-", Just("x-".to_owned())],
        namespace in prop_oneof![Just(String::new()), "/[a-z]{0,6},?"],
        ack in prop_oneof![Just(String::new()), "[0-9]{1,18}"],
        data in prop::option::of(data()),
        end in "[\\]}, ]?",
    ) {
        let data = data.map(|data| data.to_string()).unwrap_or_default();
        let text = format!("{kind}{attachments}{namespace}{ack}{data}{end}");
        prop_assert_eq!(read(&text), model(&text), "{}", text);
    }

    #[test]
    fn nothing_makes_it_fail(text in "[0-9/,\\-\\[\\]{}\" a-cä]{0,24}") {
        prop_assert_eq!(read(&text), model(&text), "{}", text);
    }

    #[test]
    fn what_is_written_is_read_back(
        kind in prop::sample::select(&Kind::ALL[..]),
        attachments in 0..=ATTACHMENTS_MAX,
        namespace in "/[a-z]{0,6}",
        ack in prop::option::of(0..ACK_END),
        data in data(),
    ) {
        let text = data.to_string();
        let packet = Packet {
            kind,
            attachments: if kind.is_binary() { attachments } else { 0 },
            namespace: &namespace,
            ack,
            data: Some(&text).filter(|_| kind != Kind::Disconnect).map(|text| &**text),
        };
        let mut out = Vec::new();
        packet.write(&mut out);
        let out = String::from_utf8(out).unwrap();
        match Packet::read(&out) {
            Ok(read) => prop_assert_eq!(read, packet),
            Err(_) => prop_assert_eq!(model(&out), None),
        }
    }
}

#[test]
fn packets_of_the_protocol() {
    let packet = |text| Packet::read(text).unwrap();
    let connect = packet(r#"0/events,{"token":"JWT"}"#);
    assert_eq!(
        (connect.kind, connect.namespace, connect.data),
        (Kind::Connect, "/events", Some(r#"{"token":"JWT"}"#))
    );
    assert_eq!(packet("0").namespace, "/");
    assert_eq!(packet("1/events,").kind, Kind::Disconnect);
    let event = packet(r#"2/events,7["subscribe:case",{"caseId":"c1"}]"#);
    let elements: Vec<_> = event.elements().iter().map(|element| element.get().to_owned()).collect();
    assert_eq!(
        (event.ack, elements),
        (Some(7), vec![r#""subscribe:case""#.to_owned(), r#"{"caseId":"c1"}"#.to_owned()])
    );
    let binary = packet(r#"51-/events,["bin",{"b":{"_placeholder":true,"num":0}}]"#);
    assert_eq!((binary.kind, binary.attachments), (Kind::BinaryEvent, 1));
    for (bad, fault) in [
        ("", Fault::Kind),
        ("9", Fault::Kind),
        ("ä", Fault::Kind),
        (r#"511-["x"]"#, Fault::Attachments),
        (r#"5["x"]"#, Fault::Attachments),
        (r#"5-1-["x"]"#, Fault::Attachments),
        (r#"29007199254740992["x"]"#, Fault::Ack),
        ("2", Fault::Data),
        ("2[]", Fault::Data),
        (r#"2{"x":1}"#, Fault::Data),
        ("2[null]", Fault::Data),
        ("0[]", Fault::Data),
        ("1{}", Fault::Data),
        (r#"2["dis\u0063onnect"]"#, Fault::Reserved),
    ] {
        assert_eq!(Packet::read(bad), Err(fault), "{bad}");
    }
}
