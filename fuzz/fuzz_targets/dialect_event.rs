//! A worker's event in the words of other APIs: whatever keeps the contract is written whole, as JSON where the form is JSON, or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::market::event::Checker;
use ws_gateway::market::{Encoding, Form, Kind, Kinds, Symbol, SymbolCase};
use ws_gateway::protocol::form::{self, EventParts};
use ws_gateway::protocol::native::event::{Marker, Openings};
use ws_gateway::protocol::sums::{self, Totals};
use ws_gateway::websocket::header;
use ws_gateway_fuzz::{behind_msgpack, event_of_socketio, object, text_of_frame};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (kind, is_snapshot, payload) = input;
    let kind = Kind::MARKET[usize::from(kind) % Kind::MARKET.len()];
    let Ok(event) = Checker::with_max_bytes(65_536).check(kind, payload, b"AAPL") else { return };
    let Some(symbol) = Symbol::parse(b"AAPL", SymbolCase::Upper) else { return };
    // As the topic of a candle has it.
    let symbol = if kind.has_intervals() { symbol.with_interval("1M") } else { symbol };
    let openings = Openings::new(&Kinds::default());
    let marker = if is_snapshot { Marker::SNAPSHOT } else { Marker::NONE };
    let parts = EventParts { kind, symbol: &symbol, seq: event.seq, object: event.object, at_ms: 1, marker };
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
                if let Some(marked) = sums::read(form, written, |_| sums::with_totals(form, written, &TOTALS))
                {
                    object(header::payload(&marked));
                }
            }
            Encoding::AlpacaMsgpack(_) if is_written => {
                assert!(matches!(written[0], 0x80..=0x8f | 0xde), "a map");
                let key = if written[0] == 0xde { &written[3..] } else { &written[1..] };
                assert!(key.starts_with(b"\xa1T\xa1"), "its type first, as the Go client needs it");
                assert!(behind_msgpack(written).is_empty(), "one value, whole");
            }
            Encoding::AlpacaJson(_)
            | Encoding::AlpacaMsgpack(_)
            | Encoding::Massive(..)
            | Encoding::Finnhub
            | Encoding::Binance(..) => {}
            Encoding::JsonBatch => object(written.strip_prefix(b",").expect("a separator")),
            Encoding::Json if form.is_deflated() => assert!(is_written),
            Encoding::Json => object(text_of_frame(written).as_bytes()),
            Encoding::SocketIo(_) if form.is_deflated() => assert!(is_written),
            Encoding::SocketIo(_) => event_of_socketio(text_of_frame(written)),
            Encoding::Sse => {
                let text =
                    std::str::from_utf8(written).expect("UTF-8").strip_suffix("\n\n").expect("its end");
                let mut lines: Vec<_> = text.split(['\n', '\r']).collect();
                object(
                    lines.pop().and_then(|line| line.strip_prefix("data: ")).expect("the object").as_bytes(),
                );
                let id =
                    event.seq.map(|seq| format!("id: {}:{seq}:{}", openings.name(kind), symbol.as_str()));
                let name = format!("event: {}", openings.name(kind));
                assert!(lines.iter().eq([Some(&name), id.as_ref()].into_iter().flatten()), "{lines:?}");
            }
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
