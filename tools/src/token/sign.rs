//! Signs a token whose claims are given in the gateway's terms.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use clap::Args;
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header, encode};
use serde_json::{Map, Number, Value, json};

use super::keys::{self, SigningKey, alg_family};
use crate::cli;
use crate::term::print;

/// What is signed, and with which key.
#[derive(Debug, Args)]
pub struct Options {
    /// The key.
    #[command(flatten)]
    pub key: KeyOptions,

    /// Algorithm [default: HS256, RS256, ES256, ES384 or EdDSA, by the key]
    #[arg(long, value_name = "ALG")]
    pub alg: Option<Algorithm>,

    /// Name of the key in the header; '' for none [default: the thumbprint of a key of a pair]
    #[arg(long, value_name = "TEXT")]
    pub kid: Option<String>,

    /// The user (claim sub)
    #[arg(long, value_name = "USER")]
    pub sub: Option<String>,

    /// When it ends (claim exp): 15m, 1h, 30d; 0 for no end [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = long_duration)]
    pub expires: Option<Duration>,

    /// When it begins (claim nbf), from now
    #[arg(long, value_name = "TIME", value_parser = long_duration)]
    pub not_before: Option<Duration>,

    /// Whom it is for (claim aud); one of the gateway's JWT_AUDIENCE
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub aud: Vec<String>,

    /// Who has made it (claim iss); the gateway's JWT_ISSUER
    #[arg(long, value_name = "TEXT")]
    pub iss: Option<String>,

    /// Claim symbols: names, and beginnings with a star; '' for none at all
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = symbol_or_nothing)]
    pub symbols: Option<Vec<String>>,

    /// Claim types
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = cli::type_name)]
    pub types: Option<Vec<String>>,

    /// Claim maxSymbols: subscriptions at a time
    #[arg(long, value_name = "N")]
    pub max_symbols: Option<u64>,

    /// Claim maxRate: events a second of each topic, 0.1 to 1000
    #[arg(long, value_name = "RATE", value_parser = cli::max_rate)]
    pub max_rate: Option<Number>,

    /// Claim delayMs: how old events have to be
    #[arg(long, value_name = "TIME", value_parser = cli::duration)]
    pub delay: Option<Duration>,

    /// Claim rooms
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub rooms: Option<Vec<String>>,

    /// Where symbols and the like stand: a JSON pointer, the gateway's JWT_CLAIMS
    #[arg(long, env = "JWT_CLAIMS", value_name = "POINTER")]
    pub claims_at: Option<String>,

    /// Any claim at the top level that no other option sets, its value as JSON or as text
    #[arg(long, value_name = "NAME=VALUE", value_parser = claim)]
    pub claim: Vec<(String, Value)>,
}

/// The options that say what tokens are signed with.
#[derive(Debug, Clone, Args)]
pub struct KeyOptions {
    /// Private key in PEM to sign with; without one the secret is
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// File with the secret, in place of JWT_SECRET_KEY
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub secret_file: Option<PathBuf>,

    /// Secret to sign with. Prefer the variable: everybody on the machine sees command lines
    #[arg(long, env = "JWT_SECRET_KEY", value_name = "TEXT", hide_env_values = true, hide = true)]
    pub secret: Option<String>,
}

impl KeyOptions {
    /// Where the key is, if there is one.
    pub fn source(&self) -> Option<KeySource> {
        match (&self.key, &self.secret_file, &self.secret) {
            (Some(file), _, _) => Some(KeySource::KeyFile(file.clone())),
            (None, Some(file), _) => Some(KeySource::SecretFile(file.clone())),
            (None, None, Some(secret)) => Some(KeySource::Secret(secret.clone())),
            (None, None, None) => None,
        }
    }
}

/// How long a token holds if nobody says.
const EXPIRES: Duration = Duration::from_secs(3_600);

/// Where a key to sign with is.
#[derive(Clone)]
pub enum KeySource {
    /// A private key, in a PEM file.
    KeyFile(PathBuf),
    /// A secret, in a file.
    SecretFile(PathBuf),
    /// A secret.
    Secret(String),
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::KeyFile(_) => "a key file",
            Self::SecretFile(_) => "a file with a secret",
            Self::Secret(_) => "a secret",
        })
    }
}

impl KeySource {
    fn key(&self) -> anyhow::Result<SigningKey> {
        match self {
            Self::KeyFile(file) => keys::read(file),
            Self::SecretFile(file) => {
                let named = || file.display().to_string();
                let secret = std::fs::read_to_string(file).with_context(named)?;
                keys::secret(secret.trim_end_matches(['\r', '\n'])).with_context(named)
            }
            Self::Secret(secret) => keys::secret(secret).context("JWT_SECRET_KEY"),
        }
    }
}

