//! A connection's first bytes where a PROXY header may stand. Nothing may panic; a header is within what has come and within the bound;
//! it is whole with its last byte, and what follows changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::address::proxy_header::{BYTES_MAX, Header, read};

fuzz_target!(|bytes: &[u8]| {
    match read(bytes) {
        Header::Whole { length, .. } => {
            assert!(length <= bytes.len().min(BYTES_MAX));
            assert_eq!(read(&bytes[..length]), read(bytes), "what follows changes nothing");
            assert_eq!(read(&bytes[..length - 1]), Header::Partial, "one byte short");
        }
        Header::Partial => assert!(bytes.len() < BYTES_MAX),
        Header::Absent => {
            // More bytes make no header of it.
            assert_eq!(read(&[bytes, b"\r\n"].concat()), Header::Absent);
        }
        Header::Malformed => {}
    }
});
