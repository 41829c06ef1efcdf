//! What a token's claims say: whose it is, and what its holder may have. Pure.
//!
//! A missing claim means no restriction beyond the configuration's. A claim of the wrong type makes the whole token worthless: what
//! was meant as a restriction must not turn into none.

use serde_json::{Map, Value};

use super::rights::Rights;
use super::scope::Scopes;
use super::{Identity, User};
use crate::desk::id::ANONYMOUS_PREFIX;
use crate::desk::rights::RoomScope;
use crate::limits::MAX_SYMBOLS_MAX;
use crate::market::Delays;
use crate::protocol::request::Grammar;
use crate::protocol::terms::MaxRate;

/// The claims of a token, or of an API key.
pub type Claims = Map<String, Value>;

/// The claims that name a user, at a token's top level; the first that is there counts.
pub const USER: [&str; 2] = ["sub", "user_id"];

/// The claims that say what a user may have, where `JWT_CLAIMS` points.
pub const RIGHTS: [&str; 6] = ["symbols", "types", "maxSymbols", "maxRate", "delayMs", "rooms"];

/// Why claims are worth nothing. For the log and for the client: it repeats no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Neither `sub` nor `user_id`, or none that names a user.
    #[error(
        "the claims name no user: sub, or else user_id, must be 1 to 128 bytes without control characters, \" and \\"
    )]
    NoUser,
    /// The user is called as users of the desk are that have no token.
    #[error("the claims name a user that begins with {ANONYMOUS_PREFIX}, as only users without a token do")]
    ReservedUser,
    /// `JWT_CLAIMS` points at nothing, or at no object.
    #[error("there is no object with claims at {0} (JWT_CLAIMS)")]
    NoClaims(String),
    /// A claim is not what it has to be.
    #[error("the claim {claim} must be {allowed}")]
    WrongClaim {
        /// Its name.
        claim: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A name where only rights may stand, and it is none.
    #[error("{0:?} is no right; there are {rights}", rights = RIGHTS.join(", "))]
    NoRight(String),
    /// The name is nearly that of a right. Were it passed over, what was meant as a restriction would be none.
    #[error("the claim {0:?} means nothing here: is {1} meant? If not, it needs another name")]
    NearlyRight(String, &'static str),
    /// `delayMs` asks for a delay, and none is configured that is as long.
    #[error(
        "the claim delayMs asks for a delay of {asked_ms} ms, and the longest that this gateway has is {longest_ms} ms (FEED_DELAYS)"
    )]
    NoSuchDelay {
        /// What the claim says.
        asked_ms: u64,
        /// 0 = there is none.
        longest_ms: u32,
    },
}

/// How claims are read, and what they restrict.
#[derive(Debug, Clone)]
pub struct ClaimRules {
    /// `JWT_CLAIMS`: a JSON pointer to the object with our claims; empty = the token's top level.
    pub pointer: String,
    /// Which types there are, and how symbols are folded.
    pub grammar: Grammar,
    /// What the configuration offers.
    pub offered: Rights,
    /// `FEED_DELAYS`.
    pub delays: Delays,
    /// There is a desk: no user may be called as users without a token are.
    pub has_desk: bool,
}

impl ClaimRules {
    /// Who a token's claims name, and what that user may have. The expiry is left to whoever verifies the token.
    ///
    /// # Errors
    /// When the claims name no user, or one of them is not what it has to be.
    pub fn identity(&self, token: &Claims) -> Result<Identity, ClaimsError> {
        let user = user(token).ok_or(ClaimsError::NoUser)?;
        if self.has_desk && user.as_str().starts_with(ANONYMOUS_PREFIX) {
            return Err(ClaimsError::ReservedUser);
        }
        let user = Some(user);
        let rights = match self.pointer.as_str() {
            "" => self.rights(token)?,
            pointer => {
                let (first, rest) = split_pointer(pointer);
                let inner = token.get(&first).and_then(|value| value.pointer(rest));
                let claims = inner.and_then(Value::as_object);
                self.rights(claims.ok_or_else(|| ClaimsError::NoClaims(pointer.to_owned()))?)?
            }
        };
        Ok(Identity { user, rights, expiry: None })
    }

