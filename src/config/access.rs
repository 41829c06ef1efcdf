//! Who may come in, and how they show who they are.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::key_server::KeyPace;
use super::setting::{Group, Preset, Setting, Unit, Value, Zero};
use super::values;
use crate::limits::*;
use crate::market::Delays;

/// A file of keys that may be replaced while the gateway runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource {
    /// `JWT_PUBLIC_KEY_FILE`.
    PublicKey,
    /// `API_KEYS_FILE`.
    ApiKeys,
}

/// Who may come in, and how they show who they are.
#[derive(Clone)]
pub struct Access {
    /// `JWT_SECRET_KEY`.
    pub secret_key: Option<String>,
    /// `JWT_PUBLIC_KEY_FILE`.
    pub public_key_file: Option<PathBuf>,
    /// `JWKS_URL`.
    pub jwks_url: Option<Url>,
    /// `JWKS_CA_FILE`; `None` for the public authorities.
    pub jwks_ca_file: Option<PathBuf>,
    /// How often the key server is asked. No setting.
    pub key_pace: KeyPace,
    /// `API_KEYS_FILE`.
    pub api_keys_file: Option<PathBuf>,
    /// `JWT_AUDIENCE`: one of these must be a token's; empty = not checked.
    pub audiences: Vec<String>,
    /// `JWT_ISSUER`; `None` = not checked.
    pub issuer: Option<String>,
    /// `JWT_LEEWAY`.
    pub leeway: Duration,
    /// `JWT_REQUIRE_EXP`.
    pub require_exp: bool,
    /// `JWT_CLAIMS`: a JSON pointer; empty = the token's top level.
    pub claims_pointer: String,
    /// `ANONYMOUS`: rights as a JSON object; `None` = `deny`.
    pub anonymous: Option<String>,
    /// `FEED_DELAYS`.
    pub feed_delays: Delays,
    /// `AUTH_TIMEOUT`.
    pub timeout: Duration,
    /// `AUTH_QUERY_TOKEN`.
    pub query_token: bool,
}

impl Access {
    /// The files that may be replaced while the gateway runs, as far as they are set.
    pub fn files(&self) -> impl Iterator<Item = (KeySource, &PathBuf)> {
        let public_key = self.public_key_file.iter().map(|file| (KeySource::PublicKey, file));
        public_key.chain(self.api_keys_file.iter().map(|file| (KeySource::ApiKeys, file)))
    }

    /// Whether nobody has to show who they are: there is nothing to verify a token with.
    pub fn is_open(&self) -> bool {
        !self.has_keys() && self.issuer_to_discover().is_none()
    }

    pub(super) const fn has_keys(&self) -> bool {
        let of_tokens =
            self.secret_key.is_some() || self.public_key_file.is_some() || self.jwks_url.is_some();
        of_tokens || self.api_keys_file.is_some()
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            secret_key: None,
            public_key_file: None,
            jwks_url: None,
            jwks_ca_file: None,
            key_pace: KeyPace::default(),
            api_keys_file: None,
            audiences: Vec::new(),
            issuer: None,
            leeway: Duration::from_millis(JWT_LEEWAY_DEFAULT_MS),
            require_exp: true,
            claims_pointer: String::new(),
            anonymous: None,
            feed_delays: Delays::default(),
            timeout: Duration::from_millis(AUTH_TIMEOUT_DEFAULT_MS),
            query_token: true,
        }
    }
}

/// Without the secret.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("public_key_file", &self.public_key_file)
            .field("jwks_url", &self.jwks_url.as_ref().map(Url::as_str))
            .field("api_keys_file", &self.api_keys_file)
            .field("audiences", &self.audiences)
            .field("issuer", &self.issuer)
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

const _: () = assert!(JWT_SECRET_MIN_BYTES == 32, "the row says so");

