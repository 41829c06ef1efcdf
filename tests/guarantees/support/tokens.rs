//! Tokens, and handshakes that carry them.

use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Client;
use super::http::{HANDSHAKE, Reply, read_head};

/// A `JWT_SECRET_KEY` of 32 bytes.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Seconds since 1970, so many from now.
pub(crate) fn from_now(seconds: i64) -> i64 {
    UNIX_EPOCH.elapsed().expect("a clock that is past 1970").as_secs() as i64 + seconds
}

/// A token of [`SECRET`] with these claims, and with an `exp` an hour from now unless they have one.
pub(crate) fn token(claims: Value) -> String {
    sign(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), claims)
}

/// A token that another key has signed.
pub(crate) fn sign(algorithm: Algorithm, key: &EncodingKey, mut claims: Value) -> String {
    if claims.get("exp").is_none() {
        claims["exp"] = json!(from_now(3_600));
    }
    encode(&Header::new(algorithm), &claims, key).expect("a token")
}

/// A token without `exp`.
pub(crate) fn endless(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

/// Shakes hands on `/ws` with a query and further header lines; returns the answer's head, and the stream behind it.
pub(crate) async fn handshake(addr: SocketAddr, query: &str, lines: &[&str]) -> (Reply, TcpStream) {
    let mut stream = TcpStream::connect(addr).await.expect("the gateway listens");
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("{}{lines}\r\n", HANDSHAKE.replace("/ws ", &format!("/ws{query} ")));
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    (read_head(&mut stream).await, stream)
}

/// As [`handshake`], for a client that is let in.
pub(crate) async fn enter(addr: SocketAddr, query: &str, lines: &[&str]) -> Client {
    let (reply, stream) = handshake(addr, query, lines).await;
    assert_eq!(reply.status, 101, "{reply:?}");
    Client::from_raw(stream).await
}

/// Asks a client who it is: what a renewal with `token` answers is the user.
pub(crate) async fn authenticate(client: &mut Client, token: &str) -> Value {
    client.send(json!({"action": "auth", "token": token}).to_string()).await;
    client.json().await
}
