//! One connection: its socket, how far it has come, and the few bytes that wait.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::load::frames;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not yet its turn.
    Unborn,
    /// Waiting for TCP.
    Connecting,
    /// Waiting for the 101.
    Upgrading,
    /// Waiting for the reply to the first subscribe.
    Subscribing,
    /// In.
    Open,
    /// Failed, or ended.
    Ended,
}

/// A connection; without bytes that wait it owns no memory but this.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stage: Stage,
    /// When the wait for the present stage, or for the reply to a subscribe or unsubscribe, began.
    pub(super) since_ns: u64,
    socket: Option<TcpStream>,
    /// The beginning of a frame whose rest hasn't come.
    rest: Vec<u8>,
    /// What the socket hasn't taken.
    unsent: Vec<u8>,
}

impl Connection {
    pub(super) const fn unborn() -> Self {
        Self { stage: Stage::Unborn, since_ns: 0, socket: None, rest: Vec::new(), unsent: Vec::new() }
    }

    /// Begins to connect.
    pub(super) fn open(
        &mut self,
        registry: &Registry,
        token: Token,
        addr: SocketAddr,
        source: Option<IpAddr>,
    ) -> io::Result<()> {
        let mut socket = match source {
            None => TcpStream::connect(addr)?,
            Some(source) => connect_from(source, addr)?,
        };
        // Errors of connecting come with the first event.
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        self.socket = Some(socket);
        self.stage = Stage::Connecting;
        Ok(())
    }

    /// Whether TCP has connected by now.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let Some(socket) = &self.socket else { return Ok(false) };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => {
                socket.set_nodelay(true)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fills `buffer` with the kept beginning of a frame and what the socket has; returns how much there is in all, and
    /// whether the socket has given all it had. `None` = nothing new.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<(usize, bool)>> {
        let Some(socket) = &mut self.socket else { return Ok(None) };
        let kept = self.rest.len();
        let (front, room) = buffer.split_at_mut(kept);
        match socket.read(room) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(read) => {
                front.copy_from_slice(&self.rest);
                self.rest.clear();
                // Less than there was room for: the next bytes come with an event of their own.
                Ok(Some((kept + read, read < room.len())))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some((0, false))),
            Err(error) => Err(error),
        }
    }

    /// Keeps the beginning of a frame until the next read.
    #[inline]
    pub(super) fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.rest.extend_from_slice(rest);
        }
    }

    /// Sends bytes as they are.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unsent.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends one frame.
    pub(super) fn send_frame(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        frames::write(&mut self.unsent, opcode, payload);
        self.flush()
    }

    /// Sends what the socket will take of what waits.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        while !self.unsent.is_empty() {
            match socket.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Ten thousand idle connections shall not keep ten thousand buffers.
        self.unsent = Vec::new();
        Ok(())
    }

    /// Ends it; the socket is closed, and with it forgotten by epoll.
    pub(super) fn end(&mut self) {
        *self = Self { stage: Stage::Ended, ..Self::unborn() };
    }
}

/// Begins to connect from a given address of this machine, on any port.
fn connect_from(source: IpAddr, addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&addr.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}
