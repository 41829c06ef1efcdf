//! TLS on the port: its certificate, which can be replaced while the gateway runs, and the handshakes.
//!
//! A port with a certificate speaks TLS only. A peer that speaks plain HTTP to it is answered 400, as by nginx; one that speaks neither
//! is disconnected.

use std::io::{self, ErrorKind};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::limits::TLS_RECORD_BYTES;
use crate::metrics::{ControlMetrics, TlsFailure};
use crate::state::State;
use crate::tls::{FileError, Server, ServerFiles};

/// The first byte of every TLS handshake: a record's type (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// The port's certificate and key: those in use, and the files to read newer ones from.
#[derive(Debug)]
pub struct Certificate {
    files: ServerFiles,
    in_use: RwLock<Arc<ServerConfig>>,
    state: Arc<State>,
}

impl Certificate {
    /// Reads the certificate from these files.
    ///
    /// # Errors
    /// As [`Server::read`].
    pub fn read(files: ServerFiles, state: Arc<State>) -> Result<Self, FileError> {
        let Server { config, not_after_s } = Server::read(&files)?;
        state.metrics.control.tls_not_after_s.set(not_after_s.unwrap_or_default());
        Ok(Self { files, in_use: RwLock::new(config), state })
    }

    /// The configuration for the next handshake. Nothing panics under the lock, so poisoning means nothing.
    fn in_use(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.in_use.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again. If their pair can't be used, the one in use stays, and the log says why. Blocks.
    pub fn reload(&self) {
        let control = &self.state.metrics.control;
        match Server::read(&self.files) {
            Ok(Server { config, not_after_s }) => {
                *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = config;
                control.tls_not_after_s.set(not_after_s.unwrap_or_default());
                control.tls_reloads.add_shared(1);
                info!(file = %self.files.pair.certificate.display(), "the certificate was read again, and new clients get it");
            }
            Err(error) => {
                control.tls_reloads_refused.add_shared(1);
                warn!("the certificate in use stays: {error}");
            }
        }
    }
}

/// The protocol that a peer speaks.
pub(super) enum Spoken {
    /// TLS, and the handshake is done.
    Tls(Box<TlsStream<TcpStream>>),
    /// Probably plain HTTP, by its first byte.
    Http(TcpStream),
}

/// Does the TLS handshake with a peer, until `deadline`. Returns `None` if it fails, and counts that.
pub(super) async fn shake_hands(
    stream: TcpStream,
    certificate: &Certificate,
    deadline: Instant,
) -> Option<Spoken> {
    let control = &certificate.state.metrics.control;
    let outcome = timeout_at(deadline, speak(stream, certificate)).await;
    match outcome.unwrap_or(Err(Failed::Timeout)) {
        Ok(spoken) => Some(spoken),
        Err(failed) => {
            failed.report(control);
            None
        }
    }
}

async fn speak(stream: TcpStream, certificate: &Certificate) -> Result<Spoken, Failed> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        // Port checks connect and disconnect without a byte. That counts as no failure.
        return Err(Failed::Silent);
    }
    match first[0] {
        HANDSHAKE_RECORD => {
            let accepting = TlsAcceptor::from(certificate.in_use())
                .accept_with(stream, |session| session.set_buffer_limit(Some(TLS_RECORD_BYTES)));
            let accepted = accepting.await?;
            certificate.state.metrics.control.tls_handshakes.add_shared(1);
            Ok(Spoken::Tls(Box::new(accepted)))
        }
        byte if byte.is_ascii_uppercase() => {
            certificate.state.metrics.control.tls_failed(TlsFailure::PlainHttp).add_shared(1);
            Ok(Spoken::Http(stream))
        }
        _ => Err(Failed::NotTls),
    }
}

/// Why a handshake failed.
enum Failed {
    Timeout,
    Silent,
    NotTls,
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failed {
    /// Counts the failure, and logs it at level debug.
    fn report(self, control: &ControlMetrics) {
        let (failure, why) = match self {
            Self::Silent => return,
            Self::Timeout => (TlsFailure::Timeout, "no handshake in time".to_owned()),
            Self::NotTls => (TlsFailure::NotTls, "neither TLS nor HTTP".to_owned()),
            // This is an error of rustls.
            Self::Io(error) if error.kind() == ErrorKind::InvalidData => {
                (TlsFailure::Refused, error.to_string())
            }
            Self::Io(error) => (TlsFailure::Closed, error.to_string()),
        };
        control.tls_failed(failure).add_shared(1);
        debug!(reason = failure.word(), why, "a TLS handshake failed");
    }
}
