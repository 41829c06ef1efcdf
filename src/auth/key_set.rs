//! A key set (JWKS, RFC 7517): which of its keys tokens are verified with, and which of them may have signed a token. Pure.
//!
//! A set is public, so secrets in it (`oct`) are none. As section 5 of the RFC asks, a key that isn't known, is for something else or is
//! malformed is ignored by itself.

use std::borrow::Cow;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use jsonwebtoken::{DecodingKey, DecodingKeyKind, Header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::keys::{EDDSA, ES256, ES384, Key, RSA};
use crate::limits::{JWKS_KEYS_MAX, JWKS_KEYS_TRIED_MAX};

/// The keys of a set.
#[derive(Debug, Default)]
pub struct KeySet {
    /// In the set's order, at most [`JWKS_KEYS_MAX`].
    keys: Vec<NamedKey>,
    /// How many of the set's keys can't be used, or are for something else.
    pub ignored: usize,
    /// How many keys stand behind the last one that counts.
    pub surplus: usize,
}

/// Why bytes are no key set.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// They are no JSON object with an array `keys`. Nothing of it is repeated.
    #[error("it is no key set, a JSON object with an array \"keys\" (line {line}, column {column})")]
    Malformed {
        /// Where it ends to be one.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// None of its keys can be used.
    #[error(
        "none of its {0} keys is one for signatures (RSA of 2048 to 8192 bits, EC P-256 or P-384, Ed25519)"
    )]
    NoKeys(usize),
}

/// A key, and its `kid`.
#[derive(Debug)]
struct NamedKey {
    id: Option<Box<str>>,
    key: Key,
}

/// The keys that may have signed a token.
#[derive(Debug)]
pub enum Signers<'s> {
    /// Perhaps one of these; perhaps there is none.
    Known(Vec<&'s Key>),
    /// The set has no key with the token's `kid`.
    Unknown,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// When it is none, or has no key that tokens can be verified with.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        let document: Document<'_> = serde_json::from_slice(bytes)
            .map_err(|error| KeySetError::Malformed { line: error.line(), column: error.column() })?;
        let mut set = Self::default();
        let mut rest = document.keys.iter();
        for key in rest.by_ref() {
            match serde_json::from_str(key.get()).ok().and_then(|jwk: Jwk<'_>| jwk.key()) {
                Some(key) => set.keys.push(key),
                None => set.ignored += 1,
            }
            if set.keys.len() == JWKS_KEYS_MAX {
                break;
            }
        }
        set.surplus = rest.len();
        if set.keys.is_empty() { Err(KeySetError::NoKeys(document.keys.len())) } else { Ok(set) }
    }

    /// The keys that may have signed a token with that header: those with its `kid`, or all if it has none. At most
    /// [`JWKS_KEYS_TRIED_MAX`], each one that the token's algorithm is for.
    pub fn signers(&self, header: &Header) -> Signers<'_> {
        let is_meant = |key: &&NamedKey| match &header.kid {
            Some(kid) => key.id.as_deref() == Some(kid),
            None => true,
        };
        let mut meant = self.keys.iter().filter(is_meant).map(|key| &key.key).peekable();
        if meant.peek().is_none() {
            return Signers::Unknown;
        }
        let fitting = meant.filter(|key| key.is_for(header.alg));
        Signers::Known(fitting.take(JWKS_KEYS_TRIED_MAX).collect())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The `kid`s, for people.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_deref().unwrap_or("(without kid)"))
    }
}

#[derive(Deserialize)]
struct Document<'d> {
    #[serde(borrow)]
    keys: Vec<&'d RawValue>,
}

/// A key as it stands in a set (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2). A member of another type makes it malformed.
#[derive(Deserialize)]
struct Jwk<'d> {
    #[serde(borrow)]
    kty: Cow<'d, str>,
    kid: Option<Box<str>>,
    #[serde(rename = "use")]
    purpose: Option<Cow<'d, str>>,
    key_ops: Option<Vec<Cow<'d, str>>>,
    alg: Option<Cow<'d, str>>,
    crv: Option<Cow<'d, str>>,
    x: Option<Cow<'d, str>>,
    y: Option<Cow<'d, str>>,
    n: Option<Cow<'d, str>>,
    e: Option<Cow<'d, str>>,
}

