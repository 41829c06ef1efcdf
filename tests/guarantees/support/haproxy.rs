//! HAProxy in TCP mode, which introduces each connection with a PROXY header.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use tempfile::TempDir;

use super::child::ChildProcess;
use super::until;

/// A running HAProxy, stopped when dropped.
pub(crate) struct HaProxy {
    _child: ChildProcess,
    _dir: TempDir,
    address: SocketAddr,
}

impl HaProxy {
    /// HAProxy in front of `gateway`; `send` is `send-proxy` or `send-proxy-v2`, with options.
    pub(crate) async fn before(gateway: SocketAddr, send: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = address.expect("a free port");
        let dir = TempDir::new().expect("a temporary directory");
        let file = dir.path().join("haproxy.cfg");
        let config = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
             listen gateway\n  bind {address}\n  server gateway {gateway} {send}\n"
        );
        std::fs::write(&file, config).expect("a file");
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("haproxy");
        command.env("PATH", path).args(["-db".as_ref(), "-f".as_ref(), file.as_os_str()]);
        let mut child = ChildProcess::start(&mut command, "TERM");
        until("HAProxy to listen", async || {
            assert!(child.try_exit().is_none(), "HAProxy ended: {:?}", child.log);
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        Self { _child: child, _dir: dir, address }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }
}
