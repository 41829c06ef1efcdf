//! TLS on the port: its certificate, which may be replaced while the gateway runs, and the handshakes.
//!
//! A port speaks TLS or it doesn't. A peer that speaks plain HTTP to one that does is answered 400, as nginx does; one that speaks
//! neither is closed.

use std::io::{self, ErrorKind};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::metrics::{ControlMetrics, TlsFailure};
use crate::state::State;
use crate::tls::{FileError, PairFiles, Server};

/// The first byte of every TLS handshake: a record's type (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// The port's certificate and key: those in use, and where newer ones would be.
#[derive(Debug)]
pub struct Certificate {
    files: PairFiles,
    in_use: RwLock<Arc<ServerConfig>>,
    state: Arc<State>,
}

impl Certificate {
    /// The certificate that is in these files now.
    ///
    /// # Errors
    /// As [`Server::read`].
    pub fn read(files: PairFiles, state: Arc<State>) -> Result<Self, FileError> {
        let Server { config, not_after_s } = Server::read(&files)?;
        state.metrics.control.tls_not_after_s.set(not_after_s.unwrap_or_default());
        Ok(Self { files, in_use: RwLock::new(config), state })
    }

    /// For the next handshake. Nothing panics under the lock, so it is never poisoned in earnest.
    fn in_use(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.in_use.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again. A pair that can't be used leaves the one that is in use, and the log says why. Blocks.
    pub fn reload(&self) {
        let control = &self.state.metrics.control;
        match Server::read(&self.files) {
            Ok(Server { config, not_after_s }) => {
                *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = config;
                control.tls_not_after_s.set(not_after_s.unwrap_or_default());
                control.tls_reloads.add_shared(1);
                info!(file = %self.files.certificate.display(), "new clients are shown the certificate that is there now");
            }
            Err(error) => {
                control.tls_reloads_refused.add_shared(1);
                warn!("the certificate in use stays: {error}");
            }
        }
    }
}

/// What a peer has begun to speak.
pub(super) enum Spoken {
    /// TLS, and the handshake is done.
    Tls(Box<TlsStream<TcpStream>>),
    /// Something that looks like HTTP.
    Http(TcpStream),
}

/// Shakes hands with a peer until `deadline`. `None` if nothing comes of it, which is counted.
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
            failed.tell(control);
            None
        }
    }
}

async fn speak(stream: TcpStream, certificate: &Certificate) -> Result<Spoken, Failed> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        // A peer that goes without a word, as port checks do, has failed at nothing.
        return Err(Failed::Silent);
    }
    match first[0] {
        HANDSHAKE_RECORD => {
            let accepted = TlsAcceptor::from(certificate.in_use()).accept(stream).await?;
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

/// Why nothing came of a handshake.
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
    /// Counts it, and tells those who debug.
    fn tell(self, control: &ControlMetrics) {
        let (failure, why) = match self {
            Self::Silent => return,
            Self::Timeout => (TlsFailure::Timeout, "no handshake in time".to_owned()),
            Self::NotTls => (TlsFailure::NotTls, "neither TLS nor HTTP".to_owned()),
            // rustls' own words.
            Self::Io(error) if error.kind() == ErrorKind::InvalidData => {
                (TlsFailure::Refused, error.to_string())
            }
            Self::Io(error) => (TlsFailure::Closed, error.to_string()),
        };
        control.tls_failed(failure).add_shared(1);
        debug!(reason = failure.word(), why, "a TLS handshake failed");
    }
}
