//! Values of flags and environment variables. Every error says what was given and what is allowed.

use std::time::Duration;

use serde_json::Number;
use tokio_tungstenite::tungstenite::http::Uri;
use ws_gateway::market::event::SEQ_END;
use ws_gateway::market::{EventType, EventTypes, Name, SYMBOL_RULE, Symbol, SymbolCase};

/// A time: milliseconds as a plain number, or with a unit as in `250ms`, `30s`, `1.5m`, `2h`.
///
/// # Errors
/// What is allowed, if the text is something else or longer than a year.
pub fn duration(text: &str) -> Result<Duration, String> {
    let rule = || "a time is milliseconds (1500) or has a unit (250ms, 30s, 5m, 2h)".to_owned();
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_seconds = match unit {
        "" | "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(rule()),
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let seconds = number.parse::<f64>().ok().filter(|_| plain).map(|n| n * unit_seconds);
    seconds.filter(|&s| s <= 366.0 * 86_400.0).map(Duration::from_secs_f64).ok_or_else(rule)
}

/// A time above zero: something happens again and again after it.
///
/// # Errors
/// As [`duration`].
pub fn period(text: &str) -> Result<Duration, String> {
    let period = duration(text)?;
    if period.is_zero() {
        Err("a period is a time above 0, such as 250ms or 10s".to_owned())
    } else {
        Ok(period)
    }
}

/// One symbol, upper-cased.
///
/// # Errors
/// The rule for symbols.
pub fn symbol(text: &str) -> Result<Symbol, String> {
    let symbol = Symbol::parse(text.trim().as_bytes(), SymbolCase::Upper);
    symbol.ok_or_else(|| format!("a symbol is {SYMBOL_RULE}"))
}

/// A symbol to subscribe to, upper-cased; `*` and `BTC-*` (all, all that begin so) are patterns.
///
/// # Errors
/// The rule for symbols.
pub fn symbol_or_pattern(text: &str) -> Result<String, String> {
    let text = text.trim();
    let name = Name::parse(text.as_bytes(), SymbolCase::Upper).map(|name| name.to_string());
    name.ok_or_else(|| format!("a symbol is {SYMBOL_RULE}; a pattern is what symbols begin with, and a *"))
}

/// A type of events.
///
/// # Errors
/// The types there are.
pub fn event_type(text: &str) -> Result<EventType, String> {
    EventType::parse(text.trim().as_bytes()).ok_or_else(|| {
        let all: EventTypes = EventType::ALL.into_iter().collect();
        format!("a type is one of {all}")
    })
}

/// Updates a second of each symbol, as it will stand in the request.
///
/// # Errors
/// What is allowed.
pub fn max_rate(text: &str) -> Result<Number, String> {
    let rate = text.trim().parse::<Number>().ok();
    rate.filter(|rate| rate.as_f64().is_some_and(|rate| (0.1..=1000.0).contains(&rate)))
        .ok_or_else(|| "a rate is updates per second of each symbol, 0.1 to 1000".to_owned())
}

/// `AAPL=1041,MSFT=7`: the last sequence number seen of some symbols; nothing is none.
///
/// # Errors
/// What is allowed.
pub fn last_seen(text: &str) -> Result<LastSeen, String> {
    let rule = "the last seq seen of a symbol looks like AAPL=1041, several with commas between them";
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let seen = pairs.map(|pair| {
        let (name, seq) = pair.rsplit_once('=').ok_or(rule)?;
        let seq = seq.trim().parse().ok().filter(|seq| *seq < SEQ_END).ok_or(rule)?;
        Ok((symbol(name)?, seq))
    });
    seen.collect::<Result<_, String>>().map(LastSeen)
}

/// What [`last_seen`] reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastSeen(pub Vec<(Symbol, u64)>);

/// `MSFT:TSLA`, the symbol to drop and the one to take instead.
///
/// # Errors
/// What is allowed; symbols that contain a colon themselves cannot be told apart and so not swapped.
pub fn swap(text: &str) -> Result<(String, String), String> {
    let mut parts = text.split(':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(drop), Some(take), None) => Ok((symbol_or_pattern(drop)?, symbol_or_pattern(take)?)),
        _ => Err("a swap is two symbols with a colon between them, as in MSFT:TSLA".to_owned()),
    }
}

/// A rate per second: above zero, at most ten million.
///
/// # Errors
/// What is allowed.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate = text.trim().parse::<f64>().ok();
    rate.filter(|&rate| rate > 0.0 && rate <= 1e7)
        .ok_or_else(|| "a rate is trades per second, above 0 and at most 10000000".to_owned())
}

