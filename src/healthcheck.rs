//! `--healthcheck`: asks the gateway on this machine for its health. A container's `HEALTHCHECK` runs it, so the image needs
//! no HTTP client.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::escape::Escaped;
use crate::limits::HEALTHCHECK_TIMEOUT_MS;
use crate::tls;

/// How much of an answer is read at most; that of `/health` has some 250 bytes.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Sends `GET /health` to the address that the gateway listens on, under TLS if it speaks that, and returns the answer's body. The
/// certificate isn't checked: it has the gateway's public name, and this asks by an address.
///
/// # Errors
/// What is wrong, in one line: no gateway listens, no answer came in time, or the answer isn't 200 (with its body).
pub fn ask(listen: SocketAddr, speaks_tls: bool) -> Result<String, String> {
    let address = reachable(listen);
    let scheme = if speaks_tls { "https" } else { "http" };
    let answer = exchange(address, speaks_tls).map_err(|error| error.to_string());
    let body = answer.and_then(|answer| judge(&String::from_utf8_lossy(&answer)));
    body.map_err(|problem| format!("{scheme}://{address}/health: {problem}"))
}

/// What the gateway answers until it closes.
fn exchange(address: SocketAddr, speaks_tls: bool) -> io::Result<Vec<u8>> {
    let timeout = Duration::from_millis(HEALTHCHECK_TIMEOUT_MS);
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    if !speaks_tls {
        return say(stream, address);
    }
    let config = tls::unchecked_client().map_err(io::Error::other)?;
    let session = ClientConnection::new(config, address.ip().into()).map_err(io::Error::other)?;
    say(StreamOwned::new(session, stream), address)
}

fn say(mut stream: impl Read + Write, address: SocketAddr) -> io::Result<Vec<u8>> {
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The address at which this machine reaches a gateway that listens on `listen`.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The body of an answer with status 200. The error is the answer as printable text on one line: another program may listen
/// there.
fn judge(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(Escaped::new(body, ANSWER_BYTES_MAX as usize).to_string()),
        _ => Err(Escaped::new(&format!("{status} {body}"), ANSWER_BYTES_MAX as usize).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_is_healthy() {
        assert_eq!(judge("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}"), Ok("{}".to_owned()));
        assert_eq!(judge("HTTP/1.1 503 Service Unavailable\r\n\r\nstuck"), Err("503 stuck".to_owned()));
        assert_eq!(judge("HTTP/1.1 200\r\n\r\na\n\x1b[2J").unwrap(), r"a\n\u{1b}[2J");
        assert!(judge("200").is_err());
        assert!(judge("").is_err());
    }

    #[test]
    fn an_unspecified_address_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:8080".parse().unwrap()).to_string(), "127.0.0.1:8080");
        assert_eq!(reachable("[::]:8080".parse().unwrap()).to_string(), "[::1]:8080");
        assert_eq!(reachable("10.0.0.1:1".parse().unwrap()).to_string(), "10.0.0.1:1");
    }
}
