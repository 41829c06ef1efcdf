//! What the server under test speaks, towards subscribers and towards the publisher. There is the gateway's protocol with Redis
//! behind it; `benches/compare` has that of nats-server. Everything else of a run is the same.

use std::fmt::Debug;
use std::io::{self, BufRead, BufReader, ErrorKind, Write as _};
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};

use anyhow::{Context as _, bail};
use redis::{ConnectionAddr, IntoConnectionInfo as _};
use ws_gateway::resp::{write_array_header, write_bulk, write_command};

use super::forms::{Form, FormName, Json};
use super::frames::{self, Front};
use super::handshake;
use super::message::{self, Message};

/// User (perhaps none) and password.
pub type Login = (Option<String>, String);

/// A protocol.
pub trait Dialect: Debug + Send + 'static {
    /// Its name in the report.
    const NAME: &'static str;
    /// Who is published to.
    const UPSTREAM: &'static str;
    /// The most symbols that a connection can ask for in the one frame that it asks with.
    const SUBSCRIBED_MAX: u32;
    /// There are rooms that connections may talk in.
    const HAS_ROOMS: bool = false;
    /// Whether each subscribe and unsubscribe is answered, and no event of what was left comes behind that.
    const HAS_REPLIES: bool = true;
    /// Whether the `volume` of each trade is its `seq`, for subscribers that get no `seq`.
    const VOLUME_IS_SEQ: bool = false;
    /// Whether events may come before the reply to their subscribe.
    const HAS_EARLY_EVENTS: bool;
    /// The kind of frame that requests travel in.
    const OPCODE: u8;
    /// Reads what a connection receives.
    type Reader: Reader;
    /// The form of the events.
    const FORM: FormName = FormName::Json;
    /// The request for a connection is its subscribe as well, and nothing can be said later. The answer is 200 rather than 101.
    const ASKS_BY_URL: bool = false;

    /// The request for a connection, or for a stream of symbols.
    fn request(host: &str, path: &str, _symbols: &[u32]) -> Vec<u8> {
        handshake::request(host, path)
    }

    /// Writes what a connection says once the handshake is over, in frames: whatever introduces it, and its subscribe. There will be an
    /// answer.
    fn write_opening(out: &mut Vec<u8>, symbols: &[u32]);

    /// Writes the request that subscribes to one more symbol.
    fn write_subscribe(out: &mut String, symbol: u32);

    /// Writes the request that unsubscribes from one.
    fn write_unsubscribe(out: &mut String, symbol: u32);

    /// Where to publish, and as whom.
    ///
    /// # Errors
    /// If that is no address of an [`Self::UPSTREAM`].
    fn upstream(url: &str) -> anyhow::Result<(SocketAddr, Option<Login>)>;

    /// Makes sure that it is an [`Self::UPSTREAM`] that answers, and logs in.
    ///
    /// # Errors
    /// If it isn't, or refuses us.
    fn greet(stream: &TcpStream, login: Option<&Login>) -> anyhow::Result<()>;

    /// The channel that a symbol's trades are published to.
    fn channel(prefix: &str, symbol_name: &str) -> String;

    /// Appends what publishes a payload.
    fn write_publish(out: &mut Vec<u8>, channel: &str, payload: &[u8]);

    /// A batch of trades has been written: appends what asks for an answer to it, where trades aren't answered one by one. True if
    /// there will be one.
    fn end_batch(out: &mut Vec<u8>) -> bool;

    /// What a line says that the upstream has sent. Errors begin with `-` everywhere.
    fn answer(line: &[u8]) -> Answer;
}

/// Reads what one connection receives.
pub trait Reader: Debug + Default {
    /// What comes next, and how many bytes needn't be kept for it. Frames, and payloads, have at most `len_max` bytes.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String>;

    /// Whether what comes next begins a frame.
    fn is_at_frame(&self) -> bool {
        true
    }
}

/// What a server says.
#[derive(Debug)]
pub enum Said<'b> {
    /// Nothing that is whole.
    Nothing,
    /// A message.
    Message(Message),
    /// A control frame.
    Control {
        /// [`frames::PING`] and so on.
        opcode: u8,
        /// What it carries.
        payload: &'b [u8],
    },
}

/// What a line of the upstream's means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// One trade was taken.
    Trade,
    /// One trade was taken, and nobody is subscribed to it.
    Unheard,
    /// A batch was taken.
    Batch,
    /// It wants to be sent this.
    Question(&'static [u8]),
    /// Nothing of interest.
    Other,
}

/// The gateway's protocol: JSON requests and trades, published by Redis' PUBLISH. The trades come in a form.
#[derive(Debug)]
pub struct Gateway<F = Json>(PhantomData<F>);

