//! The file of API keys: tokens that don't change. Pure.
//!
//! A line is a key, a tab, and the claims of its holder as a JSON object, `sub` among them. Empty lines and those that begin with `#` are
//! passed over. Only hashes of the keys are kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::identity::claims::{ClaimRules, Claims, ClaimsError, well_spelt};
use crate::identity::{Identity, User};

/// SHA-256 of a key.
type Hash = [u8; 32];

/// The keys of a file.
pub struct ApiKeys(HashMap<Hash, ApiKey>);

/// Whom a key stands for, and from when on.
#[derive(Debug)]
pub struct ApiKey {
    /// From its `nbf` and the leeway, in Unix milliseconds.
    pub begins_ms: Option<u64>,
    /// Its holder.
    pub identity: Arc<Identity>,
}

/// What is wrong with a file of API keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct ApiKeysError {
    /// The first bad line, counted from 1.
    line: usize,
    fault: Fault,
}

/// What is wrong with a line. It repeats no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it must be UTF-8")]
    NoText,
    #[error("a key, a tab and claims as a JSON object are expected")]
    NoTab,
    #[error("a key must be visible ASCII")]
    BadKey,
    #[error("the claims must be a JSON object")]
    NoClaims,
    #[error("the key stands in the file twice")]
    Twice,
    #[error("the claim exp must be a time in seconds")]
    NoExpiry,
    #[error("the claim nbf must be a time in seconds")]
    NoBeginning,
    #[error("{0}")]
    Claims(ClaimsError),
}

impl ApiKeys {
    /// Reads a file.
    ///
    /// # Errors
    /// The first bad line.
    pub fn parse(bytes: &[u8], rules: &ClaimRules, leeway_ms: u64) -> Result<Self, ApiKeysError> {
        // The claims of a file are ours as they stand.
        let rules = ClaimRules { pointer: String::new(), ..rules.clone() };
        let mut keys = HashMap::new();
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() || line.starts_with(b"#") {
                continue;
            }
            let read = read_line(line, &rules, leeway_ms);
            let is_new = read.map(|(hash, key)| keys.insert(hash, key).is_none());
            if let Some(fault) = is_new.map_or_else(Some, |is_new| (!is_new).then_some(Fault::Twice)) {
                return Err(ApiKeysError { line: at + 1, fault });
            }
        }
        Ok(Self(keys))
    }

    /// What that key is; `None` if it is none.
    pub fn find(&self, key: &str) -> Option<&ApiKey> {
        self.0.get(&hash(key))
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users = self.0.values().filter_map(|key| key.identity.user.as_ref().map(User::as_str));
        f.debug_set().entries(users).finish()
    }
}

fn read_line(line: &[u8], rules: &ClaimRules, leeway_ms: u64) -> Result<(Hash, ApiKey), Fault> {
    let line = std::str::from_utf8(line).map_err(|_| Fault::NoText)?;
    let (key, claims) = line.split_once('\t').ok_or(Fault::NoTab)?;
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::BadKey);
    }
    let claims: Claims = serde_json::from_str(claims).map_err(|_| Fault::NoClaims)?;
    well_spelt(&claims).map_err(Fault::Claims)?;
    let identity = rules.identity(&claims).map_err(Fault::Claims)?;
    let expiry = super::keys::expiry(&claims, leeway_ms).map_err(|()| Fault::NoExpiry)?;
    let begins_ms = super::keys::begins_ms(&claims, leeway_ms).map_err(|()| Fault::NoBeginning)?;
    Ok((hash(key), ApiKey { begins_ms, identity: Arc::new(Identity { expiry, ..identity }) }))
}

fn hash(key: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Rights;
    use crate::market::Delays;
    use crate::market::{Kinds, SymbolCase};
    use crate::protocol::request::Grammar;

    fn parse(text: &str) -> Result<ApiKeys, ApiKeysError> {
        let grammar = Grammar::new(Kinds::default(), SymbolCase::Upper);
        let offered = Rights::of_gateway(true, 5);
        ApiKeys::parse(
            text.as_bytes(),
            &ClaimRules {
                pointer: "/market".to_owned(),
                grammar,
                offered,
                delays: Delays::default(),
                has_desk: false,
            },
            1_000,
        )
    }

    #[test]
    fn a_line_is_a_key_and_its_claims() {
        let file = "# a comment\n\nk1\t{\"sub\":\"alice\",\"maxSymbols\":7}\r\nk2:s3cret\t{\"user_id\":7,\"nbf\":5,\"exp\":10}\n";
        let keys = parse(file).unwrap();
        let alice = &keys.find("k1").unwrap().identity;
        assert_eq!((alice.user.as_ref().map(User::as_str), alice.rights.max_symbols), (Some("alice"), 7));
        let seven = keys.find("k2:s3cret").unwrap();
        assert_eq!(seven.begins_ms, Some(4_000));
        let seven = &seven.identity;
        assert_eq!(seven.expiry.map(|expiry| (expiry.expires_ms, expiry.ends_ms)), Some((10_000, 11_000)));
        for none in ["", "k", "k2", "s3cret", "K1", "k1\t"] {
            assert!(keys.find(none).is_none(), "{none}");
        }
        assert!(!format!("{keys:?}").contains("k1"));
    }

    #[test]
    fn the_first_bad_line_is_named_and_no_key_of_it() {
        for (line, fault) in [
            ("k1", "a key, a tab"),
            ("k1 {\"sub\":\"a\"}", "a key, a tab"),
            ("\t{\"sub\":\"a\"}", "visible ASCII"),
            ("k 1\t{\"sub\":\"a\"}", "visible ASCII"),
            ("k1\t[]", "JSON object"),
            ("k1\t{}", "no user"),
            ("k1\t{\"sub\":\"a\",\"symbols\":\"A\"}", "the claim symbols"),
            ("k1\t{\"sub\":\"a\",\"symbol\":[\"A\"]}", "is symbols meant"),
            ("k1\t{\"sub\":\"a\",\"exp\":\"soon\"}", "the claim exp"),
            ("k1\t{\"sub\":\"a\",\"nbf\":\"soon\"}", "the claim nbf"),
            ("k0\t{\"sub\":\"a\"}", "twice"),
        ] {
            let error = parse(&format!("k0\t{{\"sub\":\"a\"}}\n{line}\n")).unwrap_err().to_string();
            assert!(error.starts_with("line 2: ") && error.contains(fault), "{error}");
            assert!(!error.contains("k1"), "{error}");
        }
    }
}
