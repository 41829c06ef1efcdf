//! Makes keys, and reads those that tokens are signed with.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail, ensure};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header, encode};
use pem::{EncodeConfig, LineEnding, Pem};
use serde_json::{Value, json};

use crate::term::{print, tell};

/// The least that a secret may be: what the gateway takes.
const SECRET_MIN_BYTES: usize = 32;

/// What `key` makes.
#[derive(Debug, Args)]
pub struct Options {
    /// Algorithm: HS256 to HS512 (a secret), RS256 to PS512 (RSA), ES256, ES384, EdDSA
    #[arg(long, value_name = "ALG", default_value = "ES256")]
    pub alg: Algorithm,

    /// Where a pair goes: NAME.key.pem, NAME.pub.pem and NAME.jwks.json. What is there stays
    #[arg(long, value_name = "NAME", default_value = "ws-token")]
    pub out: PathBuf,

    /// The key's name in a key set [default: its thumbprint, RFC 7638]
    #[arg(long, value_name = "TEXT")]
    pub kid: Option<String>,

    /// Bits of an RSA key: 2048, 3072 or 4096
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub bits: u16,
}

/// Makes a key.
///
/// # Errors
/// When it can't be made, or its files can't be written or are there already.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { alg, out, kid, bits } = options;
    if alg_family(*alg) == AlgorithmFamily::Hmac {
        // As text, since it goes into a variable: 43 characters of 6 bits.
        let mut secret = [0; SECRET_MIN_BYTES];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| anyhow!("the system has no random numbers"))?;
        print(&URL_SAFE_NO_PAD.encode(secret))?;
        tell("-- a secret for JWT_SECRET_KEY: who has it can sign any token");
        return Ok(ExitCode::SUCCESS);
    }
    let (private, public) = make(*alg, *bits)?;
    let key = read_private(private.as_bytes())?;
    let kid = kid.clone().map_or_else(|| thumbprint(&key, *alg), Ok)?;
    let mut jwk = public_jwk(&key, *alg)?;
    jwk["kid"] = json!(kid);
    jwk["use"] = json!("sig");
    let set = format!("{:#}\n", json!({"keys": [jwk]}));
    let named = |end: &str| PathBuf::from(format!("{}.{end}", out.display()));
    let (private_file, public_file, set_file) = (named("key.pem"), named("pub.pem"), named("jwks.json"));
    for file in [&private_file, &public_file, &set_file] {
        ensure!(!file.exists(), "{} is there already: choose another --out", file.display());
    }
    write(&private_file, 0o600, &private)?;
    write(&public_file, 0o644, &public)?;
    write(&set_file, 0o644, &set)?;
    print(&format!("{alg:?} key {kid}"))?;
    print(&format!("  {}  private: ws-token sign --key {0}", private_file.display()))?;
    print(&format!("  {}  public: JWT_PUBLIC_KEY_FILE={0}", public_file.display()))?;
    print(&format!("  {}  key set: what a server at JWKS_URL answers", set_file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A key to sign with, and what it signs by itself.
pub struct SigningKey {
    /// For jsonwebtoken.
    pub key: EncodingKey,
    /// The algorithm of its type.
    pub algorithm: Algorithm,
}

/// Reads a private key in PEM (PKCS #8, or PKCS #1 for RSA).
///
/// # Errors
/// When the file can't be read, or has another key.
pub fn read(path: &Path) -> anyhow::Result<SigningKey> {
    let named = || path.display().to_string();
    let pem = std::fs::read(path).with_context(named)?;
    let key = read_private(&pem).with_context(named)?;
    // Of the algorithms of its type the first that it signs with: the curve decides.
    let signs = |algorithm: &Algorithm| {
        alg_family(*algorithm) == key.family() && encode(&Header::new(*algorithm), &json!({}), &key).is_ok()
    };
    let known = [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
    let algorithm = known.into_iter().find(signs);
    let algorithm =
        algorithm.ok_or_else(|| anyhow!("tokens can't be signed with this key")).with_context(named)?;
    Ok(SigningKey { key, algorithm })
}

/// A secret.
///
/// # Errors
/// When it is shorter than a gateway takes.
pub fn secret(text: &str) -> anyhow::Result<SigningKey> {
    ensure!(text.len() >= SECRET_MIN_BYTES, "a secret must have at least {SECRET_MIN_BYTES} bytes");
    Ok(SigningKey { key: EncodingKey::from_secret(text.as_bytes()), algorithm: Algorithm::HS256 })
}

/// The name that `key` gives to a key of a pair.
///
/// # Errors
/// When it is none of a pair.
pub fn thumbprint(key: &EncodingKey, algorithm: Algorithm) -> anyhow::Result<String> {
    Ok(Jwk::from_encoding_key(key, algorithm)?.thumbprint(ThumbprintHash::SHA256)?)
}

/// What kind of key an algorithm is for.
pub fn alg_family(algorithm: Algorithm) -> AlgorithmFamily {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => AlgorithmFamily::Hmac,
        Algorithm::ES256 | Algorithm::ES384 => AlgorithmFamily::Ec,
        Algorithm::EdDSA => AlgorithmFamily::Ed,
        _ => AlgorithmFamily::Rsa,
    }
}

fn read_private(pem: &[u8]) -> anyhow::Result<EncodingKey> {
    let rsa = EncodingKey::from_rsa_pem(pem).or_else(|_| EncodingKey::from_ed_pem(pem));
    rsa.or_else(|_| EncodingKey::from_ec_pem(pem)).map_err(|_| {
        anyhow!(
            "it has no private key in PEM that is not encrypted (RSA, EC in PKCS #8, Ed25519); openssl pkcs8 -topk8 -nocrypt makes one of others"
        )
    })
}

fn public_jwk(key: &EncodingKey, algorithm: Algorithm) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(Jwk::from_encoding_key(key, algorithm)?)?)
}

/// A new pair in PEM: the private key, and the public one.
fn make(algorithm: Algorithm, bits: u16) -> anyhow::Result<(String, String)> {
    let failed = |_| anyhow!("the key can't be made");
    let (private, public): (Vec<u8>, PublicKeyX509Der<'_>) = match alg_family(algorithm) {
        AlgorithmFamily::Rsa => {
            let size = match bits {
                2048 => KeySize::Rsa2048,
                3072 => KeySize::Rsa3072,
                4096 => KeySize::Rsa4096,
                _ => bail!("--bits {bits}: must be 2048, 3072 or 4096"),
            };
            let pair = RsaKeyPair::generate(size).map_err(failed)?;
            (pkcs8(&pair)?, pair.public_key().as_der().map_err(failed)?)
        }
        AlgorithmFamily::Ec => {
            let curve = match algorithm {
                Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
                _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
            };
            let pair = EcdsaKeyPair::generate(curve).map_err(failed)?;
            (
                pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
                pair.public_key().as_der().map_err(failed)?,
            )
        }
        AlgorithmFamily::Ed => {
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            (pkcs8(&pair)?, pair.public_key().as_der().map_err(failed)?)
        }
        AlgorithmFamily::Hmac => bail!("a secret is no pair"),
    };
    Ok((in_pem("PRIVATE KEY", &private), in_pem("PUBLIC KEY", public.as_ref())))
}

fn pkcs8<'p>(pair: &impl AsDer<Pkcs8V1Der<'p>>) -> anyhow::Result<Vec<u8>> {
    Ok(pair.as_der().map_err(|_| anyhow!("the key can't be written"))?.as_ref().to_vec())
}

fn in_pem(label: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(label, der), config)
}

/// A new file that only its mode's readers may read from its first byte on.
fn write(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| path.display().to_string())
}
