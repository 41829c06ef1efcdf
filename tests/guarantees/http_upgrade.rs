//! A WebSocket handshake ends in a hand-over that loses nothing, or in an HTTP answer that says why not.

use std::io::Read;

use crate::support::http::{HANDSHAKE, read_head, read_to_end};
use crate::support::http_server::{Server, socket_of};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use ws_gateway::config::Config;
use ws_gateway::http::Bounds;
use ws_gateway::limits::NOTSENT_LOWAT_BYTES;

#[tokio::test]
async fn a_good_handshake_hands_the_socket_over() {
    let mut server = Server::start();
    for path in ["/ws", "/"] {
        let mut stream = server.connect().await;
        stream.write_all(format!("{}\r\n", HANDSHAKE.replace("/ws", path)).as_bytes()).await.unwrap();
        let reply = read_head(&mut stream).await;
        assert_eq!(reply.status, 101);
        // The RFC's own example (section 1.3).
        assert_eq!(reply.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(reply.header("Upgrade"), Some("websocket"));
        assert!(reply.header("Connection").unwrap().eq_ignore_ascii_case("upgrade"));
        assert_eq!(reply.header("X-Server-Id"), Some(server.state.server_id.as_str()));
        assert_eq!(reply.header("Sec-WebSocket-Protocol"), None);
        assert_eq!(reply.header("Sec-WebSocket-Extensions"), None);

        let client = server.clients.recv().await.unwrap();
        assert!(client.early.is_empty());
        assert!(client.client.request.is_none());
        assert_eq!(socket_of(&client).peer_addr().unwrap(), stream.local_addr().unwrap());
        assert!(socket_of(&client).nodelay().unwrap());
        let unsent_bytes = SockRef::from(&socket_of(&client)).tcp_notsent_lowat().unwrap();
        assert_eq!(unsent_bytes, NOTSENT_LOWAT_BYTES, "inherited from the listening socket");
        let mut byte = [0; 1];
        let error = (&socket_of(&client)).read(&mut byte).expect_err("non-blocking and empty");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(server.admission.open(), 1);
        drop(client);
        assert_eq!(server.admission.open(), 0);
    }
    assert_eq!(server.state.metrics.control.upgrades.get(), 2);
    assert_eq!(server.state.metrics.control.accepted.get(), 2);
}

#[tokio::test]
async fn bytes_behind_the_handshake_are_not_lost() {
    let mut server = Server::start();
    let early: Vec<u8> = (0..3000_u32).map(|i| i as u8).collect();
    let mut stream = server.connect().await;
    let request = [HANDSHAKE.as_bytes(), b"\r\n", &early].concat();
    stream.write_all(&request).await.unwrap();
    assert_eq!(read_head(&mut stream).await.status, 101);
    stream.write_all(b"later").await.unwrap();
    stream.shutdown().await.unwrap();

    let client = server.clients.recv().await.unwrap();
    socket_of(&client).set_nonblocking(false).unwrap();
    let mut rest = Vec::new();
    (&socket_of(&client)).read_to_end(&mut rest).unwrap();
    let mut all = client.early.to_vec();
    all.extend(rest);
    assert_eq!(all, [early.as_slice(), b"later"].concat());
    assert!(!client.early.is_empty(), "one segment brought request and frames");
}

#[tokio::test]
async fn a_kept_alive_connection_can_still_upgrade() {
    let mut server = Server::start();
    let mut stream = server.connect().await;
    stream.write_all(b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(read_head(&mut stream).await.header("Connection"), None);
    stream.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut stream).await.status, 101);
    assert!(server.clients.recv().await.unwrap().early.is_empty());
}

#[tokio::test]
async fn the_subprotocol_is_answered_only_if_it_is_ours() {
    let server = Server::start();
    for (offered, answered) in [
        ("Sec-WebSocket-Protocol: md.v1.json\r\n", Some("md.v1.json")),
        ("Sec-WebSocket-Protocol: chat, md.v1.json\r\n", Some("md.v1.json")),
        ("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: md.v1.json\r\n", Some("md.v1.json")),
        ("Sec-WebSocket-Protocol: chat\r\n", None),
        ("Sec-WebSocket-Extensions: permessage-deflate\r\n", None),
    ] {
        let (_stream, reply) = server.handshake(offered).await;
        assert_eq!(reply.status, 101);
        assert_eq!(reply.header("Sec-WebSocket-Protocol"), answered, "{offered}");
        assert_eq!(reply.header("Sec-WebSocket-Extensions"), None);
    }
}

#[tokio::test]
async fn symbols_of_the_url_travel_along() {
    let mut server = Server::start();
    let mut stream = server.connect().await;
    let request = HANDSHAKE.replace("/ws", "/ws?symbols=AAPL,btc%2Dusd%2CGOOGL&x=y");
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    let client = server.clients.recv().await.unwrap();
    let request = client.client.request.unwrap().into_vec().remove(0).unwrap();
    let names: Vec<_> = request.selection.names().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["AAPL", "BTC-USD", "GOOGL"]);
}

