//! The loop around the connections: connect, subscribe, read, come back.
//!
//! One task owns the socket. It waits for five things at once: a frame, the swap, the next ping of `--stats`, the end of
//! `--duration`, a signal; and for a sixth, silence. The gateway pings every 30 s, so a link without any frame for three times as
//! long is dead, even if no packet has said so.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use ws_gateway::config::redact_url;

use super::frame::{Frame, Place};
use super::reconnect::{Ended, Next, Reconnect};
use super::stream::{Head, Said, Stream, target};
use super::view::View;
use super::wanted::{PING_WITH_STATS, Wanted};
use super::{Form, Options};
use crate::term::{self, Palette, Stop, clean, on_one_line, tell};

/// A link without any frame for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// TCP, TLS and the upgrade together may take so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that the gateway's socket doesn't take for so long never will be.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for the gateway's half of the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// One client needs no 128 KiB of read buffer; a burst of trades still comes in few reads.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// A gateway that wants us back after so long a time doesn't want us back.
const NEVER: Duration = Duration::from_secs(3_600);

/// The largest frame we take: far above an event (64 KiB), for long lists of subscriptions.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why the client is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Count,
    Duration,
    Stopped,
}

/// What a connection came to.
enum Outcome {
    Ended(Ended),
    Done(Done),
}

struct Client<'o> {
    options: &'o Options,
    stop: Stop,
    wanted: Wanted,
    swap_after: Option<Duration>,
    /// Set with the first subscription.
    swap_at: Option<Instant>,
    deadline: Option<Instant>,
    policy: Reconnect,
    /// With `--form sse`.
    stream: Stream,
    view: View,
    events: u64,
    /// When the present connection was established.
    connected: Option<Instant>,
}

