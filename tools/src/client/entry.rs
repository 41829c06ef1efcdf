//! How the client comes in: the token and the certificate that it shows, and which gateway it believes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_tungstenite::tungstenite::http::header::HeaderValue;
use tokio_tungstenite::{Connector, MaybeTlsStream};
use ws_gateway::tls::{Pair, client_config};

/// The options for it.
#[derive(Debug, Clone, Default, Args)]
pub struct EntryOptions {
    /// Token or API key that says who we are, for a gateway that wants one. Prefer the variable: everybody on the machine sees command lines
    #[arg(long, env = "CLIENT_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// Authorities (PEM) that a wss:// gateway's certificate is checked against, or that certificate itself, if it is self-signed
    /// [default: the public authorities]
    #[arg(long, env = "CLIENT_TLS_CA_FILE", value_name = "FILE")]
    pub tls_ca_file: Option<PathBuf>,

    /// Certificate (PEM) to show a gateway that asks for one
    #[arg(long, env = "CLIENT_TLS_CERT_FILE", value_name = "FILE", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,

    /// Private key (PEM) of that certificate
    #[arg(long, env = "CLIENT_TLS_KEY_FILE", value_name = "FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
}

/// What they come to, once their files are read.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// The header's value.
    pub(super) authorization: Option<HeaderValue>,
    /// For an address that begins with `wss://`.
    tls: Option<Arc<ClientConfig>>,
}

impl EntryOptions {
    /// Reads the files, for connections to this address. The token goes in a header, or else where the dialect has it.
    ///
    /// # Errors
    /// When a file can't be read or used, the token is empty or can't stand in a header, or an address without TLS has options for TLS.
    pub fn read(&self, url: &str, in_header: bool) -> anyhow::Result<Entry> {
        // As where the command that was to print it has failed.
        let is_empty = self.token.as_ref().is_some_and(|token| token.trim().is_empty());
        ensure!(
            !is_empty,
            "the token is empty: unset CLIENT_TOKEN, or leave out --token, to come without one"
        );
        let authorization = self.token.as_deref().filter(|_| in_header).map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
                .context("--token: a token has no line breaks and no control characters")?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        });
        let is_secure = url.starts_with("wss://");
        let asks_for_tls = self.tls_ca_file.is_some() || self.tls_cert_file.is_some();
        ensure!(
            is_secure || !asks_for_tls,
            "a certificate is for a --url that begins with wss://, not for {url}"
        );
        let tls = is_secure.then(|| self.tls());
        Ok(Entry { authorization: authorization.transpose()?, tls: tls.transpose()? })
    }

    fn tls(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let ca_file = self.tls_ca_file.as_deref();
        let named = |flag: &str, path: &Path| format!("{flag} {}", path.display());
        // By itself first, so that the error says which file is at fault.
        let anonymous = client_config(false, ca_file, None).with_context(|| {
            ca_file.map_or_else(|| "the public authorities".to_owned(), |file| named("--tls-ca-file", file))
        })?;
        let (Some(certificate), Some(key)) = (&self.tls_cert_file, &self.tls_key_file) else {
            return Ok(anonymous);
        };
        let named_certificate = || named("--tls-cert-file", certificate);
        let chain =
            CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.with_context(named_certificate)?;
        ensure!(!chain.is_empty(), "{}: it holds no certificate in PEM", named_certificate());
        let key = PrivateKeyDer::from_pem_file(key).with_context(|| named("--tls-key-file", key))?;
        client_config(false, ca_file, Some(Pair { chain, key })).with_context(named_certificate)
    }
}

impl Entry {
    /// For a WebSocket.
    pub(super) fn connector(&self) -> Connector {
        self.tls.clone().map_or(Connector::Plain, Connector::Rustls)
    }

    /// For HTTP: TLS over that connection, if the address wants it.
    ///
    /// # Errors
    /// When the gateway speaks no TLS, or isn't believed.
    pub(super) async fn secured(
        &self,
        socket: TcpStream,
        host: &str,
    ) -> std::io::Result<MaybeTlsStream<TcpStream>> {
        let Some(tls) = &self.tls else { return Ok(MaybeTlsStream::Plain(socket)) };
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let socket = TlsConnector::from(Arc::clone(tls)).connect(name, socket).await?;
        Ok(MaybeTlsStream::Rustls(socket))
    }

    /// Whether connections are encrypted.
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }
}

/// What helps against an error of TLS.
pub(super) fn way_out(error: &str) -> Option<&'static str> {
    if error.contains("UnknownIssuer") || error.contains("CaUsedAsEndEntity") {
        Some(
            "--tls-ca-file names the certificate's authority, or the certificate itself if it is self-signed",
        )
    } else if error.contains("CertificateRequired") {
        Some("the gateway asks for a certificate: --tls-cert-file and --tls-key-file")
    } else {
        None
    }
}
