//! The bytes of a client's connection, non-blocking.

use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::SendFlags;

/// How a client is reached. TLS is a second variant's place: a `rustls::ServerConnection` around the same socket, whose
/// [`Transport::write`] encrypts what it is given and reports it taken once the ciphertext is.
#[derive(Debug)]
pub enum Transport {
    /// TCP, as it is behind a proxy that ends TLS.
    Plain(TcpStream),
    /// What a test holds the other end of.
    #[cfg(test)]
    #[allow(private_interfaces, reason = "tests alone make and match it")]
    Pipe(pipe::End),
}

impl Transport {
    /// Reads what is there.
    ///
    /// # Errors
    /// As `read(2)`: `WouldBlock` when nothing is there, and whatever ends the connection.
    #[inline]
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => uninterrupted(|| socket.read(buffer)),
            #[cfg(test)]
            Self::Pipe(end) => end.read(buffer),
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
        match self {
            Self::Plain(socket) => {
                uninterrupted(|| Ok(rustix::net::send(&*socket, bytes, SendFlags::NOSIGNAL)?))
            }
            #[cfg(test)]
            Self::Pipe(end) => end.write(bytes),
        }
    }

    /// Says that nothing more will be written; the peer still can.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.shutdown(Shutdown::Write),
            #[cfg(test)]
            Self::Pipe(end) => end.shutdown_write(),
        }
    }

    /// Has both kinds of readiness reported, once for each change (edge-triggered), until the socket closes.
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Plain(socket) => registry.register(socket, token, Interest::READABLE | Interest::WRITABLE),
            // A test says itself when its pipe is ready.
            #[cfg(test)]
            Self::Pipe(_) => Ok(()),
        }
    }
}

/// Makes a system call, again if a signal interrupts it.
#[inline]
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
pub(crate) mod pipe;
