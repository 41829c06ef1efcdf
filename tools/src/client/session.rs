//! The loop around the connections: connect, subscribe, read, come back.
//!
//! One task owns the socket. It waits for five things at once: a frame, the swap, the next ping of `--stats`, the end of
//! `--duration`, a signal; and for a sixth, silence. The gateway pings every 30 s, so a link without any frame for three times as
//! long is dead, even if no packet has said so.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use futures_util::StreamExt as _;
use serde_json::value::RawValue;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use ws_gateway::config::redact_url;

use super::audience::{Ask, Audience, Lines};
use super::entry::Entry;
use super::foreign::{Api, Refused};
use super::frame::{Frame, Place};
use super::link::{
    CLOSE_TIMEOUT, MESSAGE_BYTES_MAX, READ_BUFFER_BYTES, Socket, close, closed, connect, describe, open,
    send, send_all,
};
use super::reconnect::{Ended, Next, Reconnect};
use super::stream::{Said, Stream};
use super::view::View;
use super::wanted::{PING_WITH_STATS, Wanted};
use super::{Form, Options};
use crate::term::{Palette, Stop, clean};

/// A link without any frame for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// A gateway that wants us back after so long a time doesn't want us back.
const NEVER: Duration = Duration::from_secs(3_600);

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

struct Client<'o, A> {
    options: &'o Options,
    entry: Entry,
    stop: Stop,
    wanted: Wanted,
    swap_after: Option<Duration>,
    /// Set with the first subscription.
    swap_at: Option<Instant>,
    deadline: Option<Instant>,
    policy: Reconnect,
    /// With `--room` and `--chat`: what a person writes.
    lines: Option<mpsc::Receiver<String>>,
    /// With `--form sse`.
    stream: Stream,
    audience: A,
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
    let lines =
        Lines { view: View::new(Palette::for_stdout()), json: options.json || options.dialect.is_some() };
    run_for(options, wanted, swap_after, lines, stop).await
}

