//! The keys that JSON Web Tokens are verified with. The algorithm comes from the key, never from the token.

use anyhow::Context;
use jsonwebtoken::crypto::{self, aws_lc};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::Value;

use crate::config::access::Access;
use crate::identity::Expiry;
use crate::identity::claims::Claims;
use crate::unix_time::unix_ms;

/// A key, and the algorithms that it is for.
#[derive(Debug)]
pub struct Key {
    key: DecodingKey,
    algorithms: &'static [Algorithm],
}

/// What a token has to say, beside being signed.
#[derive(Debug)]
pub struct TokenRules {
    /// They count in whole seconds.
    checks: Validation,
    leeway_ms: u64,
}

/// Why a file has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is something else.
    #[error("it must be a public key in PEM (\"BEGIN PUBLIC KEY\" or \"BEGIN RSA PUBLIC KEY\")")]
    NoPublicKey,
    /// It is a key that no algorithm is for.
    #[error("its key must be RSA, EC on P-256 or P-384, or Ed25519")]
    Unsupported,
}

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
/// The algorithms of an RSA key.
pub(super) const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
/// The algorithm of a key on P-256.
pub(super) const ES256: &[Algorithm] = &[Algorithm::ES256];
/// The algorithm of a key on P-384.
pub(super) const ES384: &[Algorithm] = &[Algorithm::ES384];
/// The algorithm of an Ed25519 key.
pub(super) const EDDSA: &[Algorithm] = &[Algorithm::EdDSA];

/// The header of a token that says that it is signed with one key of a pair, of which servers show the other.
pub fn header_of_a_pair(token: &str) -> Option<Header> {
    decode_header(token).ok().filter(|header| !HMAC.contains(&header.alg))
}

impl Key {
    /// A key for those algorithms.
    pub(super) const fn new(key: DecodingKey, algorithms: &'static [Algorithm]) -> Self {
        Self { key, algorithms }
    }

    /// The algorithms that it is for.
    pub const fn algorithms(&self) -> &'static [Algorithm] {
        self.algorithms
    }

    /// Whether tokens of that algorithm may be signed with it.
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// The secret that both sides know.
    pub fn from_secret(secret: &[u8]) -> Self {
        Self { key: DecodingKey::from_secret(secret), algorithms: HMAC }
    }

    /// The public key of a PEM file.
    ///
    /// # Errors
    /// When it has none, or one that tokens aren't signed with.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(pem).map_err(|_| KeyError::NoPublicKey)?;
        let is_public = text.contains("BEGIN PUBLIC KEY") || text.contains("BEGIN RSA PUBLIC KEY");
        if !is_public || text.contains("PRIVATE KEY") {
            return Err(KeyError::NoPublicKey);
        }
        if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            return Ok(Self { key, algorithms: RSA });
        }
        if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            return Ok(Self { key, algorithms: EDDSA });
        }
        let key = DecodingKey::from_ec_pem(pem).map_err(|_| KeyError::Unsupported)?;
        // An uncompressed point: a byte, and two numbers of the curve's size (SEC 1, section 2.3.3).
        let algorithms = match key.try_get_as_bytes().map(<[u8]>::len) {
            Ok(65) => ES256,
            Ok(97) => ES384,
            _ => return Err(KeyError::Unsupported),
        };
        Ok(Self { key, algorithms })
    }
}

impl TokenRules {
    /// Those of a configuration.
    pub fn of(access: &Access) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        let leeway_ms = access.leeway.as_millis() as u64;
        rules.leeway = leeway_ms.div_ceil(1_000);
        rules.required_spec_claims.clear();
        if access.require_exp {
            rules.required_spec_claims.insert("exp".to_owned());
        }
        // A token for certain audiences is not refused where nobody has said which this gateway is.
        rules.validate_aud = !access.audiences.is_empty();
        if rules.validate_aud {
            rules.set_audience(&access.audiences);
            rules.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &access.issuer {
            rules.set_issuer(&[issuer]);
            rules.required_spec_claims.insert("iss".to_owned());
        }
        Self { checks: rules, leeway_ms }
    }

