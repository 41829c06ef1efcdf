//! The real listener on a free port, with a data path that only collects clients.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use ws_gateway::admission::Admission;
use ws_gateway::auth::Auth;
use ws_gateway::bus::{Adopt, Arrival, LastSender};
use ws_gateway::config::Config;
use ws_gateway::http::{Bounds, Http, bind, serve};
use ws_gateway::protocol::request::Grammar;
use ws_gateway::state::State;
use ws_gateway::transport::Transport;

use super::http::{self, HANDSHAKE, Reply, read_head};

/// Sends on every client.
struct Collect(Mutex<mpsc::UnboundedSender<Arrival>>);

impl Adopt for Collect {
    fn clean(&self) -> Vec<tokio::sync::oneshot::Receiver<usize>> {
        Vec::new()
    }

    fn adopt(&self, clients: Vec<Arrival>) {
        let sender = self.0.lock().unwrap();
        clients.into_iter().for_each(|client| sender.send(client).expect("the test still runs"));
    }

    fn replace(&self, _: u64) {}
}

/// A running HTTP side.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) clients: mpsc::UnboundedReceiver<Arrival>,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
}

impl Server {
    /// Starts with the defaults.
    pub(crate) fn start() -> Self {
        Self::with(&Config::for_tests(), Bounds::default())
    }

    /// Starts with that configuration and those bounds.
    pub(crate) fn with(config: &Config, bounds: Bounds) -> Self {
        Self::of(config, bounds, State::new(config.server.server_id.clone(), 2))
    }

    /// Starts with that state as well.
    pub(crate) fn of(config: &Config, bounds: Bounds, state: State) -> Self {
        let state = Arc::new(state);
        let admission = Admission::new(
            config.server.max_connections,
            config.addresses.per_ip(),
            config.clients.per_user(),
            state.users_counted(),
        );
        let (sender, clients) = mpsc::unbounded_channel();
        let adopt = Arc::new(Collect(Mutex::new(sender)));
        // Nobody answers what is asked there.
        let asked = Mutex::new(Vec::new());
        let last = LastSender::new(move |question| asked.lock().unwrap().push(question));
        let auth = Arc::new(Auth::new(config, Arc::clone(&state)).unwrap());
        let grammar = Grammar::new(config.events.channel_types.clone(), config.events.symbol_case);
        let mut http =
            Http::new(config, Arc::clone(&state), auth, Arc::clone(&admission), adopt, last, grammar);
        http.bounds = bounds;
        let listener = bind(config.server.listen).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, "accept", Arc::new(http), stop.clone()).unwrap());
        Self { address, state, admission, clients, stop, served }
    }

    /// A connection on which nothing was said yet.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request head (without its empty line) on a connection of its own and reads until the gateway closes.
    pub(crate) async fn ask(&self, head: &str) -> Reply {
        http::ask(self.address, head).await
    }

    /// `GET path`.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        http::get(self.address, path).await
    }

    /// Sends a handshake with more header lines, and returns the stream and the answer's head.
    pub(crate) async fn handshake(&self, more: &str) -> (TcpStream, Reply) {
        let mut stream = self.connect().await;
        stream.write_all(format!("{HANDSHAKE}{more}\r\n").as_bytes()).await.unwrap();
        let reply = read_head(&mut stream).await;
        (stream, reply)
    }
}

/// A second descriptor of an adopted client's socket.
pub(crate) fn socket_of(client: &Arrival) -> std::net::TcpStream {
    let Transport::Plain(socket) = &client.transport else { panic!("an encrypted client: {client:?}") };
    socket.as_fd().try_clone_to_owned().expect("a descriptor is free").into()
}
