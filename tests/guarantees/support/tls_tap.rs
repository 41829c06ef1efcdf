//! A way to a gateway on which TLS records are counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The type of records that carry application data (RFC 8446 section 5.1); in TLS 1.3 it is that of all that is encrypted.
const APPLICATION_DATA: u8 = 23;

/// An address that leads to a gateway, for one connection.
pub(crate) struct TlsTap {
    pub(crate) addr: SocketAddr,
    records: Arc<AtomicUsize>,
}

impl TlsTap {
    pub(crate) async fn to(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let records: Arc<AtomicUsize> = Arc::default();
        let counted = Arc::clone(&records);
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.expect("a client");
            let gateway = TcpStream::connect(gateway).await.expect("the gateway listens");
            let (mut from_client, to_client) = client.into_split();
            let (from_gateway, mut to_gateway) = gateway.into_split();
            let upwards = tokio::io::copy(&mut from_client, &mut to_gateway);
            // Either end may have enough first.
            let _ = tokio::join!(upwards, pass_on(from_gateway, to_client, counted));
        });
        Self { addr, records }
    }

    /// How many records of application data the gateway has begun. Those of what the client has read are among them.
    pub(crate) fn records(&self) -> usize {
        self.records.load(Ordering::SeqCst)
    }
}

/// Passes bytes on, and counts the records before it does.
async fn pass_on(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    counted: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut buffer = [0; 64 * 1024];
    // Of a record: its type, its version and its length; and how much of it is to come behind that.
    let (mut header, mut to_come) = (Vec::with_capacity(5), 0);
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        for byte in &buffer[..read] {
            if to_come > 0 {
                to_come -= 1;
                continue;
            }
            header.push(*byte);
            if let [kind, _, _, high, low] = header[..] {
                to_come = u16::from_be_bytes([high, low]);
                if kind == APPLICATION_DATA {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                header.clear();
            }
        }
        to.write_all(&buffer[..read]).await?;
    }
}
