use ws_gateway::protocol::moment::Moment;
use ws_gateway::protocol::object::{Value, write_msgpack};
use ws_gateway::websocket::{deflate, header};

use super::*;
use crate::clock;
use crate::dialect::Said;
use crate::message::{Message, Trade};

fn trade(seq: u64) -> String {
    format!(
        r#"{{"type":"trade","data":{{"symbol":"S0042","seq":{seq},"sent":5,"price":1,"exchange":"[x,y]"}},"timestamp":2}}"#
    )
}

fn frame(text: &str) -> Vec<u8> {
    let len = text.len();
    let header = if len < 126 { vec![0x81, len as u8] } else { vec![0x81, 126, (len >> 8) as u8, len as u8] };
    [&header[..], text.as_bytes()].concat()
}

/// Each as an array in a frame of its own.
fn framed(arrays: &[String]) -> Vec<u8> {
    arrays.iter().flat_map(|array| frame(&format!("[{array}]"))).collect()
}

/// All that a reader makes of bytes that come in pieces of a size.
fn read<R: Reader>(bytes: &[u8], size: usize) -> Vec<Message> {
    let (mut reader, mut kept, mut messages) = (R::default(), Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        kept.extend_from_slice(piece);
        loop {
            let (used, said) = reader.next(&kept, 1 << 20).unwrap();
            let said = match said {
                Said::Nothing => None,
                Said::Message(message) => Some(message),
                Said::Control { .. } => Some(Message::Other),
            };
            kept.drain(..used);
            match said {
                Some(message) => messages.push(message),
                None => break,
            }
        }
    }
    assert!(kept.is_empty());
    messages
}

fn expected() -> Vec<Message> {
    let of = |seq| Message::Trade(Trade { symbol: 42, seq, sent_ns: 5 });
    vec![Message::Subscribed, of(1), of(2), of(3), Message::FeedLost, of(4)]
}

const REPLY: &str = r#"{"type":"success","message":"Successfully subscribed to 1 symbol(s)","data":{}}"#;
const STATUS: &str = r#"{"type":"status","event":"feed","data":{"state":"down"}}"#;

#[test]
fn arrays_are_read_one_object_after_the_other() {
    let arrays = [REPLY.to_owned(), [trade(1), trade(2), trade(3)].join(","), STATUS.to_owned(), trade(4)];
    let bytes = framed(&arrays);
    for size in [1, 7, 100, bytes.len()] {
        assert_eq!(read::<Arrays<Native>>(&bytes, size), expected(), "{size}");
    }
    let with_ping = [&[0x89, 0][..], &frame(&format!("[{REPLY}]"))].concat();
    assert_eq!(read::<Arrays<Native>>(&with_ping, 5), [Message::Other, Message::Subscribed]);
    assert!(Arrays::<Native>::default().next(&frame(REPLY), 1 << 20).is_err());
}

#[test]
fn compressed_messages_are_read_as_others() {
    let compressor = deflate::Compressor::new(Some(deflate::Compression { threshold_bytes: 0, level: 6 }));
    let array = format!("[{},{},{}]", trade(1), trade(2), trade(3));
    let arrays = [format!("[{REPLY}]"), array, format!("[{STATUS}]"), format!("[{}]", trade(4))];
    let compressed = |text: &str| compressor.compress(&frame(text)).unwrap_or_else(|| frame(text));
    // Every other one is compressed.
    let bytes: Vec<u8> =
        (0..4).flat_map(|n| if n % 2 == 1 { compressed(&arrays[n]) } else { frame(&arrays[n]) }).collect();
    for size in [1, 7, 100, bytes.len()] {
        assert_eq!(read::<Inflating<Arrays<Native>>>(&bytes, size), expected(), "{size}");
    }
    assert!(compressor.counts().compressed > 0);
    let objects = [REPLY.to_owned(), trade(1), trade(2), trade(3), STATUS.to_owned(), trade(4)];
    let bytes: Vec<u8> = objects.iter().flat_map(|object| compressed(object)).collect();
    assert_eq!(read::<Inflating<Messages>>(&bytes, 5), expected());
    assert!(Inflating::<Messages>::default().next(b"\xc1\x02\xff\xff", 1 << 20).is_err());
}

#[test]
fn server_sent_events_are_read_by_their_data() {
    let mut text = format!("event: success\ndata: {REPLY}\n\n:\n\n");
    for seq in 1..=3 {
        text += &format!("event: trade\nid: trade:{seq}:S0042\ndata: {}\n\n", trade(seq));
    }
    text += &format!("event: status\nretry: 5\ndata: {STATUS}\n\n:\n\nevent: trade\ndata: {}\n\n", trade(4));
    for size in [1, 7, 100, text.len()] {
        assert_eq!(read::<Events>(text.as_bytes(), size), expected(), "{size}");
    }
    assert!(Events.next(&[b'x'; 100], 99).is_err());
}

