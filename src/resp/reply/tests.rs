use proptest::prelude::*;

use super::*;
use crate::resp::{
    Protocol, write_array_header, write_bulk, write_error, write_integer, write_map_header, write_null,
    write_push_header, write_simple, write_verbatim,
};

/// A reply that owns its content, to be written and read back.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Verbatim(Vec<u8>),
    Null,
    Array(Vec<Self>),
    Push(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(text) => write_simple(out, text),
            Self::Error(text) => write_error(out, text),
            Self::Integer(value) => write_integer(out, *value),
            Self::Bulk(bytes) => write_bulk(out, bytes),
            Self::Verbatim(text) => write_verbatim(out, Protocol::Resp3, text),
            Self::Null => write_null(out, Protocol::Resp3),
            Self::Array(elements) => {
                write_array_header(out, elements.len());
                elements.iter().for_each(|element| element.write(out));
            }
            Self::Push(elements) => {
                write_push_header(out, Protocol::Resp3, elements.len());
                elements.iter().for_each(|element| element.write(out));
            }
            Self::Map(pairs) => {
                write_map_header(out, Protocol::Resp3, pairs.len());
                for (key, value) in pairs {
                    key.write(out);
                    value.write(out);
                }
            }
        }
    }

    fn read(reply: Reply<'_>) -> Self {
        match reply {
            Reply::Simple(text) => Self::Simple(text.to_vec()),
            Reply::Error(text) => Self::Error(text.to_vec()),
            Reply::Integer(value) => Self::Integer(value),
            Reply::Bulk(bytes) => Self::Bulk(bytes.to_vec()),
            Reply::Verbatim { format, text } => {
                assert_eq!(format, b"txt");
                Self::Verbatim(text.to_vec())
            }
            Reply::Null => Self::Null,
            Reply::Array(elements) => Self::Array(elements.map(Self::read).collect()),
            Reply::Push(elements) => Self::Push(elements.map(Self::read).collect()),
            Reply::Map(elements) => {
                let flat: Vec<_> = elements.map(Self::read).collect();
                Self::Map(flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
            }
            other => panic!("nothing writes {other:?}"),
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let line =
        proptest::collection::vec(any::<u8>().prop_filter("no line end", |b| !b"\r\n".contains(b)), 0..12);
    let bytes = proptest::collection::vec(any::<u8>(), 0..20);
    let leaf = prop_oneof![
        line.clone().prop_map(Value::Simple),
        line.prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        bytes.clone().prop_map(Value::Bulk),
        bytes.prop_map(Value::Verbatim),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Push),
            proptest::collection::vec((inner.clone(), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

fn parse(input: &[u8]) -> Result<Progress<Reply<'_>>, RespError> {
    parse_reply(input, &ReplyLimits::DEFAULT)
}

#[track_caller]
fn whole(input: &[u8]) -> Reply<'_> {
    match parse(input) {
        Ok(Progress::Done { value, used_bytes }) if used_bytes == input.len() => value,
        other => panic!("{other:?} of {:?}", input.escape_ascii().to_string()),
    }
}

proptest! {
    #[test]
    fn a_written_reply_is_read_back_from_any_chunks(value in value(), behind in proptest::collection::vec(any::<u8>(), 0..4)) {
        let mut bytes = Vec::new();
        value.write(&mut bytes);
        let len = bytes.len();
        for cut in 0..len {
            match parse(&bytes[..cut]) {
                Ok(Progress::Incomplete { needed_bytes }) => {
                    prop_assert!(cut < needed_bytes && needed_bytes <= len, "{needed_bytes} at {cut} of {len}");
                }
                other => prop_assert!(false, "{other:?} at {cut} of {len}"),
            }
        }
        bytes.extend(behind);
        match parse(&bytes) {
            Ok(Progress::Done { value: reply, used_bytes }) => {
                prop_assert_eq!(used_bytes, len);
                prop_assert_eq!(Value::read(reply), value);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn a_longer_input_never_changes_an_answer(bytes in "[-+:$*_#,(=!%~>|0-3a-c\r\n]{0,24}") {
        let bytes = bytes.as_bytes();
        let full = parse(bytes);
        for cut in 0..bytes.len() {
            match parse(&bytes[..cut]) {
                Ok(Progress::Incomplete { needed_bytes }) => prop_assert!(needed_bytes > cut),
                answer => prop_assert_eq!(&answer, &full),
            }
        }
    }
}

#[test]
fn every_type_of_resp3_is_read() {
    assert_eq!(whole(b"+OK\r\n"), Reply::Simple(b"OK"));
    assert_eq!(whole(b"!9\r\nERR a\r\nb!\r\n".get(..15).unwrap()), Reply::Error(b"ERR a\r\nb!"));
    assert_eq!(whole(b"#t\r\n"), Reply::Boolean(true));
    assert_eq!(whole(b",1.5e3\r\n"), Reply::Double(b"1.5e3"));
    assert_eq!(whole(b",inf\r\n"), Reply::Double(b"inf"));
    assert_eq!(whole(b"(3492890328409238509324850943850943825024385\r\n"), {
        Reply::BigNumber(b"3492890328409238509324850943850943825024385")
    });
    assert_eq!(whole(b"=7\r\ntxt:a\r\n\r\n"), Reply::Verbatim { format: b"txt", text: b"a\r\n" });
    for null in [&b"_\r\n"[..], b"$-1\r\n", b"*-1\r\n"] {
        assert_eq!(whole(null), Reply::Null);
    }
    let Reply::Set(mut set) = whole(b"~2\r\n:1\r\n$-1\r\n") else { panic!("no set") };
    assert_eq!(
        (set.len(), set.next(), set.next(), set.next()),
        (2, Some(Reply::Integer(1)), Some(Reply::Null), None)
    );
    let Reply::Map(map) = whole(b"%1\r\n+a\r\n*1\r\n:1\r\n") else { panic!("no map") };
    assert_eq!(map.len(), 2);
}

#[test]
fn attributes_are_skipped_wherever_they_stand() {
    assert_eq!(whole(b"|1\r\n+ttl\r\n*1\r\n:5\r\n+OK\r\n"), Reply::Simple(b"OK"));
    assert_eq!(whole(b"|0\r\n|1\r\n+a\r\n+b\r\n:7\r\n"), Reply::Integer(7));
    let Reply::Array(elements) = whole(b"*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n") else { panic!("no array") };
    assert_eq!(elements.collect::<Vec<_>>(), [Reply::Integer(1), Reply::Integer(2)]);
}

#[test]
fn malformed_and_oversized_replies_are_refused_before_anything_is_kept() {
    for (bytes, error) in [
        (&b"GET / HTTP/1.1\r\n"[..], RespError::UnknownType(b'G')),
        (b"$?\r\n", RespError::BadNumber("?".into())),
        (b"$-2\r\n", RespError::BadNumber("-2".into())),
        (b"%-1\r\n", RespError::BadNumber("-1".into())),
        (b":1x\r\n", RespError::BadNumber("1x".into())),
        (b"#x\r\n", RespError::Malformed('#')),
        (b"_x\r\n", RespError::Malformed('_')),
        (b"=3\r\ntxt\r\n", RespError::Malformed('=')),
        (b"*1\r\n=4\r\ntxt!\r\n", RespError::Malformed('=')),
        (b"$1\r\nab\r\n", RespError::MissingCrlf),
        (b"+a\rb\r\n", RespError::MissingCrlf),
        (b"$1048577\r\n", RespError::BulkTooLong { bytes: 1_048_577, max_bytes: 1_048_576 }),
        (b"*16385\r\n", RespError::TooManyElements { elements: 16_385, max: 16_384 }),
        (b"%9223372036854775807\r\n", RespError::TooManyElements { elements: usize::MAX - 1, max: 16_384 }),
        (&b"*1\r\n".repeat(DEPTH_MAX + 1), RespError::TooDeep),
    ] {
        assert_eq!(parse(bytes), Err(error), "{:?}", bytes.escape_ascii().to_string());
    }
    let two = b"*3\r\n$1048576\r\n";
    assert!(matches!(parse(two), Ok(Progress::Incomplete { .. })));
    let mut two = two.to_vec();
    two.resize(two.len() + 1_048_576, b'x');
    two.extend_from_slice(b"\r\n$1048576\r\n");
    assert!(matches!(parse(&two), Err(RespError::ReplyTooLong { max_bytes: 2_097_152, .. })));
}

#[test]
fn the_hint_counts_what_was_announced_on_every_level() {
    assert_eq!(parse(b"*100\r\n*10\r\n"), Ok(Progress::Incomplete { needed_bytes: 11 + 109 * 3 }));
    assert_eq!(parse(b"*2\r\n$100\r\n"), Ok(Progress::Incomplete { needed_bytes: 10 + 102 + 3 }));
}
