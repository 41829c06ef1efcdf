//! The fast path for handshakes: one that is plain and has arrived whole is answered right after `accept`, without a task,
//! without hyper and without registering the socket with tokio.
//!
//! It takes four system calls (peek, read, write, and the shard's registration), which are nearly all of its cost. The
//! request is only peeked at until it is known to be such a handshake. Every other connection goes to hyper untouched.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use bytes::Bytes;

use super::handshake::recognise;
use super::secure::Certificate;
use super::{Http, upgrade};
use crate::bus::Arrival;
use crate::transport::Transport;

/// How many bytes of a request are looked at: several times what browsers send. A longer request goes to hyper.
const LOOK_BYTES: usize = 4 * 1024;

/// The result of looking at a connection.
pub(super) enum Look {
    /// It was a handshake, and has been answered.
    Upgraded(Arrival),
    /// No byte has come yet.
    Silent(TcpStream),
    /// The port speaks TLS. Nothing was read from it.
    Encrypted(TcpStream, Arc<Certificate>),
    /// Anything else. Nothing was read from it.
    Other(TcpStream),
    /// The peer disconnected while it was being answered.
    Gone,
}

/// Looks at the bytes that a peer has sent, and answers them if they are a handshake. The socket must be non-blocking.
pub(super) fn look(stream: TcpStream, http: &Http) -> Look {
    if let Some(certificate) = &http.certificate {
        return Look::Encrypted(stream, Arc::clone(certificate));
    }
    let mut buffer = [0; LOOK_BYTES];
    let seen = match stream.peek(&mut buffer) {
        Ok(seen) => seen,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Look::Silent(stream),
        Err(_) => return Look::Other(stream),
    };
    let accepted = recognise(&buffer[..seen], |handshake, uri, length| {
        // A refusal needs a body: hyper gets the request, applies the same rules and sends it.
        upgrade::accept(handshake, uri, http).ok().map(|accepted| (accepted, length))
    });
    let Some((accepted, length)) = accepted.flatten() else { return Look::Other(stream) };
    let answer = accepted.answer_bytes();
    // Nothing has been written to this socket before, so it takes the few hundred bytes at once, unless the peer has gone.
    match ((&stream).read(&mut buffer[..seen]), (&stream).write(&answer)) {
        (Ok(read), Ok(written)) if read == seen && written == answer.len() => {
            http.state.metrics.control.upgrades.add_shared(1);
            let early = Bytes::copy_from_slice(&buffer[length..seen]);
            let transport = Transport::Plain(mio::net::TcpStream::from_std(stream));
            Look::Upgraded(accepted.arrival(transport, early))
        }
        _ => Look::Gone,
    }
}
