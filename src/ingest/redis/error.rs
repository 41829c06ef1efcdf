//! Errors of reaching Redis and of its replies, as text for the log.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::AlertDescription;
use rustls::pki_types::InvalidDnsNameError;
use thiserror::Error;
use tokio::time::timeout;

use crate::escape::Escaped;
use crate::limits;
use crate::resp::RespError;

/// Why Redis could not be reached or asked. Every caller tries again: most causes pass by themselves, the others need the
/// operator.
#[derive(Debug, Error)]
pub enum RedisError {
    /// The system reported an error in a step.
    #[error("{step}: {source}")]
    Io {
        /// The step.
        step: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A step took longer than its limit.
    #[error("{step}: no answer within {} s", .limit.as_secs())]
    Timeout {
        /// The step.
        step: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// No address of the host could be connected to.
    #[error("connect: {}", Each(.0))]
    Unreachable(Vec<(SocketAddr, io::Error)>),
    /// The host of a `rediss://` URL is no name that a certificate can have.
    #[error("bad host name for TLS: {0}")]
    TlsName(#[from] InvalidDnsNameError),
    /// The TLS handshake failed.
    #[error("TLS handshake: {}{}", .0, tls_advice(.0))]
    Tls(io::Error),
    /// The server refused a command.
    #[error("{command} refused: {words}{}", shown_advice(.advice))]
    Refused {
        /// The command.
        command: &'static str,
        /// The server's error reply.
        words: Words,
        /// What the operator can do, if the reply doesn't say it.
        advice: Option<String>,
    },
    /// The connection ended.
    #[error("{step}: {}{}", shown_end(.source), shown_words(.last_error))]
    Closed {
        /// The step.
        step: &'static str,
        /// The system's error; `None` if the server closed the connection.
        source: Option<io::Error>,
        /// The last error reply before that.
        last_error: Option<Words>,
    },
    /// The server's bytes are no RESP.
    #[error("not a Redis server: {0}")]
    NotRedis(#[from] RespError),
}

impl RedisError {
    /// Adds advice for the operator, if this is a refusal with error code `code`.
    #[must_use]
    pub fn advise(mut self, code: &str, advise: impl FnOnce() -> String) -> Self {
        if let Self::Refused { words, advice, .. } = &mut self
            && words.code() == code
        {
            *advice = Some(advise());
        }
        self
    }
}

/// A server's error reply, escaped for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(String);

impl Words {
    /// The first [`limits::LOGGED_ERROR_BYTES`] bytes of an error reply.
    pub fn new(reply: &[u8]) -> Self {
        Self(Escaped::new(reply, limits::LOGGED_ERROR_BYTES).to_string())
    }

    /// The first word, which is the error's code in Redis: `NOPERM`, `LOADING`.
    pub fn code(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// The text behind the code.
    pub fn rest(&self) -> &str {
        self.0.split_once(' ').map_or("", |(_, rest)| rest)
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Addresses and why each failed.
struct Each<'e>(&'e [(SocketAddr, io::Error)]);

impl fmt::Display for Each<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (address, error)) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

fn shown_advice(advice: &Option<String>) -> String {
    advice.as_ref().map_or_else(String::new, |advice| format!(" ({advice})"))
}

fn shown_end(source: &Option<io::Error>) -> String {
    let Some(error) = source else { return "closed by Redis".to_owned() };
    format!("{error}{}", if refuses_certificate(error) { CERTIFICATE_ADVICE } else { "" })
}

/// What the operator can do where Redis wants another certificate than the gateway has shown, or one at all.
const CERTIFICATE_ADVICE: &str =
    " (Redis refuses the gateway's certificate, or asks for one: REDIS_CERT_FILE and REDIS_KEY_FILE name it)";

/// Whether Redis has said so. With TLS 1.3 it does behind the handshake.
fn refuses_certificate(error: &io::Error) -> bool {
    use AlertDescription::{
        BadCertificate, CertificateExpired, CertificateRequired, CertificateUnknown, UnknownCA,
    };
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::AlertReceived(alert)) = error else { return false };
    matches!(
        alert,
        BadCertificate | CertificateExpired | CertificateRequired | CertificateUnknown | UnknownCA
    )
}

fn shown_words(last_error: &Option<Words>) -> String {
    last_error.as_ref().map_or_else(String::new, |words| format!("; before that Redis said: {words}"))
}

/// Advice for the operator about a failed TLS handshake.
fn tls_advice(error: &io::Error) -> &'static str {
    if refuses_certificate(error) {
        return CERTIFICATE_ADVICE;
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            " (REDIS_CA_FILE names the authority to trust, or the server's own certificate if it is self-signed)"
        }
        // The server sent something other than TLS, or nothing at all.
        Some(rustls::Error::InvalidMessage(_)) | None => {
            " (does this port speak TLS? redis:// connects without it; at maxclients Redis closes a TLS connection without an error)"
        }
        Some(_) => "",
    }
}

/// Runs one step under its time limit.
pub(super) async fn within<T>(
    step: &'static str,
    action: impl Future<Output = io::Result<T>>,
) -> Result<T, RedisError> {
    let limit = limits::UPSTREAM_STEP_TIMEOUT;
    match timeout(limit, action).await {
        Ok(outcome) => outcome.map_err(|source| RedisError::Io { step, source }),
        Err(_) => Err(RedisError::Timeout { step, limit }),
    }
}
