//! A worker's event in the words of other APIs: whatever keeps the contract is written whole, as JSON where the form is JSON, or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::market::event::Checker;
use ws_gateway::market::{Encoding, Form, Kind, Kinds, Symbol, SymbolCase};
use ws_gateway::protocol::form::{self, EventParts};
use ws_gateway::protocol::native::event::{Marker, Openings};
use ws_gateway::protocol::sums::{self, Totals};
use ws_gateway::websocket::header;

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (kind, is_snapshot, payload) = input;
    let kind = Kind::MARKET[usize::from(kind) % Kind::MARKET.len()];
    let Ok(event) = Checker::with_max_bytes(65_536).check(kind, payload, b"AAPL") else { return };
    let Some(symbol) = Symbol::parse(b"AAPL", SymbolCase::Upper) else { return };
    // As the topic of a candle has it.
    let symbol = if kind.has_intervals() { symbol.with_interval("1M") } else { symbol };
    let openings = Openings::new(&Kinds::default());
    let marker = if is_snapshot { Marker::SNAPSHOT } else { Marker::NONE };
    let parts =
        EventParts { kind, symbol: &symbol, seq: event.seq, object: event.object, at_ms: 1, marker };
    for form in Form::ALL {
        let mut out = b"before".to_vec();
        let is_written = form::write(&mut out, form, &openings, &parts);
        let written = &out[6..];
        assert_eq!(is_written, !written.is_empty());
        match form.encoding() {
            Encoding::AlpacaJson(_) | Encoding::Massive(..) | Encoding::Finnhub if is_written => {
                object(written.strip_prefix(b",").unwrap_or_default());
            }
            Encoding::Binance(..) if is_written => {
                object(header::payload(written));
                if let Some(marked) = sums::read(form, written, |_| sums::with_totals(form, written, &TOTALS)) {
                    object(header::payload(&marked));
                }
            }
            Encoding::AlpacaMsgpack(_) if is_written => assert_eq!(written[0] & 0xe0, 0x80, "a map of few fields"),
            _ => {}
        }
    }
});

/// Of several trades.
const TOTALS: Totals<'_> = Totals {
    count: 2,
    volume: "1",
    high: "1",
    low: "1",
    vwap: "null",
    first_timestamp: "1",
    first_id: None,
    taker_sells: None,
};

fn object(json: &[u8]) {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_else(|error| panic!("{error}"));
    assert!(value.is_object());
}