/// The same for any audience, with what is wanted and what is swapped after a while.
///
/// # Errors
/// If a file of ours can't be used, the gateway refuses us for good, or the audience can't show what comes.
pub async fn run_for<A: Audience>(
    options: &Options,
    wanted: Wanted,
    swap_after: Option<Duration>,
    audience: A,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
    let mut client = Client {
        options,
        entry: options.entry.read(&options.url, options.dialect.is_none())?,
        stop,
        wanted,
        swap_after,
        swap_at: None,
        deadline: options.duration.map(|duration| Instant::now() + duration),
        policy: Reconnect::new(fastrand::Rng::new()),
        lines: options.people().lines(),
        stream: Stream::default(),
        audience,
        events: 0,
        connected: None,
    };
    let done = client.connect_until_done().await?;
    let events = client.events;
    client.audience.remark(&format_args!("received {events} events"));
    match options.count {
        Some(count) if done == Done::Duration => {
            bail!("only {events} of {count} events came within --duration")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

impl<A: Audience> Client<'_, A> {
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
                    self.audience.ended(&ended, &why, wait);
                    if let Some(done) = self.pause(wait).await {
                        return Ok(done);
                    }
                }
            }
        }
    }

    async fn pause(&mut self, wait: Duration) -> Option<Done> {
        let over = Instant::now() + wait;
        loop {
            tokio::select! {
                () = sleep_until(over) => return None,
                // The next connection begins with it.
                ask = self.audience.asked() => drop(self.requests(ask)),
                () = at(self.deadline) => return Some(Done::Duration),
                () = self.stop.requested() => return Some(Done::Stopped),
            }
        }
    }

    /// What to tell the gateway so that it is as asked.
    fn requests(&mut self, ask: Ask) -> Vec<String> {
        match ask {
            Ask::Add(symbol) => self.wanted.add(symbol),
            Ask::Remove(symbol) => self.wanted.remove(&symbol),
        }
    }

    /// One connection, from the attempt to its end.
    async fn connection(&mut self) -> anyhow::Result<Outcome> {
        self.audience.connecting();
        if self.options.form == Form::Sse {
            return self.stream().await;
        }
        let (address, opening) = (self.options.address(), self.options.opening(&self.wanted)?);
        let connected = tokio::select! {
            connected = connect(&address, &self.entry, self.options.form) => connected,
            () = at(self.deadline) => return Ok(Outcome::Done(Done::Duration)),
            () = self.stop.requested() => return Ok(Outcome::Done(Done::Stopped)),
        };
        let mut socket = match connected {
            Ok(socket) => socket,
            Err(ended) => return Ok(Outcome::Ended(ended)),
        };
        self.audience.connected(&redact_url(&self.options.url));
        self.connected = Some(Instant::now());
        if let Err(ended) = send_all(&mut socket, opening).await {
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
                line = next_line(&mut self.lines) => {
                    let request = line.and_then(|line| self.options.people().say(&line));
                    if let Err(ended) = send_all(socket, request.into_iter().collect()).await {
                        return Ok(Outcome::Ended(ended));
                    }
                }
                ask = self.audience.asked() => {
                    let requests = self.requests(ask);
                    if let Err(ended) = send_all(socket, requests).await {
                        return Ok(Outcome::Ended(ended));
                    }
                }
                () = at(ping_at) => {
                    ping_at = self.options.stats.map(|period| Instant::now() + period);
                    self.audience.pinged();
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
            opened = open(&self.options.url, &self.entry, &self.wanted, self.stream.last_id.as_deref()) => opened,
            () = at(self.deadline) => return Ok(Outcome::Done(Done::Duration)),
            () = self.stop.requested() => return Ok(Outcome::Done(Done::Stopped)),
        };
        let mut socket = match opened {
            Ok(socket) => socket,
            Err(ended) => return Ok(Outcome::Ended(ended)),
        };
        self.audience.connected(&redact_url(&self.options.url));
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
                if self.options.count.is_some_and(|count| self.events >= count) {
                    return Ok(Some(Outcome::Done(Done::Count)));
                }
                match self.options.dialect {
                    Some(api) => Ok(self.answer(api, socket, &text).await.err().map(Outcome::Ended)),
                    None => Ok(None),
                }
            }
            Message::Close(frame) => {
                // Reading on sends our half of the handshake; the gateway then ends the stream.
                let _ =
                    timeout(CLOSE_TIMEOUT, async { while let Some(Ok(_)) = socket.next().await {} }).await;
                Ok(Some(Outcome::Ended(closed(frame))))
            }
            Message::Binary(bytes) => {
                self.audience.remark(&format_args!(
                    "a binary frame of {} bytes came; the protocol has none: ignored",
                    bytes.len()
                ));
                Ok(None)
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        }
    }

    /// Says what another API wants to be answered.
    async fn answer(&self, api: Api, socket: &mut Socket, text: &str) -> Result<(), Ended> {
        if let Some(Refused { code, reason }) = api.refused(text) {
            return Err(Ended::Closed { code: Some(code), reason });
        }
        send_all(socket, api.answers(text, &self.wanted.symbols, &self.wanted.types)).await
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
        if let Some(api) = self.options.dialect {
            self.events += api.events(text);
            return self.audience.heard(text, None);
        }
        let frame = match Frame::parse(text) {
            Ok(frame) => frame,
            Err(error) => {
                self.audience.heard(text, None)?;
                let text = clean(text, 200);
                self.audience.remark(&format_args!("a frame is not of the protocol ({error}): {text}"));
                return Ok(());
            }
        };
        match &frame {
            Frame::Success { held, id, .. } => self.wanted.answered(held, *id),
            Frame::Error { id: Some(id), .. } => self.wanted.refused(*id),
            Frame::Event { kind, data, .. } => {
                self.events += 1;
                if let Some(Place { symbol, seq }) = Place::of(data) {
                    self.wanted.saw(kind, &symbol, seq);
                }
            }
            Frame::Desk { .. } => self.events += 1,
            Frame::Status { event, data } if event == "shutdown" => {
                if let Some(delay_ms) = data.get("reconnectAfterMs").and_then(serde_json::Value::as_u64) {
                    self.policy.announced(Duration::from_millis(delay_ms));
                }
            }
            _ => {}
        }
        self.audience.heard(text, Some(&frame))
    }
}

/// Waits for what a person writes next; for ever where nobody writes, or not any more.
async fn next_line(lines: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    let Some(read) = lines else { return std::future::pending().await };
    let line = read.recv().await;
    if line.is_none() {
        *lines = None;
    }
    line
}

/// Sleeps until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