impl Jwk<'_> {
    /// The key; `None` if tokens can't be verified with it.
    fn key(self) -> Option<NamedKey> {
        let is_for_signatures = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let may_verify =
            self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|op| op == "verify"));
        if !is_for_signatures || !may_verify {
            return None;
        }
        let (key, algorithms) = match (&*self.kty, self.crv.as_deref()) {
            ("RSA", _) => (rsa(self.n.as_deref()?, self.e.as_deref()?)?, RSA),
            ("EC", Some("P-256")) => (self.ec(&ECDSA_P256_SHA256_FIXED)?, ES256),
            ("EC", Some("P-384")) => (self.ec(&ECDSA_P384_SHA384_FIXED)?, ES384),
            ("OKP", Some("Ed25519")) => {
                (checked(DecodingKey::from_ed_components(self.x.as_deref()?).ok()?, &ED25519)?, EDDSA)
            }
            _ => return None,
        };
        let algorithms = match self.alg.as_deref() {
            None => algorithms,
            Some(alg) => {
                let place = algorithms.iter().position(|algorithm| format!("{algorithm:?}") == alg)?;
                &algorithms[place..=place]
            }
        };
        Some(NamedKey { id: self.kid, key: Key::new(key, algorithms) })
    }

    fn ec(&self, algorithm: &'static dyn VerificationAlgorithm) -> Option<DecodingKey> {
        let key = DecodingKey::from_ec_components(self.x.as_deref()?, self.y.as_deref()?).ok()?;
        checked(key, algorithm)
    }
}

/// An RSA key that the cryptography takes: 2048 to 8192 bits.
fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let key = DecodingKey::from_rsa_components(modulus, exponent).ok()?;
    let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else { return None };
    let significant = |number: &[u8]| number.len() - number.iter().take_while(|byte| **byte == 0).count();
    ((256..=1024).contains(&significant(n)) && (1..=4).contains(&significant(e))).then_some(key)
}

