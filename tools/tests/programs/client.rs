//! The example client against a WebSocket server that plays the gateway.

use crate::common::{Tool, line_with, soon};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const TRADE: &str = r#"{"type":"trade","data":{"symbol":"AAPL","price":150.25,"volume":100,"timestamp":1234567890,"exchange":"NASDAQ"},"timestamp":1234567890}"#;

/// A server that plays the gateway.
pub(crate) struct StandIn(TcpListener);

impl StandIn {
    pub(crate) async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.0.local_addr().unwrap())
    }

    pub(crate) fn client(&self, arguments: &[&str]) -> Tool {
        let url = self.url();
        Tool::start(env!("CARGO_BIN_EXE_ws-client"), &[&["--url", &url], arguments].concat())
    }

    pub(crate) async fn accept(&self) -> Connection {
        let (stream, _) = soon("a connection", self.0.accept()).await.unwrap();
        Connection(tokio_tungstenite::accept_async(stream).await.unwrap())
    }

    /// Answers the next request with this instead of an upgrade, and ends the connection. Returns the request.
    async fn answer_http(&self, answer: &str) -> String {
        let (mut stream, _) = soon("a connection", self.0.accept()).await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(soon("a request", stream.read_u8()).await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    }
}

pub(crate) struct Connection(WebSocketStream<TcpStream>);

