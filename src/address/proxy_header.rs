//! The header with which a proxy introduces a connection (PROXY protocol, versions 1 and 2). Pure.
//!
//! It stands before everything else, TLS included. The parser is `proxy-header`'s: it has no dependencies, says of both versions how long
//! the header is, and has one word for "more bytes are needed". It sets no bound of its own to version 2; that is here.

use std::net::IpAddr;

use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};

/// The longest header that is taken. One of version 2 has 52 bytes with the addresses of IPv6, and behind them what the proxy knows of
/// TLS, some hundreds.
pub const BYTES_MAX: usize = 2 * 1024;
/// The longest header of version 1 (PROXY protocol, section 2.1).
const TEXT_BYTES_MAX: usize = 107;

/// How version 1 begins.
const TEXT: &[u8] = b"PROXY ";
/// How version 2 begins.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Where in version 2 the number of bytes stands that follow the first 16.
const LENGTH_AT: usize = 14;
const FIXED_BYTES: usize = 16;

/// What a connection's first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// No header, and no beginning of one.
    Absent,
    /// The beginning of a header, or of something else that begins alike.
    Partial,
    /// A header.
    Whole {
        /// Whom the proxy speaks for; `None` for itself, as in its health checks.
        client: Option<IpAddr>,
        /// Its bytes.
        length: usize,
    },
    /// The beginning of a header that is none.
    Malformed,
}

/// Looks for a header at the beginning of `bytes`.
pub fn read(bytes: &[u8]) -> Header {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(byte, expected)| byte == expected);
    if !begins(TEXT) && !begins(BINARY) {
        return Header::Absent;
    }
    let announced = announced(bytes);
    let bytes_max = if bytes.starts_with(TEXT) { TEXT_BYTES_MAX } else { BYTES_MAX };
    if announced.is_some_and(|length| length > bytes_max) {
        return Header::Malformed;
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(bytes, config) {
        Ok((_, length)) if length > bytes_max => Header::Malformed,
        Ok((header, length)) => {
            let named = header.proxied_address().filter(|address| address.protocol == Protocol::Stream);
            Header::Whole { client: named.map(|address| address.source.ip().to_canonical()), length }
        }
        // The parser waits for addresses even where the header has announced that it ends before them.
        Err(Error::BufferTooShort) if announced.is_some_and(|length| length <= bytes.len()) => {
            Header::Malformed
        }
        Err(Error::BufferTooShort) if bytes.len() < bytes_max => Header::Partial,
        Err(_) => Header::Malformed,
    }
}

