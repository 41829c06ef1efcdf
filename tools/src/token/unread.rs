//! The claims of a token that a gateway passes over: some are other services', and some are misspelt.

use serde_json::{Map, Value};
use ws_gateway::config::Config;
use ws_gateway::identity::claims::{RIGHTS, USER, split_pointer};

use super::inspect::object;

/// Nobody takes these for restrictions, and many tokens have them.
const EVERYDAY: [&str; 2] = ["iat", "jti"];

/// The names of the claims that a gateway of this configuration doesn't read, each as a JSON pointer if it stands deeper; nothing for an API key.
pub(super) fn claims(token: &str, config: &Config) -> Vec<String> {
    let claims = token.split('.').nth(1).and_then(|part| object(part).ok());
    claims.map_or_else(Vec::new, |claims| of(&claims, config))
}

fn of(claims: &Map<String, Value>, config: &Config) -> Vec<String> {
    let access = &config.access;
    let pointer = access.claims_pointer.as_str();
    let (first, rest) = split_pointer(pointer);
    let is_read = |name: &str| {
        let is_user = match name {
            "user_id" => !claims.contains_key("sub"),
            name => USER.contains(&name),
        };
        is_user
            || matches!(name, "exp" | "nbf")
            || (name == "aud" && !access.audiences.is_empty())
            || (name == "iss" && access.issuer.is_some())
            || (pointer.is_empty() && RIGHTS.contains(&name))
            || (!pointer.is_empty() && first == name)
    };
    let ours = claims.get(&first).filter(|_| !pointer.is_empty()).and_then(|value| value.pointer(rest));
    let ours = ours.and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let unread = claims.keys().filter(|name| !is_read(name) && !EVERYDAY.contains(&name.as_str())).cloned();
    let deeper = ours.filter(|name| !RIGHTS.contains(&name.as_str()));
    unread.chain(deeper.map(|name| format!("{pointer}/{name}"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unread(claims: &Value, change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::for_tests();
        change(&mut config);
        of(claims.as_object().unwrap(), &config)
    }

    #[test]
    fn what_is_not_a_claim_of_the_gateway_is_named() {
        let claims = json!({
            "sub": "u", "user_id": 7, "iat": 1, "jti": "x", "exp": 2, "nbf": 1, "aud": "a", "iss": "i",
            "symbols": [], "types": [], "maxSymbols": 1, "maxRate": 1, "delayMs": 0, "rooms": [], "max_rate": 4,
            "app": {"symbols": [], "level": 3},
        });
        assert_eq!(unread(&claims, |_| {}), ["app", "aud", "iss", "max_rate", "user_id"]);
        let checked = unread(&claims, |config| {
            config.access.audiences = vec!["a".to_owned()];
            config.access.issuer = Some("i".to_owned());
        });
        assert_eq!(checked, ["app", "max_rate", "user_id"]);
        let elsewhere = unread(&claims, |config| config.access.claims_pointer = "/app".to_owned());
        let top = ["delayMs", "maxRate", "maxSymbols", "max_rate", "rooms", "symbols", "types", "user_id"];
        assert_eq!(elsewhere, [&["aud"][..], &top[..1], &["iss"], &top[1..], &["/app/level"]].concat());
        assert!(unread(&json!({"user_id": 7, "exp": 2}), |_| {}).is_empty());
        assert!(super::claims("an-api-key", &Config::for_tests()).is_empty());
    }
}
