use super::*;
use crate::market::spelling::Spelling;
use crate::market::{BinanceShape, BinanceStream, Form, Kind, Kinds, Name, Subject, Symbol, SymbolCase};
use crate::protocol::form::{self, EventParts};
use crate::protocol::native::event::{Marker, Openings};
use crate::protocol::refusal::{Cause, ErrorCode, Refusal};
use crate::protocol::reply::{Reply, ShutdownReason, Status};
use crate::protocol::request::{Action, Grammar, Request, Subscribe};
use crate::protocol::sums::{self, Totals};
use crate::websocket::header;

use BinanceShape::{Combined, CombinedMicros, Raw, RawMicros};
use BinanceStream::{AggTrades, Others, Trades};

fn grammar() -> Grammar {
    let kinds: Kinds = "trade,quote,candle".parse().unwrap();
    Grammar::new(kinds, SymbolCase::Exact)
        .spelled(Spelling::parse("BTC-USD=BTCUSDT", SymbolCase::Exact).unwrap())
}

fn frame(
    shape: BinanceShape,
    of: BinanceStream,
    kind: Kind,
    symbol: &Symbol,
    object: &str,
    marker: Marker<'_>,
) -> Option<Vec<u8>> {
    let event = EventParts { kind, symbol, seq: Some(7), object, at_ms: 1_672_515_782_140, marker };
    let openings = Openings::new(&Kinds::default()).spelled(grammar().spelling);
    let mut out = b"before".to_vec();
    let is_written = form::write(&mut out, Form::binance(shape, of), &openings, &event);
    assert_eq!(is_written, out.len() > 6);
    is_written.then(|| out.split_off(6))
}

fn symbol(name: &str) -> Symbol {
    Symbol::parse(name.as_bytes(), SymbolCase::Exact).unwrap()
}

fn text(frame: &[u8]) -> String {
    assert_eq!(frame, header::text(header::payload(frame)), "one text frame");
    String::from_utf8(header::payload(frame).to_vec()).unwrap()
}

fn event(shape: BinanceShape, of: BinanceStream, kind: Kind, object: &str) -> Option<String> {
    let name = symbol("BTC-USD");
    let name = if kind == Kind::CANDLE { name.with_interval("1m") } else { name };
    frame(shape, of, kind, &name, object, Marker::NONE).map(|frame| text(&frame))
}

const TRADE: &str = r#"{"symbol":"BTC-USD","price":150.250,"volume":1e-8,"timestamp":1672515782136,"id":12345,"side":"sell"}"#;
const QUOTE: &str =
    r#"{"symbol":"BTC-USD","bidPrice":25.35,"askPrice":25.36,"bidSize":31.21,"askSize":40.66,"timestamp":1}"#;
const CANDLE: &str = r#"{"symbol":"BTC-USD","open":1.0,"high":2,"low":0.50,"close":1.5,"volume":10,"timestamp":60000,"interval":"1m","trades":3,"closed":true,"quoteVolume":15.0}"#;

#[test]
fn each_stream_has_its_events() {
    for (shape, of, kind, object, expected) in [
        (
            Raw,
            Trades,
            Kind::TRADE,
            TRADE,
            r#"{"e":"trade","E":1672515782140,"s":"BTCUSDT","t":12345,"p":"150.250","q":"1e-8","T":1672515782136,"m":true}"#,
        ),
        (
            Combined,
            Trades,
            Kind::TRADE,
            TRADE,
            r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1672515782140,"s":"BTCUSDT","t":12345,"p":"150.250","q":"1e-8","T":1672515782136,"m":true}}"#,
        ),
        (
            RawMicros,
            AggTrades,
            Kind::TRADE,
            TRADE,
            r#"{"e":"aggTrade","E":1672515782140000,"s":"BTCUSDT","a":12345,"p":"150.250","q":"1e-8","f":12345,"l":12345,"T":1672515782136000,"m":true}"#,
        ),
        (
            Combined,
            Others,
            Kind::QUOTE,
            QUOTE,
            r#"{"stream":"btcusdt@bookTicker","data":{"u":7,"s":"BTCUSDT","b":"25.35","B":"31.21","a":"25.36","A":"40.66"}}"#,
        ),
        (
            Raw,
            Others,
            Kind::CANDLE,
            CANDLE,
            r#"{"e":"kline","E":1672515782140,"s":"BTCUSDT","k":{"t":60000,"T":119999,"s":"BTCUSDT","i":"1m","o":"1.0","c":"1.5","h":"2","l":"0.50","v":"10","n":3,"x":true,"q":"15.0"}}"#,
        ),
        (
            CombinedMicros,
            Others,
            Kind::CANDLE,
            CANDLE,
            r#"{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1672515782140000,"s":"BTCUSDT","k":{"t":60000000,"T":119999999,"s":"BTCUSDT","i":"1m","o":"1.0","c":"1.5","h":"2","l":"0.50","v":"10","n":3,"x":true,"q":"15.0"}}}"#,
        ),
    ] {
        assert_eq!(event(shape, of, kind, object).as_deref(), Some(expected));
    }
}

