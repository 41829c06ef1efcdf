//! Whatever a client sends, what it is told about it is short: a refusal repeats a bad value in part only.

use crate::market::{Kinds, SymbolCase};
use crate::protocol::BinanceShape;
use crate::protocol::Dialect;
use crate::protocol::request::Grammar;

const MESSAGE_BYTES_MAX: usize = 512;

/// Every way to read a message; dialects whose messages are read alike are there once.
const DIALECTS: [Dialect; 6] = [
    Dialect::Native,
    Dialect::AlpacaJson,
    Dialect::AlpacaMsgpack,
    Dialect::MassiveStocks,
    Dialect::Finnhub,
    Dialect::Binance(BinanceShape::Raw),
];

/// Messages with `long` in each place where a parser may repeat it.
fn messages(long: &str) -> Vec<String> {
    let mut messages =
        vec![long.to_owned(), format!("\"{long}\""), format!("[\"{long}\"]"), format!("{{\"{long}\":1}}")];
    for field in ["action", "method", "type", "symbol", "symbols", "types", "params", "trades", "key", "id"] {
        messages.push(format!(r#"{{"{field}":"{long}"}}"#));
        messages.push(format!(r#"{{"{field}":["{long}"]}}"#));
        messages.push(format!(r#"{{"{field}":{{"{long}":1}}}}"#));
        for verb in ["subscribe", "auth"] {
            messages.push(format!(
                r#"{{"action":"{verb}","type":"{verb}","method":"SUBSCRIBE","{field}":"{long}"}}"#
            ));
            messages.push(format!(
                r#"{{"action":"{verb}","type":"{verb}","method":"SUBSCRIBE","{field}":["{long}"]}}"#
            ));
        }
    }
    messages
}

#[test]
fn a_refusal_is_short_whatever_it_is_about() {
    let grammar = Grammar::new("trade,quote".parse::<Kinds>().unwrap(), SymbolCase::Upper);
    let mut refused = 0;
    for long in
        ["v".repeat(5_000), "\u{7f}".repeat(5_000), "é€".repeat(1_000), "9".repeat(5_000), "[".repeat(5_000)]
    {
        for message in messages(&long) {
            for dialect in DIALECTS {
                let Err(refusal) = dialect.read(&message, &grammar) else { continue };
                refused += 1;
                let said = &refusal.message;
                assert!(
                    said.len() <= MESSAGE_BYTES_MAX,
                    "{dialect:?} says {} bytes: {said:.200}",
                    said.len()
                );
            }
        }
    }
    assert!(refused > 1_000, "{refused} messages were refused");
}
