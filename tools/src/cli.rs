//! Values of flags and environment variables. Every error says what was given and what is allowed.

use std::time::Duration;

use serde_json::Number;
use tokio_tungstenite::tungstenite::http::Uri;
use ws_gateway::config::units;
use ws_gateway::market::event::SEQ_END;
use ws_gateway::market::{Name, SYMBOL_RULE, Symbol, SymbolCase, check_type_name};

/// No tool waits longer than a year.
const DURATION_MAX: Duration = Duration::from_secs(366 * 86_400);

/// A time, as the gateway's settings have it: `1500` (milliseconds), `250ms`, `30s`, `1.5m`, `2h`.
///
/// # Errors
/// What is allowed, if the text is something else or longer than a year.
pub fn duration(text: &str) -> Result<Duration, String> {
    let time = units::time(text).filter(|time| *time <= DURATION_MAX);
    time.ok_or_else(|| "a time is milliseconds (1500) or has a unit (250ms, 30s, 5m, 2h)".to_owned())
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

/// One symbol, as it is written: the gateway folds it where it folds symbols.
///
/// # Errors
/// The rule for symbols.
pub fn symbol(text: &str) -> Result<Symbol, String> {
    let symbol = Symbol::parse(text.trim().as_bytes(), SymbolCase::Exact);
    symbol.ok_or_else(|| format!("a symbol is {SYMBOL_RULE}"))
}

/// A symbol to subscribe to, as it is written; `*` and `BTC-*` (all, all that begin so) are patterns.
///
/// # Errors
/// The rule for symbols.
pub fn symbol_or_pattern(text: &str) -> Result<String, String> {
    let text = text.trim();
    let name = Name::parse(text.as_bytes(), SymbolCase::Exact).map(|name| name.to_string());
    name.ok_or_else(|| format!("a symbol is {SYMBOL_RULE}; a pattern is what symbols begin with, and a *"))
}

/// The name of a type of events. Which types there are is the gateway's affair (`CHANNEL_TYPES`).
///
/// # Errors
/// What is wrong with the name.
pub fn type_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    check_type_name(name).map(|()| name.to_owned()).map_err(|error| error.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_gateway_up_to_a_year() {
        let ms = |text| duration(text).map(|time| time.as_millis());
        assert_eq!((ms("1500"), ms("1.5m"), ms("8784h")), (Ok(1500), Ok(90_000), Ok(366 * 86_400_000)));
        assert!(duration("8785h").is_err() && duration("soon").is_err());
    }

    #[test]
    fn nothing_happens_every_zero_milliseconds() {
        assert_eq!(period("1ms"), Ok(Duration::from_millis(1)));
        assert!(period("0").is_err() && period("soon").is_err());
    }

    #[test]
    fn symbols_stay_as_they_are_written() {
        assert_eq!(symbol_or_pattern(" AMpB ").as_deref(), Ok("AMpB"));
        assert_eq!(symbol_or_pattern("btc-*").as_deref(), Ok("btc-*"));
        assert_eq!(symbol_or_pattern("*").as_deref(), Ok("*"));
        for bad in ["", "A*B", "**", "Ä", "A\"B"] {
            assert!(symbol_or_pattern(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_swap_is_exactly_two_symbols() {
        assert_eq!(swap("msft:TSLA"), Ok(("msft".to_owned(), "TSLA".to_owned())));
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
        assert_eq!(type_name(" order_book2 ").as_deref(), Ok("order_book2"));
        for bad in ["", "Quote", "2nd", "_x", "a-b", "status", &"x".repeat(33)] {
            assert!(type_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(max_rate("4").map(|rate| rate.to_string()).as_deref(), Ok("4"));
        assert_eq!(max_rate("0.5").map(|rate| rate.to_string()).as_deref(), Ok("0.5"));
        for bad in ["0", "0.09", "1001", "-1", "nan", "1/2", ""] {
            assert!(max_rate(bad).is_err(), "{bad:?}");
        }
        let seen = last_seen("aapl=1041, X=Y=7").unwrap().0;
        let seen: Vec<_> = seen.iter().map(|(symbol, seq)| (symbol.as_str(), *seq)).collect();
        assert_eq!(seen, [("aapl", 1041), ("X=Y", 7)], "a symbol may have an equals sign itself");
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
}
