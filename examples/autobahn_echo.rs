//! An echo server for the Autobahn test suite (`tests/autobahn/run`): the gateway's frame reader, transport and close
//! frames around the smallest loop that can carry them. The gateway itself answers JSON only, and the suite wants its
//! messages back. Where the suite offers compression, every message is compressed that becomes shorter by it.
//!
//! One thread, one `mio::Poll`. A client is read only while nothing waits to be written to it, so what is kept for it is
//! one message and the answers to one read. With a certificate all this is under TLS, whose handshake the thread waits for.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use hyper::header::{HeaderValue, SEC_WEBSOCKET_EXTENSIONS};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use rustls::{ServerConfig, ServerConnection};
use slotmap::{DefaultKey, Key, KeyData, SlotMap};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use ws_gateway::limits::{HTTP_HEADER_BYTES_MAX, KIB, MIB};
use ws_gateway::tls::{PairFiles, Role, Server, ServerFiles};
use ws_gateway::transport::Transport;
use ws_gateway::websocket::close::{CloseCode, close_frame, pong_frame};
use ws_gateway::websocket::deflate::{Compression, Compressor};
use ws_gateway::websocket::extension;
use ws_gateway::websocket::reader::{Compressed, Incoming, Reader};

/// The suite's longest message has 16 MiB.
const MESSAGE_BYTES_MAX: usize = 64 * MIB;

/// A key of the slot map is never this.
const LISTENER: Token = Token(usize::MAX);

/// How long a peer may be silent within its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Args {
    /// Port on 127.0.0.1; 0 takes a free one. The first line printed is the address.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The certificate in PEM; with one the server speaks TLS.
    #[arg(long, requires = "tls_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
}

impl Args {
    /// TLS by these files, if there are any.
    fn tls(&self) -> Result<Option<Arc<ServerConfig>>> {
        let (Some(certificate), Some(key)) = (&self.tls_cert_file, &self.tls_key_file) else {
            return Ok(None);
        };
        let pair = PairFiles { role: Role::Port, certificate: certificate.clone(), key: key.clone() };
        Ok(Some(Server::read(&ServerFiles { pair, client_ca: None })?.config))
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let tls = args.tls()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let mut listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    println!("{}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut clients: SlotMap<DefaultKey, Client> = SlotMap::new();
    let mut scratch = vec![0; 64 * KIB];
    let mut events = Events::with_capacity(64);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            outcome => outcome?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, tls.as_ref(), &poll, &mut clients, &mut scratch)?;
                continue;
            }
            let key = DefaultKey::from(KeyData::from_ffi(event.token().0 as u64));
            turn(key, &mut clients, &mut scratch);
        }
    }
}

/// Reads and writes what one client has and takes, and drops it if that is all.
fn turn(key: DefaultKey, clients: &mut SlotMap<DefaultKey, Client>, scratch: &mut [u8]) {
    let Some(client) = clients.get_mut(key) else { return };
    if !matches!(client.turn(scratch), Err(error) if error.kind() == ErrorKind::WouldBlock) {
        clients.remove(key);
    }
}

fn accept(
    listener: &TcpListener,
    tls: Option<&Arc<ServerConfig>>,
    poll: &Poll,
    clients: &mut SlotMap<DefaultKey, Client>,
    scratch: &mut [u8],
) -> Result<()> {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("cannot accept a connection"),
        };
        let transport = match tls {
            None => Transport::Plain(socket),
            Some(config) => match shake_hands(socket.into(), config) {
                Ok(transport) => transport,
                Err(error) => {
                    eprintln!("a TLS handshake failed: {error}");
                    continue;
                }
            },
        };
        let key = clients.insert(Client {
            transport,
            stage: Stage::Handshake(Vec::new()),
            reader: Reader::default(),
            compressor: None,
            out: Vec::new(),
            written: 0,
        });
        let token = Token(key.data().as_ffi() as usize);
        clients[key].transport.register(poll.registry(), token)?;
        // From the beginning also for writing, as each client here will be sent more than its socket takes.
        clients[key].transport.reregister(poll.registry(), token)?;
        // The session may hold what no poll reports: bytes of the peer's, and ciphertext that has yet to be written.
        turn(key, clients, scratch);
    }
}

