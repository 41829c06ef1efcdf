//! The bytes of a client's connection, non-blocking: over TCP as they are, or under TLS.

mod tls;

use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::SendFlags;
use rustls::ServerConnection;

pub use self::tls::Tls;

/// How a client is reached.
#[derive(Debug)]
pub enum Transport {
    /// TCP, as it is behind a proxy that ends TLS.
    Plain(TcpStream),
    /// TLS that the gateway ends itself.
    Tls(Box<Tls>),
    /// What a test holds the other end of.
    #[cfg(test)]
    #[allow(private_interfaces, reason = "tests alone make and match it")]
    Pipe(pipe::End),
}

impl Transport {
    /// A connection under TLS, behind its handshake. The session may hold bytes of the peer's, and ciphertext that is not written
    /// yet; so whoever takes the transport over reads and flushes it once.
    pub fn tls(socket: TcpStream, session: ServerConnection) -> Self {
        Self::Tls(Box::new(Tls::new(socket, session)))
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// As `read(2)`: `WouldBlock` when nothing is there, and whatever ends the connection. `Interrupted` when bytes came of which none
    /// is the client's: under TLS there may be more behind them.
    #[inline]
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => uninterrupted(|| socket.read(buffer)),
            Self::Tls(tls) => tls.read(buffer),
            #[cfg(test)]
            Self::Pipe(end) => end.read(buffer),
        }
    }

    /// Whether a read that doesn't fill its buffer says nothing about what else there is to read.
    #[inline]
    pub const fn buffers(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Writes as much as the socket takes. Under TLS what is taken is encrypted, and the last of it may still have to be written
    /// ([`Transport::flush`]).
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
            Self::Tls(tls) => tls.write(bytes),
            #[cfg(test)]
            Self::Pipe(end) => end.write(bytes),
        }
    }

    /// Writes what has been taken and is not in the socket yet.
    ///
    /// # Errors
    /// As `send(2)`: `WouldBlock` when the socket takes no more, and whatever ends the connection.
    #[inline]
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
            #[cfg(test)]
            Self::Pipe(_) => Ok(()),
        }
    }

    /// Whether the peer has taken bytes that no write has reported, since the last time this was asked.
    pub fn take_moved(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.take_moved(),
            #[cfg(test)]
            Self::Pipe(_) => false,
        }
    }

    /// Says that nothing more will be written; the peer still can.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.shutdown(Shutdown::Write),
            Self::Tls(tls) => tls.shutdown_write(),
            #[cfg(test)]
            Self::Pipe(end) => end.shutdown_write(),
        }
    }

    /// Has both kinds of readiness reported, once for each change (edge-triggered), until the socket closes.
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Plain(socket) => registry.register(socket, token, both),
            Self::Tls(tls) => registry.register(&mut tls.socket, token, both),
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
