//! The bytes of a client's connection, non-blocking.

use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::SendFlags;

/// How a client is reached. TLS is a second variant's place: a `rustls::ServerConnection` around the same socket, whose
/// [`Transport::write`] encrypts what it is given and reports it taken once the ciphertext is.
#[derive(Debug)]
pub enum Transport {
    /// TCP, as it is behind a proxy that ends TLS.
    Plain(TcpStream),
}

impl Transport {
    /// Reads what is there.
    ///
    /// # Errors
    /// As `read(2)`: `WouldBlock` when nothing is there, and whatever ends the connection.
    #[inline]
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self::Plain(socket) = self;
        loop {
            match socket.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Writes as much as the socket takes.
    ///
    /// The system call is rustix', not libc's: in a program with threads libc wraps each `send` in two switches of its
    /// cancellation state, a few per cent of what a small write costs in all.
    ///
    /// # Errors
    /// As `send(2)`: `WouldBlock` when it takes nothing, and whatever ends the connection.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self::Plain(socket) = self;
        loop {
            match rustix::net::send(&*socket, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                outcome => return outcome.map_err(io::Error::from),
            }
        }
    }

    /// Says that nothing more will be written; the peer still can.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        let Self::Plain(socket) = self;
        socket.shutdown(Shutdown::Write)
    }

    /// Has both kinds of readiness reported, once for each change (edge-triggered), until the socket closes.
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let Self::Plain(socket) = self;
        registry.register(socket, token, Interest::READABLE | Interest::WRITABLE)
    }
}