#[test]
fn each_form_is_asked_for_in_its_way() {
    let line = |request: Vec<u8>| String::from_utf8(request).unwrap().lines().next().unwrap().to_owned();
    assert_eq!(line(Json::request("h", "/ws", &[1])), "GET /ws HTTP/1.1");
    assert_eq!(line(Batch::request("h", "/ws", &[1])), "GET /ws?batch=1 HTTP/1.1");
    assert_eq!(line(Batch::request("h", "/ws?x=1", &[1])), "GET /ws?x=1&batch=1 HTTP/1.1");
    let offering = String::from_utf8(Deflated::<Batch>::request("h", "/ws", &[1])).unwrap();
    assert!(offering.starts_with("GET /ws?batch=1 HTTP/1.1\r\n"), "{offering}");
    assert!(offering.ends_with("permessage-deflate; client_max_window_bits\r\n\r\n"), "{offering}");
    assert_eq!(offering.matches("\r\n\r\n").count(), 1);
    let asked = "GET /sse?symbols=S0001,S0020&x=1 HTTP/1.1";
    assert_eq!(line(Sse::request("h", "/ws?x=1", &[1, 20])), asked);
}

#[test]
fn packets_of_socketio_are_read_as_what_they_carry() {
    let packets = [
        r#"0{"sid":"x"}"#,
        r#"40{"sid":"y"}"#,
        r#"42["connected",{"userId":"u"}]"#,
        r#"430[{"status":"subscribed","symbols":["S0042"]}]"#,
        &format!(r#"42["trade",{}]"#, trade(1)),
        &format!(r#"42["status",{STATUS}]"#),
        "2",
        r#"430[{"status":"unsubscribed","symbols":["S0042"]}]"#,
        r#"430[{"status":"error","error":"no","code":"INVALID_INPUT"}]"#,
        r#"44{"message":"Unauthorized"}"#,
        "430no",
        "5",
    ];
    let bytes: Vec<u8> = packets.into_iter().flat_map(frame).collect();
    for size in [1, 100, bytes.len()] {
        assert_eq!(
            read::<<SocketIo as Form>::Reader>(&bytes, size),
            [
                Message::Other,
                Message::Other,
                Message::Other,
                Message::Subscribed,
                Message::Trade(Trade { symbol: 42, seq: 1, sent_ns: 5 }),
                Message::FeedLost,
                Message::Question("3"),
                Message::Unsubscribed,
                Message::Refused("INVALID_INPUT".to_owned()),
                Message::Refused(r#"44{"message":"Unauthorized"}"#.to_owned()),
                Message::Unreadable,
                Message::Unreadable,
            ],
            "{size}"
        );
    }
    let mut out = String::new();
    SocketIo::write_ask(&mut out, "unsubscribe", &[1, 20]);
    assert_eq!(out, r#"420["unsubscribe",{"symbols":["S0001","S0020"]}]"#);
}

#[test]
fn a_subscribe_is_one_message_or_one_for_each_symbol_and_a_ping() {
    let opening = |write: fn(&mut Vec<u8>, &[u32])| {
        let mut out = Vec::new();
        write(&mut out, &[1, 20]);
        out
    };
    let frames = |frames: &[(u8, &str)]| {
        let mut out = Vec::new();
        frames.iter().for_each(|(opcode, text)| frames::write(&mut out, *opcode, text.as_bytes()));
        out
    };
    let json = r#"{"action":"subscribe","symbols":["S0001","S0020"]}"#;
    assert_eq!(opening(Json::write_opening), frames(&[(frames::TEXT, json)]));
    let finnhub = frames(&[
        (frames::TEXT, r#"{"type":"subscribe","symbol":"S0001"}"#),
        (frames::TEXT, r#"{"type":"subscribe","symbol":"S0020"}"#),
        (frames::PING, ""),
    ]);
    assert_eq!(opening(Finnhub::write_opening), finnhub);
    assert_eq!(opening(Deflated::<Finnhub>::write_opening), finnhub);
}

/// A second of which the form's trades are.
const UNIX_MS: u64 = 1_700_000_000_123;

fn of_second(seq: u64) -> Message {
    Message::Trade(Trade { symbol: 42, seq, sent_ns: clock::monotonic_of(UNIX_MS) })
}

/// One message of each kind that such a form has, and two trades.
fn one_of_each(refused: &str) -> [Message; 8] {
    [
        Message::Other,
        Message::Done,
        of_second(1),
        of_second(2),
        Message::Skipped { symbol: 42, count: 7 },
        Message::FeedLost,
        Message::Refused(refused.to_owned()),
        Message::Unreadable,
    ]
}

#[test]
fn alpacas_json_is_read_object_by_object() {
    let trade = |seq: u64| {
        format!(
            r#"{{"T":"t","S":"S0042","i":{seq},"x":"NASDAQ","p":1.50,"s":100,"t":"2023-11-14T22:13:20.123Z"}}"#
        )
    };
    let arrays = [
        r#"{"T":"success","msg":"connected"}"#.to_owned(),
        r#"{"T":"subscription","trades":["S0042"]}"#.to_owned(),
        [trade(1), trade(2)].join(","),
        r#"{"T":"skipped","S":"S0042","n":7,"channel":"trades"}"#.to_owned(),
        r#"{"T":"feed","state":"down"}"#.to_owned(),
        r#"{"T":"error","code":405,"msg":"symbol limit exceeded"}"#.to_owned(),
        r#"{"T":"t","S":"S0042","p":1}"#.to_owned(),
    ];
    let bytes = framed(&arrays);
    let expected = one_of_each("symbol limit exceeded (405)");
    for size in [1, 7, 100, bytes.len()] {
        assert_eq!(read::<<Alpaca as Form>::Reader>(&bytes, size), expected, "{size}");
    }
}

#[test]
fn alpacas_msgpack_is_read_object_by_object() {
    let moment = Moment::parse(&UNIX_MS.to_string()).unwrap();
    let array = |objects: &[Vec<(&'static str, Value<'_>)>]| {
        let mut payload = vec![0x90 | objects.len() as u8];
        objects.iter().for_each(|object| write_msgpack(&mut payload, object).unwrap());
        payload
    };
    let trade = |seq| {
        let kind = [("T", Value::Plain("t")), ("S", Value::Plain("S0042")), ("i", Value::Integer(seq))];
        [&kind[..], &[("p", Value::Number("1.5")), ("t", Value::Moment(moment))]].concat()
    };
    let done = vec![("T", Value::Plain("subscription")), ("trades", Value::Names(&["S0042"]))];
    let skipped =
        vec![("T", Value::Plain("skipped")), ("S", Value::Plain("S0042")), ("n", Value::Integer(300))];
    let arrays = [array(&[done]), array(&[trade(1), trade(2)]), array(&[skipped]), array(&[trade(303)])];
    let expected = [
        Message::Done,
        of_second(1),
        of_second(2),
        Message::Skipped { symbol: 42, count: 300 },
        of_second(303),
    ];
    let plain: Vec<u8> = arrays.iter().flat_map(|array| header::binary(array)).collect();
    let compressor = deflate::Compressor::new(Some(deflate::Compression { threshold_bytes: 0, level: 6 }));
    let compressed = arrays.iter().map(|array| header::binary(array));
    let compressed: Vec<u8> =
        compressed.flat_map(|frame| compressor.compress(&frame).unwrap_or(frame)).collect();
    assert!(compressor.counts().compressed > 0);
    for size in [1, 7, 100, plain.len()] {
        assert_eq!(read::<<AlpacaMsgpack as Form>::Reader>(&plain, size), expected, "{size}");
        assert_eq!(read::<<Deflated<AlpacaMsgpack> as Form>::Reader>(&compressed, size), expected, "{size}");
    }
    let mut reader = <AlpacaMsgpack as Form>::Reader::default();
    assert!(reader.next(&header::binary(&[0x91, 0xc1]), 1 << 20).is_err());
    assert!(reader.next(&frame("[]"), 1 << 20).is_err());
}

#[test]
fn massives_objects_are_read_and_an_answers_statuses_as_one() {
    let trade =
        |seq: u64| format!(r#"{{"ev":"T","sym":"S0042","x":4,"p":1.50,"s":100,"t":{UNIX_MS},"q":{seq}}}"#);
    let status = |status: &str| {
        format!(r#"{{"ev":"status","status":"{status}","message":"of \"it\"","channel":"T.S0042","n":7}}"#)
    };
    let arrays = [
        status("connected"),
        [status("success"), status("success")].join(","),
        [trade(1), trade(2)].join(","),
        status("skipped"),
        status("feed_down"),
        status("error"),
        r#"{"ev":"T","sym":"S0042","p":1}"#.to_owned(),
    ];
    let bytes = framed(&arrays);
    let expected = one_of_each("of \"it\"");
    for size in [1, 100, bytes.len()] {
        assert_eq!(read::<<Massive as Form>::Reader>(&bytes, size), expected, "{size}");
    }
}

#[test]
fn finnhubs_trades_are_read_by_their_volume_and_a_pong_as_the_answer() {
    let trade = |seq: u64| format!(r#"{{"p":1.50,"s":"S0042","t":{UNIX_MS},"v":{seq}}}"#);
    let array = |trades: &[String]| frame(&format!(r#"{{"data":[{}],"type":"trade"}}"#, trades.join(",")));
    let status = |event: &str, data: &str| {
        frame(&format!(r#"{{"type":"status","event":"{event}","data":{{{data}}},"timestamp":1}}"#))
    };
    let pong = vec![0x8a, 0];
    let bytes = [
        status("feed", r#""state":"up""#),
        pong,
        array(&[trade(1), trade(2)]),
        status("skipped", r#""symbol":"S0042","type":"trade","count":7"#),
        status("feed", r#""state":"down""#),
        frame(r#"{"type":"error","msg":"Subscribing to too many symbols"}"#),
        array(&[r#"{"p":1.50,"s":"S0042","t":5}"#.to_owned()]),
    ]
    .concat();
    let expected = one_of_each("Subscribing to too many symbols");
    for size in [1, 7, 100, bytes.len()] {
        assert_eq!(read::<<Finnhub as Form>::Reader>(&bytes, size), expected, "{size}");
    }
    assert_eq!(read::<<Finnhub as Form>::Reader>(&frame("no"), 9), [Message::Unreadable]);
}

#[test]
fn binances_objects_are_read_by_their_data() {
    let messages = [
        r#"{"result":null,"id":1}"#.to_owned(),
        format!(
            r#"{{"stream":"s0042@trade","data":{{"e":"trade","E":5,"s":"S0042","t":7,"p":"1.50","q":"2","T":{UNIX_MS}}}}}"#
        ),
        r#"{"stream":"!gateway","data":{"e":"skipped","E":5,"s":"S0042","stream":"s0042@trade","count":17}}"#
            .to_owned(),
        r#"{"stream":"!gateway","data":{"e":"feed","E":5,"state":"down"}}"#.to_owned(),
        r#"{"code":2,"msg":"Invalid request: too many streams","id":1}"#.to_owned(),
        "no".to_owned(),
    ];
    let bytes: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
    let expected = [
        Message::Done,
        of_second(7),
        Message::Skipped { symbol: 42, count: 17 },
        Message::FeedLost,
        Message::Refused("Invalid request: too many streams".to_owned()),
        Message::Unreadable,
    ];
    assert_eq!(read::<<Binance as Form>::Reader>(&bytes, 9), expected);
}

#[test]
fn vendors_apis_are_asked_in_their_words() {
    let ask = |write: fn(&mut String, &str, &[u32]), action: &str| {
        let mut out = String::new();
        write(&mut out, action, &[1, 20]);
        out
    };
    let alpaca = r#"{"action":"subscribe","trades":["S0001","S0020"]}"#;
    assert_eq!(ask(Alpaca::write_ask, "subscribe"), alpaca);
    assert_eq!(ask(Deflated::<AlpacaMsgpack>::write_ask, "subscribe"), alpaca);
    let binance = r#"{"method":"UNSUBSCRIBE","params":["s0001@trade","s0020@trade"],"id":1}"#;
    assert_eq!(ask(Binance::write_ask, "unsubscribe"), binance);
    let massive = r#"{"action":"unsubscribe","params":"T.S0001,T.S0020"}"#;
    assert_eq!(ask(Massive::write_ask, "unsubscribe"), massive);
    assert!(
        Massive::request("h", "/ws?token=t", &[]).starts_with(b"GET /massive/stocks?token=t HTTP/1.1\r\n")
    );
    assert!(Massive::request("h", "/ws", &[]).starts_with(b"GET /massive/stocks?token=ws-load HTTP/1.1\r\n"));
    let finnhub = r#"{"type":"unsubscribe","symbol":"S0020"}"#;
    let mut out = String::new();
    Finnhub::write_ask(&mut out, "unsubscribe", &[20]);
    assert_eq!(out, finnhub);
    assert!(Finnhub::request("h", "/ws?token=t", &[]).starts_with(b"GET /finnhub?token=t HTTP/1.1\r\n"));
    let request = String::from_utf8(AlpacaMsgpack::request("h", "/ws", &[])).unwrap();
    assert!(request.starts_with("GET /alpaca/v2/iex HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("Content-Type: application/msgpack\r\n\r\n"), "{request}");
    assert!(Binance::request("h", "/binance/ws", &[]).starts_with(b"GET /binance/ws HTTP/1.1\r\n"));
}