    /// The claims of a token that the key has signed. `exp` is checked here in whole seconds, never too early; the caller checks the exact end, and `nbf`.
    ///
    /// # Errors
    /// When it has not, or when the claims aren't what they have to be.
    pub fn verify(&self, token: &str, key: &Key) -> Result<Claims, Error> {
        let rules = Validation { algorithms: key.algorithms.to_vec(), ..self.checks.clone() };
        decode(token, &key.key, &rules).map(|data| data.claims)
    }

    /// Whether a token may hold under a key that isn't known: its claims, which anybody can have written, don't say that it can't.
    pub fn may_hold(&self, token: &str) -> bool {
        let Ok(claims) = insecure_decode_claims::<Claims>(token) else { return false };
        let has_ended = match expiry(&claims, self.leeway_ms()) {
            Ok(Some(expiry)) => expiry.ends_ms <= unix_ms(),
            Ok(None) => self.checks.required_spec_claims.contains("exp"),
            Err(()) => true,
        };
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        !has_ended && self.checks.iss.as_ref().is_none_or(|issuers| issuers.contains(issuer))
    }

    /// `JWT_LEEWAY`, in milliseconds.
    pub const fn leeway_ms(&self) -> u64 {
        self.leeway_ms
    }
}

/// When a token ends by its `exp`; `Err` if that is no time.
pub(super) fn expiry(claims: &Claims, leeway_ms: u64) -> Result<Option<Expiry>, ()> {
    let expires_ms = time_ms(claims, "exp")?;
    Ok(expires_ms.map(|expires_ms| Expiry { expires_ms, ends_ms: expires_ms.saturating_add(leeway_ms) }))
}

/// From when on a token counts by its `nbf`; `Err` if that is no time.
pub(super) fn begins_ms(claims: &Claims, leeway_ms: u64) -> Result<Option<u64>, ()> {
    Ok(time_ms(claims, "nbf")?.map(|begins_ms| begins_ms.saturating_sub(leeway_ms)))
}

/// A claim that is a time. It may have a fraction (RFC 7519 section 2).
fn time_ms(claims: &Claims, name: &str) -> Result<Option<u64>, ()> {
    let Some(time) = claims.get(name) else { return Ok(None) };
    let seconds = time.as_f64().filter(|seconds| *seconds >= 0.0).ok_or(())?;
    // Exact as far as it matters; what is too large saturates.
    Ok(Some(time.as_u64().map_or((seconds * 1_000.0) as u64, |seconds| seconds.saturating_mul(1_000))))
}

/// Sets the cryptography up for the process, and tries it on signatures that are known: it would fail at the first token otherwise.
///
/// # Errors
/// When a known signature is taken for a bad one, or a bad one for good.
pub fn prove_cryptography() -> anyhow::Result<()> {
    // Somebody who embeds the gateway may have installed one already.
    let _ = aws_lc::DEFAULT_PROVIDER.install_default();
    prove(crypto::verify).context("tokens can't be verified by this build")
}