/// How long a header of version 2 says that it is.
fn announced(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(BINARY) {
        return None;
    }
    let length = bytes.get(LENGTH_AT..FIXED_BYTES)?;
    Some(FIXED_BYTES + usize::from(u16::from_be_bytes(length.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::{ProxiedAddress, Tlv};

    use super::*;

    /// A header of version 2 for that client, with `padding` bytes behind the addresses.
    fn binary(client: &str, padding: usize) -> Vec<u8> {
        let address = ProxiedAddress::stream(client.parse().unwrap(), client.parse().unwrap());
        let mut header = ProxyHeader::with_address(address);
        header.append_tlv(Tlv::Noop(padding));
        let mut bytes = vec![0; 70_000];
        let length = header.encode_to_slice_v2(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    fn whole(client: &str, length: usize) -> Header {
        Header::Whole { client: Some(client.parse().unwrap()), length }
    }

    #[test]
    fn both_versions_name_the_client() {
        let text = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 8080\r\nGET / HTTP/1.1\r\n";
        assert_eq!(read(text), whole("203.0.113.7", 43));
        let text = b"PROXY TCP6 2001:db8::7 ::1 4711 8080\r\n";
        assert_eq!(read(text), whole("2001:db8::7", text.len()));
        let mapped = b"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 8080\r\n";
        assert_eq!(read(mapped), whole("203.0.113.7", mapped.len()));
        for client in ["203.0.113.7", "2001:db8::7"] {
            let socket =
                if client.contains(':') { format!("[{client}]:4711") } else { format!("{client}:4711") };
            let header = binary(&socket, 300);
            let length = header.len();
            assert_eq!(read(&[header, b"GET / HTTP/1.1\r\n".to_vec()].concat()), whole(client, length));
        }
    }

    #[test]
    fn a_proxy_may_speak_for_itself() {
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Header::Whole { client: None, length: 15 });
        let local = [BINARY, &[0x20, 0, 0, 0]].concat();
        assert_eq!(read(&local), Header::Whole { client: None, length: 16 });
        let unix = [BINARY, &[0x21, 0x31, 0, 216], &[0; 216]].concat();
        assert_eq!(read(&unix), Header::Whole { client: None, length: 232 });
    }

    #[test]
    fn lies_about_lengths_are_malformed() {
        let lies: [&[u8]; 4] =
            [&[0x21, 0x11, 0, 11], &[0x21, 0x21, 0, 35], &[0x21, 0x31, 0, 215], &[0x31, 0x11, 0, 12]];
        for lie in lies {
            for behind in [300, usize::from(lie[3]), 0] {
                let bytes = [BINARY, lie, &vec![1; behind]].concat();
                let expected =
                    if behind == 0 && lie[0] == 0x21 { Header::Partial } else { Header::Malformed };
                assert_eq!(read(&bytes), expected, "{lie:?} and {behind} bytes");
            }
        }
        // It is refused by its announcement, before its bytes are waited for.
        let long = binary("203.0.113.7:1", BYTES_MAX);
        assert_eq!(read(&long[..FIXED_BYTES]), Header::Malformed);
        assert_eq!(read(&long), Header::Malformed);
        for end in ["", "\r\n"] {
            let unknown = format!("PROXY UNKNOWN {}{end}", "x".repeat(100));
            assert_eq!(read(unknown.as_bytes()), Header::Malformed);
        }
        for text in [
            "PROXY TCP4 1.2.3.4.5 1.1.1.1 1 1\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
        ] {
            assert_eq!(read(text.as_bytes()), Header::Malformed, "{text}");
        }
    }

    #[test]
    fn other_first_bytes_are_left_alone() {
        for other in
            ["GET / HTTP/1.1", "PROXYTCP4", "PROPFIND /", "PUT / HTTP/1.1", "\r\nGET", "\x16\x03\x01"]
        {
            assert_eq!(read(other.as_bytes()), Header::Absent, "{other}");
        }
        for beginning in ["", "P", "PRO", "PROXY", "\r\n"] {
            assert_eq!(read(beginning.as_bytes()), Header::Partial, "{beginning}");
        }
    }

    proptest! {
        /// However it is cut, a header is a partial one up to its last byte, and what follows changes nothing.
        #[test]
        fn a_header_is_whole_with_its_last_byte(
            is_text: bool,
            cut in 0_usize..2_000,
            padding in 0_usize..1_500,
            behind in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let text = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 8080\r\n".to_vec();
            let header = if is_text { text } else { binary("203.0.113.7:4711", padding) };
            let expected = whole("203.0.113.7", header.len());
            let cut = cut % header.len();
            prop_assert_eq!(read(&header[..cut]), Header::Partial);
            prop_assert_eq!(read(&[header, behind].concat()), expected);
        }

        #[test]
        fn any_bytes_are_something(version in 0_usize..3, bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
            let bytes = [[TEXT, BINARY, b""][version], &bytes].concat();
            match read(&bytes) {
                Header::Whole { length, .. } => prop_assert!(length <= bytes.len().min(BYTES_MAX)),
                Header::Partial => prop_assert!(bytes.len() < BYTES_MAX),
                Header::Absent | Header::Malformed => {}
            }
        }
    }
}
