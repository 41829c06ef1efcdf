//! Who a client is: the control side's part of it.
//!
//! | part | what it does |
//! |---|---|
//! | [`keys`] | the keys that tokens are verified with |
//! | [`api_keys`] | the file of API keys |
//! | [`key_file`] | a file of keys that may be replaced |
//! | [`explain`] | why a token holds or doesn't, for people |
//! | [`remote_keys`] | the keys of a key server, [`key_set`] and [`fetch`] its parts |
//!
//! [`Auth::verify`] is all there is to a token: a handshake asks it at once, and shards ask it for their clients through the
//! control side. It takes some microseconds for a secret and a fraction of a millisecond for a public key, and waits for nothing. A token
//! whose key may be fetched gets [`AuthError::KeyWanted`] for an answer: whoever asked waits for [`Auth::keys_fetched`] and asks again,
//! once.

pub mod api_keys;
pub mod explain;
pub mod fetch;
pub mod key_file;
pub mod key_set;
pub mod keys;
pub mod remote_keys;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use jsonwebtoken::errors::ErrorKind;

use self::api_keys::{ApiKey, ApiKeys};
use self::key_file::KeyFile;
use self::key_set::Signers;
use self::keys::{Key, TokenRules, begins_ms, expiry};
use self::remote_keys::RemoteKeys;
use crate::bus::{Count, Denied, Seat, Standing};
use crate::config::Config;
use crate::config::access::{Access, KeySource};
use crate::config::clients::Clients;
use crate::config::desk::RoomsDefault;
use crate::desk::rights::RoomScope;
use crate::identity::claims::{ClaimRules, Claims, ClaimsError, only_rights};
use crate::identity::{Identity, Rights};
use crate::limits::{TOKEN_BYTES_MAX, TURNED_AWAY_MAX};
use crate::protocol::request::{Grammar, Token};
use crate::state::State;
use crate::tls::client_config;
use crate::unix_time::unix_ms;

/// Why a token doesn't hold. For the client, and for the log; it repeats nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No key has signed it, and it is no API key.
    #[error("The token is none that this gateway knows: no key fits its signature")]
    Unknown,
    /// The key that it names is not known yet, and is being fetched; with [`Patience::Later`] it may still have to be asked for.
    #[error("The token is none that this gateway knows so far: its key is being fetched")]
    KeyWanted,
    /// There is none, and it can't be sent later.
    #[error(
        "There is no token, and here it can't be sent later: connect with Authorization: Bearer <token>, or with ?token= unless AUTH_QUERY_TOKEN=false"
    )]
    Absent,
    /// Longer than any token.
    #[error("The token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// `exp` is in the past.
    #[error("The token has expired")]
    Expired,
    /// `nbf` is in the future.
    #[error("The token is not valid yet")]
    NotYet,
    /// `aud` names none of `JWT_AUDIENCE`.
    #[error("The token is for another audience (JWT_AUDIENCE)")]
    Audience,
    /// `iss` is not `JWT_ISSUER`.
    #[error("The token is of another issuer (JWT_ISSUER)")]
    Issuer,
    /// A claim that has to be there is not.
    #[error("The token has no claim {0}")]
    Missing(String),
    /// It is signed, and not what a token has to be.
    #[error("The token's claims can't be read")]
    Malformed,
    /// Its claims name no user or no rights.
    #[error("The token doesn't hold: {0}")]
    Claims(#[from] ClaimsError),
}

/// What a client without a token is.
#[derive(Debug)]
enum Anonymous {
    /// Like everyone else: there are no tokens.
    Open(Arc<Identity>),
    /// Somebody with rights of `ANONYMOUS`.
    Allowed(Arc<Identity>),
    /// Nobody yet: it has to send a token first.
    Denied,
}

/// Whether a token whose key isn't known may wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It may, and its key is asked for: [`AuthError::KeyWanted`] says that it should.
    Left,
    /// It may, and whoever gets it next asks for its key: [`AuthError::KeyWanted`] says no more than that the key isn't known.
    Later,
    /// It has waited, or nobody can wait for it.
    Gone,
}

