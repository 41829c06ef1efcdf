//! A client's connection under TLS: the socket and the session that encrypts for it.
//!
//! Plaintext is encrypted in records of at most [`TLS_RECORD_BYTES`], each only once the socket has taken the ciphertext before it.
//! So at most one record waits for a client that doesn't read. Everything behind that is in its outbox, where the policy for slow
//! clients can skip it.
//!
//! Nothing here is inlined, so that it costs plain connections nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use rustls::ServerConnection;

use super::uninterrupted;
use crate::limits::TLS_RECORD_BYTES;

/// A socket and its TLS session, whose handshake is complete.
#[derive(Debug)]
pub struct Tls {
    pub(super) socket: TcpStream,
    session: ServerConnection,
    /// Whether the socket has taken ciphertext since the last [`Tls::take_moved`].
    moved: bool,
}

impl Tls {
    /// A session that has completed its handshake on `socket`.
    pub(super) fn new(socket: TcpStream, mut session: ServerConnection) -> Self {
        session.set_buffer_limit(Some(TLS_RECORD_BYTES));
        Self { socket, session, moved: false }
    }

    /// Returns decrypted bytes if there are any, or else reads once from the socket.
    ///
    /// # Errors
    /// `Interrupted` when bytes came but no plaintext, as with a part of a record. `InvalidData` when the peer breaks TLS; it has
    /// been sent an alert then. Otherwise as [`Transport::read`](super::Transport::read).
    #[inline(never)]
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(count) = self.decrypted(buffer)? {
            return Ok(count);
        }
        let Self { socket, session, .. } = self;
        // An end without `close_notify` can't pass for the end of a message, because WebSocket frames have lengths.
        if uninterrupted(|| session.read_tls(socket))? == 0 {
            return Ok(0);
        }
        let processed = session.process_new_packets();
        if session.wants_write() {
            // This is an alert. If the socket doesn't take it now, the next write sends it.
            let _ = session.write_tls(socket);
        }
        processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        self.decrypted(buffer)?.ok_or_else(|| ErrorKind::Interrupted.into())
    }

    /// Takes decrypted bytes; 0 after the peer's `close_notify`, `None` if there are none.
    fn decrypted(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.session.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Encrypts and writes until the socket takes no more. At most one record stays in the session.
    ///
    /// # Errors
    /// As [`Transport::write`](super::Transport::write).
    #[inline(never)]
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let mut taken = 0;
        for record in bytes.chunks(TLS_RECORD_BYTES) {
            taken += self.session.writer().write(record)?;
            if !self.session.wants_write() {
                // TLS 1.2 can't change its keys: after 2^24 records rustls sends `close_notify` and encrypts no more.
                return Err(io::Error::new(ErrorKind::ConnectionAborted, "the keys are used up"));
            }
            match self.flush() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Writes the session's ciphertext.
    ///
    /// # Errors
    /// As [`Transport::flush`](super::Transport::flush).
    #[inline(never)]
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Self { socket, session, moved } = self;
        while session.wants_write() {
            if uninterrupted(|| session.write_tls(socket))? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            *moved = true;
        }
        Ok(())
    }

    /// Whether the socket has taken ciphertext since the last call.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Sends `close_notify`, then ends the writing side.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        // If the socket has no room for it, the peer doesn't read and so doesn't wait for it.
        let _ = self.flush();
        self.socket.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests;
