//! One connection: its socket, how far it has come, and the few bytes that wait.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::frames;

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
                // Less than there was room for: the next bytes come with an event of their own, but not an end that
                // has come already.
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};

    use mio::{Events, Poll};

    use super::*;

    /// A connection that begins, from `source`, and the poll it is on.
    fn begin(listener: &TcpListener, source: Option<IpAddr>) -> (Connection, Poll) {
        let poll = Poll::new().unwrap();
        let mut connection = Connection::unborn();
        connection.open(poll.registry(), Token(7), listener.local_addr().unwrap(), source).unwrap();
        (connection, poll)
    }

    fn until<T>(poll: &mut Poll, mut ask: impl FnMut() -> Option<T>) -> T {
        let mut events = Events::with_capacity(4);
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            poll.poll(&mut events, None).unwrap();
        }
    }

    #[test]
    fn a_connection_comes_from_the_address_it_was_given() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for source in [Some("127.0.0.3".parse().unwrap()), None] {
            let (connection, mut poll) = begin(&listener, source);
            let (_peer, from) = listener.accept().unwrap();
            assert_eq!(from.ip(), source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
            until(&mut poll, || connection.is_connected().unwrap().then_some(()));
        }
    }

    #[test]
    fn nobody_there_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let mut poll = Poll::new().unwrap();
        let mut connection = Connection::unborn();
        connection.open(poll.registry(), Token(0), addr, None).unwrap();
        let error = until(&mut poll, || match connection.is_connected() {
            Ok(is_connected) => is_connected.then(|| panic!("connected to nobody")),
            Err(error) => Some(error),
        });
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn what_was_kept_comes_before_what_is_new() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut connection, mut poll) = begin(&listener, None);
        let (mut peer, _) = listener.accept().unwrap();
        until(&mut poll, || connection.is_connected().unwrap().then_some(()));
        let mut buffer = [0; 64];
        assert_eq!(connection.read(&mut buffer).unwrap(), None);
        peer.write_all(b"abc").unwrap();
        let read = until(&mut poll, || connection.read(&mut buffer).unwrap());
        assert_eq!((read, &buffer[..3]), ((3, true), &b"abc"[..]));
        connection.keep(b"bc");
        assert_eq!(connection.read(&mut buffer).unwrap(), None, "nothing new, and nothing lost");
        peer.write_all(b"def").unwrap();
        let read = until(&mut poll, || connection.read(&mut buffer).unwrap());
        assert_eq!((read, &buffer[..5]), ((5, true), &b"bcdef"[..]));
        drop(peer);
        let error = until(&mut poll, || connection.read(&mut buffer).err());
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_the_socket_does_not_take_is_sent_later() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut connection, mut poll) = begin(&listener, None);
        let (mut peer, _) = listener.accept().unwrap();
        until(&mut poll, || connection.is_connected().unwrap().then_some(()));
        let sent = vec![b'x'; 16 << 20];
        connection.send(&sent).unwrap();
        assert!(!connection.unsent.is_empty(), "16 MiB are more than loopback buffers");
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; 16 << 20];
            peer.read_exact(&mut received).unwrap();
            received
        });
        until(&mut poll, || {
            connection.flush().unwrap();
            connection.unsent.is_empty().then_some(())
        });
        assert!(reader.join().unwrap() == sent);
    }
}