/// A token for each of many users, good for a day.
///
/// # Errors
/// When there is no such key, or it can't sign.
pub fn for_users(source: &KeySource, users: impl Iterator<Item = String>) -> anyhow::Result<Vec<String>> {
    let SigningKey { key, algorithm } = source.key()?;
    let mut header = Header::new(algorithm);
    header.kid = own_name(&key, algorithm)?;
    let expires = UNIX_EPOCH.elapsed()? + Duration::from_secs(24 * 3_600);
    let sign = |user| encode(&header, &json!({"sub": user, "exp": expires.as_secs()}), &key);
    users.map(sign).collect::<Result<_, _>>().with_context(|| format!("{source:?} can't sign"))
}

/// A key's name by which a gateway finds it: the thumbprint of one of a pair.
fn own_name(key: &EncodingKey, algorithm: Algorithm) -> anyhow::Result<Option<String>> {
    match key.family() {
        AlgorithmFamily::Hmac => Ok(None),
        _ => keys::thumbprint(key, algorithm).map(Some),
    }
}

/// Signs a token and prints it.
///
/// # Errors
/// When there is no key, or it can't sign so.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let source = options.key.source();
    let source = source.context("there is no key: --key FILE, --secret-file FILE or JWT_SECRET_KEY")?;
    let SigningKey { key, algorithm } = source.key()?;
    let algorithm = options.alg.unwrap_or(algorithm);
    let is_fitting = alg_family(algorithm) == key.family();
    ensure!(is_fitting, "the key can't sign with {algorithm:?}");
    let mut header = Header::new(algorithm);
    header.kid = match &options.kid {
        Some(kid) if kid.is_empty() => None,
        Some(kid) => Some(kid.clone()),
        None => own_name(&key, algorithm)?,
    };
    let token = encode(&header, &claims(options, UNIX_EPOCH.elapsed()?)?, &key);
    print(&token.with_context(|| format!("the key can't sign with {algorithm:?}"))?)?;
    Ok(ExitCode::SUCCESS)
}

/// The claims that the options ask for, at `now` since 1970.
///
/// # Errors
/// When two of them set the same claim, or `--claims-at` points at no object.
fn claims(options: &Options, now: Duration) -> anyhow::Result<Value> {
    let mut claims = Map::new();
    for (name, value) in &options.claim {
        put(&mut claims, name, value.clone(), "--claim")?;
    }
    let at = |time: Duration| json!((now + time).as_secs());
    let aud = match options.aud.as_slice() {
        [] => None,
        [one] => Some(json!(one)),
        several => Some(json!(several)),
    };
    let expires = options.expires.filter(|time| !time.is_zero());
    for (flag, name, value) in [
        ("--sub", "sub", options.sub.as_ref().map(|sub| json!(sub))),
        ("--iss", "iss", options.iss.as_ref().map(|iss| json!(iss))),
        ("--aud", "aud", aud),
        ("--not-before", "nbf", options.not_before.map(at)),
        ("--expires", "exp", expires.map(at)),
    ] {
        if let Some(value) = value {
            put(&mut claims, name, value, flag)?;
        }
    }
    // Where nobody says otherwise.
    claims.entry("iat").or_insert(at(Duration::ZERO));
    if options.expires.is_none() {
        claims.entry("exp").or_insert(at(EXPIRES));
    }
    let mut claims = Value::Object(claims);
    let target = match options.claims_at.as_deref().unwrap_or_default() {
        "" => &mut claims,
        pointer => object_at(&mut claims, pointer)?,
    };
    let target = target.as_object_mut().context("--claims-at: it points at no object")?;
    for (flag, name, value) in rights(options) {
        if let Some(value) = value {
            put(target, name, value, flag)?;
        }
    }
    Ok(claims)
}

/// What the options grant: flag, claim and value.
fn rights(options: &Options) -> [(&'static str, &'static str, Option<Value>); 6] {
    let listed = |list: &Vec<String>| json!(list.iter().filter(|name| !name.is_empty()).collect::<Vec<_>>());
    [
        ("--symbols", "symbols", options.symbols.as_ref().map(listed)),
        ("--types", "types", options.types.as_ref().map(|types| json!(types))),
        ("--max-symbols", "maxSymbols", options.max_symbols.map(|most| json!(most))),
        ("--max-rate", "maxRate", options.max_rate.as_ref().map(|rate| json!(rate))),
        ("--delay", "delayMs", options.delay.map(|delay| json!(delay.as_millis() as u64))),
        ("--rooms", "rooms", options.rooms.as_ref().map(listed)),
    ]
}

/// Sets a claim that nothing else has set: none is dropped without a word.
fn put(claims: &mut Map<String, Value>, name: &str, value: Value, flag: &str) -> anyhow::Result<()> {
    let way_out = if flag == "--claim" { "name it once" } else { "leave out one of the two" };
    ensure!(!claims.contains_key(name), "--claim {name}: {flag} sets this claim as well; {way_out}");
    claims.insert(name.to_owned(), value);
    Ok(())
}