/// Prints events until `--count`, `--duration` or `stop` says that it is enough, over as many connections as it takes.
///
/// # Errors
/// If the command line contradicts itself, the gateway refuses us for good, or standard output is closed.
pub async fn run(options: &Options, stop: Stop) -> anyhow::Result<ExitCode> {
    let (wanted, swap_after) = options.wanted()?;
    let mut client = Client {
        options,
        stop,
        wanted,
        swap_after,
        swap_at: None,
        deadline: options.duration.map(|duration| Instant::now() + duration),
        policy: Reconnect::new(fastrand::Rng::new()),
        stream: Stream::default(),
        view: View::new(Palette::for_stdout()),
        events: 0,
        connected: None,
    };
    let done = client.connect_until_done().await?;
    let events = client.events;
    tell(format_args!("received {events} events"));
    match options.count {
        Some(count) if done == Done::Duration => {
            bail!("only {events} of {count} events came within --duration")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

impl Client<'_> {
    async fn connect_until_done(&mut self) -> anyhow::Result<Done> {
        let url = redact_url(&self.options.url);
        loop {
            let ended = match self.connection().await? {
                Outcome::Done(done) => return Ok(done),
                Outcome::Ended(ended) => ended,
            };
            let held = self.connected.take().map_or(Duration::ZERO, |connected| connected.elapsed());
            let why = describe(&ended, &url);
            match self.policy.after(&ended, held) {
                Next::GiveUp => bail!("{why}; trying again unchanged would end the same"),
                Next::Retry(wait) => {
                    tell(format_args!("{why}; next attempt in {:.1} s", wait.as_secs_f64()));
                    if let Some(done) = self.pause(wait).await {
                        return Ok(done);
                    }
                }
            }
        }
    }

    async fn pause(&mut self, wait: Duration) -> Option<Done> {
        tokio::select! {
            () = tokio::time::sleep(wait) => None,
            () = at(self.deadline) => Some(Done::Duration),
            () = self.stop.requested() => Some(Done::Stopped),
        }
    }

    /// One connection, from the attempt to its end.
    async fn connection(&mut self) -> anyhow::Result<Outcome> {
        if self.options.form == Form::Sse {
            return self.stream().await;
        }
        let connected = tokio::select! {
            connected = connect(&self.options.url, self.options.form) => connected,
            () = at(self.deadline) => return Ok(Outcome::Done(Done::Duration)),
            () = self.stop.requested() => return Ok(Outcome::Done(Done::Stopped)),
        };
        let mut socket = match connected {
            Ok(socket) => socket,
            Err(ended) => return Ok(Outcome::Ended(ended)),
        };
        tell(format_args!("connected to {}", redact_url(&self.options.url)));
        self.connected = Some(Instant::now());
        if let Err(ended) = send_all(&mut socket, self.wanted.subscribe()).await {
            return Ok(Outcome::Ended(ended));
        }
        if self.swap_at.is_none() {
            self.swap_at = self.swap_after.map(|after| Instant::now() + after);
        }
        let outcome = self.read(&mut socket).await?;
        if let Outcome::Done(_) = outcome {
            close(&mut socket).await;
        }
        Ok(outcome)
    }

    async fn read(&mut self, socket: &mut Socket) -> anyhow::Result<Outcome> {
        let mut last_frame = Instant::now();
        let mut ping_at = self.options.stats.map(|period| last_frame + period);
        loop {
            let swap_at = self.swap_at.filter(|_| self.wanted.swap_is_pending());
            tokio::select! {
                message = socket.next() => {
                    last_frame = Instant::now();
                    let message = match message {
                        Some(Ok(message)) => message,
                        Some(Err(error)) => return Ok(Outcome::Ended(Ended::Lost(error.to_string()))),
                        None => return Ok(Outcome::Ended(Ended::Lost("the stream ended".to_owned()))),
                    };
                    if let Some(outcome) = self.message(socket, message).await? {
                        return Ok(outcome);
                    }
                }
                () = at(swap_at) => {
                    if let Err(ended) = send_all(socket, self.wanted.swap()).await {
                        return Ok(Outcome::Ended(ended));
                    }
                }
                () = at(ping_at) => {
                    ping_at = self.options.stats.map(|period| Instant::now() + period);
                    if let Err(ended) = send(socket, PING_WITH_STATS.to_owned()).await {
                        return Ok(Outcome::Ended(ended));
                    }
                }
                () = at(self.deadline) => return Ok(Outcome::Done(Done::Duration)),
                () = self.stop.requested() => return Ok(Outcome::Done(Done::Stopped)),
                () = sleep_until(last_frame + SILENCE_MAX) => {
                    return Ok(Outcome::Ended(Ended::Silent(SILENCE_MAX)));
                }
            }
        }
    }

    /// One stream of server-sent events, from the attempt to its end.
    async fn stream(&mut self) -> anyhow::Result<Outcome> {
        let opened = tokio::select! {
            opened = open(&self.options.url, &self.wanted, self.stream.last_id.as_deref()) => opened,
            () = at(self.deadline) => return Ok(Outcome::Done(Done::Duration)),
            () = self.stop.requested() => return Ok(Outcome::Done(Done::Stopped)),
        };
        let mut socket = match opened {
            Ok(socket) => socket,
            Err(ended) => return Ok(Outcome::Ended(ended)),
        };
        tell(format_args!("connected to {}", redact_url(&self.options.url)));
        self.connected = Some(Instant::now());
        self.stream.restart();
        let mut buffer = vec![0; READ_BUFFER_BYTES];
        let mut last_read = Instant::now();
        let mut refused = None;
        loop {
            let read = tokio::select! {
                read = socket.read(&mut buffer) => read,
                () = at(self.deadline) => return Ok(Outcome::Done(Done::Duration)),
                () = self.stop.requested() => return Ok(Outcome::Done(Done::Stopped)),
                () = sleep_until(last_read + SILENCE_MAX) => {
                    return Ok(Outcome::Ended(Ended::Silent(SILENCE_MAX)));
                }
            };
            last_read = Instant::now();
            let read = match read {
                Ok(0) if refused.is_some() => {
                    return Ok(Outcome::Ended(Ended::Closed { code: refused, reason: "refused".to_owned() }));
                }
                Ok(0) => return Ok(Outcome::Ended(Ended::Lost("the stream ended".to_owned()))),
                Ok(read) => read,
                Err(error) => return Ok(Outcome::Ended(Ended::Lost(error.to_string()))),
            };
            self.stream.push(&buffer[..read]);
            if self.stream.unread_bytes() > MESSAGE_BYTES_MAX {
                return Ok(Outcome::Ended(Ended::Lost("an event without an end".to_owned())));
            }
            while let Some(said) = self.stream.next_said() {
                match said {
                    Said::Retry(delay) if delay >= NEVER => refused = Some(1008),
                    Said::Retry(delay) => self.policy.announced(delay),
                    Said::Event { data, .. } => self.text(&data)?,
                }
                if self.options.count.is_some_and(|count| self.events >= count) {
                    return Ok(Outcome::Done(Done::Count));
                }
            }
        }
    }

    async fn message(&mut self, socket: &mut Socket, message: Message) -> anyhow::Result<Option<Outcome>> {
        match message {
            Message::Text(text) => {
                self.texts(&text)?;
                let enough = self.options.count.is_some_and(|count| self.events >= count);
                Ok(enough.then_some(Outcome::Done(Done::Count)))
            }
            Message::Close(frame) => {
                // Reading on sends our half of the handshake; the gateway then ends the stream.
                let _ =
                    timeout(CLOSE_TIMEOUT, async { while let Some(Ok(_)) = socket.next().await {} }).await;
                Ok(Some(Outcome::Ended(closed(frame))))
            }
            Message::Binary(bytes) => {
                tell(format_args!(
                    "a binary frame of {} bytes came; the protocol has none: ignored",
                    bytes.len()
                ));
                Ok(None)
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        }
    }

    /// A frame: one message, or several in an array.
    fn texts(&mut self, text: &str) -> anyhow::Result<()> {
        let several = match self.options.form {
            Form::Batch => serde_json::from_str::<Vec<&RawValue>>(text).ok(),
            Form::Json | Form::Sse => None,
        };
        match several {
            Some(several) => several.iter().try_for_each(|text| self.text(text.get())),
            None => self.text(text),
        }
    }

    fn text(&mut self, text: &str) -> anyhow::Result<()> {
        let frame = Frame::parse(text);
        if self.options.json {
            term::print(&on_one_line(text))?;
        }
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                tell(format_args!("a frame is not of the protocol ({error}): {}", clean(text, 200)));
                return Ok(());
            }
        };
        match &frame {
            Frame::Success { held, .. } => self.wanted.answered(held),
            Frame::Event { kind, data, .. } => {
                self.events += 1;
                if let Some(Place { symbol, seq }) = Place::of(data) {
                    self.wanted.saw(kind, &symbol, seq);
                }
            }
            Frame::Status { event, data } if event == "shutdown" => {
                if let Some(delay_ms) = data.get("reconnectAfterMs").and_then(serde_json::Value::as_u64) {
                    self.policy.announced(Duration::from_millis(delay_ms));
                }
            }
            _ => {}
        }
        if !self.options.json {
            term::print(&self.view.show(&frame))?;
        }
        Ok(())
    }
}

/// Sleeps until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Asks for a stream, and reads the head of the answer.
async fn open(url: &str, wanted: &Wanted, last_id: Option<&str>) -> Result<TcpStream, Ended> {
    let attempt = async {
        let uri: Uri = url.parse().map_err(|error| Ended::Unreachable(format!("{error}")))?;
        let authority = uri.authority().map_or_else(String::new, ToString::to_string);
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let unreachable = |error: io::Error| Ended::Unreachable(error.to_string());
        let mut socket =
            TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await.map_err(unreachable)?;
        let target = target(uri.path_and_query().map_or("/", |target| target.as_str()), wanted);
        let last_id = last_id.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {authority}\r\nAccept: text/event-stream\r\n{last_id}\r\n"
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

async fn connect(url: &str, form: Form) -> Result<Socket, Ended> {
    let mut request = url.into_client_request().map_err(|error| Ended::Unreachable(error.to_string()))?;
    if form == Form::Batch {
        let offered = HeaderValue::from_static("md.v1.json.batch, md.v1.json");
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MESSAGE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    match timeout(CONNECT_TIMEOUT, connect_async_with_config(request, Some(config), true)).await {
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

async fn send_all(socket: &mut Socket, requests: Vec<String>) -> Result<(), Ended> {
    for request in requests {
        send(socket, request).await?;
    }
    Ok(())
}

async fn send(socket: &mut Socket, request: String) -> Result<(), Ended> {
    match timeout(SEND_TIMEOUT, socket.send(Message::text(request))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Ended::Lost(error.to_string())),
        Err(_) => Err(Ended::Lost(format!("the gateway has read nothing for {} s", SEND_TIMEOUT.as_secs()))),
    }
}

/// Says good-bye and waits a little for the answer; what still comes is not looked at.
async fn close(socket: &mut Socket) {
    let farewell = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    let handshake = async {
        if socket.close(Some(farewell)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = timeout(CLOSE_TIMEOUT, handshake).await;
}

fn closed(frame: Option<CloseFrame>) -> Ended {
    match frame {
        Some(frame) => Ended::Closed { code: Some(frame.code.into()), reason: frame.reason.to_string() },
        None => Ended::Closed { code: None, reason: String::new() },
    }
}

fn describe(ended: &Ended, url: &str) -> String {
    match ended {
        Ended::Unreachable(why) => format!("cannot reach {url}: {}", clean(why, 400)),
        Ended::Refused { status, reason, .. } => {
            format!("{url} answered HTTP {status} instead of a WebSocket: {}", clean(reason.trim(), 300))
        }
        Ended::Closed { code: Some(code), reason } => {
            format!("{url} closed with {code}: {}", clean(reason, 200))
        }
        Ended::Closed { code: None, .. } => format!("{url} closed without a code"),
        Ended::Lost(why) => format!("lost {url}: {}", clean(why, 400)),
        Ended::Silent(silence) => {
            format!("lost {url}: nothing came for {} s, not even a ping", silence.as_secs())
        }
    }
}
