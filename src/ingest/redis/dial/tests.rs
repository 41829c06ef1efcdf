use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::tls::client_config;

/// A dialer whose host has these addresses.
fn dialer(addresses: Vec<SocketAddr>) -> Dialer {
    let address = Address::Tcp { host: "redis.test".to_owned(), port: 6379, tls: false };
    let resolver = Resolver::new(move |_, _| Ok(addresses.clone()));
    Dialer::new(address, client_config(true, None, None).unwrap(), resolver)
}

/// An address that drops packets: its listen queue is full, so the kernel drops every SYN. The second value keeps it so.
async fn black_hole() -> (SocketAddr, impl Sized) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(connected) = timeout(limits::CONNECT_STAGGER, TcpStream::connect(address)).await {
        queued.push(connected.unwrap());
    }
    (address, (listener, queued))
}

#[tokio::test]
async fn an_address_that_drops_packets_does_not_hide_the_next() {
    let (black_hole, _kept) = black_hole().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = listener.local_addr().unwrap();
    let mut dialer = dialer(vec![black_hole, there]);
    let Stream::Tcp(stream) = dialer.dial().await.unwrap() else { panic!("not TCP") };
    assert_eq!(stream.peer_addr().unwrap(), there);
}

#[tokio::test]
async fn an_address_that_accepts_and_then_fails_is_not_the_first_again() {
    let (first, second) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let mut dialer = dialer(vec![first.local_addr().unwrap(), second.local_addr().unwrap()]);
    let mut peers = Vec::new();
    for answered in [false, false, false, true, false] {
        let Stream::Tcp(stream) = dialer.dial().await.unwrap() else { panic!("not TCP") };
        peers.push(stream.peer_addr().unwrap());
        if answered {
            dialer.note_success();
        }
    }
    let [first, second] = [first, second].map(|listener| listener.local_addr().unwrap());
    assert_eq!(peers, [first, second, first, second, first]);
}

#[tokio::test]
async fn a_failure_names_every_address_and_its_reason() {
    // Bound, so nobody else is given the port, and not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let gone = socket.local_addr().unwrap();
    let error = dialer(vec![gone]).dial().await.unwrap_err();
    assert_eq!(error.to_string(), format!("connect: {gone}: Connection refused (os error 111)"));
    let error = dialer(Vec::new()).dial().await.unwrap_err();
    assert_eq!(error.to_string(), "look up the host: the host has no address");
}

#[tokio::test]
async fn a_resolution_that_takes_longer_than_an_attempt_serves_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = listener.local_addr().unwrap();
    let (answer, asked) = std::sync::mpsc::channel::<()>();
    let asked = Mutex::new(asked);
    let resolver = Resolver::new(move |_, _| {
        // A second call would never be answered.
        asked.lock().unwrap().recv().map_err(io::Error::other)?;
        Ok(vec![there])
    });
    let address = Address::Tcp { host: "redis.test".to_owned(), port: 6379, tls: false };
    let mut dialer = Dialer::new(address, client_config(true, None, None).unwrap(), resolver);
    let error = dialer.dial().await.unwrap_err();
    assert_eq!(error.to_string(), "look up the host: no answer within 3 s");
    answer.send(()).unwrap();
    drop(answer);
    assert!(matches!(dialer.dial().await, Ok(Stream::Tcp(_))));
}
