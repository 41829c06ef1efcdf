//! One connection to a gateway: how it is made, written to and ended, and its end in words.

use std::io;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use super::Form;
use super::entry::{Entry, way_out};
use super::reconnect::Ended;
use super::stream::{Head, target};
use super::wanted::Wanted;
use crate::term::clean;

/// TCP, TLS and the upgrade together may take so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that the gateway's socket doesn't take for so long never will be.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for the gateway's half of the closing handshake.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// One client needs no 128 KiB of read buffer; a burst of trades still comes in few reads.
pub(super) const READ_BUFFER_BYTES: usize = 4 * 1024;

/// The largest frame we take: far above an event (64 KiB), for long lists of subscriptions.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Asks for a stream, and reads the head of the answer.
pub(super) async fn open(
    url: &str,
    entry: &Entry,
    wanted: &Wanted,
    last_id: Option<&str>,
) -> Result<MaybeTlsStream<TcpStream>, Ended> {
    let attempt = async {
        let uri: Uri = url.parse().map_err(|error| Ended::Unreachable(format!("{error}")))?;
        let authority = uri.authority().map_or_else(String::new, ToString::to_string);
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let unreachable = |error: io::Error| Ended::Unreachable(error.to_string());
        let port = uri.port_u16().unwrap_or_else(|| if entry.is_secure() { 443 } else { 80 });
        let socket = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        let mut socket = entry.secured(socket, host).await.map_err(unreachable)?;
        let target = target(uri.path_and_query().map_or("/", |target| target.as_str()), wanted);
        let last_id = last_id.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let token = entry.authorization.as_ref().and_then(|value| value.to_str().ok());
        let token = token.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {authority}\r\nAccept: text/event-stream\r\n{token}{last_id}\r\n"
        );
        socket.write_all(request.as_bytes()).await.map_err(unreachable)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < READ_BUFFER_BYTES {
            head.push(socket.read_u8().await.map_err(unreachable)?);
        }
        match Head::parse(&String::from_utf8_lossy(&head)) {
            Some(Head { status: 200, .. }) => Ok(socket),
            Some(Head { status, retry_after }) => {
                let mut reason = Vec::new();
                // What can't be read is left out.
                let _ = (&mut socket).take(1024).read_to_end(&mut reason).await;
                let reason = String::from_utf8_lossy(&reason).into_owned();
                Err(Ended::Refused { status, retry_after, reason })
            }
            None => Err(Ended::Unreachable("the answer is no HTTP".to_owned())),
        }
    };
    let late = || Ended::Unreachable(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()));
    timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or_else(|_| Err(late()))
}

pub(super) async fn connect(url: &str, entry: &Entry, form: Form) -> Result<Socket, Ended> {
    let mut request = url.into_client_request().map_err(|error| Ended::Unreachable(error.to_string()))?;
    if form == Form::Batch {
        let offered = HeaderValue::from_static("md.v1.json.batch, md.v1.json");
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered);
    }
    if let Some(token) = &entry.authorization {
        request.headers_mut().insert(AUTHORIZATION, token.clone());
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MESSAGE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let attempt = connect_async_tls_with_config(request, Some(config), true, Some(entry.connector()));
    match timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(response))) => {
            let retry_after =
                response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let body = response.body().as_deref().unwrap_or_default();
            Err(Ended::Refused {
                status: response.status().as_u16(),
                retry_after: retry_after.map(Duration::from_secs),
                reason: String::from_utf8_lossy(&body[..body.len().min(1024)]).into_owned(),
            })
        }
        Ok(Err(Error::Io(error))) => Err(Ended::Unreachable(error.to_string())),
        Ok(Err(error)) => Err(Ended::Unreachable(error.to_string())),
        Err(_) => Err(Ended::Unreachable(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))),
    }
}

pub(super) async fn send_all(socket: &mut Socket, requests: Vec<String>) -> Result<(), Ended> {
    for request in requests {
        send(socket, request).await?;
    }
    Ok(())
}

pub(super) async fn send(socket: &mut Socket, request: String) -> Result<(), Ended> {
    match timeout(SEND_TIMEOUT, socket.send(Message::text(request))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Ended::Lost(error.to_string())),
        Err(_) => Err(Ended::Lost(format!("the gateway has read nothing for {} s", SEND_TIMEOUT.as_secs()))),
    }
}

/// Says good-bye and waits a little for the answer; what still comes is not looked at.
pub(super) async fn close(socket: &mut Socket) {
    let farewell = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    let handshake = async {
        if socket.close(Some(farewell)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = timeout(CLOSE_TIMEOUT, handshake).await;
}

pub(super) fn closed(frame: Option<CloseFrame>) -> Ended {
    match frame {
        Some(frame) => Ended::Closed { code: Some(frame.code.into()), reason: frame.reason.to_string() },
        None => Ended::Closed { code: None, reason: String::new() },
    }
}

pub(super) fn describe(ended: &Ended, url: &str) -> String {
    match ended {
        Ended::Unreachable(why) => format!("cannot reach {url}: {}{}", clean(why, 400), help(why)),
        Ended::Refused { status, reason, .. } => {
            format!("{url} answered HTTP {status} instead of a WebSocket: {}", clean(reason.trim(), 300))
        }
        Ended::Closed { code: Some(code), reason } => {
            format!("{url} closed with {code}: {}", clean(reason, 200))
        }
        Ended::Closed { code: None, .. } => format!("{url} closed without a code"),
        Ended::Lost(why) => format!("lost {url}: {}{}", clean(why, 400), help(why)),
        Ended::Silent(silence) => {
            format!("lost {url}: nothing came for {} s, not even a ping", silence.as_secs())
        }
    }
}

fn help(why: &str) -> String {
    way_out(why).map_or_else(String::new, |way_out| format!("; {way_out}"))
}