#[tokio::test]
async fn one_client_too_many_is_answered_503_until_a_seat_is_free() {
    let mut config = Config::for_tests();
    config.server.max_connections = 1;
    let mut server = Server::with(&config, Bounds::default());
    let (_first, reply) = server.handshake("").await;
    assert_eq!(reply.status, 101);
    let first = server.clients.recv().await.unwrap();

    let refused = server.ask(&HANDSHAKE.replace("Connection: Upgrade", "Connection: Upgrade, close")).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "TOO_MANY_CONNECTIONS"));
    assert!(refused.header("Retry-After").unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(server.state.metrics.control.upgrades_refused(), 1);
    assert_eq!(server.admission.open(), 1);

    drop(first);
    let (_second, reply) = server.handshake("").await;
    assert_eq!(reply.status, 101);
}

#[tokio::test]
async fn a_draining_gateway_refuses_clients() {
    let server = Server::start();
    server.state.start_draining();
    let (_stream, reply) = server.handshake("").await;
    assert_eq!(reply.status, 503);
    assert!(reply.header("Retry-After").is_some());
    assert_eq!(server.admission.open(), 0);
}

#[tokio::test]
async fn foreign_pages_are_kept_out() {
    let mut config = Config::for_tests();
    config.server.origins.allowed = Some(vec!["https://app.example.com".to_owned()]);
    let server = Server::with(&config, Bounds::default());
    let mut stream = server.connect().await;
    let request = format!("{HANDSHAKE}Origin: https://evil.example\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let refused = read_to_end(&mut stream).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "FORBIDDEN"));
    for good in ["Origin: https://app.example.com\r\n", ""] {
        let (_stream, reply) = server.handshake(good).await;
        assert_eq!(reply.status, 101, "{good}");
    }
}

/// The own page, by a name that nobody else can have (the rules are tested in `origin`), on the short way in and by hyper.
#[tokio::test]
async fn the_own_page_may_connect() {
    let env = [("ALLOWED_ORIGINS", "https://app.example.com"), ("PUBLIC_HOSTS", "prices.example.com")];
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
    let mut config = Config::resolve(["ws-gateway"], env, None, 1_000).expect("good settings");
    config.server.listen = Config::for_tests().server.listen;
    let server = Server::with(&config, Bounds::default());
    for (host, more, status) in [
        ("127.0.0.1:8080", "Origin: http://127.0.0.1:8080\r\n", 101),
        ("localhost", "Origin: http://localhost\r\n", 101),
        ("[::1]", "Origin: https://[::1]\r\nX-Forwarded-Proto: https\r\n", 101),
        ("prices.example.com:8080", "Origin: http://prices.example.com:8080\r\n", 101),
        ("rebound.example", "Origin: http://rebound.example\r\n", 403),
        ("127.0.0.1:8080", "Origin: http://127.0.0.1:8081\r\n", 403),
        ("127.0.0.1", "Origin: https://127.0.0.1\r\n", 403),
    ] {
        let request = format!("{}{more}\r\n", HANDSHAKE.replace("Host: h", &format!("Host: {host}")));
        let mut plain = server.connect().await;
        plain.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_head(&mut plain).await.status, status, "{host} {more}");
        let mut behind = server.connect().await;
        behind
            .write_all(format!("HEAD /ready HTTP/1.1\r\nHost: h\r\n\r\n{request}").as_bytes())
            .await
            .unwrap();
        read_head(&mut behind).await;
        assert_eq!(read_head(&mut behind).await.status, status, "{host} {more}");
    }
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_told_what_is_missing() {
    let server = Server::start();
    let plain = server.get("/ws").await;
    assert_eq!((plain.status, plain.code().as_str()), (426, "INVALID_INPUT"));
    assert_eq!(plain.header("Upgrade"), Some("websocket"));
    assert_eq!(plain.header("Sec-WebSocket-Version"), Some("13"));

    let (_stream, old) = server.handshake("Sec-WebSocket-Version: 8\r\n").await;
    assert_eq!(old.status, 426, "two versions are none");
    let mut stream = server.connect().await;
    let request = HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short");
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut stream).await.status, 400);
    assert_eq!(server.state.metrics.control.upgrades_refused(), 3);
    assert_eq!(server.admission.open(), 0);
}

#[tokio::test]
async fn a_crowded_gateway_still_upgrades() {
    let bounds = Bounds { in_flight_max: 4, ..Bounds::default() };
    let mut server = Server::with(&Config::for_tests(), bounds);
    // Silent connections take the places; the last one finds too few left to be kept alive.
    let _waiting = [server.connect().await, server.connect().await, server.connect().await];
    let (_stream, reply) = server.handshake("").await;
    assert_eq!(reply.status, 101);
    assert!(server.clients.recv().await.is_some());
}
