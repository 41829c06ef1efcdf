//! Writers: each appends one piece of RESP to a buffer. Behind an aggregate's header the caller writes the elements that it
//! announces.

/// Which version of RESP a connection speaks. Connections begin with RESP2; `HELLO 3` switches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Redis since 1.2: published messages are arrays, a subscribed connection does nothing else.
    #[default]
    Resp2,
    /// Redis since 6: published messages are pushes, between the replies to any command.
    Resp3,
}

impl Protocol {
    /// Its number in `HELLO`.
    pub const fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Appends `+text`. CR and LF, which would end it early, become spaces.
pub fn write_simple(out: &mut Vec<u8>, text: &[u8]) {
    write_line(out, b'+', text);
}

/// Appends `-text`; by custom the text begins with a code in capitals (`ERR`). CR and LF become spaces.
pub fn write_error(out: &mut Vec<u8>, text: &[u8]) {
    write_line(out, b'-', text);
}

/// Appends `:value`.
pub fn write_integer(out: &mut Vec<u8>, value: i64) {
    write_number(out, b':', value);
}

/// Appends `bytes` as a bulk string.
pub fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends human-readable text: a verbatim string, or in RESP2 a bulk.
pub fn write_verbatim(out: &mut Vec<u8>, protocol: Protocol, text: &[u8]) {
    match protocol {
        Protocol::Resp2 => write_bulk(out, text),
        Protocol::Resp3 => {
            write_header(out, b'=', text.len() + b"txt:".len());
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends the null; in RESP2 that is the null bulk.
pub fn write_null(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// Appends the header of an array of `len` elements.
pub fn write_array_header(out: &mut Vec<u8>, len: usize) {
    write_header(out, b'*', len);
}

/// Appends the header of a push of `len` elements; in RESP2 that is an array.
pub fn write_push_header(out: &mut Vec<u8>, protocol: Protocol, len: usize) {
    let kind = match protocol {
        Protocol::Resp2 => b'*',
        Protocol::Resp3 => b'>',
    };
    write_header(out, kind, len);
}

/// Appends the header of a map of `pairs` keys and values; in RESP2 that is an array of twice as many elements.
pub fn write_map_header(out: &mut Vec<u8>, protocol: Protocol, pairs: usize) {
    match protocol {
        Protocol::Resp2 => write_header(out, b'*', pairs * 2),
        Protocol::Resp3 => write_header(out, b'%', pairs),
    }
}

/// Appends a command as clients send it: an array of bulk strings.
pub fn write_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    write_array_header(out, args.len());
    for arg in args {
        write_bulk(out, arg);
    }
}

fn write_line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.reserve(text.len() + 3);
    out.push(kind);
    out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

/// The length of something in memory is far below `i64::MAX`.
fn write_header(out: &mut Vec<u8>, kind: u8, len: usize) {
    write_number(out, kind, i64::try_from(len).unwrap_or(i64::MAX));
}

fn write_number(out: &mut Vec<u8>, kind: u8, value: i64) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}
