//! TLS: certificates and keys out of files, and what the gateway speaks with them. Pure, but for reading the files.
//!
//! | for | certificate | key | whom it believes |
//! |---|---|---|---|
//! | clients | `TLS_CERT_FILE` | `TLS_KEY_FILE` | everybody |
//! | Redis | `REDIS_CERT_FILE` | `REDIS_KEY_FILE` | see [`crate::ingest::redis::tls`] |
//! | `--healthcheck` | – | – | every certificate: it asks a gateway that it has the configuration of |

mod files;
mod unchecked;

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};

pub use self::files::{FileError, Pair, PairFiles, Role};
pub use self::unchecked::Unchecked;

/// The only protocol that is spoken under TLS (RFC 7301). A client that offers others alone is refused, one that offers none is not.
const ALPN: &[u8] = b"http/1.1";

/// What a handshake with a client needs.
#[derive(Debug, Clone)]
pub struct Server {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    /// When the certificate ends, in seconds since 1970; `None` if it doesn't say.
    pub not_after_s: Option<u64>,
}

impl Server {
    /// What the port's certificate and key make: TLS 1.2 and 1.3. Its session tickets are encrypted with keys of its own, so no client
    /// resumes what was agreed with another certificate.
    ///
    /// # Errors
    /// When a file can't be read or used, or they don't belong to each other.
    pub fn read(files: &PairFiles) -> Result<Self, FileError> {
        let Pair { chain, key } = files.read()?;
        let not_after_s = chain.first().and_then(not_after_s);
        let unusable = |error| files.unusable(&error);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.ticketer = Ticketer::new().map_err(unusable)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), not_after_s })
    }
}

/// The process' cryptography; a program that embeds the gateway may have installed its own.
pub fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}

/// A client that encrypts and doesn't ask with whom.
///
/// # Errors
/// When the process' cryptography knows no version of TLS that rustls does.
pub fn unchecked_client() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(Unchecked::new(provider));
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

/// When a certificate ends. WebPKI tells it of a certificate that has ended, as each has by the last second that a certificate can name;
/// and it looks at the dates before it looks for somebody who vouches for it.
fn not_after_s(certificate: &CertificateDer<'_>) -> Option<u64> {
    const END_OF_9999_S: u64 = 253_402_300_799;
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let end = UnixTime::since_unix_epoch(Duration::from_secs(END_OF_9999_S));
    let verdict = certificate.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[],
        &[],
        end,
        webpki::KeyUsage::server_auth(),
        None,
        None,
    );
    match verdict {
        Err(webpki::Error::CertExpired { not_after, .. }) => Some(not_after.as_secs()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
