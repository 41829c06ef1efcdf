//! Reads a certificate and its key from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::provider;
use crate::files::{ReadError, read_at_most};
use crate::limits::PEM_BYTES_MAX;

/// What a certificate of the gateway is for, and so which settings name its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// For connections of clients.
    Port,
    /// For the connection to Redis.
    RedisClient,
}

impl Role {
    /// The setting that names the certificate's file.
    pub const fn certificate_setting(self) -> &'static str {
        match self {
            Self::Port => "TLS_CERT_FILE",
            Self::RedisClient => "REDIS_CERT_FILE",
        }
    }

    /// The setting that names the key's file.
    pub const fn key_setting(self) -> &'static str {
        match self {
            Self::Port => "TLS_KEY_FILE",
            Self::RedisClient => "REDIS_KEY_FILE",
        }
    }
}

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// What the certificate is for.
    pub role: Role,
    /// PEM: the certificate, and behind it those that lead to its authority.
    pub certificate: PathBuf,
    /// PEM: the certificate's private key, not encrypted.
    pub key: PathBuf,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Pair {
    /// The certificate, then those that lead to its authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate's key.
    pub key: PrivateKeyDer<'static>,
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {path:?}: {reason}")]
pub struct FileError {
    /// The setting that names the file.
    setting: &'static str,
    /// The file.
    path: PathBuf,
    /// What is wrong with it, and what it should have instead.
    reason: String,
}

impl PairFiles {
    /// The paths of both files.
    pub fn paths(&self) -> Vec<PathBuf> {
        vec![self.certificate.clone(), self.key.clone()]
    }

    /// Reads both files.
    ///
    /// # Errors
    /// When a file can't be read or used, or the two don't belong together.
    pub fn read(&self) -> Result<Pair, FileError> {
        let chain = certificates(&self.certificate).map_err(|reason| self.wrong_certificate(reason))?;
        let wrong_key = |reason| self.wrong_key(reason);
        let keys = bounded(&self.key).map_err(wrong_key)?;
        let key = PrivateKeyDer::from_pem_slice(&keys).map_err(|error| wrong_key(no_key(&error, &keys)))?;
        // Checks that this is the certificate's key.
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider())
            .map_err(|error| self.unusable(&error))?;
        Ok(Pair { chain, key })
    }

    /// The error for the file that is at fault, when rustls refuses the pair with `error`.
    pub(super) fn unusable(&self, error: &Error) -> FileError {
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => self.wrong_key(format!(
                "it is not the key of the certificate in {}, which is {:?}",
                self.role.certificate_setting(),
                self.certificate
            )),
            Error::InvalidCertificate(_) => {
                self.wrong_certificate(format!("its certificate can't be used: {error}"))
            }
            _ => self.wrong_key(format!("its key can't be used, RSA, ECDSA and Ed25519 can: {error}")),
        }
    }

    fn wrong_certificate(&self, reason: String) -> FileError {
        FileError { setting: self.role.certificate_setting(), path: self.certificate.clone(), reason }
    }

    fn wrong_key(&self, reason: String) -> FileError {
        FileError { setting: self.role.key_setting(), path: self.key.clone(), reason }
    }
}

/// Asks clients for a certificate that one of the authorities in the file `TLS_CLIENT_CA_FILE` has signed.
///
/// # Errors
/// When the file can't be read, or holds no authority.
pub(super) fn client_authorities(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    let wrong = |reason| FileError { setting: "TLS_CLIENT_CA_FILE", path: path.to_owned(), reason };
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(path).map_err(wrong)? {
        authorities
            .add(certificate)
            .map_err(|error| wrong(format!("its certificate can't be used: {error}")))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider());
    verifier.build().map_err(|error| wrong(error.to_string()))
}

/// The certificates in a file, at least one; or why there is none.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = bounded(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| format!("it is not PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("it holds no certificate in PEM (BEGIN CERTIFICATE)".to_owned());
    }
    Ok(certificates)
}

/// Why a file holds no private key. It says nothing of what the file does hold.
fn no_key(error: &pem::Error, file: &[u8]) -> String {
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    if file.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
        return "its key is encrypted, and the gateway can't ask for the password; openssl pkey decrypts it"
            .to_owned();
    }
    match error {
        pem::Error::NoItemsFound => "it holds no private key in PEM (BEGIN PRIVATE KEY)".to_owned(),
        _ => "it is not PEM".to_owned(),
    }
}

/// A file's bytes, at most [`PEM_BYTES_MAX`] of them.
fn bounded(path: &Path) -> Result<Vec<u8>, String> {
    read_at_most(path, PEM_BYTES_MAX).map_err(|error| match error {
        ReadError::Io(error) => format!("it can't be read: {error}"),
        too_large @ ReadError::TooLarge(_) => too_large.to_string(),
    })
}