/// Waits for the peer's handshake.
fn shake_hands(mut socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Transport> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    let mut session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    socket.set_nonblocking(true)?;
    Ok(Transport::tls(mio::net::TcpStream::from_std(socket), session))
}

struct Client {
    transport: Transport,
    stage: Stage,
    reader: Reader,
    /// What compresses the answers, if that is agreed on.
    compressor: Option<Compressor>,
    /// What waits to be written, and how much of it has been.
    out: Vec<u8>,
    written: usize,
}

enum Stage {
    /// The request as far as it has come.
    Handshake(Vec<u8>),
    Open,
    /// A close frame is the last thing in `out`.
    Closing,
    /// It is written, and so is all that ever will be; the peer still has to close.
    Closed,
}

impl Client {
    /// Writes and reads by turns until the socket has no more of either. That it would block is how this goes well; the end
    /// of the connection is `Ok`.
    fn turn(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        loop {
            self.flush()?;
            match self.transport.read(scratch) {
                Ok(0) => return Ok(()),
                Ok(count) => self.take(&mut scratch[..count])?,
                // A part of a TLS record: the rest may have come as well.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            self.written += self.transport.write(&self.out[self.written..])?;
        }
        self.transport.flush()?;
        self.out.clear();
        self.written = 0;
        if let Stage::Closing = self.stage {
            self.stage = Stage::Closed;
            self.transport.shutdown_write()?;
        }
        Ok(())
    }

    fn take(&mut self, input: &mut [u8]) -> io::Result<()> {
        let Stage::Handshake(request) = &mut self.stage else {
            self.take_frames(input);
            return Ok(());
        };
        request.extend_from_slice(input);
        let Some((head_bytes, head)) = Request::try_parse(request).map_err(io::Error::other)? else {
            let fits = request.len() < HTTP_HEADER_BYTES_MAX;
            return if fits { Ok(()) } else { Err(io::Error::other("request header too long")) };
        };
        let mut early = request.split_off(head_bytes);
        let mut response = create_response(&head).map_err(io::Error::other)?;
        let lines = head.headers().get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
        if extension::is_offered(lines.filter_map(|line| line.to_str().ok())) {
            let answer = HeaderValue::from_static(extension::ANSWER);
            response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, answer);
            self.compressor = Some(Compressor::new(Some(Compression { threshold_bytes: 0, level: 6 })));
        }
        write_response(&mut self.out, &response).map_err(io::Error::other)?;
        self.stage = Stage::Open;
        self.take_frames(&mut early);
        Ok(())
    }

    /// Answers what the input completes. Nothing is read behind a close, of either side.
    fn take_frames(&mut self, input: &mut [u8]) {
        let mut at = 0;
        while at < input.len()
            && let Stage::Open = self.stage
        {
            let (out, compressor) = (&mut self.out, self.compressor.as_ref());
            let compressed = if compressor.is_some() { Compressed::Inflated } else { Compressed::Refused };
            match self.reader.next(&mut input[at..], MESSAGE_BYTES_MAX, compressed) {
                Ok(step) => {
                    at += step.consumed;
                    match step.message {
                        Some(Incoming::Text(text)) => echo(out, compressor, Data::Text, text.as_bytes()),
                        Some(Incoming::Binary(bytes)) => echo(out, compressor, Data::Binary, bytes),
                        Some(Incoming::Ping(payload)) => out.extend(pong_frame(payload)),
                        Some(Incoming::Close(_)) => self.close(CloseCode::echo(None), ""),
                        Some(Incoming::Pong(_)) | None => {}
                    }
                }
                Err(error) => self.close(error.close_code(), &error.to_string()),
            }
        }
        self.reader.release_buffer();
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        self.out.extend(close_frame(code, reason));
        self.stage = Stage::Closing;
    }
}

/// Appends a message as one unmasked frame.
fn echo(out: &mut Vec<u8>, compressor: Option<&Compressor>, kind: Data, payload: &[u8]) {
    let start = out.len();
    let header = FrameHeader { opcode: OpCode::Data(kind), ..FrameHeader::default() };
    let length = payload.len() as u64;
    out.reserve(header.len(length) + payload.len());
    header.format(length, out).unwrap_or_else(|_| unreachable!("writing to memory does not fail"));
    out.extend_from_slice(payload);
    if let Some(compressor) = compressor {
        compressor.compress_last(out, start);
    }
}
