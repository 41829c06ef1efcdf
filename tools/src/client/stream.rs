//! Server-sent events: the request for a stream, and what its bytes say. Pure.

use std::time::Duration;

use super::wanted::{Terms, Wanted};

/// What a stream has said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// An event: its data, and its name.
    Event {
        /// `trade`, `success`, `status`, `refused` and so on.
        name: String,
        /// An object as a frame would have it.
        data: String,
    },
    /// When to come back, if this ends.
    Retry(Duration),
}

/// Takes a stream apart as it comes.
#[derive(Debug, Default)]
pub struct Stream {
    unread: Vec<u8>,
    waiting: std::collections::VecDeque<Said>,
    /// The last `id`, which resumes the stream.
    pub last_id: Option<String>,
}

impl Stream {
    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.unread.drain(..end + 2).collect();
            self.take_block(&String::from_utf8_lossy(&block));
        }
    }

    /// What has been said, one after the other.
    pub fn next_said(&mut self) -> Option<Said> {
        self.waiting.pop_front()
    }

    /// Bytes of an event that isn't whole.
    pub fn unread_bytes(&self) -> usize {
        self.unread.len()
    }

    /// A new connection begins; what was not whole is gone.
    pub fn restart(&mut self) {
        self.unread.clear();
        self.waiting.clear();
    }

    fn take_block(&mut self, block: &str) {
        let (mut name, mut data) = (String::new(), None);
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut name),
                "data" => data = Some(data.map_or_else(|| value.to_owned(), |all| format!("{all}\n{value}"))),
                "id" => self.last_id = Some(value.to_owned()),
                "retry" => {
                    let retry = value.parse().ok().map(Duration::from_millis);
                    self.waiting.extend(retry.map(Said::Retry));
                }
                // A comment, or a field that we don't know.
                _ => {}
            }
        }
        self.waiting.extend(data.map(|data| Said::Event { name, data }));
    }
}

/// The path and query that ask for what is wanted: `path` is that of the WebSocket, in whose place the stream's stands.
pub fn target(path_and_query: &str, wanted: &Wanted) -> String {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let path = match path.trim_end_matches('/').strip_suffix("/ws") {
        Some(before) => format!("{before}/sse"),
        None if path == "/" => "/sse".to_owned(),
        None => path.to_owned(),
    };
    let mut parameters = vec![format!("symbols={}", list(&wanted.symbols))];
    if !wanted.types.is_empty() {
        parameters.push(format!("types={}", list(&wanted.types)));
    }
    let Terms { snapshot, heartbeat, conflate, max_rate, on_slow } = &wanted.terms;
    parameters.extend(snapshot.then(|| "snapshot=1".to_owned()));
    parameters.extend(heartbeat.then(|| "heartbeat=1".to_owned()));
    parameters.extend(conflate.as_ref().map(|conflate| match conflate.as_str() {
        Some(how) => format!("conflate={how}"),
        None => "conflate=1".to_owned(),
    }));
    parameters.extend(max_rate.as_ref().map(|rate| format!("maxRate={rate}")));
    parameters.extend(on_slow.as_ref().map(|policy| format!("onSlow={policy}")));
    parameters.extend((!query.is_empty()).then(|| query.to_owned()));
    format!("{path}?{}", parameters.join("&"))
}

/// Names in a query, with commas between them.
fn list(names: &[String]) -> String {
    let encoded = names.iter().map(|name| {
        let byte = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'*' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        };
        name.bytes().map(byte).collect::<String>()
    });
    encoded.collect::<Vec<_>>().join(",")
}

/// An HTTP answer's head.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// 200, or why there is no stream.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl Head {
    /// Reads a head that ends with an empty line.
    pub fn parse(head: &str) -> Option<Self> {
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let retry_after = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
            let seconds = name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse::<u64>().ok());
            seconds.flatten().map(Duration::from_secs)
        });
        Some(Self { status, retry_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let bytes = b"event: success\ndata: {}\n\n:\n\nevent: trade\nid: trade:7:A:B\ndata: {\"x\":1}\n\n\
                      event: status\nretry: 700\ndata: {}\n\n";
        let event = |name: &str, data: &str| Said::Event { name: name.to_owned(), data: data.to_owned() };
        let expected = [
            event("success", "{}"),
            event("trade", "{\"x\":1}"),
            Said::Retry(Duration::from_millis(700)),
            event("status", "{}"),
        ];
        for size in [1, 2, 7, bytes.len()] {
            let mut stream = Stream::default();
            let mut said = Vec::new();
            for piece in bytes.chunks(size) {
                stream.push(piece);
                said.extend(std::iter::from_fn(|| stream.next_said()));
            }
            assert_eq!(said, expected, "{size}");
            assert_eq!((stream.last_id.as_deref(), stream.unread_bytes()), (Some("trade:7:A:B"), 0));
        }
    }

    #[test]
    fn a_url_asks_for_what_is_wanted() {
        let terms = Terms {
            snapshot: true,
            heartbeat: true,
            conflate: Some("aggregate".into()),
            max_rate: serde_json::from_str("0.5").ok(),
            on_slow: Some("skip".to_owned()),
        };
        let symbols = ["M&M.NS", "BTC-*", "A B"].map(str::to_owned).to_vec();
        let types = vec!["trade".to_owned(), "quote".to_owned()];
        let wanted = Wanted { symbols, types, terms, ..Wanted::default() };
        assert_eq!(
            target("/gw/ws?token=x", &wanted),
            "/gw/sse?symbols=M%26M.NS,BTC-*,A%20B&types=trade,quote&snapshot=1&heartbeat=1&conflate=aggregate&maxRate=0.5&onSlow=skip&token=x"
        );
        let plain = Wanted { symbols: vec!["A".to_owned()], ..Wanted::default() };
        for path in ["/ws", "/ws/", "/", "/sse"] {
            assert_eq!(target(path, &plain), "/sse?symbols=A", "{path}");
        }
    }

    #[test]
    fn heads_are_read() {
        let head = Head::parse("HTTP/1.1 503 x\r\nRetry-After: 5\r\n\r\n").unwrap();
        assert_eq!(head, Head { status: 503, retry_after: Some(Duration::from_secs(5)) });
        assert_eq!(Head::parse("HTTP/1.1 200 OK\r\n\r\n").unwrap().status, 200);
        assert_eq!(Head::parse("nonsense\r\n\r\n"), None);
    }
}
