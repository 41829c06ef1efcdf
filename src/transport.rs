//! The bytes of a client's connection, non-blocking: over TCP as they are, or under TLS.

mod polling;
mod tls;

use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::SendFlags;
use rustls::ServerConnection;

pub use self::polling::{Polling, Probe, Session, Taken, Turn, Wake, session};
pub use self::tls::Tls;

/// A client's connection.
#[derive(Debug)]
pub enum Transport {
    /// TCP, without TLS or behind a proxy that ends it.
    Plain(TcpStream),
    /// TLS that the gateway ends itself.
    Tls(Box<Tls>),
    /// HTTP requests and their answers: see [`Polling`].
    Polling(Polling),
    /// A connection that has taken another one's place, whose last bytes it sends first.
    Behind(Box<Behind>),
    /// A connection in memory, whose other end a test has.
    #[cfg(test)]
    #[allow(private_interfaces, reason = "tests alone make and match it")]
    Pipe(pipe::End),
}

/// A connection that has bytes of another one to send first.
#[derive(Debug)]
pub struct Behind {
    first: Vec<u8>,
    sent: usize,
    inner: Transport,
}

impl Behind {
    #[inline(never)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_first()?;
        self.inner.write(bytes)
    }

    #[inline(never)]
    fn flush(&mut self) -> io::Result<()> {
        self.send_first()?;
        self.inner.flush()
    }

    fn send_first(&mut self) -> io::Result<()> {
        while self.sent < self.first.len() {
            self.sent += self.inner.write(&self.first[self.sent..])?;
        }
        self.first = Vec::new();
        self.sent = 0;
        Ok(())
    }
}

impl Transport {
    /// A connection that sends these bytes first.
    #[must_use]
    pub fn behind(self, first: Vec<u8>) -> Self {
        Self::Behind(Box::new(Behind { first, sent: 0, inner: self }))
    }

    /// The shard's end of a connection over HTTP requests, if it is one.
    pub const fn polling(&self) -> Option<&Polling> {
        match self {
            Self::Polling(polling) => Some(polling),
            _ => None,
        }
    }

    /// A connection under TLS whose handshake is complete. The session may hold bytes from the peer and ciphertext that is not
    /// written yet, so the shard has to read and flush it once at the start.
    pub fn tls(socket: TcpStream, session: ServerConnection) -> Self {
        Self::Tls(Box::new(Tls::new(socket, session)))
    }

    /// Reads available bytes.
    ///
    /// # Errors
    /// As `read(2)`: `WouldBlock` when there are none, and every error that ends the connection. Under TLS `Interrupted`, when bytes came
    /// but no plaintext: there may be more behind them.
    #[inline]
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => uninterrupted(|| socket.read(buffer)),
            Self::Tls(tls) => tls.read(buffer),
            Self::Polling(polling) => polling.read(buffer),
            Self::Behind(behind) => behind.inner.read(buffer),
            #[cfg(test)]
            Self::Pipe(end) => end.read(buffer),
        }
    }

    /// Whether there may be more to read after a read that doesn't fill its buffer.
    #[inline]
    pub fn buffers(&self) -> bool {
        match self {
            Self::Tls(_) | Self::Polling(_) => true,
            Self::Behind(behind) => behind.inner.buffers(),
            _ => false,
        }
    }

    /// Writes as much as the socket takes. Under TLS the bytes taken are encrypted, and the last of the ciphertext may still have to
    /// be written ([`Transport::flush`]).
    ///
    /// What is no plain TCP is never inlined here, so that this is: a call costs a tenth of what user space does for a small write.
    ///
    /// The system call is rustix', not libc's: in a program with threads libc wraps each `send` in two switches of its
    /// cancellation state, which are a few per cent of the cost of a small write.
    ///
    /// # Errors
    /// As `send(2)`: `WouldBlock` when the socket takes nothing, and every error that ends the connection.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => {
                uninterrupted(|| Ok(rustix::net::send(&*socket, bytes, SendFlags::NOSIGNAL)?))
            }
            Self::Tls(tls) => tls.write(bytes),
            Self::Polling(polling) => polling.write(bytes),
            Self::Behind(behind) => behind.write(bytes),
            #[cfg(test)]
            Self::Pipe(end) => end.write(bytes),
        }
    }

    /// Writes the rest of the bytes that [`Transport::write`] took.
    ///
    /// # Errors
    /// As `send(2)`: `WouldBlock` when the socket takes no more, and every error that ends the connection.
    #[inline]
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
            Self::Polling(_) => Ok(()),
            Self::Behind(behind) => behind.flush(),
            #[cfg(test)]
            Self::Pipe(_) => Ok(()),
        }
    }

    /// Whether the socket has taken ciphertext since the last call. [`Transport::write`] doesn't report that.
    pub fn take_moved(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.take_moved(),
            Self::Polling(_) => false,
            Self::Behind(behind) => behind.inner.take_moved(),
            #[cfg(test)]
            Self::Pipe(_) => false,
        }
    }

    /// Ends the writing side. The peer may still send.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.shutdown(Shutdown::Write),
            Self::Tls(tls) => tls.shutdown_write(),
            Self::Polling(polling) => {
                polling.shut();
                Ok(())
            }
            Self::Behind(behind) => behind.inner.shutdown_write(),
            #[cfg(test)]
            Self::Pipe(end) => end.shutdown_write(),
        }
    }

    /// Makes `registry` report that there is something to read, once for each change (edge-triggered), until the socket is closed.
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Plain(socket) => registry.register(socket, token, Interest::READABLE),
            Self::Tls(tls) => registry.register(&mut tls.socket, token, Interest::READABLE),
            Self::Polling(polling) => {
                polling.register(token.0);
                Ok(())
            }
            Self::Behind(behind) => behind.inner.register(registry, token),
            // A test reports itself that its pipe is ready.
            #[cfg(test)]
            Self::Pipe(_) => Ok(()),
        }
    }
}

impl Transport {
    /// Makes `registry` report from now on under this token, and also that the socket takes bytes again. To be called after the first write
    /// that fell short as well: most sockets are never full, and each new one would be reported as writable at once.
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub fn reregister(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Plain(socket) => registry.reregister(socket, token, both),
            Self::Tls(tls) => registry.reregister(&mut tls.socket, token, both),
            Self::Behind(behind) => behind.inner.reregister(registry, token),
            Self::Polling(_) => self.register(registry, token),
            #[cfg(test)]
            Self::Pipe(_) => Ok(()),
        }
    }
}

/// Makes a system call, and repeats it if a signal interrupts it.
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
