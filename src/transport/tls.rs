//! A client's connection under TLS: the socket, and the session that encrypts for it.
//!
//! What is to be written is encrypted in records of at most [`TLS_RECORD_BYTES`], and only once the ciphertext before it is in the
//! socket. So a client that doesn't read has at most one record of its own waiting, and everything behind it is in its
//! outbox, where the policy for slow clients finds it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use rustls::ServerConnection;

use super::uninterrupted;
use crate::limits::TLS_RECORD_BYTES;

/// A socket and its TLS session, behind the handshake.
#[derive(Debug)]
pub struct Tls {
    pub(super) socket: TcpStream,
    session: ServerConnection,
    /// Whether ciphertext has gone into the socket since somebody asked.
    moved: bool,
}

impl Tls {
    /// A session whose handshake is done on that socket.
    pub(super) fn new(socket: TcpStream, session: ServerConnection) -> Self {
        Self { socket, session, moved: false }
    }

    /// Reads what has been decrypted already, or else once from the socket.
    ///
    /// # Errors
    /// `Interrupted` when the socket had bytes and none of them was a client's: a part of a record, say. Otherwise as
    /// [`Transport::read`](super::Transport::read); `InvalidData` when the peer breaks TLS, which it has been told then.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(count) = self.decrypted(buffer)? {
            return Ok(count);
        }
        let Self { socket, session, .. } = self;
        // An end without `close_notify` cuts off no message of the client's: WebSocket has lengths of its own.
        if uninterrupted(|| session.read_tls(socket))? == 0 {
            return Ok(0);
        }
        let processed = session.process_new_packets();
        if session.wants_write() {
            // An alert. If the socket doesn't take it now, it goes with the next write.
            let _ = session.write_tls(socket);
        }
        processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        self.decrypted(buffer)?.ok_or_else(|| ErrorKind::Interrupted.into())
    }

    /// What has been decrypted; 0 behind the peer's `close_notify`, `None` if nothing is there.
    fn decrypted(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.session.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Encrypts as much as the socket takes the ciphertext of, at most a record more.
    ///
    /// # Errors
    /// As [`Transport::write`](super::Transport::write).
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

    /// Writes the ciphertext that is left.
    ///
    /// # Errors
    /// As [`Transport::flush`](super::Transport::flush).
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

    /// Whether ciphertext has gone into the socket since the last time this was asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Says by `close_notify` that nothing more will be written, then closes the writing side.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        // A socket that has no room for it, although everything before it is written, has a peer that waits for nothing.
        let _ = self.flush();
        self.socket.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests;