/// The object at a JSON pointer (RFC 6901), made with all objects on the way.
fn object_at<'v>(value: &'v mut Value, pointer: &str) -> anyhow::Result<&'v mut Value> {
    let path = pointer.strip_prefix('/').context("--claims-at: a JSON pointer begins with /")?;
    path.split('/').try_fold(value, |value, name| {
        let name = name.replace("~1", "/").replace("~0", "~");
        let object = value.as_object_mut().with_context(|| format!("--claims-at: {name} is in no object"))?;
        Ok(object.entry(name).or_insert_with(|| json!({})))
    })
}

/// As [`cli::duration`], and with days.
fn long_duration(text: &str) -> Result<Duration, String> {
    let days = text.trim().strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    match days {
        Some(days @ 0..=36_525) => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        Some(_) => Err("a time is a hundred years at most".to_owned()),
        None => cli::duration(text).map_err(|error| format!("{error}, or days (30d)")),
    }
}

fn symbol_or_nothing(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { cli::symbol_or_pattern(text) }
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let rule = "a claim looks like name=value, its value being JSON or text";
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(rule)?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Command;
    use super::*;

    fn asked_for(arguments: &[&str]) -> anyhow::Result<Value> {
        let line = [&["ws-token", "sign"], arguments].concat();
        let Command::Sign(options) = super::super::Options::parse_from(line).command else { panic!("sign") };
        claims(&options, Duration::from_secs(1_000))
    }

    fn made(arguments: &[&str]) -> Value {
        asked_for(arguments).unwrap()
    }

    #[test]
    fn claims_are_in_the_gateways_terms() {
        assert_eq!(made(&["--sub", "u"]), json!({"sub": "u", "iat": 1_000, "exp": 4_600}));
        let all = [
            "--sub=u",
            "--expires=2d",
            "--not-before=10s",
            "--aud=a,b",
            "--iss=i",
            "--symbols=AAPL,btc-*",
            "--types=trade,quote",
            "--max-symbols=7",
            "--max-rate=0.5",
            "--delay=15m",
            "--rooms=r-*",
            "--claim=role=admin",
            "--claim=level=3",
        ];
        let rights = json!({
            "symbols": ["AAPL", "btc-*"], "types": ["trade", "quote"], "maxSymbols": 7, "maxRate": 0.5,
            "delayMs": 900_000, "rooms": ["r-*"],
        });
        let mut expected = json!({
            "sub": "u", "iss": "i", "aud": ["a", "b"], "iat": 1_000, "nbf": 1_010, "exp": 173_800, "role": "admin", "level": 3,
        });
        let mut top = expected.clone();
        top.as_object_mut().unwrap().extend(rights.as_object().unwrap().clone());
        assert_eq!(made(&all), top);
        expected["app"] = json!({"a/b": rights});
        assert_eq!(made(&[&all[..], &["--claims-at=/app/a~1b"]].concat()), expected);
        let none = json!({"iat": 1_000, "symbols": []});
        assert_eq!(made(&["--expires=0", "--symbols="]), none);
        assert_eq!(made(&["--expires=0", "--aud=a"])["aud"], "a");
    }

    #[test]
    fn a_claim_stands_as_it_was_given_or_is_refused() {
        let own = ["--claim=sub=u", "--claim=exp=5", "--claim=iat=1", "--claim=maxRate=7", "--symbols=A"];
        assert_eq!(made(&own), json!({"sub": "u", "exp": 5, "iat": 1, "maxRate": 7, "symbols": ["A"]}));
        assert_eq!(made(&["--claim=exp=5", "--expires=0"])["exp"], 5);
        let elsewhere = ["--claim=symbols=x", "--symbols=A", "--claims-at=/app"];
        assert_eq!(
            made(&[&elsewhere[..], &["--expires=0"]].concat()),
            json!({"iat": 1_000, "symbols": "x", "app": {"symbols": ["A"]}})
        );
        for (twice, flag) in [
            (["--claim=exp=5", "--expires=1h"], "--expires"),
            (["--claim=sub=u", "--sub=u"], "--sub"),
            (["--claim=nbf=1", "--not-before=0"], "--not-before"),
            (["--claim=symbols=[]", "--symbols=A"], "--symbols"),
            (["--claim=delayMs=1", "--delay=1s"], "--delay"),
            (["--claim=a=1", "--claim=a=2"], "--claim"),
        ] {
            let error = asked_for(&twice).unwrap_err().to_string();
            assert!(error.contains(&format!("{flag} sets this claim as well")), "{error}");
        }
    }

    #[test]
    fn what_is_no_claim_is_refused() {
        for bad in [
            "--symbols=A*B",
            "--types=Trade",
            "--max-rate=0",
            "--max-symbols=-1",
            "--expires=soon",
            "--expires=99999d",
            "--claim=x",
            "--claim==1",
            "--alg=none",
            "--alg=XS256",
        ] {
            assert!(super::super::Options::try_parse_from(["ws-token", "sign", bad]).is_err(), "{bad}");
        }
    }
}