/// Verifies tokens.
#[derive(Debug)]
pub struct Auth {
    claims: ClaimRules,
    tokens: TokenRules,
    secret: Option<Key>,
    public_key: Option<KeyFile<Key>>,
    remote_keys: Option<Arc<RemoteKeys>>,
    api_keys: Option<KeyFile<ApiKeys>>,
    anonymous: Anonymous,
    /// `AUTH_QUERY_TOKEN`.
    pub takes_query_token: bool,
    /// Browsers that are being turned away.
    turned_away: Arc<Count>,
    state: Arc<State>,
    /// When a refusal was last logged, in milliseconds since the gateway was built.
    logged_ms: AtomicU64,
}

impl Auth {
    /// Reads the keys of a configuration, and tries the cryptography on known tokens.
    ///
    /// # Errors
    /// When a key or a file is none, or `ANONYMOUS` gives no rights; the error names the setting.
    pub fn new(config: &Config, state: Arc<State>) -> anyhow::Result<Self> {
        keys::prove_cryptography()?;
        let access = &config.access;
        let Clients { allow_wildcard, max_symbols_per_client, dialect_max_symbols, .. } = config.clients;
        let rooms = (config.desk.rooms_default == RoomsDefault::Deny).then(|| RoomScope::new([]));
        let offered = Rights {
            dialect_max_symbols,
            rooms,
            ..Rights::of_gateway(allow_wildcard, max_symbols_per_client)
        };
        let grammar = Grammar::new(config.events.channel_types.clone(), config.events.symbol_case);
        let (pointer, delays) = (access.claims_pointer.clone(), access.feed_delays.clone());
        let claims = ClaimRules { pointer, grammar, offered, delays, has_desk: config.desk.is_on };
        let leeway_ms = access.leeway.as_millis() as u64;
        let public_key = access.public_key_file.clone();
        let public_key = public_key.map(|path| KeyFile::read("JWT_PUBLIC_KEY_FILE", path, Key::from_pem));
        let key_server = access.key_server().map_err(|allowed| anyhow::anyhow!("JWT_ISSUER: {allowed}"))?;
        let remote_keys = key_server.map(|server| -> anyhow::Result<_> {
            let file = access.jwks_ca_file.as_deref();
            let tls = client_config(false, file, None).context("JWKS_CA_FILE")?;
            Ok(Arc::new(RemoteKeys::new(server, access.key_pace.clone(), tls, Arc::clone(&state))))
        });
        let of_file = claims.clone();
        let parse = move |bytes: &[u8]| ApiKeys::parse(bytes, &of_file, leeway_ms);
        let api_keys = access.api_keys_file.clone();
        let api_keys = api_keys.map(|path| KeyFile::read("API_KEYS_FILE", path, parse));
        Ok(Self {
            tokens: TokenRules::of(access),
            secret: access.secret_key.as_deref().map(|secret| Key::from_secret(secret.as_bytes())),
            public_key: public_key.transpose()?,
            remote_keys: remote_keys.transpose()?,
            api_keys: api_keys.transpose()?,
            anonymous: anonymous(access, &claims)?,
            takes_query_token: access.query_token,
            turned_away: Count::of(TURNED_AWAY_MAX),
            logged_ms: AtomicU64::new(0),
            claims,
            state,
        })
    }

