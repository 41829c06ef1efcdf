//! A key server as issuers have one, over HTTPS, that answers as it is told to; and keys that sign tokens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use url::Url;
use ws_gateway::config::Config;
use ws_gateway::tls::provider;

use super::ReservedPort;
use super::tls::Identity;
use super::tokens::from_now;

/// A key that signs tokens, and its `kid`.
pub(crate) struct Signer {
    pub(crate) kid: String,
    key: EncodingKey,
    public: DecodingKey,
    algorithm: Algorithm,
}

impl Signer {
    /// On P-256.
    pub(crate) fn new(kid: &str) -> Self {
        Self::of(&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256, kid)
    }

    pub(crate) fn of(kind: &'static rcgen::SignatureAlgorithm, algorithm: Algorithm, kid: &str) -> Self {
        let pair = KeyPair::generate_for(kind).expect("a key");
        let (private, public) = (pair.serialize_pem(), pair.public_key_pem());
        let (private, public) = (private.as_bytes(), public.as_bytes());
        let (key, public) = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => {
                (EncodingKey::from_ec_pem(private), DecodingKey::from_ec_pem(public))
            }
            Algorithm::EdDSA => (EncodingKey::from_ed_pem(private), DecodingKey::from_ed_pem(public)),
            _ => (EncodingKey::from_rsa_pem(private), DecodingKey::from_rsa_pem(public)),
        };
        let (key, public) = (key.expect("a private key"), public.expect("a public key"));
        Self { kid: kid.to_owned(), key, public, algorithm }
    }

    /// The public key, as it stands in a set.
    pub(crate) fn jwk(&self) -> Value {
        // A gateway would have done it.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let jwk = Jwk::from_decoding_key(&self.public, Some(self.algorithm)).expect("a public key");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token of that user, for an hour.
    pub(crate) fn token(&self, user: &str) -> String {
        self.sign(&json!({"sub": user, "exp": from_now(3_600)}))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(claims, Some(&self.kid))
    }

    /// With another `kid` in the header, or without one.
    pub(crate) fn sign_as(&self, claims: &Value, kid: Option<&str>) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).expect("a token")
    }
}

/// A key set.
pub(crate) fn set(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
}

/// How the server answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// 200 with this body.
    Body(String),
    /// These bytes, and then its end.
    Raw(String),
    /// These bytes, then the others again and again.
    Endless(String, String),
    /// These bytes one by one, a tenth of a second apart.
    Slow(String),
    /// Nothing, and no end.
    Nothing,
    /// As the other one, once the test gives a permit.
    Held(Arc<Semaphore>, Box<Self>),
}

/// A 200 with header lines of one's own.
pub(crate) fn ok(lines: &str, body: &str) -> Answer {
    Answer::Raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{lines}\r\n{body}", body.len()))
}

type Answers = Arc<Mutex<Vec<(String, Answer)>>>;

