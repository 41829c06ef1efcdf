//! nginx with the configuration that is shipped, on a port of the test's own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::child::ChildProcess;
use super::{ReservedPort, until};

/// The text of a file in `deploy/`.
pub(crate) fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The arguments of each directive of that name, in order; for values without quotes, braces and semicolons.
pub(crate) fn directives(config: &str, name: &str) -> Vec<Vec<String>> {
    let lines = config.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let found = lines.filter_map(|line| line.strip_suffix(';')?.strip_prefix(name));
    let found = found.filter(|rest| rest.starts_with(char::is_whitespace));
    found.map(|rest| rest.split_whitespace().map(str::to_owned).collect()).collect()
}

/// A running nginx, stopped when dropped.
pub(crate) struct Nginx {
    child: ChildProcess,
    _dir: TempDir,
    port: ReservedPort,
}

impl Nginx {
    /// nginx in front of `gateways`: `deploy/nginx.conf` as it is, and the two files that differ between places with
    /// this place's addresses and the same parameters.
    pub(crate) async fn before(gateways: &[SocketAddr]) -> Self {
        let port = ReservedPort::new();
        let dir = TempDir::new().expect("a temporary directory");
        let file = |name: &str| dir.path().join(name);

        let listen = deployed("listen.conf").replace("listen 8080 ", &format!("listen 127.0.0.1:{port} "));
        let [server] = &directives(&deployed("upstream.conf"), "server")[..] else { panic!("one server") };
        let ["gateway:8080", "resolve", parameters @ ..] =
            &server.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            panic!("gateway:8080 resolve in {server:?}")
        };
        let parameters = parameters.join(" ");
        let servers: String =
            gateways.iter().map(|gateway| format!("server {gateway} {parameters};\n")).collect();
        std::fs::write(file("nginx.conf"), deployed("nginx.conf")).expect("a file");
        std::fs::write(file("listen.conf"), listen).expect("a file");
        std::fs::write(file("upstream.conf"), servers).expect("a file");
        std::fs::create_dir(file("run")).expect("a directory");

        // Debian has it where only root looks.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("nginx");
        command
            .env("PATH", path)
            .args(["-p".as_ref(), file("run").as_os_str(), "-c".as_ref(), file("nginx.conf").as_os_str()])
            .args(["-e", "stderr", "-g", "daemon off;"]);
        // SIGKILL would leave its workers behind.
        let mut nginx = Self { child: ChildProcess::start(&mut command, "TERM"), _dir: dir, port };
        until("nginx to listen", async || {
            assert!(nginx.try_exit().is_none(), "nginx ended: {:?}", nginx.log);
            tokio::net::TcpStream::connect(nginx.addr()).await.ok()
        })
        .await;
        nginx
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}

impl std::ops::Deref for Nginx {
    type Target = ChildProcess;

    fn deref(&self) -> &ChildProcess {
        &self.child
    }
}

impl std::ops::DerefMut for Nginx {
    fn deref_mut(&mut self) -> &mut ChildProcess {
        &mut self.child
    }
}
