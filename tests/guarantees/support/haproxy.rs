//! HAProxy in TCP mode, which introduces each connection with a PROXY header.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::child::ChildProcess;
use super::{ReservedPort, until};

/// A running HAProxy, stopped when dropped.
pub(crate) struct HaProxy {
    pub(crate) child: ChildProcess,
    _dir: TempDir,
    port: ReservedPort,
}

impl HaProxy {
    /// HAProxy in front of `gateway`; `send` is `send-proxy` or `send-proxy-v2`, with options.
    pub(crate) async fn before(gateway: SocketAddr, send: &str) -> Self {
        let port = ReservedPort::new();
        let address = port.addr();
        let config = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
             listen gateway\n  bind {address}\n  server gateway {gateway} {send}\n"
        );
        Self::start(port, &config).await
    }

    /// HAProxy as `docs/deployment.md` configures it, in front of these gateways, of which the page has two.
    pub(crate) async fn of_the_page(gateways: [SocketAddr; 2]) -> Self {
        let port = ReservedPort::new();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deployment.md");
        let page = std::fs::read_to_string(path).expect("docs/deployment.md");
        let (_, config) = page.split_once("\n```haproxy\n").expect("a configuration");
        let (config, _) = config.split_once("```").expect("its end");
        let there = ["bind :443", "10.0.0.11:8443", "10.0.0.12:8443"];
        let here = [format!("bind {}", port.addr()), gateways[0].to_string(), gateways[1].to_string()];
        let config = there.iter().zip(here).fold(format!("{config}\n"), |config, (there, here)| {
            assert!(config.contains(there), "{there}");
            config.replace(there, &here)
        });
        Self::start(port, &config).await
    }

    async fn start(port: ReservedPort, config: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, config).expect("a file");
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("haproxy");
        command.env("PATH", path).args(["-db".as_ref(), "-f".as_ref(), file.as_os_str()]);
        let mut child = ChildProcess::start(&mut command, "TERM");
        until("HAProxy to listen", async || {
            assert!(child.try_exit().is_none(), "HAProxy ended: {:?}", child.log);
            tokio::net::TcpStream::connect(port.addr()).await.ok()
        })
        .await;
        Self { child, _dir: dir, port }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}
