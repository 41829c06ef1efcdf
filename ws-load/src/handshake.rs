//! The opening handshake (RFC 6455 section 4) by hand: one write, one answer, no allocation per connection but the
//! request itself.

use std::borrow::Cow;

/// The nonce of the RFC's own example; the answer to it is known without hashing, and nothing here needs surprise.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What the RFC says a server answers to it.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A longer answer than this is none.
pub const RESPONSE_BYTES_MAX: usize = 16 * 1024;

/// The upgrade request.
pub fn request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// Adds header lines, each with its end, to a request that has no body.
pub fn add_header(request: &mut Vec<u8>, lines: &str) {
    // Before the empty line.
    request.truncate(request.len() - 2);
    request.extend_from_slice(lines.as_bytes());
    request.extend_from_slice(b"\r\n");
}

/// A path with one more field in its query; the value has nothing that needs to be escaped.
pub fn with_query(path: &str, name: &str, value: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{name}={value}")
}

/// The path where a form is: the one given, unless it is the gateway's own for another. Its query stays.
pub fn own_path(path: &str, own: &str) -> String {
    let (place, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let place = if matches!(place, "/ws" | "/ws/" | "/") { own } else { place };
    format!("{place}{query}")
}

/// What the server has answered so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Response {
    /// The header isn't complete.
    Partial,
    /// 101; frames begin behind so many bytes.
    Accepted(usize),
    /// Anything else, in words.
    Refused(String),
}

/// Reads the front of what the server sent to the request for a stream.
pub fn stream_response(bytes: &[u8]) -> Response {
    match head_of(bytes) {
        Err(response) => response,
        Ok((head, end)) => match status_of(&head) {
            "200" => Response::Accepted(end),
            _ => Response::Refused(format!(
                "answered {:?} instead of 200",
                head.lines().next().unwrap_or_default()
            )),
        },
    }
}

/// Reads the front of what the server sent.
pub fn response(bytes: &[u8]) -> Response {
    let (head, end) = match head_of(bytes) {
        Ok(head) => head,
        Err(response) => return response,
    };
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status_of(&head) != "101" {
        return Response::Refused(format!("answered {status:?} instead of 101"));
    }
    let accept = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.trim().eq_ignore_ascii_case("sec-websocket-accept").then(|| value.trim())
    });
    match accept {
        Some(ACCEPT) => Response::Accepted(end),
        other => Response::Refused(format!("Sec-WebSocket-Accept is {other:?}, not {ACCEPT:?}")),
    }
}

/// An answer's head, and where it ends; an answer that has none, or not yet, otherwise.
fn head_of(bytes: &[u8]) -> Result<(Cow<'_, str>, usize), Response> {
    let head = &bytes[..bytes.len().min(RESPONSE_BYTES_MAX)];
    match head.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(end) => Ok((String::from_utf8_lossy(&head[..end]), end + 4)),
        None if bytes.len() < RESPONSE_BYTES_MAX => Err(Response::Partial),
        None => {
            Err(Response::Refused(format!("{RESPONSE_BYTES_MAX} bytes without the end of an HTTP header")))
        }
    }
}

fn status_of(head: &str) -> &str {
    head.lines().next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

    use super::*;

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx-server-id: x\r\n\r\n";

    #[test]
    fn the_nonce_and_its_answer_belong_together() {
        assert_eq!(derive_accept_key(KEY.as_bytes()), ACCEPT);
    }

    #[test]
    fn an_upgrade_is_accepted_however_it_is_cut() {
        for cut in 0..GOOD.len() {
            assert_eq!(response(&GOOD.as_bytes()[..cut]), Response::Partial, "{cut}");
        }
        let with_frames = format!("{GOOD}\u{1}abc");
        assert_eq!(response(with_frames.as_bytes()), Response::Accepted(GOOD.len()));
    }

    #[test]
    fn refusals_say_why() {
        let refused = |bytes: &str| match response(bytes.as_bytes()) {
            Response::Refused(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(refused("HTTP/1.1 503 Service Unavailable\r\n\r\n").contains("503"));
        assert!(refused(&GOOD.replace("s3p", "xxx")).contains("xxx"));
        assert!(refused("HTTP/1.1 101 x\r\n\r\n").contains("None"));
        assert!(refused(&"x".repeat(RESPONSE_BYTES_MAX)).contains("without the end"));
    }

    #[test]
    fn a_stream_is_accepted_with_200() {
        assert_eq!(stream_response(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\nevent"), Response::Accepted(25));
        assert_eq!(stream_response(b"HTTP/1.1 200 OK\r\n"), Response::Partial);
        let refused = stream_response(b"HTTP/1.1 401 Unauthorized\r\n\r\n");
        assert!(matches!(refused, Response::Refused(why) if why.contains("401")));
    }

    #[test]
    fn the_request_is_whole() {
        let request = String::from_utf8(request("localhost:1", "/ws?x=1")).unwrap();
        assert!(request.starts_with("GET /ws?x=1 HTTP/1.1\r\nHost: localhost:1\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n"));
    }
}
