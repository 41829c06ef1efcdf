//! The server that keys are fetched from: `JWKS_URL`, or an issuer that is discovered.

use std::time::Duration;

use url::Url;

use super::access::Access;
use super::values;
use crate::limits::*;

/// Where keys are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyServer {
    /// `JWKS_URL`: a key set (RFC 7517).
    KeySet(Url),
    /// `JWT_ISSUER`: its discovery document (OpenID Connect Discovery 1.0) says where the key set is.
    Issuer {
        /// As tokens name it.
        issuer: String,
        /// The document's address.
        document: Url,
    },
}

/// How often a key server is asked, and how long that may take. The defaults are those of `limits.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPace {
    /// At most one fetch in this time is for tokens whose key isn't known.
    pub unknown_key_interval: Duration,
    /// The least time for which a key set is kept, whatever its `Cache-Control` says.
    pub fresh_min: Duration,
    /// The longest.
    pub fresh_max: Duration,
    /// The longest time for a fetch.
    pub timeout: Duration,
    /// The longest time that a token waits for one.
    pub wait: Duration,
    /// The first pause after a failure; it doubles up to [`KeyPace::backoff_max`].
    pub backoff_min: Duration,
    /// The longest pause after a failure.
    pub backoff_max: Duration,
}

impl Default for KeyPace {
    fn default() -> Self {
        Self {
            unknown_key_interval: JWKS_UNKNOWN_KEY_INTERVAL,
            fresh_min: JWKS_FRESH_MIN,
            fresh_max: JWKS_FRESH_MAX,
            timeout: JWKS_TIMEOUT,
            wait: JWKS_WAIT,
            backoff_min: JWKS_BACKOFF_MIN,
            backoff_max: JWKS_BACKOFF_MAX,
        }
    }
}

impl Access {
    /// Where keys are fetched from, if they are.
    ///
    /// # Errors
    /// What is wrong with `JWT_ISSUER`, if its keys are to be discovered.
    pub fn key_server(&self) -> Result<Option<KeyServer>, &'static str> {
        if let Some(url) = &self.jwks_url {
            return Ok(Some(KeyServer::KeySet(url.clone())));
        }
        let Some(issuer) = self.issuer_to_discover() else { return Ok(None) };
        let document = discovery_document(issuer).ok_or(DISCOVERABLE)?;
        Ok(Some(KeyServer::Issuer { issuer: issuer.to_owned(), document }))
    }

    /// The issuer whose keys are discovered, because it is at an address and nothing else says what a token is verified with.
    pub(super) fn issuer_to_discover(&self) -> Option<&str> {
        let is_address =
            |issuer: &str| issuer.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
        self.issuer.as_deref().filter(|issuer| !self.has_keys() && is_address(issuer))
    }
}

/// The address at which a discovered issuer says that its keys are; `None` if it is none that keys are fetched from.
pub fn discovered_keys(url: &str) -> Option<Url> {
    values::key_url(url).filter(|url| url.scheme() == "https")
}

/// Which issuers can be discovered.
const DISCOVERABLE: &str =
    "an address with https, a host and no query (its keys are discovered, as no setting has any)";

/// Where an issuer describes itself (OpenID Connect Discovery 1.0 section 4).
fn discovery_document(issuer: &str) -> Option<Url> {
    let issuer = values::key_url(issuer).filter(|url| url.scheme() == "https" && url.query().is_none())?;
    let path = format!("{}/.well-known/openid-configuration", issuer.path().trim_end_matches('/'));
    let mut document = issuer;
    document.set_path(&path);
    Some(document)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn with_issuer(issuer: &str) -> Access {
        Access { issuer: Some(issuer.to_owned()), ..Access::default() }
    }

    #[test]
    fn an_https_issuer_without_any_key_is_discovered() {
        for (issuer, document) in [
            ("https://id.example", "https://id.example/.well-known/openid-configuration"),
            ("HTTPS://id.example", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example/", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example:8443/t/1", "https://id.example:8443/t/1/.well-known/openid-configuration"),
        ] {
            let access = with_issuer(issuer);
            assert!(!access.is_open());
            let document = Url::parse(document).unwrap();
            let issuer = issuer.to_owned();
            assert_eq!(access.key_server(), Ok(Some(KeyServer::Issuer { issuer, document })));
        }
        for issuer in ["http://id.example", "id.example", "urn:issuer", "https:id.example", "é"] {
            let access = with_issuer(issuer);
            assert!(access.is_open() && access.key_server() == Ok(None), "{issuer}");
        }
        // Never open by mistake.
        for issuer in
            ["https://", "https://u:p@id.example", "https://id.example/?a=b", "https://id.example/#a"]
        {
            let access = with_issuer(issuer);
            assert!(!access.is_open() && access.key_server().is_err(), "{issuer}");
        }
        let api_keys_file = Some(PathBuf::from("keys"));
        let access = Access { api_keys_file, ..with_issuer("https://id.example") };
        assert_eq!(access.key_server(), Ok(None), "there are keys");
        let jwks_url = values::key_url("https://keys.example/jwks");
        let access = Access { jwks_url: jwks_url.clone(), ..with_issuer("https://id.example") };
        assert_eq!(access.key_server(), Ok(jwks_url.map(KeyServer::KeySet)));
    }
}
