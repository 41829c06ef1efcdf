//! A port for a server that is told its port, and that may be stopped and started again on it.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A free port of 127.0.0.1, this test's own as long as this value lives.
///
/// Its socket is bound and never listens. The kernel gives the port to nobody who binds port 0 or connects, and refuses connections to it
/// while no server is there. A server binds it all the same, as both sockets have `SO_REUSEADDR` (socket(7)) and only one of them listens.
pub(crate) struct ReservedPort {
    addr: SocketAddr,
    _socket: TcpSocket,
}

impl ReservedPort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option of the socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        Self { addr: socket.local_addr().expect("a bound socket"), _socket: socket }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn number(&self) -> u16 {
        self.addr.port()
    }
}

/// The number, as a server is told it.
impl std::fmt::Display for ReservedPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.number().fmt(f)
    }
}