/// The key, if it is one: a point on the algorithm's curve.
fn checked(key: DecodingKey, algorithm: &'static dyn VerificationAlgorithm) -> Option<DecodingKey> {
    ParsedPublicKey::new(algorithm, key.try_get_as_bytes().ok()?).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;
    use proptest::prelude::*;
    use rcgen::KeyPair;
    use serde_json::{Value, json};

    use super::*;

    /// A public key as it stands in a set.
    fn jwk(kind: &'static rcgen::SignatureAlgorithm, algorithm: Algorithm, kid: &str) -> Value {
        super::super::keys::prove_cryptography().unwrap();
        let pair = KeyPair::generate_for(kind).unwrap();
        let pem = pair.public_key_pem();
        let pem = pem.as_bytes();
        let rsa = DecodingKey::from_rsa_pem(pem).or_else(|_| DecodingKey::from_ed_pem(pem));
        let key = rsa.or_else(|_| DecodingKey::from_ec_pem(pem)).unwrap();
        let jwk = jsonwebtoken::jwk::Jwk::from_decoding_key(&key, Some(algorithm)).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(kid);
        jwk
    }

    fn es256(kid: &str) -> Value {
        jwk(&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256, kid)
    }

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
    }

    /// How many keys may have signed such a token; `None` = its `kid` is unknown.
    fn signers(set: &KeySet, algorithm: Algorithm, kid: Option<&str>) -> Option<usize> {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
        match set.signers(&header) {
            Signers::Known(keys) => Some(keys.len()),
            Signers::Unknown => None,
        }
    }

    fn with(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    #[test]
    fn a_key_is_found_by_its_kid_and_its_type_says_the_algorithms() {
        let mut rsa = jwk(&rcgen::PKCS_RSA_SHA256, Algorithm::RS256, "rsa");
        rsa.as_object_mut().unwrap().remove("alg");
        let set = set(&[
            rsa,
            jwk(&rcgen::PKCS_RSA_SHA256, Algorithm::PS384, "ps384"),
            es256("p256"),
            jwk(&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384, "p384"),
            jwk(&rcgen::PKCS_ED25519, Algorithm::EdDSA, "ed"),
        ]);
        assert_eq!((set.len(), set.ignored, set.surplus), (5, 0, 0));
        assert_eq!(set.ids().collect::<Vec<_>>(), ["rsa", "ps384", "p256", "p384", "ed"]);
        for (kid, algorithm, expected) in [
            ("rsa", Algorithm::RS256, Some(1)),
            ("rsa", Algorithm::PS512, Some(1)),
            ("rsa", Algorithm::ES256, Some(0)),
            ("rsa", Algorithm::HS256, Some(0)),
            ("ps384", Algorithm::PS384, Some(1)),
            ("ps384", Algorithm::RS256, Some(0)),
            ("p256", Algorithm::ES256, Some(1)),
            ("p256", Algorithm::ES384, Some(0)),
            ("p384", Algorithm::ES384, Some(1)),
            ("ed", Algorithm::EdDSA, Some(1)),
            ("other", Algorithm::RS256, None),
            ("", Algorithm::RS256, None),
        ] {
            assert_eq!(signers(&set, algorithm, Some(kid)), expected, "{kid} {algorithm:?}");
        }
        assert_eq!(signers(&set, Algorithm::RS256, None), Some(1));
        assert_eq!(signers(&set, Algorithm::PS384, None), Some(2));
        assert_eq!(signers(&set, Algorithm::HS256, None), Some(0));
    }

    #[test]
    fn what_is_no_key_for_signatures_is_ignored_by_itself() {
        let good = es256("good");
        let rsa = jwk(&rcgen::PKCS_RSA_SHA256, Algorithm::RS256, "rsa");
        let short = "A".repeat(170);
        for bad in [
            json!(null),
            json!([]),
            json!({}),
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "s"}),
            json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "use": "sig"}),
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
            json!({"kty": "RSA"}),
            with(good.clone(), "use", json!("enc")),
            with(good.clone(), "use", json!("SIG")),
            with(good.clone(), "use", json!(1)),
            with(good.clone(), "key_ops", json!(["sign"])),
            with(good.clone(), "key_ops", json!("verify")),
            with(good.clone(), "alg", json!("ES384")),
            with(good.clone(), "alg", json!("RS256")),
            with(good.clone(), "alg", json!("HS256")),
            with(good.clone(), "alg", json!("none")),
            with(good.clone(), "alg", json!("")),
            with(good.clone(), "kid", json!(7)),
            with(good.clone(), "kty", json!("RSA")),
            with(good.clone(), "kty", json!("ec")),
            with(good.clone(), "crv", json!("P-384")),
            with(good.clone(), "crv", json!("secp256k1")),
            with(good.clone(), "crv", json!(null)),
            with(good.clone(), "x", good["y"].clone()),
            with(good.clone(), "x", json!("")),
            with(good.clone(), "y", json!("!")),
            with(rsa.clone(), "n", json!(short)),
            with(rsa.clone(), "n", json!("A".repeat(342))),
            with(rsa.clone(), "n", json!("_".repeat(1_400))),
            with(rsa.clone(), "e", json!("")),
            with(rsa.clone(), "e", json!("_".repeat(300))),
            with(rsa.clone(), "alg", json!("RSA-OAEP")),
        ] {
            let set = set(&[bad.clone(), good.clone()]);
            assert_eq!((set.len(), set.ignored), (1, 1), "{bad}");
            assert_eq!(signers(&set, Algorithm::ES256, Some("good")), Some(1));
        }
        let operations = with(with(good, "key_ops", json!(["verify"])), "use", json!("sig"));
        assert_eq!(set(&[operations, with(rsa, "x5c", json!(["MIIB"]))]).len(), 2);
    }

    #[test]
    fn the_first_keys_count() {
        let one = es256("0");
        let keys: Vec<_> = (0..100).map(|n| with(one.clone(), "kid", json!(n.to_string()))).collect();
        let set = set(&keys);
        assert_eq!((set.len(), set.surplus), (64, 36));
        assert_eq!(signers(&set, Algorithm::ES256, Some("63")), Some(1));
        assert_eq!(signers(&set, Algorithm::ES256, Some("64")), None);
        assert_eq!(signers(&set, Algorithm::ES256, None), Some(8));
        let same: Vec<_> = (0..20).map(|_| one.clone()).collect();
        assert_eq!(signers(&self::set(&same), Algorithm::ES256, Some("0")), Some(8));
    }

    #[test]
    fn what_is_no_set_is_none() {
        for bad in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            r#"{"keys":{}}"#,
            r#"{"keys":[],"keys":[]}"#,
            "<html>",
            "\u{feff}{}",
        ] {
            assert!(matches!(KeySet::parse(bad.as_bytes()), Err(KeySetError::Malformed { .. })), "{bad}");
        }
        for none in [r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#] {
            assert!(matches!(KeySet::parse(none.as_bytes()), Err(KeySetError::NoKeys(_))), "{none}");
        }
        let deep = format!(r#"{{"keys":[{}]}}"#, "[".repeat(100_000));
        assert!(KeySet::parse(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = KeySet::parse(&bytes);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let key = json!({"kty": text, "kid": text, "n": text, "e": text, "x": text, "y": text, "crv": "P-256"});
            let rsa = with(key.clone(), "kty", json!("RSA"));
            let ec = with(key.clone(), "kty", json!("EC"));
            let _ = KeySet::parse(json!({"keys": [key, rsa, ec]}).to_string().as_bytes());
        }
    }
}
