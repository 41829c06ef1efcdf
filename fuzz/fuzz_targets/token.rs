//! Tokens. The first letter of the input says what is done with the two lines behind it, a header and claims: `S` signs them with the
//! gateway's secret, `P` with its public key as if that were a secret; anything else is a token as it is. Nothing may panic. Nobody gets in
//! whom no key lets in, and whoever gets in is who the claims name, for as long as they say, with every restriction that they have.
#![no_main]

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use ws_gateway::auth::{Auth, Patience};
use ws_gateway::config::Config;
use ws_gateway::identity::Identity;
use ws_gateway::state::State;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEicBwLasxVRRt/bdX0YDYB+wgYUS3\nnG7KDTzapFjjiD0OpjN4r1rwDn2gu0gMDrAdbDwQQlQBam6mVRyyhx3QTA==\n-----END PUBLIC KEY-----\n";
const API_KEY: &str = "k-1";
const LEEWAY_S: f64 = 30.0;

fuzz_target!(|bytes: &[u8]| {
    let (letter, rest) = bytes.split_first().unwrap_or((&0, bytes));
    let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (header, claims) = rest.split_at(at);
    let claims = claims.get(1..).unwrap_or_default();
    match letter {
        b'S' => {
            if let Ok(identity) = auth().verify(&sign(header, claims, SECRET), Patience::Gone) {
                assert_eq!(object(header)["alg"], "HS256", "the algorithm is the key's");
                check(&identity, &object(claims));
            }
        }
        b'P' => assert!(auth().verify(&sign(header, claims, PUBLIC_KEY.as_bytes()), Patience::Gone).is_err()),
        _ => {
            let token = String::from_utf8_lossy(bytes);
            // No fuzzer finds a signature.
            assert_eq!(auth().verify(&token, Patience::Gone).is_ok(), token == API_KEY);
        }
    }
});

/// A gateway with a key of each kind.
fn auth() -> &'static Auth {
    static AUTH: OnceLock<Auth> = OnceLock::new();
    AUTH.get_or_init(|| {
        let mut config = Config::for_tests();
        config.access.secret_key = Some(String::from_utf8_lossy(SECRET).into_owned());
        config.access.public_key_file = Some(file("public.pem", PUBLIC_KEY));
        config.access.api_keys_file = Some(file("api-keys", &format!("{API_KEY}\t{{\"sub\":\"robot\"}}\n")));
        Auth::new(&config, Arc::new(State::new("fuzz".to_owned(), 1))).expect("keys")
    })
}

fn file(name: &str, content: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ws-gateway-fuzz-{}-{name}", std::process::id()));
    std::fs::write(&path, content).expect("a file");
    path
}

fn sign(header: &[u8], claims: &[u8], key: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(key);
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    format!("{message}.{signature}")
}

/// What was accepted is JSON, and an object.
fn object(text: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(text).expect("an object of JSON")
}

fn check(identity: &Identity, claims: &Map<String, Value>) {
    let user = match claims.get("sub") {
        Some(sub) => sub.as_str().expect("a name").to_owned(),
        None => match &claims["user_id"] {
            Value::String(id) => id.clone(),
            id => {
                id.as_i64().map_or_else(|| id.as_u64().expect("an integer").to_string(), |id| id.to_string())
            }
        },
    };
    assert_eq!(identity.user.as_ref().map(|user| user.as_str()), Some(&*user));
    assert!(
        (1..=128).contains(&user.len()) && !user.chars().any(|c| c.is_control() || c == '"' || c == '\\')
    );
    let now_s = UNIX_EPOCH.elapsed().expect("a clock that is past 1970").as_secs_f64();
    assert!(claims["exp"].as_f64().expect("an end") >= now_s - LEEWAY_S - 1.0, "it has ended");
    assert!(identity.expiry.is_some());
    if let Some(begin) = claims.get("nbf").and_then(Value::as_f64) {
        assert!(begin <= now_s + LEEWAY_S + 1.0, "it has not begun");
    }
    let rights = &identity.rights;
    assert_eq!(rights.scopes.is_some(), claims.get("symbols").is_some_and(is_texts), "symbols");
    assert_eq!(rights.types.is_some(), claims.get("types").is_some_and(is_texts), "types");
    assert_eq!(rights.rooms.is_some(), claims.get("rooms").is_some_and(is_texts), "rooms");
    assert_eq!(rights.max_rate.is_some(), claims.get("maxRate").is_some_and(Value::is_number), "maxRate");
    for restriction in ["symbols", "types", "rooms"] {
        assert!(claims.get(restriction).is_none_or(is_texts), "{restriction} is no restriction");
    }
    if let Some(most) = claims.get("maxSymbols") {
        assert_eq!(rights.max_symbols as u64, most.as_u64().expect("a number").min(10_000));
    }
    assert!(claims.get("delayMs").is_none_or(|delay| delay.as_u64() == Some(0)), "there is no delayed feed");
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|all| all.iter().all(Value::is_string))
}