    /// Who the holder of a token is.
    ///
    /// # Errors
    /// Why the token doesn't hold, or doesn't yet.
    pub fn verify(&self, token: &str, patience: Patience) -> Result<Arc<Identity>, AuthError> {
        if let Anonymous::Open(everyone) = &self.anonymous {
            return Ok(Arc::clone(everyone));
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::TooLong);
        }
        let public_key = self.public_key.as_ref().map(KeyFile::current);
        if let Some(verdict) = self.by_one_of(self.secret.iter().chain(public_key.as_deref()), token) {
            return verdict;
        }
        let mut needs = None;
        if let Some(remote_keys) = self.remote_keys.as_deref()
            && let Some(header) = keys::header_of_a_pair(token)
        {
            let set = remote_keys.current().unwrap_or_default();
            match set.signers(&header) {
                Signers::Known(keys) => {
                    if let Some(verdict) = self.by_one_of(keys.into_iter(), token) {
                        return verdict;
                    }
                }
                Signers::Unknown => needs = Some(remote_keys),
            }
        }
        let api_keys = self.api_keys.as_ref().map(KeyFile::current);
        let Some(verdict) = api_keys.and_then(|keys| keys.find(token).map(holder)) else {
            // A token that no key can save is not worth a fetch.
            let may_hold = |_: &&RemoteKeys| patience != Patience::Gone && self.tokens.may_hold(token);
            let is_coming =
                needs.filter(may_hold).is_some_and(|keys| patience == Patience::Later || keys.want());
            return Err(if is_coming { AuthError::KeyWanted } else { AuthError::Unknown });
        };
        verdict
    }

    /// Who the holder of a token is, or of an API key that has come with its secret.
    ///
    /// # Errors
    /// Why the token doesn't hold, or doesn't yet.
    pub fn verify_token(&self, token: &Token, patience: Patience) -> Result<Arc<Identity>, AuthError> {
        let error = match self.verify(token.as_str(), patience) {
            Err(error @ (AuthError::Unknown | AuthError::KeyWanted)) => error,
            verdict => return verdict,
        };
        // No key of another sort has a secret.
        let pair = token.as_pair().filter(|_| self.api_keys.is_some());
        pair.map_or(Err(()), |pair| self.verify(&pair, Patience::Gone).map_err(drop)).map_err(|()| error)
    }

    /// The verdict of the first key that has signed a token; `None` if none has.
    fn by_one_of<'k>(
        &self,
        mut keys: impl Iterator<Item = &'k Key>,
        token: &str,
    ) -> Option<Result<Arc<Identity>, AuthError>> {
        keys.find_map(|key| match self.tokens.verify(token, key) {
            Ok(claims) => Some(self.identity(&claims)),
            // Another key may fit.
            Err(error) if is_anothers(&error) => None,
            Err(error) => Some(Err(error.into())),
        })
    }

    /// Waits until no keys are being fetched, or a token has waited long enough.
    pub async fn keys_fetched(&self) {
        if let Some(remote_keys) = &self.remote_keys {
            remote_keys.fetched().await;
        }
    }

    /// The key server's keys, if there is one.
    pub fn remote_keys(&self) -> Option<&Arc<RemoteKeys>> {
        self.remote_keys.as_ref()
    }

    fn identity(&self, claims: &Claims) -> Result<Arc<Identity>, AuthError> {
        let identity = self.claims.identity(claims)?;
        let leeway_ms = self.tokens.leeway_ms();
        has_begun(begins_ms(claims, leeway_ms).map_err(|()| AuthError::Malformed)?)?;
        let expiry = expiry(claims, leeway_ms).map_err(|()| AuthError::Malformed)?;
        has_not_ended(Arc::new(Identity { expiry, ..identity }))
    }

    /// What becomes of a new client that has sent that token, or none, with its handshake. A browser can't read the status of an HTTP
    /// answer, so one with a bad token is let in and told, unless too many are at that already.
    ///
    /// # Errors
    /// Why the token doesn't hold, if the client is to read it in an HTTP answer, or doesn't yet.
    pub fn standing(
        &self,
        token: Option<&Token>,
        is_browser: bool,
        patience: Patience,
    ) -> Result<Standing, AuthError> {
        let Some(token) = token else {
            return Ok(match &self.anonymous {
                Anonymous::Open(identity) | Anonymous::Allowed(identity) => {
                    Standing::Known(Arc::clone(identity))
                }
                Anonymous::Denied => Standing::Unknown,
            });
        };
        let error = match self.verify_token(token, patience) {
            Ok(identity) => return Ok(Standing::Known(identity)),
            Err(AuthError::KeyWanted) => return Err(AuthError::KeyWanted),
            Err(error) => error,
        };
        match is_browser.then(|| self.place_to_turn_away()).flatten() {
            Some(place) => {
                self.refused(&error);
                Ok(Standing::Refused { denied: Box::new(Denied::token(error.to_string())), place })
            }
            None => Err(error),
        }
    }

    /// A place among the browsers that are told over WebSocket why they aren't let in, if there is one.
    pub fn place_to_turn_away(&self) -> Option<Seat> {
        self.turned_away.take()
    }

    /// Counts a token that doesn't hold, and logs why, once a second at most.
    pub fn refused(&self, error: &AuthError) {
        let metrics = &self.state.metrics;
        metrics.control.tokens_refused.add_shared(1);
        let now_ms = metrics.uptime_ms();
        let logged_ms = self.logged_ms.load(Ordering::Relaxed);
        let is_due = logged_ms == 0 || now_ms.saturating_sub(logged_ms) >= 1_000;
        let (from, to) = (logged_ms, now_ms.max(1));
        if is_due && self.logged_ms.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::info!(reason = %error, total = metrics.control.tokens_refused.get(), "token refused");
        }
    }

    /// Reads a key file again, if it is set. If it can't be used, the keys that it had last still count.
    pub fn reload(&self, source: KeySource) {
        let is_taken = match source {
            KeySource::PublicKey => self.public_key.as_ref().map(KeyFile::reload),
            KeySource::ApiKeys => self.api_keys.as_ref().map(KeyFile::reload),
        };
        let control = &self.state.metrics.control;
        match is_taken {
            Some(true) => control.key_files_taken.add_shared(1),
            Some(false) => control.key_files_refused.add_shared(1),
            None => {}
        }
    }
}