pub(super) const GROUP: Group = Group {
    title: "Who may come in",
    settings: &[
        Setting {
            env: "JWT_SECRET_KEY",
            flag: "jwt-secret-key",
            aliases: &[],
            unit: Unit::Secret("at least 32 bytes of text"),
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "Secret that tokens are signed with (HS256, HS384, HS512). As long as this, JWT_PUBLIC_KEY_FILE, JWKS_URL and \
                   API_KEYS_FILE are all unset, and JWT_ISSUER is no https address, the gateway is open to everyone.",
            set: |config, given| {
                (given.text.len() >= JWT_SECRET_MIN_BYTES).then_some(())?;
                config.access.secret_key = Some(given.text.to_owned());
                Some(())
            },
            show: |config, _| config.access.secret_key.as_ref().map_or("", |_| "***").to_owned(),
        },
        Setting {
            env: "JWT_PUBLIC_KEY_FILE",
            flag: "jwt-public-key-file",
            aliases: &[],
            unit: Unit::Text("the path of a PEM file with a public key (RSA, EC P-256 or P-384, Ed25519)"),
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "Public key of those who sign tokens; its type says which algorithms are taken: RS256 to PS512, ES256 or \
                   ES384, EdDSA. Read again when it changes and at SIGHUP.",
            set: |config, given| {
                config.access.public_key_file = Some(values::file(given.text)?);
                Some(())
            },
            show: |config, _| values::show_path(config.access.public_key_file.as_ref()),
        },
        Setting {
            env: "JWKS_URL",
            flag: "jwks-url",
            aliases: &[],
            // A password in it isn't allowed, and must not be shown for it.
            unit: Unit::Secret(
                "an address with https, or with http on this machine, without user and fragment",
            ),
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "Key set (JWKS) of those who sign tokens: RSA, EC P-256 and P-384, Ed25519; 64 keys and 1 MiB at most, no redirects. \
                   Fetched again when its `Cache-Control` ends (after 10 minutes to an hour), for a token with an unknown `kid` \
                   (once in 30 s at most, and the token waits up to 3 s for it), and on SIGHUP. If that fails, the last set stays.",
            set: |config, given| {
                config.access.jwks_url = Some(values::key_url(given.text)?);
                Some(())
            },
            show: |config, _| config.access.jwks_url.as_ref().map_or_else(String::new, Url::to_string),
        },
        Setting {
            env: "JWKS_CA_FILE",
            flag: "jwks-ca-file",
            aliases: &[],
            unit: Unit::Text("the path of a PEM file with at least one certificate"),
            zero: Zero::Refused,
            preset: Preset::Computed("the public authorities"),
            help: "Certificate authorities that the certificate of JWKS_URL, or of a discovered JWT_ISSUER, is checked against, instead \
                   of the public ones; or that certificate itself, if it is self-signed.",
            set: |config, given| {
                config.access.jwks_ca_file = Some(values::pem_file(given.text)?);
                Some(())
            },
            show: |config, _| values::show_path(config.access.jwks_ca_file.as_ref()),
        },
        Setting {
            env: "API_KEYS_FILE",
            flag: "api-keys-file",
            aliases: &[],
            unit: Unit::Text("the path of a file with an API key a line: key, tab, claims as a JSON object"),
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "API keys, each a token that doesn't change: a line is the key (`key` or `key:secret`), a tab, and its claims as a \
                   JSON object with `sub`, such as `{\"sub\":\"robot\",\"symbols\":[\"BTC-*\"]}`. Read again when it changes and at SIGHUP.",
            set: |config, given| {
                config.access.api_keys_file = Some(values::file(given.text)?);
                Some(())
            },
            show: |config, _| values::show_path(config.access.api_keys_file.as_ref()),
        },
        Setting {
            env: "JWT_AUDIENCE",
            flag: "jwt-audience",
            aliases: &[],
            unit: Unit::Text("names separated by commas"),
            zero: Zero::Text,
            preset: Preset::Computed("not checked"),
            help: "Audiences (`aud`) of which a token must name one.",
            set: |config, given| {
                config.access.audiences = values::list(given.text)?;
                Some(())
            },
            show: |config, _| config.access.audiences.join(","),
        },
        Setting {
            env: "JWT_ISSUER",
            flag: "jwt-issuer",
            aliases: &[],
            unit: Unit::Text("any text"),
            zero: Zero::Text,
            preset: Preset::Computed("not checked"),
            help: "Issuer (`iss`) that a token must name. Where no other setting has keys, those of an https issuer are discovered \
                   (`/.well-known/openid-configuration`) and fetched as from JWKS_URL.",
            set: |config, given| {
                config.access.issuer = Some(given.text.to_owned());
                Some(())
            },
            show: |config, _| config.access.issuer.clone().unwrap_or_default(),
        },
        Setting {
            env: "JWT_LEEWAY",
            flag: "jwt-leeway",
            aliases: &[],
            unit: Unit::Time { min_ms: 1_000, max_ms: JWT_LEEWAY_MAX_MS },
            zero: Zero::Zero,
            preset: Preset::Fixed,
            help: "How far clocks may differ: a token counts so long before its `nbf` and so long after its `exp`, whether it \
                   comes or ends.",
            set: |config, given| given.store(&mut config.access.leeway),
            show: |config, unit| config.access.leeway.show(unit),
        },
        Setting {
            env: "JWT_REQUIRE_EXP",
            flag: "jwt-require-exp",
            aliases: &[],
            unit: Unit::Switch,
            zero: Zero::False,
            preset: Preset::Fixed,
            help: "Whether a token without `exp` is refused.",
            set: |config, given| given.store(&mut config.access.require_exp),
            show: |config, unit| config.access.require_exp.show(unit),
        },
        Setting {
            env: "JWT_CLAIMS",
            flag: "jwt-claims",
            aliases: &[],
            unit: Unit::Text("a JSON pointer such as /app_metadata/market"),
            zero: Zero::Refused,
            preset: Preset::Computed("the token's top level"),
            help: "Where in a token the object stands that says what its holder may have (`symbols`, `types`, `maxSymbols`, \
                   `maxRate`, `delayMs`, `rooms`): a JSON pointer such as `/app_metadata/market`.",
            set: |config, given| {
                given.text.starts_with('/').then_some(())?;
                config.access.claims_pointer = given.text.to_owned();
                Some(())
            },
            show: |config, _| config.access.claims_pointer.clone(),
        },
        Setting {
            env: "ANONYMOUS",
            flag: "anonymous",
            aliases: &[],
            unit: Unit::Text(r#"deny, or rights as a JSON object such as {"symbols":["DEMO-*"]}"#),
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "What a client without a token may have, where there are tokens: nothing (`deny`), or rights as a token's \
                   claims give them, such as `{\"symbols\":[\"DEMO-*\"],\"delayMs\":900000}`.",
            set: |config, given| {
                config.access.anonymous = match given.text {
                    "deny" => None,
                    rights => Some(values::json_object(rights)?),
                };
                Some(())
            },
            show: |config, _| config.access.anonymous.clone().unwrap_or_else(|| "deny".to_owned()),
        },
        Setting {
            env: "FEED_DELAYS",
            flag: "feed-delays",
            aliases: &[],
            unit: Unit::Text("1 to 4 times from 1s to 24h, separated by commas, such as 15m,20m"),
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "Delays with which a client may have its events, such as `15m,20m`, by the claim `delayMs` of its token or of ANONYMOUS, which is rounded up \
                   to one of these. Whatever such a client sees is as old as that. Each delay keeps every event until it is due: \
                   see DELAY_MAX_BYTES.",
            set: |config, given| {
                config.access.feed_delays = values::delays(given.text)?;
                Some(())
            },
            show: |config, _| values::show_delays(&config.access.feed_delays),
        },
        Setting {
            env: "AUTH_TIMEOUT",
            flag: "auth-timeout",
            aliases: &[],
            unit: Unit::Time { min_ms: 100, max_ms: TIME_MAX_MS },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "How long a client that has to show a token may take until its message `auth`. Of such clients there are a quarter of \
                   MAX_CONNECTIONS at most: each shard has its part of that (one at least), in which the oldest makes room for the next.",
            set: |config, given| given.store(&mut config.access.timeout),
            show: |config, unit| config.access.timeout.show(unit),
        },
        Setting {
            env: "AUTH_QUERY_TOKEN",
            flag: "auth-query-token",
            aliases: &[],
            unit: Unit::Switch,
            zero: Zero::False,
            preset: Preset::Fixed,
            help: "Whether `?token=` in the URL is taken. Proxies log URLs: turn it off where no client needs it. Then it is passed over: \
                   whoever has its token there alone is a client without one. The log says so once, and so does a 401.",
            set: |config, given| given.store(&mut config.access.query_token),
            show: |config, unit| config.access.query_token.show(unit),
        },
    ],
};