/// The address of a gateway: `ws://` or `wss://`, a host, perhaps a port, path and query.
///
/// # Errors
/// What is wrong with it.
pub fn ws_url(text: &str) -> Result<String, String> {
    let example = "an address looks like ws://127.0.0.1:8080/ws or wss://example.com/ws";
    let uri: Uri = text.trim().parse().map_err(|error| format!("{error}; {example}"))?;
    match uri.scheme_str() {
        Some("ws" | "wss") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(text.trim().to_owned()),
        Some("ws" | "wss") => Err(format!("no host in it; {example}")),
        Some(other) => Err(format!("scheme {other:?} is not ws or wss; {example}")),
        None => Err(format!("no ws:// or wss:// in front; {example}")),
    }
}

/// The address without what may be secret (user and password, the query with its token), to show it.
pub fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_or_have_a_unit() {
        let ms = |text| duration(text).map(|time| time.as_millis());
        assert_eq!(ms("1500"), Ok(1500));
        assert_eq!(ms("250ms"), Ok(250));
        assert_eq!(ms("30s"), Ok(30_000));
        assert_eq!(ms("1.5m"), Ok(90_000));
        assert_eq!(ms("2h"), Ok(7_200_000));
        for bad in ["", "s", "-1s", "1d", "1 s", "inf", "1e9h", "99999h", "1..2s"] {
            assert!(ms(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_happens_every_zero_milliseconds() {
        assert_eq!(period("1ms"), Ok(Duration::from_millis(1)));
        assert!(period("0").is_err() && period("soon").is_err());
    }

    #[test]
    fn symbols_are_upper_cased_and_patterns_keep_their_star() {
        assert_eq!(symbol_or_pattern(" aapl ").as_deref(), Ok("AAPL"));
        assert_eq!(symbol_or_pattern("btc-*").as_deref(), Ok("BTC-*"));
        assert_eq!(symbol_or_pattern("*").as_deref(), Ok("*"));
        for bad in ["", "A*B", "**", "Ä", "A\"B"] {
            assert!(symbol_or_pattern(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_swap_is_exactly_two_symbols() {
        assert_eq!(swap("msft:TSLA"), Ok(("MSFT".to_owned(), "TSLA".to_owned())));
        for bad in ["MSFT", "MSFT:", ":TSLA", "A:B:C"] {
            assert!(swap(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rates_are_positive_numbers() {
        assert_eq!(rate("0.5"), Ok(0.5));
        assert_eq!(rate("50000"), Ok(50_000.0));
        for bad in ["0", "-1", "nan", "inf", "1e9", "fast"] {
            assert!(rate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn terms_of_a_subscription_are_checked_before_they_are_sent() {
        assert_eq!(event_type(" quote "), Ok(EventType::Quote));
        assert_eq!(event_type("Quote"), Err("a type is one of trade,quote,candle,news,halt".to_owned()));
        assert_eq!(max_rate("4").map(|rate| rate.to_string()).as_deref(), Ok("4"));
        assert_eq!(max_rate("0.5").map(|rate| rate.to_string()).as_deref(), Ok("0.5"));
        for bad in ["0", "0.09", "1001", "-1", "nan", "1/2", ""] {
            assert!(max_rate(bad).is_err(), "{bad:?}");
        }
        let seen = last_seen("aapl=1041, X=Y=7").unwrap().0;
        let seen: Vec<_> = seen.iter().map(|(symbol, seq)| (symbol.as_str(), *seq)).collect();
        assert_eq!(seen, [("AAPL", 1041), ("X=Y", 7)], "a symbol may have an equals sign itself");
        assert_eq!(last_seen(""), Ok(LastSeen::default()));
        for bad in ["AAPL", "AAPL=", "=1", "A=-1", "A=9007199254740992", "A*=1"] {
            assert!(last_seen(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_web_socket_addresses_are_taken() {
        assert!(ws_url("ws://127.0.0.1:8080/ws").is_ok());
        assert!(ws_url("wss://example.com/ws?symbols=AAPL").is_ok());
        for bad in ["http://127.0.0.1/", "127.0.0.1:8080", "ws://", "/ws", "ws://a b/"] {
            assert!(ws_url(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(without_secrets("redis://me:se@cret@db:6379/0"), "redis://db:6379/0");
        assert_eq!(without_secrets("ws://h:1/ws?token=abc"), "ws://h:1/ws");
        assert_eq!(without_secrets("unix:///run/redis.sock"), "unix:///run/redis.sock");
        assert_eq!(without_secrets("nonsense"), "nonsense");
    }
}