    /// The rights that an object with claims gives.
    ///
    /// # Errors
    /// When a claim is not what it has to be.
    pub fn rights(&self, claims: &Claims) -> Result<Rights, ClaimsError> {
        let delay_ms = claim(claims, "delayMs", "a whole number of milliseconds", Value::as_u64)?;
        let asked_ms = delay_ms.unwrap_or_default();
        let longest_ms = self.delays.iter().last().map_or(0, |(_, delay_ms)| delay_ms.get());
        let delay = self.delays.at_least(asked_ms);
        let delay = delay.ok_or(ClaimsError::NoSuchDelay { asked_ms, longest_ms })?;
        let max_symbols = claim(claims, "maxSymbols", "a whole number", Value::as_u64)?;
        let max_symbols = max_symbols.map(|most| most.min(MAX_SYMBOLS_MAX) as usize);
        let max_rate = |value: &Value| MaxRate::new(value.as_f64()?);
        let types = |value: &Value| {
            let names = texts(value)?;
            // A type that isn't carried here can't be asked for either.
            Some(names.iter().filter_map(|name| self.grammar.kinds.find(name.as_bytes())).collect())
        };
        let scopes = |value: &Value| Scopes::new(&texts(value)?, self.grammar.symbol_case);
        let rooms = |value: &Value| Some(RoomScope::new(texts(value)?));
        Ok(Rights {
            allow_wildcard: self.offered.allow_wildcard,
            max_symbols: max_symbols.unwrap_or(self.offered.max_symbols),
            dialect_max_symbols: max_symbols.unwrap_or(self.offered.dialect_max_symbols),
            types: claim(claims, "types", "an array of strings", types)?,
            scopes: claim(
                claims,
                "symbols",
                "an array of symbols, or of beginnings with a star behind",
                scopes,
            )?,
            max_rate: claim(claims, "maxRate", "a number from 0.1 to 1000", max_rate)?,
            delay,
            rooms: claim(claims, "rooms", "an array of strings", rooms)?
                .or_else(|| self.offered.rooms.clone()),
        })
    }
}

/// `ANONYMOUS` has rights and nothing else.
///
/// # Errors
/// The first name that is none.
pub fn only_rights(claims: &Claims) -> Result<(), ClaimsError> {
    let other = claims.keys().find(|name| !RIGHTS.contains(&name.as_str()));
    other.map_or(Ok(()), |name| Err(ClaimsError::NoRight(name.clone())))
}

/// A line of `API_KEYS_FILE` may have other claims beside rights, but no right that is misspelt.
///
/// # Errors
/// The first name that is nearly that of a right which is missing: in another case, with `_` or `-` in it, or with one letter too many, missing, changed or
/// swapped with the next.
pub fn well_spelt(claims: &Claims) -> Result<(), ClaimsError> {
    let letters = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let near = |name: &str, right: &str| {
        !claims.contains_key(right) && strsim::osa_distance(&letters(name), &letters(right)) <= 1
    };
    let strange = claims.keys().filter(|name| !RIGHTS.contains(&name.as_str()));
    let mut misspelt =
        strange.filter_map(|name| Some((name, RIGHTS.iter().find(|right| near(name, right))?)));
    misspelt.next().map_or(Ok(()), |(name, right)| Err(ClaimsError::NearlyRight(name.clone(), right)))
}

/// The user whom a token names: `sub`, or else `user_id`, a string or an integer.
fn user(token: &Claims) -> Option<User> {
    match (token.get("sub"), token.get("user_id")) {
        (Some(sub), _) => User::parse(sub.as_str()?),
        (None, Some(Value::String(id))) => User::parse(id),
        (None, Some(Value::Number(id))) if !id.is_f64() => User::parse(&id.to_string()),
        _ => None,
    }
}

fn claim<T>(
    claims: &Claims,
    claim: &'static str,
    allowed: &'static str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>, ClaimsError> {
    let value = claims.get(claim).map(|value| read(value).ok_or(ClaimsError::WrongClaim { claim, allowed }));
    value.transpose()
}

/// The strings of an array that has nothing else.
fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

