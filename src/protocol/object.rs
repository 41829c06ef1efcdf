//! Objects of dialects, written field by field as JSON or as MessagePack. Pure.
//!
//! An object is a list of fields in their order: a dialect says once what an event is in its words, whatever the encoding.

use rmp::encode;
use smallvec::SmallVec;

use super::moment::Moment;
use super::worker::{elements, integer, is_number, members, text};

/// A field: its name and its value.
pub type Field<'o> = (&'static str, Value<'o>);

/// The fields of an object, in their order.
pub type Object<'o> = SmallVec<[Field<'o>; 16]>;

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub enum Value<'o> {
    /// Text none of whose characters has to be escaped.
    Plain(&'o str),
    /// Any text.
    Text(&'o str),
    /// A JSON string, as a worker wrote it.
    RawText(&'o str),
    /// A JSON number, as a worker wrote it. In MessagePack a floating-point number.
    Number(&'o str),
    /// The same; in MessagePack an integer, if it is one.
    Amount(&'o str),
    /// A JSON number, as a worker wrote it, as a text.
    Quoted(&'o str),
    /// A JSON array, as a worker wrote it; only for JSON.
    Raw(&'o str),
    /// An integer.
    Integer(i64),
    /// A moment; in JSON as RFC 3339 has it.
    Moment(Moment),
    /// A JSON array of strings, as a worker wrote it, and perhaps one more.
    RawTexts(&'o str, Option<&'o str>),
    /// Names, none of whose characters has to be escaped.
    Names(&'o [&'o str]),
    /// A JSON object of numbers, as the gateway wrote it.
    Numbers(&'o str),
    /// An object.
    Nested(&'o [Field<'o>]),
    /// `true`.
    True,
    /// `false`.
    False,
    /// `null`.
    Null,
}

/// Appends an object as JSON.
pub fn write_json(out: &mut Vec<u8>, object: &[Field<'_>]) {
    let mut before = b'{';
    for (name, value) in object {
        out.push(before);
        before = b',';
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_json_value(out, value);
    }
    out.push(b'}');
}

fn write_json_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match *value {
        Value::Plain(text) | Value::Quoted(text) => write_plain(out, text),
        // A String is always written, and writing to a Vec cannot fail.
        Value::Text(text) => serde_json::to_writer(out, text).unwrap_or_default(),
        Value::RawText(raw)
        | Value::Number(raw)
        | Value::Amount(raw)
        | Value::Numbers(raw)
        | Value::Raw(raw) => {
            out.extend_from_slice(raw.as_bytes());
        }
        Value::Integer(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Value::Moment(moment) => {
            out.push(b'"');
            moment.write_rfc3339(out);
            out.push(b'"');
        }
        Value::RawTexts(raw, more) => {
            let mut before = b'[';
            for each in elements(raw).into_iter().flatten() {
                out.push(before);
                before = b',';
                out.extend_from_slice(each.as_bytes());
            }
            if let Some(more) = more {
                out.push(before);
                before = b',';
                write_plain(out, more);
            }
            if before == b'[' {
                out.push(before);
            }
            out.push(b']');
        }
        Value::Names(names) => {
            out.push(b'[');
            for (at, name) in names.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_plain(out, name);
            }
            out.push(b']');
        }
        Value::Nested(object) => write_json(out, object),
        Value::True => out.extend_from_slice(b"true"),
        Value::False => out.extend_from_slice(b"false"),
        Value::Null => out.extend_from_slice(b"null"),
    }
}

fn write_plain(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends an object as MessagePack; `None`, and some of it, if a number is none of 64 bits.
pub fn write_msgpack(out: &mut Vec<u8>, object: &[Field<'_>]) -> Option<()> {
    encode::write_map_len(out, object.len() as u32).ok()?;
    for (name, value) in object {
        encode::write_str(out, name).ok()?;
        write_msgpack_value(out, value)?;
    }
    Some(())
}

fn write_msgpack_value(out: &mut Vec<u8>, value: &Value<'_>) -> Option<()> {
    match *value {
        Value::Plain(text) | Value::Text(text) | Value::Quoted(text) => encode::write_str(out, text).ok(),
        Value::RawText(raw) => encode::write_str(out, &text(raw)?).ok(),
        Value::Number(raw) => write_float(out, raw),
        Value::Amount(raw) => match integer(raw) {
            Some(number) => encode::write_sint(out, number).ok().map(drop),
            None => write_float(out, raw),
        },
        Value::Integer(number) => encode::write_sint(out, number).ok().map(drop),
        Value::Moment(moment) => {
            moment.write_msgpack(out);
            Some(())
        }
        Value::RawTexts(raw, more) => {
            let count = elements(raw)?.count() + usize::from(more.is_some());
            encode::write_array_len(out, count as u32).ok()?;
            for each in elements(raw)? {
                encode::write_str(out, &text(each)?).ok()?;
            }
            more.map_or(Some(()), |more| encode::write_str(out, more).ok())
        }
        Value::Names(names) => {
            encode::write_array_len(out, names.len() as u32).ok()?;
            names.iter().try_for_each(|name| encode::write_str(out, name).ok())
        }
        Value::Numbers(raw) => {
            encode::write_map_len(out, members(raw).count() as u32).ok()?;
            for (name, number) in members(raw) {
                encode::write_str(out, &name).ok()?;
                match is_number(number) {
                    true => write_msgpack_value(out, &Value::Amount(number))?,
                    false => encode::write_nil(out).ok()?,
                }
            }
            Some(())
        }
        Value::Raw(_) => None,
        Value::Nested(object) => write_msgpack(out, object),
        Value::True => encode::write_bool(out, true).ok(),
        Value::False => encode::write_bool(out, false).ok(),
        Value::Null => encode::write_nil(out).ok(),
    }
}

fn write_float(out: &mut Vec<u8>, raw: &str) -> Option<()> {
    let number: f64 = raw.parse().ok()?;
    encode::write_f64(out, number).ok().filter(|()| number.is_finite())
}

/// The frame of one text message with an array of one object.
pub fn alone_json(object: &Object<'_>) -> Vec<u8> {
    let mut payload = vec![b'['];
    write_json(&mut payload, object);
    payload.push(b']');
    crate::websocket::header::text(&payload)
}

/// The frame of one binary message with an array of one object.
pub fn alone_msgpack(object: &Object<'_>) -> Vec<u8> {
    let mut payload = vec![0x91];
    // What the gateway says of itself has no numbers of workers.
    let _ = write_msgpack(&mut payload, object);
    crate::websocket::header::binary(&payload)
}
