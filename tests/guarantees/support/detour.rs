//! A way to a gateway that can be cut and led to another one, as a restarted gateway has the old one's name.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// An address that leads to a gateway.
pub(crate) struct Detour {
    pub(crate) addr: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Detour {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let target = Arc::new(Mutex::new(target));
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let (towards, all) = (Arc::clone(&target), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let target = *towards.lock().unwrap();
                all.lock().unwrap().spawn(async move {
                    if let Ok(mut gateway) = TcpStream::connect(target).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut gateway).await;
                    }
                });
            }
        });
        Self { addr, target, connections }
    }

    /// From now on it leads elsewhere.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }

    /// Ends every connection without a word.
    pub(crate) fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }
}