/// The first name of a JSON pointer (RFC 6901), unescaped, and the rest.
pub fn split_pointer(pointer: &str) -> (String, &str) {
    let path = pointer.strip_prefix('/').unwrap_or(pointer);
    let at = path.find('/').unwrap_or(path.len());
    (path[..at].replace("~1", "/").replace("~0", "~"), &path[at..])
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use serde_json::json;

    use super::*;
    use crate::market::{Delay, Kind, SymbolCase};

    fn rules(pointer: &str) -> ClaimRules {
        ClaimRules {
            pointer: pointer.to_owned(),
            grammar: Grammar::new("trade,quote".parse().unwrap(), SymbolCase::Upper),
            offered: Rights::of_gateway(true, 5),
            delays: Delays::new([900_000, 60_000].map(|ms| ms.try_into().unwrap())).unwrap(),
            has_desk: false,
        }
    }

    fn identity(pointer: &str, token: &Value) -> Result<Identity, ClaimsError> {
        rules(pointer).identity(token.as_object().unwrap())
    }

    fn rights(claims: &Value) -> Result<Rights, ClaimsError> {
        rules("").rights(claims.as_object().unwrap())
    }

    #[test]
    fn a_missing_claim_is_no_restriction_beyond_the_configurations() {
        assert_eq!(rights(&json!({})), Ok(Rights::of_gateway(true, 5)));
        assert_eq!(rights(&json!({"role": "x", "delayMs": 0})), Ok(Rights::of_gateway(true, 5)));
    }

    #[test]
    fn claims_are_rights() {
        let claims = json!({
            "symbols": ["aapl", "btc-*"], "types": ["quote", "halt", "weather"], "maxSymbols": 50, "maxRate": 2.5,
            "rooms": ["room-*"],
        });
        let expected = Rights {
            allow_wildcard: true,
            max_symbols: 50,
            dialect_max_symbols: 50,
            types: Some([Kind::QUOTE].into_iter().collect()),
            scopes: Scopes::new(&["aapl", "btc-*"], SymbolCase::Upper),
            max_rate: MaxRate::new(2.5),
            delay: Delay::NONE,
            rooms: Some(RoomScope::new(["room-*"])),
        };
        assert_eq!(rights(&claims), Ok(expected));
        assert_eq!(rights(&json!({"maxSymbols": 1_000_000})).unwrap().max_symbols, 10_000);
        assert_eq!(rights(&json!({"maxSymbols": 0})).unwrap().max_symbols, 0);
        assert_eq!(rights(&json!({"symbols": []})).unwrap().scopes, Some(Scopes::default()));
    }

    #[test]
    fn a_claim_of_the_wrong_type_is_never_no_restriction() {
        for claims in [
            json!({"symbols": "AAPL"}),
            json!({"symbols": null}),
            json!({"symbols": ["AAPL", 1]}),
            json!({"symbols": ["A,B"]}),
            json!({"symbols": {"AAPL": true}}),
            json!({"types": "trade"}),
            json!({"types": [null]}),
            json!({"maxSymbols": "5"}),
            json!({"maxSymbols": -1}),
            json!({"maxSymbols": 1.5}),
            json!({"maxRate": "4"}),
            json!({"maxRate": 0}),
            json!({"maxRate": 1001}),
            json!({"delayMs": "0"}),
            json!({"delayMs": -1}),
            json!({"delayMs": null}),
            json!({"rooms": "room"}),
        ] {
            let claim = claims.as_object().unwrap().keys().next().unwrap().clone();
            let error = rights(&claims).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the claim {claim} must be ")), "{error}");
        }
        let delay = |delay_ms: u64| {
            let rights = rights(&json!({"delayMs": delay_ms}))?;
            Ok(rules("").delays.ms(rights.delay).map_or(0, NonZeroU32::get))
        };
        assert_eq!([0, 1, 60_001].map(delay), [Ok(0), Ok(60_000), Ok(900_000)]);
        let refused = ClaimsError::NoSuchDelay { asked_ms: 900_001, longest_ms: 900_000 };
        assert_eq!(delay(900_001), Err(refused));
    }

    #[test]
    fn the_claims_with_rights_are_these() {
        let misread = |name: &str| rights(&json!({name: {}})).is_err();
        assert!(RIGHTS.iter().all(|name| misread(name)));
        assert!(!["sub", "user_id", "exp", "aud", "max_symbols"].into_iter().any(misread));
    }

    #[test]
    fn a_right_that_is_misspelt_is_never_no_restriction_where_the_operator_writes_it() {
        let claims = |name: &str| json!({"sub": "u", name: []}).as_object().unwrap().clone();
        for (name, right) in [
            ("symbol", "symbols"),
            ("Symbols", "symbols"),
            ("sybmols", "symbols"),
            ("type", "types"),
            ("max_rate", "maxRate"),
            ("max-symbol", "maxSymbols"),
            ("delayms", "delayMs"),
            ("room", "rooms"),
        ] {
            let error = well_spelt(&claims(name)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "the claim {name:?} means nothing here: is {right} meant? If not, it needs another name"
                )
            );
        }
        for other in ["symbols", "rooms", "role", "roles", "name", "exp", "user_id", "tier"] {
            assert_eq!(well_spelt(&claims(other)), Ok(()), "{other}");
        }
        let beside = json!({"sub": "u", "types": ["trade"], "type": "service"});
        assert_eq!(well_spelt(beside.as_object().unwrap()), Ok(()), "the right is there");
        let only = |rights: Value| only_rights(rights.as_object().unwrap());
        assert_eq!(only(json!({"symbols": [], "rooms": []})), Ok(()));
        let error = only(json!({"symbol": ["A"]})).unwrap_err().to_string();
        assert_eq!(
            error,
            "\"symbol\" is no right; there are symbols, types, maxSymbols, maxRate, delayMs, rooms"
        );
    }

    #[test]
    fn the_user_stands_at_the_tokens_top_level() {
        let user = |token: Value| identity("", &token).map(|identity| identity.user.unwrap());
        for (token, expected) in [
            (json!({"sub": "user-123", "user_id": 7}), "user-123"),
            (json!({"user_id": "u"}), "u"),
            (json!({"user_id": 42}), "42"),
            (json!({"user_id": -1}), "-1"),
        ] {
            assert_eq!(user(token).unwrap().as_str(), expected);
        }
        for bad in [
            json!({}),
            json!({"sub": 7}),
            json!({"sub": null, "user_id": "u"}),
            json!({"sub": ""}),
            json!({"user_id": 1.5}),
            json!({"user_id": ["u"]}),
            json!({"sub": "a\"b"}),
            json!({"sub": "x".repeat(129)}),
            json!({"app": {"sub": "u"}}),
        ] {
            assert_eq!(user(bad), Err(ClaimsError::NoUser));
        }
    }

    #[test]
    fn nobody_with_a_token_is_called_as_those_without() {
        let token = json!({"sub": "anon-00000000000000ab"});
        assert!(identity("", &token).is_ok(), "without a desk it is a name like others");
        let rules = ClaimRules { has_desk: true, ..rules("") };
        assert_eq!(rules.identity(token.as_object().unwrap()), Err(ClaimsError::ReservedUser));
        assert!(rules.identity(json!({"sub": "anonymous"}).as_object().unwrap()).is_ok());
    }

    #[test]
    fn rooms_that_a_token_does_not_name_are_those_that_are_offered() {
        let none = Some(RoomScope::new([]));
        let offered = Rights { rooms: none.clone(), ..Rights::of_gateway(true, 5) };
        let rules = ClaimRules { offered, ..rules("") };
        assert_eq!(rules.rights(&Claims::new()).unwrap().rooms, none);
        let named = rules.rights(json!({"rooms": ["a"]}).as_object().unwrap()).unwrap().rooms;
        assert_eq!(named, Some(RoomScope::new(["a"])));
    }

    #[test]
    fn claims_stand_where_the_pointer_points() {
        let token =
            json!({"sub": "u", "maxSymbols": 7, "a/b": {"m~k": {"maxSymbols": 9}}, "n": 1, "l": [{}]});
        let max_symbols = |pointer| identity(pointer, &token).map(|identity| identity.rights.max_symbols);
        assert_eq!(max_symbols(""), Ok(7));
        assert_eq!(max_symbols("/a~1b/m~0k"), Ok(9));
        assert_eq!(max_symbols("/a~1b"), Ok(5));
        assert_eq!(max_symbols("/l/0"), Ok(5));
        for nothing in ["/none", "/n", "/a~1b/none", "/l"] {
            assert_eq!(max_symbols(nothing), Err(ClaimsError::NoClaims(nothing.to_owned())));
        }
    }
}