/// Every message has a frame of its own.
#[derive(Debug, Default)]
pub struct Messages;

impl Reader for Messages {
    #[inline]
    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String> {
        Ok(match frames::front(bytes, len_max) {
            Front::Partial => (0, Said::Nothing),
            Front::Bad(reason) => return Err(reason.to_owned()),
            Front::Frame { opcode: frames::TEXT | frames::BINARY, payload, len } => {
                (len, Said::Message(message::parse(payload)))
            }
            Front::Frame { opcode, payload, len } => (len, Said::Control { opcode, payload }),
        })
    }
}

impl<F: Form> Dialect for Gateway<F> {
    const NAME: &'static str = F::DIALECT;
    const UPSTREAM: &'static str = "Redis";
    const SUBSCRIBED_MAX: u32 = F::SUBSCRIBED_MAX;
    const HAS_ROOMS: bool = F::HAS_ROOMS;
    const HAS_REPLIES: bool = F::HAS_REPLIES;
    const VOLUME_IS_SEQ: bool = F::VOLUME_IS_SEQ;
    const HAS_EARLY_EVENTS: bool = false;
    const OPCODE: u8 = frames::TEXT;
    type Reader = F::Reader;
    const FORM: FormName = F::NAME;
    const ASKS_BY_URL: bool = F::ASKS_BY_URL;

    fn request(host: &str, path: &str, symbols: &[u32]) -> Vec<u8> {
        F::request(host, path, symbols)
    }

    fn write_opening(out: &mut Vec<u8>, symbols: &[u32]) {
        F::write_opening(out, symbols);
    }

    fn write_subscribe(out: &mut String, symbol: u32) {
        F::write_ask(out, "subscribe", &[symbol]);
    }

    fn write_unsubscribe(out: &mut String, symbol: u32) {
        F::write_ask(out, "unsubscribe", &[symbol]);
    }

    fn upstream(url: &str) -> anyhow::Result<(SocketAddr, Option<Login>)> {
        let info = url.into_connection_info();
        // The address may hold a password: it is not repeated.
        let info =
            info.map_err(|_| anyhow::anyhow!("--redis is no address such as redis://127.0.0.1:6379"))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            bail!("--redis {}: only redis:// (plain TCP) is published to", info.addr());
        };
        let settings = info.redis_settings();
        let user = settings.username().map(str::to_owned);
        let login = settings.password().map(|password| (user, password.to_owned()));
        Ok((resolve(host, *port).context("--redis")?, login))
    }

    fn greet(mut stream: &TcpStream, login: Option<&Login>) -> anyhow::Result<()> {
        let login: &[&[u8]] = match login {
            Some((Some(user), password)) => &[b"AUTH", user.as_bytes(), password.as_bytes()],
            Some((None, password)) => &[b"AUTH", password.as_bytes()],
            None => &[],
        };
        let asked = [login, &[b"PING"]].into_iter().filter(|command| !command.is_empty());
        let mut ask = Vec::new();
        asked.clone().for_each(|command| write_command(&mut ask, command));
        stream.write_all(&ask)?;
        // Nothing follows the last reply, so nothing is lost with the reader.
        let mut replies = BufReader::new(stream);
        for _ in asked {
            let line = reply_line(&mut replies)?;
            if !line.starts_with('+') {
                bail!("it answers {line:?}");
            }
        }
        Ok(())
    }

    fn channel(prefix: &str, symbol_name: &str) -> String {
        format!("{prefix}trade:{symbol_name}")
    }

    fn write_publish(out: &mut Vec<u8>, channel: &str, payload: &[u8]) {
        write_array_header(out, 3);
        write_bulk(out, b"PUBLISH");
        write_bulk(out, channel.as_bytes());
        write_bulk(out, payload);
    }

    fn end_batch(_: &mut Vec<u8>) -> bool {
        false
    }

    fn answer(line: &[u8]) -> Answer {
        if line == b":0" { Answer::Unheard } else { Answer::Trade }
    }
}

/// One line of an upstream's answer, without its end.
///
/// # Errors
/// If it can't be read, or there is none.
pub fn reply_line(replies: &mut impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    if replies.read_line(&mut line)? == 0 {
        return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

/// The first address of a host.
///
/// # Errors
/// If it has none.
pub fn resolve(host: &str, port: u16) -> anyhow::Result<SocketAddr> {
    let host = host.trim_matches(['[', ']']);
    let mut addrs = (host, port).to_socket_addrs().with_context(|| format!("{host} can't be resolved"))?;
    addrs.next().with_context(|| format!("{host} has no address"))
}
