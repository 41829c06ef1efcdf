//! TLS: certificates of the test's own, and clients that use them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use ws_gateway::config::Config;
use ws_gateway::tls::{Unchecked, provider, unchecked_client};

use super::http::Reply;
use super::{Client, PATIENCE};

/// A client under TLS.
pub(crate) type SecureClient = Client<TlsStream<TcpStream>>;

/// A certificate for `localhost` and its key, in files.
pub(crate) struct Identity {
    dir: TempDir,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let identity = Self { dir: TempDir::new().expect("a temporary directory") };
        identity.renew();
        identity
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    /// Puts another certificate and another key into the files; returns the certificate.
    pub(crate) fn renew(&self) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(self.key(), key.serialize_pem()).expect("the directory is ours");
        std::fs::write(self.certificate(), certificate.pem()).expect("the directory is ours");
        certificate.der().clone()
    }

    /// A gateway of this configuration speaks TLS.
    pub(crate) fn configure(&self, config: &mut Config) {
        config.server.tls_cert_file = Some(self.certificate());
        config.server.tls_key_file = Some(self.key());
    }

    /// The same as flags.
    pub(crate) fn flags(&self) -> [String; 4] {
        let [certificate, key] = [self.certificate(), self.key()].map(|path| path.display().to_string());
        ["--tls-cert-file".to_owned(), certificate, "--tls-key-file".to_owned(), key]
    }
}

/// Whoever signs clients' certificates.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    /// One of that name.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self { params, key: KeyPair::generate().expect("a key") }
    }

    /// Its certificate, in PEM.
    pub(crate) fn pem(&self) -> String {
        self.params.self_signed(&self.key).expect("a certificate").pem()
    }

    /// A client that shows a certificate which the authority has signed. It believes every server.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a client");
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate").der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let builder =
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked::new(provider())));
        Arc::new(builder.with_client_auth_cert(vec![certificate], key).expect("a pair"))
    }
}

/// A connection under TLS. It believes every certificate; [`shown`] says which one it was shown.
pub(crate) async fn connect(addr: SocketAddr) -> TlsStream<TcpStream> {
    shake_hands(unchecked_client().expect("a configuration"), addr, None).await
}

/// The same from that address.
pub(crate) async fn connect_from(own: Ipv4Addr, addr: SocketAddr) -> TlsStream<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((own, 0).into()).expect("loopback's network is this machine's");
    let stream = socket.connect(addr).await.expect("the gateway listens");
    over(unchecked_client().expect("a configuration"), stream).await
}

/// The same with that configuration and, if it is to hold little, a receive buffer of that size.
pub(crate) async fn shake_hands(
    config: Arc<ClientConfig>,
    addr: SocketAddr,
    receive_bytes: Option<u32>,
) -> TlsStream<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes).expect("a buffer");
    }
    over(config, socket.connect(addr).await.expect("the gateway listens")).await
}

async fn over(config: Arc<ClientConfig>, stream: TcpStream) -> TlsStream<TcpStream> {
    let name = "localhost".try_into().expect("a name");
    let shaking = TlsConnector::from(config).connect(name, stream);
    timeout(PATIENCE, shaking).await.expect("a handshake in time").expect("a TLS handshake")
}

/// The certificate that the gateway has shown.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
}

/// Whether the gateway takes that client: with TLS 1.3 a refusal comes behind what the client takes for the end of the handshake.
pub(crate) async fn takes(addr: SocketAddr, client: Arc<ClientConfig>) -> bool {
    let stream = TcpStream::connect(addr).await.expect("the gateway listens");
    let name = "localhost".try_into().expect("a name");
    let shaking = async {
        let mut stream = TlsConnector::from(client).connect(name, stream).await?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(PATIENCE, shaking).await.expect("an answer in time");
    answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// A WebSocket client under TLS.
pub(crate) async fn client(addr: SocketAddr) -> SecureClient {
    Client::on(connect(addr).await, &format!("wss://localhost:{}/ws", addr.port())).await
}

/// A client that is subscribed already.
pub(crate) async fn subscriber(addr: SocketAddr, symbols: &[&str]) -> SecureClient {
    let mut client = client(addr).await;
    client.subscribe(symbols).await;
    client
}

/// `GET path`, with more header lines.
pub(crate) async fn get(addr: SocketAddr, path: &str, more: &str) -> Reply {
    let mut stream = connect(addr).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer in time");
    read.expect("text, and an end that is announced by close_notify");
    Reply::parse(&answer)
}

/// `openssl s_client` towards the gateway, with what it is to be told.
pub(crate) fn openssl(addr: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &addr.to_string(), "-servername", "localhost"]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What `openssl s_client` says when it is told `input` and ends with the connection.
pub(crate) async fn openssl_says(addr: SocketAddr, args: &[&str], input: &str) -> String {
    let mut child = openssl(addr, args).spawn().expect("openssl is installed");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).await.expect("openssl reads");
    // Its end would be the connection's.
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("an end in time").expect("output");
    drop(stdin);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