/// What a client without a token is, by `ANONYMOUS`. On a gateway with keys it has a desk only if its own rights name rooms: what tokens
/// without the claim `rooms` are offered (`ROOMS_DEFAULT`) is not for it.
fn anonymous(access: &Access, claims: &ClaimRules) -> anyhow::Result<Anonymous> {
    if access.is_open() {
        return Ok(Anonymous::Open(Arc::new(Identity::anonymous(claims.offered.clone()))));
    }
    let Some(rights) = &access.anonymous else { return Ok(Anonymous::Denied) };
    let rights: Claims = serde_json::from_str(rights).context("ANONYMOUS")?;
    only_rights(&rights).context("ANONYMOUS")?;
    let offered = Rights { rooms: None, ..claims.offered.clone() };
    let rights = ClaimRules { offered, ..claims.clone() }.rights(&rights).context("ANONYMOUS")?;
    Ok(Anonymous::Allowed(Arc::new(Identity::anonymous(rights))))
}

/// Who the holder of an API key is, if the key counts now.
fn holder(key: &ApiKey) -> Result<Arc<Identity>, AuthError> {
    has_begun(key.begins_ms)?;
    has_not_ended(Arc::clone(&key.identity))
}

/// Whether a token counts already that counts from that time on, in Unix milliseconds.
fn has_begun(begins_ms: Option<u64>) -> Result<(), AuthError> {
    if begins_ms > Some(unix_ms()) { Err(AuthError::NotYet) } else { Ok(()) }
}

/// The identity, if its token has not ended: at that moment a connection that it has opened ends too.
fn has_not_ended(identity: Arc<Identity>) -> Result<Arc<Identity>, AuthError> {
    match identity.expiry {
        Some(expiry) if expiry.ends_ms <= unix_ms() => Err(AuthError::Expired),
        _ => Ok(identity),
    }
}

/// Whether an error says only that a token was not signed with a key.
fn is_anothers(error: &jsonwebtoken::errors::Error) -> bool {
    use ErrorKind::*;
    // A token that can't be taken apart may be an API key.
    matches!(
        error.kind(),
        InvalidToken
            | InvalidSignature
            | InvalidAlgorithm
            | InvalidAlgorithmName
            | Base64(_)
            | Json(_)
            | Utf8(_)
    )
}

impl From<jsonwebtoken::errors::Error> for AuthError {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        match error.into_kind() {
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::MissingRequiredClaim(claim) => Self::Missing(claim),
            _ => Self::Malformed,
        }
    }
}
