//! TLS: reads certificates and keys from files, and makes rustls' configurations. Pure, but for reading the files.
//!
//! | towards | own certificate | own key | trusted certificates |
//! |---|---|---|---|
//! | clients | `TLS_CERT_FILE` | `TLS_KEY_FILE` | none is asked for, or one of `TLS_CLIENT_CA_FILE`'s authorities |
//! | Redis | `REDIS_CERT_FILE` | `REDIS_KEY_FILE` | see [`client_config`] |
//! | the server of `JWKS_URL` | – | – | see [`client_config`] |
//! | the gateway, from `--healthcheck` | – | – | all: it knows the address from the configuration |

mod client;
mod files;
mod unchecked;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ServerConfig};

pub use self::client::client_config;
pub use self::files::{FileError, Pair, PairFiles, Role};
pub use self::unchecked::Unchecked;

/// The only application protocol under TLS (RFC 7301). A client that offers only others is refused; one that offers none is accepted.
const ALPN: &[u8] = b"http/1.1";

/// TLS towards clients.
#[derive(Debug, Clone)]
pub struct Server {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    /// When the certificate expires, in seconds since 1970; `None` if that can't be read.
    pub not_after_s: Option<u64>,
}

/// The files that a port's TLS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The port's certificate and key.
    pub pair: PairFiles,
    /// Authorities of clients' certificates; `None` = clients are asked for none.
    pub client_ca: Option<PathBuf>,
}

impl ServerFiles {
    /// All of them.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.pair.paths().into_iter().chain(self.client_ca.clone()).collect()
    }
}

impl Server {
    /// Reads the port's files, for TLS 1.2 and 1.3. Each `Server` encrypts session tickets with keys of its own, so no client resumes a
    /// session of another certificate or of other authorities.
    ///
    /// # Errors
    /// When a file can't be read or used, or certificate and key don't belong together.
    pub fn read(ServerFiles { pair: files, client_ca }: &ServerFiles) -> Result<Self, FileError> {
        let Pair { chain, key } = files.read()?;
        let not_after_s = chain.first().and_then(not_after_s);
        let unusable = |error| files.unusable(&error);
        let clients = match client_ca {
            Some(path) => files::client_authorities(path)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.ticketer = Ticketer::new().map_err(unusable)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), not_after_s })
    }
}

/// The process' cryptography. An embedding program may have installed its own.
pub fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}

/// TLS towards a server whose certificate is not checked.
///
/// # Errors
/// When the process' cryptography supports neither TLS 1.2 nor 1.3.
pub fn unchecked_client() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(Unchecked::new(provider));
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

/// When a certificate expires. WebPKI reports that only in its error for an expired one, so this verifies the certificate at the last
/// second that a certificate can name. WebPKI checks the dates before it looks for an issuer.
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
