//! The short way in: a plain handshake that has arrived whole is answered right behind `accept`, without a task, without
//! hyper and without tokio ever knowing the socket.
//!
//! It takes four system calls (peek, read, write, and the shard's registration), which is nearly all that it
//! costs. The request is only looked at until it is sure to be ours, so whatever is not goes on to hyper as it came.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use bytes::Bytes;

use super::handshake::recognise;
use super::{Http, upgrade};
use crate::bus::Arrival;

/// So much of a request is looked at: several times what browsers send. A longer one is hyper's.
const LOOK_BYTES: usize = 4 * 1024;

/// What a look at a connection says.
pub(super) enum Look {
    /// It was a handshake, and is answered.
    Upgraded(Arrival),
    /// Nothing has come yet.
    Silent(TcpStream),
    /// Anything else, untouched.
    Other(TcpStream),
    /// The peer has gone while it was being answered.
    Gone,
}

/// Looks at what a peer has sent, and answers it if that is a handshake. The socket is non-blocking.
pub(super) fn look(stream: TcpStream, http: &Http) -> Look {
    let mut buffer = [0; LOOK_BYTES];
    let seen = match stream.peek(&mut buffer) {
        Ok(seen) => seen,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Look::Silent(stream),
        Err(_) => return Look::Other(stream),
    };
    let accepted = recognise(&buffer[..seen], |handshake, uri, length| {
        // A refusal has a body and keeps the connection: hyper comes to the same conclusion, and says so.
        upgrade::accept(handshake, uri, http).ok().map(|accepted| (accepted, length))
    });
    let Some((accepted, length)) = accepted.flatten() else { return Look::Other(stream) };
    let answer = accepted.answer_bytes();
    // Nothing has been written to this socket before: either it takes a hundred bytes at once, or it is gone.
    match ((&stream).read(&mut buffer[..seen]), (&stream).write(&answer)) {
        (Ok(read), Ok(written)) if read == seen && written == answer.len() => {
            http.state.metrics.control.upgrades.add_shared(1);
            let early = Bytes::copy_from_slice(&buffer[length..seen]);
            Look::Upgraded(accepted.arrival(stream, early))
        }
        _ => Look::Gone,
    }
}
