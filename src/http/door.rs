//! The fast path for handshakes: one that is plain and has arrived whole is answered right after `accept`, without a task,
//! without hyper and without registering the socket with tokio.
//!
//! It takes three system calls (read, write, and the shard's registration), which are nearly all of its cost. A connection under TLS
//! goes to a task unread, any other one to hyper together with what was read of it.
//!
//! With `PROXY_PROTOCOL` the PROXY header is read first, whatever follows it: a handshake, HTTP or TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;

use super::handshake::recognise;
use super::secure::Certificate;
use super::{Http, Surface, upgrade};
use crate::address::proxy_header::{self, Header};
use crate::auth::Patience;
use crate::bus::Arrival;
use crate::transport::Transport;

/// How many bytes of a request are looked at: several times what browsers send. A longer request goes to hyper.
const LOOK_BYTES: usize = 4 * 1024;

/// A connection, and the address that it comes from.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) stream: TcpStream,
    /// The socket's peer, or the client that its PROXY header names.
    pub(super) address: IpAddr,
    /// Whether a PROXY header can no longer come: what comes next is the first request, or TLS.
    pub(super) is_introduced: bool,
}

/// The result of looking at a connection.
pub(super) enum Look {
    /// It was a handshake, and has been answered.
    Upgraded(Arrival),
    /// No byte has come yet.
    Silent(Caller),
    /// This many bytes have come of what may become a PROXY header.
    Partial(Caller, usize),
    /// Its PROXY header is refused. The peer gets 400 with this message.
    Misintroduced(TcpStream, String),
    /// The port speaks TLS. Nothing was read from it.
    Encrypted(Caller, Arc<Certificate>),
    /// Anything else, and what was read of it.
    Other(Caller, Bytes),
    /// The peer disconnected before it was answered.
    Gone,
}

impl Look {
    /// From where the connection comes, as far as is known; `None` once it is the peer that counts.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Silent(caller)
            | Self::Partial(caller, _)
            | Self::Encrypted(caller, _)
            | Self::Other(caller, _) => Some(caller.address),
            Self::Upgraded(_) | Self::Misintroduced(..) | Self::Gone => None,
        }
    }
}

/// Looks at the bytes that a peer has sent, and answers them if they are a handshake. The socket must be non-blocking.
pub(super) fn look(caller: Caller, http: &Http) -> Look {
    let caller = if caller.is_introduced {
        caller
    } else {
        match introduce(caller, http) {
            Ok(caller) => caller,
            Err(look) => return *look,
        }
    };
    if let Some(certificate) = &http.certificate {
        return Look::Encrypted(caller, Arc::clone(certificate));
    }
    let mut buffer = [0; LOOK_BYTES];
    let seen = match (&caller.stream).read(&mut buffer) {
        Ok(seen @ 1..) => seen,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Look::Silent(caller),
        Ok(0) | Err(_) => return Look::Gone,
    };
    if http.surface == Surface::Operator {
        return Look::Other(caller, Bytes::copy_from_slice(&buffer[..seen]));
    }
    let accepted = recognise(&buffer[..seen], |handshake, uri, length| {
        // A refusal needs a body, and a token whose key isn't known has to wait: hyper gets the request and applies the same rules. If both asked
        // for the key, one token could have it fetched twice.
        match upgrade::accept(&handshake, uri, caller.address, http, Patience::Later) {
            Ok(accepted) => Some((accepted, length)),
            Err(refused) => {
                if refused.is_counted() {
                    http.admission.give_back(http.client(caller.address, &handshake.forwarded));
                }
                None
            }
        }
    });
    let Some((accepted, length)) = accepted.flatten() else {
        return Look::Other(caller, Bytes::copy_from_slice(&buffer[..seen]));
    };
    let answer = accepted.answer_bytes();
    let stream = caller.stream;
    // Nothing has been written to this socket before, so it takes the few hundred bytes at once, unless the peer has gone.
    match (&stream).write(&answer) {
        Ok(written) if written == answer.len() => {
            http.state.metrics.control.upgrades.add_shared(1);
            let early = Bytes::copy_from_slice(&buffer[length..seen]);
            let transport = Transport::Plain(mio::net::TcpStream::from_std(stream));
            Look::Upgraded(accepted.arrival(transport, early))
        }
        _ => Look::Gone,
    }
}

/// Takes the PROXY header off a connection, if it has one: from then on it comes from where the header says. `Err` if the connection
/// can't be looked at further, now or at all.
fn introduce(caller: Caller, http: &Http) -> Result<Caller, Box<Look>> {
    let mut buffer = [0; proxy_header::BYTES_MAX];
    let seen = match caller.stream.peek(&mut buffer) {
        Ok(seen) => seen,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(Box::new(Look::Silent(caller))),
        Err(_) => return Err(Box::new(Look::Gone)),
    };
    let address = caller.address;
    match proxy_header::read(&buffer[..seen]) {
        Header::Partial if seen > 0 => Err(Box::new(Look::Partial(caller, seen))),
        Header::Partial | Header::Absent => Ok(Caller { is_introduced: true, ..caller }),
        Header::Whole { .. } | Header::Malformed if !http.proxies.trust(address) => {
            http.warn_of_header(address);
            let message =
                format!("A PROXY header from {}, which is not in TRUSTED_PROXIES", address.to_canonical());
            Err(Box::new(Look::Misintroduced(caller.stream, message)))
        }
        Header::Malformed => {
            let message = "The PROXY header is malformed or too long".to_owned();
            Err(Box::new(Look::Misintroduced(caller.stream, message)))
        }
        Header::Whole { client, length } => match (&caller.stream).read(&mut buffer[..length]) {
            Ok(read) if read == length => {
                Ok(Caller { address: client.unwrap_or(address), is_introduced: true, ..caller })
            }
            _ => Err(Box::new(Look::Gone)),
        },
    }
}