#[test]
fn what_the_worker_does_not_send_is_left_out() {
    let sparse = r#"{"price":1,"volume":2,"timestamp":3,"id":"x","side":1}"#;
    assert_eq!(
        event(Raw, Trades, Kind::TRADE, sparse).unwrap(),
        r#"{"e":"trade","E":1672515782140,"s":"BTCUSDT","t":7,"p":"1","q":"2","T":3}"#
    );
    let sparse = r#"{"bidPrice":1,"askPrice":2,"timestamp":3}"#;
    assert_eq!(event(Raw, Others, Kind::QUOTE, sparse).unwrap(), r#"{"u":7,"s":"BTCUSDT","b":"1","a":"2"}"#);
    let sparse =
        r#"{"open":1,"high":1,"low":1,"close":1,"volume":1,"timestamp":0,"interval":"1m","closed":"true"}"#;
    assert!(event(Raw, Others, Kind::CANDLE, sparse).unwrap().contains(r#""v":"1","x":false}"#));
    assert_eq!(event(Raw, Trades, Kind::TRADE, r#"{"price":1,"volume":2,"timestamp":1e300}"#), None);
    assert_eq!(event(Raw, Others, Kind::TRADE, TRADE), None);
    assert_eq!(event(Combined, Others, Kind::NEWS, r#"{"headline":"h","timestamp":1}"#), None);
}

#[test]
fn candles_close_when_their_interval_ends() {
    let close = |interval: &str, begin: &str| {
        let name = symbol("X").with_interval(interval);
        let object = CANDLE.replace("60000", begin);
        let frame = frame(Raw, Others, Kind::CANDLE, &name, &object, Marker::NONE)?;
        let value: serde_json::Value = serde_json::from_slice(header::payload(&frame)).unwrap();
        assert_eq!(value["k"]["i"], interval);
        value["k"]["T"].as_i64()
    };
    assert_eq!(close("1s", "0"), Some(999));
    assert_eq!(close("1w", "0"), Some(604_799_999));
    assert_eq!(close("1M", "1706745600000"), Some(1_709_251_199_999), "February 2024");
    assert_eq!((close("2m", "0"), close("60", "0"), close("1D", "0")), (None, None, None));
}

#[test]
fn history_and_delay_are_marked() {
    let delayed = Marker::SNAPSHOT.delayed(std::num::NonZeroU32::new(900_000));
    let frame = frame(Raw, Trades, Kind::TRADE, &symbol("A"), TRADE, delayed).unwrap();
    assert!(text(&frame).ends_with(r#""m":true,"snapshot":true,"delayedMs":900000}"#));
}

/// The newest of several trades, marked with totals.
fn totals_of(shape: BinanceShape, taker_sells: Option<bool>) -> String {
    let newest = frame(shape, AggTrades, Kind::TRADE, &symbol("BTC-USD"), TRADE, Marker::NONE).unwrap();
    let totals = Totals {
        count: 2,
        volume: "3.5",
        high: "151",
        low: "150.250",
        vwap: "150.5",
        first_timestamp: "1672515782000",
        first_id: Some("12344"),
        taker_sells,
    };
    text(&sums::with_totals(Form::binance(shape, AggTrades), &newest, &totals).unwrap())
}

#[test]
fn an_aggregate_has_the_quantity_of_all() {
    let conflated = r#""conflated":{"count":2,"volume":3.5,"high":151,"low":150.250,"vwap":150.5,"firstTimestamp":1672515782000}"#;
    assert_eq!(
        totals_of(Combined, Some(true)),
        format!(
            r#"{{"stream":"btcusdt@aggTrade","data":{{"e":"aggTrade","E":1672515782140,"s":"BTCUSDT","a":12345,"p":"150.250","q":"3.5","f":12344,"l":12345,"T":1672515782136,"m":true,{conflated}}}}}"#
        )
    );
    assert_eq!(
        totals_of(Raw, None),
        format!(
            r#"{{"e":"aggTrade","E":1672515782140,"s":"BTCUSDT","a":12345,"p":"150.250","q":"3.5","f":12344,"l":12345,"T":1672515782136,{conflated}}}"#
        )
    );
}

#[test]
fn trades_are_read_from_their_events() {
    for shape in BinanceShape::ALL {
        let event = frame(shape, AggTrades, Kind::TRADE, &symbol("A"), TRADE, Marker::NONE).unwrap();
        let unit = if shape.is_micros() { "000" } else { "" };
        let read = sums::read(Form::binance(shape, AggTrades), &event, |trade| {
            assert_eq!((trade.price, trade.volume, trade.first_id), ("150.250", "1e-8", Some("12345")));
            assert_eq!((trade.timestamp, trade.taker_sells), (&*format!("1672515782136{unit}"), Some(true)));
            Some(())
        });
        assert_eq!(read, Some(()));
        let plain = frame(shape, Trades, Kind::TRADE, &symbol("A"), TRADE, Marker::NONE).unwrap();
        assert_eq!(sums::read(Form::binance(shape, Trades), &plain, |_| Some(())), None);
    }
}

fn parse(message: &str) -> Result<Request, Refusal> {
    read::parse(message, Combined, &grammar())
}

fn subjects(request: Request) -> Vec<String> {
    let (Action::Subscribe(Subscribe { selection, .. }) | Action::Unsubscribe(selection)) = request.action
    else {
        panic!("neither")
    };
    let written = |subject: &Subject| {
        let name = stream::written(subject, &grammar());
        format!("{} {name}", subject.name)
    };
    selection.subjects(Form::JSON).iter().map(written).collect()
}

#[test]
fn streams_are_topics_of_their_symbol() {
    let request = parse(
        r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@aggTrade","A@B@bookTicker","eth@kline_1M","btcusdt@trade"],"id":1}"#,
    );
    assert_eq!(
        subjects(request.unwrap()),
        ["BTC-USD btcusdt@trade", "BTC-USD btcusdt@aggTrade", "A@B a@b@bookTicker", "ETH eth@kline_1M"]
    );
    let request = parse(r#"{"method":"UNSUBSCRIBE","params":["btcusdt@depth","btcusdt@kline_1m"]}"#).unwrap();
    assert_eq!(request.id.as_ref().unwrap().as_str(), "null");
    assert_eq!(subjects(request), ["BTC-USD btcusdt@kline_1m"]);
    let url = |streams: &str| read::parse_url(streams, Raw, &grammar());
    let [Ok(whole)] = &*url("0/btcusdt@trade/eth@bookTicker").unwrap() else { panic!() };
    assert_eq!(whole.selection.names.len(), 2);
    assert!(["", "0", "/"].iter().all(|none| url(none).is_none()));
    let [Err(refused), Ok(rest)] = &*url("!miniTicker@arr/btcusdt@trade/btcusdt@depth").unwrap() else {
        panic!()
    };
    assert_eq!((refused.cause, rest.selection.names.len()), (Cause::NotCarried, 1));
    assert!(refused.message.ends_with("!miniTicker@arr"));
    assert!(matches!(&*url("btcusdt@depth").unwrap(), [Err(_)]));
}

#[test]
fn a_candle_of_an_interval_is_one_topic() {
    let request = parse(r#"{"method":"SUBSCRIBE","params":["eth@kline_1m"],"id":1}"#).unwrap();
    let Action::Subscribe(Subscribe { selection, .. }) = request.action else { panic!() };
    let [subject] = &selection.subjects(Form::JSON)[..] else { panic!() };
    assert_eq!(subject.name, Name::Symbol(symbol("ETH").with_interval("1m")));
    assert_eq!(subject.form, Form::binance(Combined, Others));
}

fn refused(message: &str) -> String {
    text(&write::reply(&Reply::Refused(&parse(message).unwrap_err()), Combined, &grammar(), 1))
}

#[test]
fn errors_have_its_codes_and_texts() {
    for (message, expected) in [
        ("", r#"{"code":3,"msg":"Invalid JSON: EOF while parsing a value at line 1 column 0"}"#),
        ("x", r#"{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}"#),
        ("[1", r#"{"code":3,"msg":"Invalid JSON: EOF while parsing a list at line 1 column 2"}"#),
        ("[]", r#"{"code":2,"msg":"Invalid request: an object is expected"}"#),
        ("null", r#"{"code":2,"msg":"Invalid request: an object is expected"}"#),
        (r#"{"id":1}"#, r#"{"code":2,"msg":"Invalid request: missing field `method` at line 1 column 8"}"#),
        (
            r#"{"method":"X","id":1}"#,
            r#"{"code":2,"msg":"Invalid request: unknown variant `X`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line 1 column 13"}"#,
        ),
        (
            r#"{"method":"SUBSCRIBE","params":["btcusdt@depth"],"id":"a"}"#,
            r#"{"code":2,"msg":"Invalid request: this gateway has no stream btcusdt@depth","id":"a"}"#,
        ),
        (
            r#"{"method":"SUBSCRIBE","id":-9}"#,
            r#"{"code":2,"msg":"Invalid request: missing field `params`","id":-9}"#,
        ),
        (
            r#"{"method":"SUBSCRIBE","params":[1],"id":null}"#,
            r#"{"code":2,"msg":"Invalid request: params must be an array of names of streams","id":null}"#,
        ),
        (
            r#"{"method":"GET_PROPERTY","params":["x"],"id":5}"#,
            r#"{"code":0,"msg":"Unknown property","id":5}"#,
        ),
        (
            r#"{"method":"SET_PROPERTY","params":["combined",1],"id":5}"#,
            r#"{"code":1,"msg":"Invalid value type: expected Boolean","id":5}"#,
        ),
        (
            r#"{"method":"GET_PROPERTY","params":[1],"id":5}"#,
            r#"{"code":2,"msg":"Invalid request: property name must be a string","id":5}"#,
        ),
        (
            r#"{"method":"GET_PROPERTY","params":["combined",true],"id":5}"#,
            r#"{"code":2,"msg":"Invalid request: too many parameters","id":5}"#,
        ),
    ] {
        assert_eq!(refused(message), expected, "{message}");
    }
    for (id, is_id) in [
        ("9223372036854775807", true),
        ("9223372036854775808", false),
        ("1.5", false),
        ("true", false),
        ("null", true),
        (&format!("\"{}\"", "a".repeat(36)), true),
        (&format!("\"{}\"", "a".repeat(37)), false),
    ] {
        let message = format!(r#"{{"method":"LIST_SUBSCRIPTIONS","id":{id}}}"#);
        assert_eq!(parse(&message).is_ok(), is_id, "{id}");
    }
}

#[test]
fn answers_echo_the_id() {
    let list = parse(r#"{"method":"LIST_SUBSCRIPTIONS","id":"x"}"#).unwrap();
    let id = list.id.as_ref();
    let answer = |reply: &Reply<'_>, shape| text(&write::reply(reply, shape, &grammar(), 1));
    let held = Subject::wanted(Kind::TRADE, Form::binance(Raw, Trades), Name::Symbol(symbol("BTC-USD")));
    assert_eq!(answer(&Reply::List { held: &[&held], id }, Raw), r#"{"result":["btcusdt@trade"],"id":"x"}"#);
    assert_eq!(answer(&Reply::CombinedSet { id }, Raw), r#"{"result":null,"id":"x"}"#);
    assert_eq!(answer(&Reply::Combined { id }, Raw), r#"{"result":false,"id":"x"}"#);
    assert_eq!(answer(&Reply::Combined { id }, CombinedMicros), r#"{"result":true,"id":"x"}"#);
    let set = parse(r#"{"method":"SET_PROPERTY","params":["combined",false],"id":5}"#).unwrap();
    assert_eq!(set.action, Action::SetCombined(false));
    let limit = Refusal::symbol_limit(30, 29, None);
    assert_eq!(
        answer(&Reply::Refused(&limit), Raw),
        r#"{"code":2,"msg":"Invalid request: too many streams, the limit is 30"}"#
    );
    let late = Refusal::new(ErrorCode::Unauthorized, "Token expired");
    assert_eq!(answer(&Reply::Refused(&late), Raw), r#"{"code":2,"msg":"Invalid request: Token expired"}"#);
}

#[test]
fn the_gateway_tells_combined_connections_of_itself() {
    let skipped =
        Subject::wanted(Kind::TRADE, Form::binance(Combined, Trades), Name::Symbol(symbol("BTC-USD")));
    let status = Reply::Status(Status::Skipped { subject: &skipped, count: 17 });
    let told = write::reply(&status, Combined, &grammar(), 5);
    assert_eq!(
        text(&told),
        r#"{"stream":"!gateway","data":{"e":"skipped","E":5,"s":"BTCUSDT","stream":"btcusdt@trade","count":17}}"#
    );
    assert_eq!(write::reply(&status, Raw, &grammar(), 5), b"");
    let shutdown = Status::Shutdown { reason: ShutdownReason::Shutdown, reconnect_after_ms: 1 };
    let shutdown = Reply::Status(shutdown);
    let told = |shape| text(&write::reply(&shutdown, shape, &grammar(), 5));
    assert_eq!(told(RawMicros), r#"{"e":"serverShutdown","E":5000}"#);
    assert_eq!(told(Combined), r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":5}}"#);
}