impl Connection {
    pub(crate) async fn send(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    async fn next(&mut self) -> Message {
        soon("a message of the client", self.0.next()).await.unwrap().unwrap()
    }

    pub(crate) async fn request(&mut self) -> String {
        self.next().await.into_text().unwrap().to_string()
    }

    pub(crate) async fn close(mut self, code: u16, reason: &'static str) {
        self.0.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await.unwrap();
        // The client's half of the handshake must come, with the same code.
        let Message::Close(Some(frame)) = self.next().await else { panic!("not a close frame") };
        assert_eq!(u16::from(frame.code), code);
    }

    pub(crate) async fn expect_farewell(mut self) {
        let Message::Close(Some(frame)) = self.next().await else { panic!("not a close frame") };
        assert_eq!(u16::from(frame.code), 1000);
    }
}

fn subscribe(symbols: &str) -> String {
    format!(r#"{{"action":"subscribe","symbols":[{symbols}]}}"#)
}

#[tokio::test]
async fn trades_are_printed_in_columns_until_there_are_enough() {
    let gateway = StandIn::start().await;
    let client = gateway.client(&["--count", "2"]);
    let mut connection = gateway.accept().await;
    assert_eq!(connection.request().await, subscribe(r#""AAPL","GOOGL","MSFT""#));
    connection.send(Message::text(r#"{"type":"success","message":"Successfully subscribed to 3 symbol(s)","data":{"subscribed":["AAPL","GOOGL","MSFT"],"currentSubscriptions":["AAPL","GOOGL","MSFT"]},"timestamp":1}"#)).await;
    connection.send(Message::text(TRADE)).await;
    connection.send(Message::text(TRADE.replace("150.25", "150.15"))).await;
    connection.expect_farewell().await;
    let (status, stdout, stderr) = client.end().await;
    assert!(status.success(), "{stderr:?}");
    assert_eq!(
        stdout,
        [
            "-- Successfully subscribed to 3 symbol(s); now holding AAPL, GOOGL, MSFT",
            "TIME (UTC)    SYMBOL             PRICE       CHANGE      VOLUME  EXCHANGE",
            "06:56:07.890  AAPL              150.25                      100  NASDAQ",
            "06:56:07.890  AAPL              150.15 ▼      -0.10         100  NASDAQ",
        ]
    );
    assert_eq!(stderr.last().unwrap(), "received 2 events");
}

#[tokio::test]
async fn json_is_every_frame_byte_for_byte() {
    let gateway = StandIn::start().await;
    let mut client = gateway.client(&["--json", "--symbols", "btc-*"]);
    let mut connection = gateway.accept().await;
    assert_eq!(connection.request().await, subscribe(r#""btc-*""#));
    let frames = [
        r#" {"type" : "trade","data":{"symbol":"AAPL","price":150.250,"volume":9007199254740993,"timestamp":1,"x":"é\u00e9"}}"#,
        r#"{"type":"pong","timestamp":1}"#,
        "not JSON at all",
    ];
    for frame in frames {
        connection.send(Message::text(frame)).await;
        assert_eq!(soon("a line", client.stdout.next_line()).await.unwrap().as_deref(), Some(frame));
    }
    // What a worker has published over several lines is one line all the same; so is what is no JSON.
    for (frame, line) in [
        (
            "{\"type\":\"trade\",\"data\":{\r\n  \"symbol\": \"A\",\n  \"price\": 1.50,\n \"volume\": 1, \"timestamp\": 1\n}}",
            "{\"type\":\"trade\",\"data\":{    \"symbol\": \"A\",   \"price\": 1.50,  \"volume\": 1, \"timestamp\": 1 }}",
        ),
        ("not\nJSON", "not JSON"),
    ] {
        connection.send(Message::text(frame)).await;
        assert_eq!(soon("a line", client.stdout.next_line()).await.unwrap().as_deref(), Some(line));
    }
    client.signal("INT").await;
    connection.expect_farewell().await;
    let (status, stdout, stderr) = client.end().await;
    assert!(status.success() && stdout.is_empty());
    assert_eq!(stderr.last().unwrap(), "received 2 events");
}

#[tokio::test]
async fn a_swap_survives_a_restart_of_the_gateway() {
    let gateway = StandIn::start().await;
    let mut client = gateway.client(&["--swap-after", "1ms"]);
    let mut connection = gateway.accept().await;
    assert_eq!(connection.request().await, subscribe(r#""AAPL","GOOGL","MSFT""#));
    assert_eq!(connection.request().await, r#"{"action":"unsubscribe","symbols":["MSFT"]}"#);
    assert_eq!(connection.request().await, subscribe(r#""TSLA""#));
    connection.send(Message::text(r#"{"type":"status","event":"shutdown","data":{"reason":"rebalance","reconnectAfterMs":100},"timestamp":1}"#)).await;
    connection.close(1012, "restart").await;
    let line = line_with(&mut client.stderr, "closed with 1012").await;
    assert!(line.ends_with("restart; next attempt in 0.1 s"), "{line}");
    let mut connection = gateway.accept().await;
    assert_eq!(connection.request().await, subscribe(r#""AAPL","GOOGL","TSLA""#));
    client.signal("TERM").await;
    connection.expect_farewell().await;
    let (status, stdout, _) = client.end().await;
    assert!(status.success());
    assert_eq!(stdout, ["!! the gateway goes away (rebalance); back in 100 ms"]);
}

#[tokio::test]
async fn a_lost_connection_is_made_anew() {
    let gateway = StandIn::start().await;
    let client = gateway.client(&["--no-swap", "--count", "1"]);
    let mut connection = gateway.accept().await;
    connection.request().await;
    drop(connection);
    let mut connection = gateway.accept().await;
    connection.request().await;
    connection.close(1013, "overload").await;
    gateway.answer_http("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let mut connection = gateway.accept().await;
    assert_eq!(connection.request().await, subscribe(r#""AAPL","GOOGL","MSFT""#));
    connection.send(Message::text(TRADE)).await;
    connection.expect_farewell().await;
    assert!(client.end().await.0.success());
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    for (code, reason) in [(1008, "token expired"), (1009, "message too large")] {
        let gateway = StandIn::start().await;
        let client = gateway.client(&[]);
        let mut connection = gateway.accept().await;
        connection.request().await;
        connection.close(code, reason).await;
        let (status, _, stderr) = client.end().await;
        assert_eq!(status.code(), Some(1));
        let last = stderr.last().unwrap();
        assert!(last.contains(&code.to_string()) && last.contains(reason), "{last}");
    }
    let gateway = StandIn::start().await;
    let client = gateway.client(&[]);
    let body = r#"{"type":"error","message":"no token","code":"UNAUTHORIZED"}"#;
    let length = body.len();
    gateway
        .answer_http(&format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {length}\r\n\r\n{body}"))
        .await;
    let (status, _, stderr) = client.end().await;
    assert_eq!(status.code(), Some(1));
    let last = stderr.last().unwrap();
    assert!(last.contains("HTTP 401") && last.contains("UNAUTHORIZED"), "{last}");
}

#[tokio::test]
async fn it_resumes_where_the_connection_was_lost_and_asks_how_far_behind_it_is() {
    let gateway = StandIn::start().await;
    let mut client = gateway.client(&["--symbols=AAPL,MSFT", "--resume=MSFT=7", "--snapshot", "--stats=1ms"]);
    let mut connection = gateway.accept().await;
    let subscribe = |resume: &str| {
        format!(r#"{{"action":"subscribe","symbols":["AAPL","MSFT"],"resume":{{{resume}}},"snapshot":true}}"#)
    };
    assert_eq!(connection.request().await, subscribe(r#""MSFT":7"#));
    assert_eq!(connection.request().await, r#"{"action":"ping","stats":true}"#);
    connection
        .send(Message::text(
            r#"{"type":"pong","timestamp":1,"stats":{"queuedBytes":0,"skipped":1,"conflated":2,"lagMs":3}}"#,
        ))
        .await;
    for seq in [1, 2] {
        connection.send(Message::text(TRADE.replace("150.25", &format!("150.25,\"seq\":{seq}")))).await;
    }
    line_with(&mut client.stdout, "1 skipped, 2 conflated, 3 ms behind").await;
    line_with(&mut client.stdout, "150.25 =").await;
    drop(connection);
    let mut connection = gateway.accept().await;
    assert_eq!(connection.request().await, subscribe(r#""AAPL":2,"MSFT":7"#));
    client.signal("INT").await;
    // Pings that were under way, then the farewell.
    while !connection.next().await.is_close() {}
    drop(connection);
    assert!(client.end().await.0.success());
}

/// With the number of the last event, when the gateway said, and not once it is refused.
#[tokio::test]
async fn a_stream_goes_on_where_it_ended() {
    let gateway = StandIn::start().await;
    let client = gateway.client(&["--form=sse", "--symbols=AAPL", "--snapshot", "--json"]);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let trade = format!("event: trade\nid: trade:7:AAPL\ndata: {TRADE}\n\n");
    let shutdown = "event: status\nretry: 1\ndata: {\"type\":\"status\",\"event\":\"shutdown\"}\n\n";
    let request = gateway.answer_http(&format!("{head}{trade}{shutdown}")).await;
    assert!(request.starts_with("GET /sse?symbols=AAPL&snapshot=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Accept: text/event-stream\r\n") && !request.contains("Last-Event-ID"));
    let refused = "event: refused\nretry: 3600000\ndata: {\"type\":\"error\",\"code\":\"FORBIDDEN\"}\n\n";
    let request = gateway.answer_http(&format!("{head}{refused}")).await;
    assert!(request.contains("\r\nLast-Event-ID: trade:7:AAPL\r\n"), "{request}");
    let (status, printed, stderr) = client.end().await;
    assert_eq!((status.code(), printed.len()), (Some(1), 3), "{printed:?} {stderr:?}");
    assert_eq!(printed[0], TRADE);
    assert!(printed[2].contains("FORBIDDEN"));
}

#[tokio::test]
async fn another_api_is_spoken_and_printed_as_it_comes() {
    let gateway = StandIn::start().await;
    let client = gateway.client(&["--dialect=binance", "--symbols=BTCUSDT", "--types=quote", "--count=1"]);
    let mut connection = gateway.accept().await;
    let asked = r#"{"id":1,"method":"SUBSCRIBE","params":["btcusdt@bookTicker"]}"#;
    assert_eq!(connection.request().await, asked);
    let messages = [
        r#"{"result":null,"id":1}"#,
        r#"{"stream":"!gateway","data":{"e":"feed","E":1,"state":"up","gapMs":0}}"#,
        r#"{"stream":"btcusdt@bookTicker","data":{"s":"BTCUSDT","b":"1","a":"2"}}"#,
    ];
    for message in messages {
        connection.send(Message::text(message)).await;
    }
    connection.expect_farewell().await;
    let (status, printed, stderr) = client.end().await;
    assert_eq!((status.code(), &printed[..]), (Some(0), &messages.map(str::to_owned)[..]), "{stderr:?}");
}

#[tokio::test]
async fn pings_are_answered() {
    let gateway = StandIn::start().await;
    let _client = gateway.client(&["--no-swap"]);
    let mut connection = gateway.accept().await;
    connection.request().await;
    connection.send(Message::Ping("are you there".into())).await;
    assert_eq!(connection.next().await, Message::Pong("are you there".into()));
}

#[tokio::test]
async fn too_few_trades_in_time_is_a_failure_and_time_alone_is_not() {
    // It accepts connections (the kernel does) and never answers.
    let gateway = StandIn::start().await;
    for (arguments, code, said) in [
        (&["--duration=1ms"][..], 0, "received 0 events"),
        (&["--duration=1ms", "--count=2"][..], 1, "only 0 of 2 events"),
    ] {
        let (status, _, stderr) = gateway.client(arguments).end().await;
        assert_eq!(status.code(), Some(code), "{stderr:?}");
        assert!(stderr.last().unwrap().contains(said), "{stderr:?}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_client_quietly() {
    let gateway = StandIn::start().await;
    let mut client = gateway.client(&["--no-swap"]);
    let mut connection = gateway.accept().await;
    connection.request().await;
    connection.send(Message::text(TRADE)).await;
    line_with(&mut client.stdout, "150.25").await;
    let Tool { stdout, mut stderr, .. } = client;
    drop(stdout);
    connection.send(Message::text(TRADE)).await;
    // No handshake and no complaint: the process has ended.
    assert!(!matches!(soon("the end", connection.0.next()).await, Some(Ok(_))));
    let mut said = Vec::new();
    while let Some(line) = soon("stderr", stderr.next_line()).await.unwrap() {
        said.push(line);
    }
    assert!(said.iter().all(|line| line.starts_with("connected to ")), "{said:?}");
}

#[tokio::test]
async fn a_wrong_command_line_names_the_value_and_the_way_out() {
    let cases: [(&[&str], &str); 4] = [
        (&["--url", "http://localhost"], "ws://127.0.0.1:8080/ws"),
        (&["--symbols", "A\"B"], "1-64 printable ASCII characters"),
        (&["--swap", "MSFT"], "MSFT:TSLA"),
        (&["--duration", "soon"], "30s"),
    ];
    for (arguments, way_out) in cases {
        let tool = Tool::start(env!("CARGO_BIN_EXE_ws-client"), arguments);
        let (status, _, stderr) = tool.end().await;
        let text = stderr.join("\n");
        assert_eq!(status.code(), Some(2), "{text}");
        assert!(
            text.contains(arguments[0]) && text.contains(arguments[1]) && text.contains(way_out),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_room_is_joined_and_lines_are_said_there() {
    let gateway = StandIn::start().await;
    let mut client = gateway.client(&["--room", "lobby", "--notifications", "--count", "3"]);
    let mut connection = gateway.accept().await;
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let join = json(connection.request().await);
    assert_eq!(join, serde_json::json!({"type": "join_room", "payload": {"room_id": "lobby"}}));
    client.stdin.as_mut().unwrap().write_all(b"hello\n").await.unwrap();
    let said = json(connection.request().await);
    let expected =
        serde_json::json!({"type": "room_message", "payload": {"room_id": "lobby", "message": "hello"}});
    assert_eq!(said, expected);
    for frame in [
        r#"{"type":"user_joined","user_id":"bob","room_id":"lobby"}"#,
        r#"{"type":"room_message","from":"bob","room_id":"lobby","message":{"n":[1]},"timestamp":1}"#,
        r#"{"type":"task_done","event_id":"7","data":{"n":1}}"#,
    ] {
        connection.send(Message::text(frame)).await;
    }
    connection.expect_farewell().await;
    let (status, stdout, stderr) = client.end().await;
    assert!(status.success(), "{stderr:?}");
    assert_eq!(stdout[..2], ["-- bob has joined lobby", r#"[lobby] bob: {"n":[1]}"#]);
    assert!(stdout.last().unwrap().contains("task_done"), "{stdout:?}");
}