/// Tries what verifies a signature, as [`crypto::verify`] does, on signatures that are known.
fn prove(verify: impl Fn(&str, &[u8], &DecodingKey, Algorithm) -> Result<bool, Error>) -> anyhow::Result<()> {
    for (name, key, algorithm, message, signature) in [
        // RFC 7515, appendix A.1.
        (
            "HS256",
            DecodingKey::from_base64_secret(
                "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ+EstJQLr/T+1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow==",
            )?,
            Algorithm::HS256,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        // RFC 7515, appendix A.2.
        (
            "RS256",
            DecodingKey::from_rsa_components(
                "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
                "AQAB",
            )?,
            Algorithm::RS256,
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        // RFC 7515, appendix A.3.
        (
            "ES256",
            DecodingKey::from_ec_components(
                "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            )?,
            Algorithm::ES256,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        // RFC 8037, appendix A.4.
        (
            "EdDSA",
            DecodingKey::from_ed_components("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")?,
            Algorithm::EdDSA,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let takes = |message: &str| {
            verify(signature, message.as_bytes(), &key, algorithm).with_context(|| name.to_owned())
        };
        anyhow::ensure!(takes(message)?, "a known signature ({name}) is taken for a bad one");
        anyhow::ensure!(!takes("another")?, "a bad signature ({name}) is taken for good");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::errors::ErrorKind;

    use super::*;

    #[test]
    fn the_cryptography_is_proved() {
        prove_cryptography().unwrap();
    }

    /// A set-up that takes nothing, takes everything, fails, or does one of that to a single algorithm, is named before the first token comes.
    #[test]
    fn a_broken_set_up_of_the_cryptography_is_told() {
        prove_cryptography().unwrap();
        let unsupported = || Err(ErrorKind::InvalidKeyFormat.into());
        assert_eq!(
            prove(|_, _, _, _| Ok(false)).unwrap_err().to_string(),
            "a known signature (HS256) is taken for a bad one"
        );
        assert_eq!(
            prove(|_, _, _, _| Ok(true)).unwrap_err().to_string(),
            "a bad signature (HS256) is taken for good"
        );
        for (algorithm, name) in [
            (Algorithm::HS256, "HS256"),
            (Algorithm::RS256, "RS256"),
            (Algorithm::ES256, "ES256"),
            (Algorithm::EdDSA, "EdDSA"),
        ] {
            let broken = |verdict: &dyn Fn() -> Result<bool, Error>| {
                let verify = |signature: &str, message: &[u8], key: &DecodingKey, asked| {
                    if asked == algorithm {
                        verdict()
                    } else {
                        crypto::verify(signature, message, key, asked)
                    }
                };
                format!("{:#}", prove(verify).unwrap_err())
            };
            assert_eq!(broken(&|| Ok(false)), format!("a known signature ({name}) is taken for a bad one"));
            assert_eq!(broken(&|| Ok(true)), format!("a bad signature ({name}) is taken for good"));
            let error = broken(&unsupported);
            assert!(error.starts_with(&format!("{name}: ")) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn times_count_to_the_millisecond() {
        let of = |claims: Value| {
            let claims: Claims = serde_json::from_value(claims).unwrap();
            let ends = expiry(&claims, 1_500).map(|expiry| expiry.map(|expiry| expiry.ends_ms));
            (begins_ms(&claims, 1_500), ends)
        };
        let time = |seconds: Value| of(serde_json::json!({"nbf": seconds, "exp": seconds}));
        assert_eq!(time(100.into()), (Ok(Some(98_500)), Ok(Some(101_500))));
        assert_eq!(time(100.25.into()), (Ok(Some(98_750)), Ok(Some(101_750))));
        assert_eq!(time(1.into()), (Ok(Some(0)), Ok(Some(2_500))));
        assert_eq!(time("x".into()), (Err(()), Err(())));
        assert_eq!(time((-1).into()), (Err(()), Err(())));
        assert_eq!(of(serde_json::json!({})), (Ok(None), Ok(None)));
    }

    #[test]
    fn a_file_has_a_public_key_or_none() {
        let algorithms = |pem: &str| Key::from_pem(pem.as_bytes()).map(|key| key.algorithms);
        for (kind, expected) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, &[Algorithm::ES256][..]),
            (&rcgen::PKCS_ECDSA_P384_SHA384, &[Algorithm::ES384]),
            (&rcgen::PKCS_ED25519, &[Algorithm::EdDSA]),
            (&rcgen::PKCS_RSA_SHA256, RSA),
        ] {
            let pair = rcgen::KeyPair::generate_for(kind).unwrap();
            assert_eq!(algorithms(&pair.public_key_pem()), Ok(expected));
            assert_eq!(algorithms(&pair.serialize_pem()), Err(KeyError::NoPublicKey));
        }
        let p521 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        assert_eq!(algorithms(&p521.public_key_pem()), Err(KeyError::Unsupported));
        let pair = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(["a".to_owned()]).unwrap().self_signed(&pair).unwrap();
        for bad in ["", "secret", &certificate.pem()] {
            assert_eq!(algorithms(bad), Err(KeyError::NoPublicKey));
        }
        let cut = pair.public_key_pem().replace("MF", "M");
        assert_eq!(algorithms(&cut), Err(KeyError::Unsupported));
    }
}
