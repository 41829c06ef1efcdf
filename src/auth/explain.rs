//! Why a token holds or doesn't: what each source of keys has to say. For somebody who looks into it; a client is told less.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, decode_header};

use super::key_file::KeyFile;
use super::key_set::{KeySet, Signers};
use super::keys::Key;
use super::{Anonymous, Auth, AuthError};

/// What a source of keys says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// The setting that names the source.
    pub source: &'static str,
    /// A phrase about it.
    pub says: String,
}

impl Auth {
    /// What each source says, in the order in which they are asked; nothing of it repeats the token.
    pub fn explain(&self, token: &str) -> Vec<Opinion> {
        if matches!(self.anonymous, Anonymous::Open(_)) {
            let says =
                "no setting has a key: the gateway is open, and takes any token for nobody's".to_owned();
            return vec![Opinion { source: "JWT_SECRET_KEY", says }];
        }
        let mut opinions = Vec::new();
        let mut hear = |source, says| opinions.push(Opinion { source, says });
        let header = decode_header(token);
        let of_key = |key: &Key| match &header {
            Ok(header) => self.opinion_of(key, header, token),
            Err(_) => "it is no JSON Web Token".to_owned(),
        };
        if let Some(secret) = &self.secret {
            hear("JWT_SECRET_KEY", of_key(secret));
        }
        if let Some(key) = &self.public_key {
            hear("JWT_PUBLIC_KEY_FILE", of_key(&key.current()));
        }
        if let Some(remote_keys) = &self.remote_keys {
            let says = match (&header, remote_keys.current()) {
                (Err(_), _) => "it is no JSON Web Token".to_owned(),
                (_, None) => "no keys could be fetched".to_owned(),
                (Ok(header), Some(set)) => self.opinion_of_set(&set, header, token),
            };
            hear(remote_keys.setting(), says);
        }
        if let Some(keys) = self.api_keys.as_ref().map(KeyFile::current) {
            let says = match keys.find(token).map(super::holder) {
                None => "it is no API key",
                Some(Err(AuthError::Expired)) => "it is an API key that has ended",
                Some(Err(AuthError::NotYet)) => "it is an API key that does not count yet",
                Some(_) => "it is an API key",
            };
            hear("API_KEYS_FILE", says.to_owned());
        }
        opinions
    }

    fn opinion_of_set(&self, set: &KeySet, header: &Header, token: &str) -> String {
        let kids = set.ids().collect::<Vec<_>>().join(", ");
        match (set.signers(header), &header.kid) {
            (Signers::Unknown, Some(kid)) => format!("there is no key with the kid {kid:?} among {kids}"),
            (Signers::Unknown, None) => "there is no key".to_owned(),
            (Signers::Known(keys), _) if keys.is_empty() => {
                format!("none of the keys that are meant is for {:?}; there are {kids}", header.alg)
            }
            (Signers::Known(keys), _) => {
                let opinions = keys.iter().map(|key| self.opinion_of(key, header, token));
                let mut opinions: Vec<_> = opinions.collect();
                opinions.dedup();
                opinions.join("; ")
            }
        }
    }

    fn opinion_of(&self, key: &Key, header: &Header, token: &str) -> String {
        if !key.is_for(header.alg) {
            let algorithms: Vec<_> = key.algorithms().iter().map(|known| format!("{known:?}")).collect();
            return format!("the key is for {}, and the token says {:?}", algorithms.join(", "), header.alg);
        }
        let error = match self.tokens.verify(token, key) {
            Ok(claims) => match self.identity(&claims) {
                Ok(_) => return "the key has signed it".to_owned(),
                Err(error) => error,
            },
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {
                return "the key has not signed it".to_owned();
            }
            Err(error) if super::is_anothers(&error) => return "it is no JSON Web Token".to_owned(),
            Err(error) => AuthError::from(error),
        };
        format!("the key has signed it, and it doesn't hold: {error}")
    }
}
