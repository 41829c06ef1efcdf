//! Connections, registered with tokio, that may become clients of a shard.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::transport::Transport;

/// A connection that may become a client's.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Turns the connection into one for a shard's poll, and returns what was read of it and handed to nobody.
    ///
    /// # Errors
    /// When the socket can't be deregistered from tokio.
    fn into_transport(self) -> io::Result<(Transport, Bytes)>;
}

impl ClientStream for TcpStream {
    fn into_transport(self) -> io::Result<(Transport, Bytes)> {
        Ok((Transport::Plain(mio::net::TcpStream::from_std(self.into_std()?)), Bytes::new()))
    }
}

impl ClientStream for Box<TlsStream<TcpStream>> {
    fn into_transport(self) -> io::Result<(Transport, Bytes)> {
        let (stream, session) = self.into_inner();
        Ok((Transport::tls(mio::net::TcpStream::from_std(stream.into_std()?), session), Bytes::new()))
    }
}

/// A connection whose first bytes have been read already: they come first.
pub(super) struct Begun {
    begun: Bytes,
    stream: TcpStream,
}

impl Begun {
    pub(super) fn new(begun: Bytes, stream: TcpStream) -> Self {
        Self { begun, stream }
    }
}

impl ClientStream for Begun {
    fn into_transport(self) -> io::Result<(Transport, Bytes)> {
        let (transport, _) = self.stream.into_transport()?;
        Ok((transport, self.begun))
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { begun, stream } = self.get_mut();
        if begun.is_empty() {
            return Pin::new(stream).poll_read(context, buffer);
        }
        let taken = begun.len().min(buffer.remaining());
        buffer.put_slice(&begun[..taken]);
        begun.advance(taken);
        if begun.is_empty() {
            // It may be a part of a large buffer, which would stay as long as the connection.
            *begun = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn what_was_read_already_comes_first_in_pieces_of_any_size() {
        for piece_bytes in 1..8 {
            let (mut client, accepted) = pair().await;
            client.write_all(b"world").await.unwrap();
            client.shutdown().await.unwrap();
            let mut begun = Begun::new(Bytes::from_static(b"hello "), accepted);
            let mut read = Vec::new();
            let mut piece = vec![0; piece_bytes];
            while let count @ 1.. = begun.read(&mut piece).await.unwrap() {
                read.extend_from_slice(&piece[..count]);
            }
            assert_eq!(read, b"hello world");
        }
    }

    #[tokio::test]
    async fn what_nobody_took_is_handed_over() {
        let (_client, accepted) = pair().await;
        let mut begun = Begun::new(Bytes::from_static(b"request frame"), accepted);
        let mut request = [0; 8];
        begun.read_exact(&mut request).await.unwrap();
        let (_transport, unread) = begun.into_transport().unwrap();
        assert_eq!(unread, &b"frame"[..]);
    }
}
