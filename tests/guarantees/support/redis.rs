//! A redis-server of the test's own.

use std::process::{Child, Command, Stdio};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use super::{ReservedPort, until};

/// A redis-server, killed when dropped.
pub(crate) struct Redis {
    pub(crate) port: u16,
    /// The same port, while no server is there as well.
    _reserved: ReservedPort,
    pub(crate) dir: TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// A server without persistence on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further options.
    pub(crate) async fn start_with(args: &[&str]) -> Self {
        let mut redis = Self::prepare(args);
        redis.launch();
        redis.until_up().await;
        redis
    }

    /// A port and a directory, but no server yet.
    pub(crate) fn prepare(args: &[&str]) -> Self {
        let reserved = ReservedPort::new();
        Self {
            port: reserved.number(),
            _reserved: reserved,
            dir: TempDir::new().expect("a temporary directory"),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            child: None,
        }
    }

    /// Starts the server; see [`Redis::until_up`].
    pub(crate) fn launch(&mut self) {
        let dir = self.dir.path();
        let child = Command::new("redis-server")
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--dir".as_ref(), dir.as_os_str()])
            .args(["--unixsocket".as_ref(), dir.join("redis.sock").as_os_str()])
            .args(&self.args)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed (see README: Tests)");
        self.child = Some(child);
    }

    /// Waits until the server's socket file can be connected to.
    pub(crate) async fn until_up(&self) {
        let path = self.dir.path().join("redis.sock");
        until("redis-server to listen", async || std::os::unix::net::UnixStream::connect(&path).ok()).await;
        until("redis-server to listen on TCP", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.ok()
        })
        .await;
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn unix_url(&self) -> String {
        format!("unix://{}", self.dir.path().join("redis.sock").display())
    }

    /// A connection to publish with.
    pub(crate) async fn publisher(&self) -> Publisher {
        Publisher::connect(&self.url()).await
    }

    /// SIGKILL, and wait for the end.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server is ours");
            child.wait().expect("the server ends");
        }
    }

    /// SIGSTOP: the server's sockets stay open, but nothing is answered.
    pub(crate) fn hang(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("the server runs").id();
        let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().expect("kill(1)");
        assert!(status.success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A worker.
pub(crate) struct Publisher(MultiplexedConnection);

impl Publisher {
    pub(crate) async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.expect("the server takes connections")
    }

    /// A connection, if the server takes it.
    pub(crate) async fn try_connect(url: &str) -> redis::RedisResult<Self> {
        let client = redis::Client::open(url).expect("a Redis URL");
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(super::PATIENCE));
        client.get_multiplexed_async_connection_with_config(&config).await.map(Self)
    }

    /// `PUBLISH channel:trade:<symbol> <payload>`; returns how many received it.
    pub(crate) async fn trade(&mut self, symbol: &str, payload: &str) -> u64 {
        self.raw(&format!("channel:trade:{symbol}"), payload.as_bytes()).await
    }

    /// A trade whose timestamp is `n`; see [`Client::gets`](super::Client::gets).
    pub(crate) async fn numbered(&mut self, symbol: &str, n: u64) {
        self.trade(symbol, &super::trade(symbol, "1", n)).await;
    }

    pub(crate) async fn raw(&mut self, channel: &str, payload: &[u8]) -> u64 {
        self.0.publish(channel, payload).await.expect("PUBLISH")
    }

    /// Many trades at once, pipelined.
    pub(crate) async fn trades(&mut self, trades: impl IntoIterator<Item = (String, String)>) {
        let of_channel = |(symbol, payload)| (format!("channel:trade:{symbol}"), payload);
        self.publish_all(trades.into_iter().map(of_channel)).await;
    }

    /// Many events at once, pipelined: what their channels have behind `channel:`, and payloads.
    pub(crate) async fn events(&mut self, events: impl IntoIterator<Item = (&str, String)>) {
        self.publish_all(events.into_iter().map(|(rest, payload)| (format!("channel:{rest}"), payload)))
            .await;
    }

    /// Many events at once, pipelined: channels and payloads.
    pub(crate) async fn publish_all(&mut self, events: impl IntoIterator<Item = (String, String)>) {
        let mut pipe = redis::pipe();
        for (channel, payload) in events {
            pipe.publish(channel, payload).ignore();
        }
        pipe.query_async::<()>(&mut self.0).await.expect("pipelined PUBLISH");
    }

    /// Commands at once, pipelined; none may be refused.
    pub(crate) async fn commands(
        &mut self,
        commands: impl IntoIterator<Item = impl IntoIterator<Item = String>>,
    ) {
        let mut pipe = redis::pipe();
        for command in commands {
            let mut words = command.into_iter();
            pipe.cmd(&words.next().expect("a name")).arg(words.collect::<Vec<_>>()).ignore();
        }
        pipe.query_async::<()>(&mut self.0).await.expect("pipelined commands");
    }

    /// Any other command.
    pub(crate) async fn command<T: redis::FromRedisValue>(&mut self, args: &[&str]) -> T {
        self.try_command(args).await.unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    /// Any other command, which the server may refuse.
    pub(crate) async fn try_command<T: redis::FromRedisValue>(
        &mut self,
        args: &[&str],
    ) -> redis::RedisResult<T> {
        redis::cmd(args[0]).arg(&args[1..]).query_async(&mut self.0).await
    }
}
