//! Shows what a token says of itself. Nobody has checked whether it is true.

use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::{Map, Value};
use ws_gateway::escape::OneLine;

use super::times::{in_words, length};
use crate::term::print;

/// Which token.
#[derive(Debug, Args)]
pub struct Options {
    /// The token; '-' or nothing to read it from standard input
    #[arg(value_name = "TOKEN")]
    pub token: Option<String>,
}

/// Shows a token.
///
/// # Errors
/// When it is none, or standard output can't be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let token = super::token(options.token.as_deref())?;
    for line in lines(&token, UNIX_EPOCH.elapsed()?)? {
        print(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What there is to say of a token at `now` since 1970.
fn lines(token: &str, now: Duration) -> anyhow::Result<Vec<String>> {
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        let hint = if parts.len() == 5 { "it is encrypted (JWE)" } else { "it may be an API key" };
        bail!(
            "it is no JSON Web Token: it has {} parts with dots between them, and not 3; {hint}",
            parts.len()
        );
    };
    let (header, claims) = (object(header).context("its header")?, object(claims).context("its claims")?);
    let mut lines = vec!["header".to_owned()];
    show(&header, &mut lines);
    lines.push("claims, whose signature is not checked here".to_owned());
    show(&claims, &mut lines);
    let times = ["iat", "nbf", "exp"].iter().filter_map(|name| {
        let seconds = claims.get(*name)?.as_f64()?;
        Some(format!("  {name}  {}", in_words(seconds, now)))
    });
    let times: Vec<_> = times.collect();
    if !times.is_empty() {
        lines.push("times".to_owned());
        lines.extend(times);
    }
    let remarks = remarks(&header, &claims, signature, now);
    if !remarks.is_empty() {
        lines.push("remarks".to_owned());
        lines.extend(remarks.into_iter().map(|remark| format!("  {remark}")));
    }
    Ok(lines)
}

/// A part of a token: base64 of a JSON object.
pub(super) fn object(part: &str) -> anyhow::Result<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).context("it is not base64url without padding")?;
    serde_json::from_slice(&bytes).context("it is no JSON object")
}

/// An object, indented, with nothing in it that moves a terminal's cursor.
fn show(object: &Map<String, Value>, lines: &mut Vec<String>) {
    let text = format!("{:#}", Value::Object(object.clone()));
    lines.extend(text.lines().map(|line| {
        let mut clean = "  ".to_owned();
        // Writing into a string can't fail.
        let _ = std::fmt::Write::write_str(&mut OneLine(&mut clean), line);
        clean
    }));
}

/// What a gateway is likely to object to, or what is likely to be a mistake.
fn remarks(
    header: &Map<String, Value>,
    claims: &Map<String, Value>,
    signature: &str,
    now: Duration,
) -> Vec<String> {
    let now = now.as_secs_f64();
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let mut remarks = Vec::new();
    let mut remark = |is_so: bool, text: String| {
        if is_so {
            remarks.push(text);
        }
    };
    remark(
        algorithm.eq_ignore_ascii_case("none"),
        "alg none: nobody has signed it, and no gateway takes it".to_owned(),
    );
    remark(signature.is_empty(), "there is no signature".to_owned());
    for ignored in ["jku", "x5u", "jwk", "x5c"] {
        remark(
            header.contains_key(ignored),
            format!("{ignored}: a gateway ignores it, its keys are its own"),
        );
    }
    remark(
        !claims.contains_key("sub") && !claims.contains_key("user_id"),
        "there is neither sub nor user_id: it names no user, and a gateway refuses it".to_owned(),
    );
    match seconds("exp") {
        None => {
            remark(true, "there is no exp: a gateway refuses it, unless JWT_REQUIRE_EXP=false".to_owned());
        }
        Some(exp) => {
            // Nobody's clock is that far off, and somebody's JavaScript is.
            remark(exp > 1e11, "exp is in milliseconds, perhaps: it has to be in seconds".to_owned());
            remark(exp < now, format!("it ended {} ago", length(now - exp)));
        }
    }
    remark(seconds("nbf").is_some_and(|nbf| nbf > now), "it has not begun".to_owned());
    remark(
        seconds("iat").is_some_and(|iat| iat > now + 60.0),
        "it was made in the future: one of two clocks is wrong".to_owned(),
    );
    remarks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn of(header: &Value, claims: &Value, signature: &str) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        lines(&format!("{}.{}.{signature}", part(header), part(claims)), NOW).unwrap().join("\n")
    }

    #[test]
    fn header_claims_and_times_are_shown() {
        let header = json!({"alg": "ES256", "kid": "k1"});
        let claims =
            json!({"sub": "u\u{202e}", "iat": 1_699_999_700, "exp": 1_700_003_600, "symbols": ["AAPL"]});
        let shown = of(&header, &claims, "x");
        let expected = "header\n  {\n    \"alg\": \"ES256\",\n    \"kid\": \"k1\"\n  }\nclaims, whose signature is not checked here\n  {\n    \
                        \"exp\": 1700003600,\n    \"iat\": 1699999700,\n    \"sub\": \"u\\u{202e}\",\n    \"symbols\": [\n      \"AAPL\"\n    ]\n  }\n\
                        times\n  iat  2023-11-14T22:08:20Z, 5 minutes ago\n  exp  2023-11-14T23:13:20Z, in 1 hour";
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_odd_is_remarked_upon() {
        let alg = json!({"alg": "RS256"});
        for (header, claims, signature, remark) in [
            (json!({"alg": "nOnE"}), json!({"sub": "u", "exp": 2e9}), "", "nobody has signed it"),
            (alg.clone(), json!({"sub": "u", "exp": 2e9}), "", "no signature"),
            (alg.clone(), json!({"exp": 2e9}), "x", "names no user"),
            (alg.clone(), json!({"sub": "u"}), "x", "JWT_REQUIRE_EXP"),
            (alg.clone(), json!({"sub": "u", "exp": 1_600_000_000}), "x", "it ended 3 years"),
            (alg.clone(), json!({"sub": "u", "exp": 1_700_000_000_000_u64}), "x", "in milliseconds"),
            (alg.clone(), json!({"sub": "u", "exp": 2e9, "nbf": 1.8e9}), "x", "not begun"),
            (alg, json!({"sub": "u", "exp": 2e9, "iat": 1.8e9}), "x", "clocks"),
            (
                json!({"alg": "RS256", "jku": "https://evil"}),
                json!({"sub": "u", "exp": 2e9}),
                "x",
                "jku: a gateway ignores",
            ),
        ] {
            let shown = of(&header, &claims, signature);
            assert!(shown.contains("\nremarks\n") && shown.contains(remark), "{remark}: {shown}");
        }
        for (bad, why) in [
            ("k-1", "an API key"),
            ("a.b", "2 parts"),
            ("a.b.c.d.e", "encrypted"),
            ("!.e30.x", "its header"),
            ("e30.W10.x", "its claims"),
            ("e30=.e30.x", "base64url"),
        ] {
            let error = format!("{:#}", lines(bad, NOW).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