/// A server on a port of 127.0.0.1.
pub(crate) struct KeyServer {
    pub(crate) addr: SocketAddr,
    _reserved: ReservedPort,
    identity: Option<Identity>,
    /// By path; the first that a request's begins with.
    answers: Answers,
    asked: Arc<AtomicUsize>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl KeyServer {
    /// Over HTTPS.
    pub(crate) async fn start(answer: Answer) -> Self {
        Self::with(Some(Identity::new()), answer).await
    }

    /// Over plain HTTP.
    pub(crate) async fn plain(answer: Answer) -> Self {
        Self::with(None, answer).await
    }

    async fn with(identity: Option<Identity>, answer: Answer) -> Self {
        let reserved = ReservedPort::new();
        let addr = reserved.addr();
        let listener = TcpListener::bind(addr).await.expect("its port is reserved");
        let server = Self {
            addr,
            _reserved: reserved,
            identity,
            answers: Arc::new(Mutex::new(vec![("/".to_owned(), answer)])),
            asked: Arc::default(),
            serving: Mutex::default(),
        };
        server.serve(listener);
        server
    }

    fn serve(&self, listener: TcpListener) {
        let acceptor = self.identity.as_ref().map(acceptor);
        let (answers, asked) = (Arc::clone(&self.answers), Arc::clone(&self.asked));
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                match acceptor.clone() {
                    Some(acceptor) => connections.spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            converse(stream, &answers, &asked).await;
                        }
                    }),
                    None => connections.spawn(async move { converse(stream, &answers, &asked).await }),
                };
            }
        });
        *self.serving.lock().unwrap() = Some(serving);
    }

    /// Ends it: whoever connects is refused.
    pub(crate) async fn die(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some(serving) = serving {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// It is there again.
    pub(crate) async fn revive(&self) {
        let listener = TcpListener::bind(self.addr).await.expect("its port is reserved");
        self.serve(listener);
    }

    pub(crate) fn answers(&self, answer: Answer) {
        self.answers_at("/", answer);
    }

    pub(crate) fn answers_at(&self, path: &str, answer: Answer) {
        let mut answers = self.answers.lock().unwrap();
        answers.retain(|(known, _)| known != path);
        answers.insert(0, (path.to_owned(), answer));
        answers.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    }

    /// How many requests have come.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// An address of it.
    pub(crate) fn url(&self, path: &str) -> Url {
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}{path}", self.addr.port()).parse().expect("a URL")
    }

    /// Whom one has to trust.
    pub(crate) fn ca_file(&self) -> Option<PathBuf> {
        self.identity.as_ref().map(Identity::certificate)
    }

    /// A gateway of this configuration has its keys from here, and asks as soon as it wants to.
    pub(crate) fn configure(&self, config: &mut Config) {
        config.access.jwks_url = Some(self.url("/jwks.json"));
        self.configure_trust(config);
    }

    /// The same without `JWKS_URL`.
    pub(crate) fn configure_trust(&self, config: &mut Config) {
        config.access.jwks_ca_file = self.ca_file();
        config.access.key_pace.unknown_key_interval = Duration::ZERO;
    }

    /// The same as flags, at the pace of every gateway.
    pub(crate) fn flags(&self) -> Vec<String> {
        let mut flags = vec!["--jwks-url".to_owned(), self.url("/jwks.json").to_string()];
        if let Some(file) = self.ca_file() {
            flags.extend(["--jwks-ca-file".to_owned(), file.display().to_string()]);
        }
        flags
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.lock().unwrap().take() {
            serving.abort();
        }
    }
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(identity.certificate()).expect("a file");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(identity.key()).expect("a key");
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a pair")))
}

/// Reads one request and answers it.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answers: &Answers, asked: &AtomicUsize) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    asked.fetch_add(1, Ordering::Relaxed);
    let head = String::from_utf8(head).expect("text");
    let path = head.split(' ').nth(1).expect("a path").to_owned();
    assert!(head.starts_with("GET ") && !head.contains("uthorization"), "{head}");
    let answer = {
        let answers = answers.lock().unwrap();
        let known = answers.iter().find(|(known, _)| path.starts_with(known.as_str()));
        known.expect("an answer").1.clone()
    };
    // Whoever asks may have had enough.
    let _ = write(&mut stream, answer).await;
    let _ = stream.shutdown().await;
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), mut answer: Answer) -> std::io::Result<()> {
    while let Answer::Held(gate, then) = answer {
        gate.acquire().await.expect("the gate is never closed").forget();
        answer = *then;
    }
    match answer {
        Answer::Body(body) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await
        }
        Answer::Raw(text) => stream.write_all(text.as_bytes()).await,
        Answer::Endless(head, more) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(more.as_bytes()).await?;
            }
        }
        Answer::Slow(text) => {
            for byte in text.as_bytes() {
                stream.write_all(&[*byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        }
        Answer::Nothing => std::future::pending().await,
        Answer::Held(..) => Ok(()),
    }
}

/// Whether nobody listens there any more.
pub(crate) async fn is_dead(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).await.is_err()
}
