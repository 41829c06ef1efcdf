use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConnection, ServerConfig, StreamOwned};

use super::*;
use crate::tls::{provider, unchecked_client};
use crate::transport::Transport;

/// A client with a blocking socket.
type Peer = StreamOwned<ClientConnection, TcpStream>;

fn server_config() -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap())
}

/// A transport whose handshake is complete, and its client. The transport's socket buffer is small.
fn connection() -> (Transport, Peer) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    socket2::SockRef::from(&accepted).set_send_buffer_size(16 * 1024).unwrap();
    let session =
        ClientConnection::new(unchecked_client().unwrap(), "localhost".try_into().unwrap()).unwrap();
    let shaking = std::thread::spawn(move || {
        let mut peer = StreamOwned::new(session, stream);
        peer.conn.complete_io(&mut peer.sock).unwrap();
        peer
    });
    let mut session = ServerConnection::new(server_config()).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut accepted).unwrap();
    }
    accepted.set_nonblocking(true).unwrap();
    (Transport::tls(mio::net::TcpStream::from_std(accepted), session), shaking.join().unwrap())
}

/// Bytes whose values show their positions.
fn numbered(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n * 31 + n / 251) as u8).collect()
}

/// Writes all bytes, however often the socket is full.
fn write_all(transport: &mut Transport, bytes: &[u8], sizes: &[usize]) {
    let mut at = 0;
    for size in sizes.iter().cycle() {
        if at == bytes.len() {
            break;
        }
        match transport.write(&bytes[at..bytes.len().min(at + size)]) {
            Ok(taken) => at += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    while let Err(error) = transport.flush() {
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        std::thread::yield_now();
    }
}

/// Reads until there are bytes.
fn read(transport: &mut Transport, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match transport.read(buffer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                std::thread::yield_now();
            }
            outcome => return outcome,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Bytes arrive whole and in order in both directions, in pieces of any size.
    #[test]
    fn bytes_arrive_as_they_were_written(
        count in 1_usize..300_000,
        sizes in prop::collection::vec(1_usize..70_000, 1..6),
        sent in 1_usize..100_000,
        buffer_bytes in 1_usize..70_000,
    ) {
        let (mut transport, mut peer) = connection();
        let (bytes, expected) = (numbered(count), numbered(count));
        let client = std::thread::spawn(move || {
            let mut got = vec![0; count];
            peer.read_exact(&mut got).unwrap();
            peer.write_all(&numbered(sent)).unwrap();
            peer.conn.send_close_notify();
            peer.conn.write_tls(&mut peer.sock).unwrap();
            got
        });
        write_all(&mut transport, &bytes, &sizes);
        let (mut got, mut buffer) = (Vec::new(), vec![0; buffer_bytes]);
        loop {
            match read(&mut transport, &mut buffer).unwrap() {
                0 => break,
                read => got.extend_from_slice(&buffer[..read]),
            }
        }
        prop_assert!(client.join().unwrap() == expected);
        prop_assert!(got == numbered(sent));
    }
}

#[test]
fn a_client_that_does_not_read_has_no_more_than_a_record_waiting() {
    let (mut transport, mut peer) = connection();
    let bytes = numbered(4 * 1024 * 1024);
    let taken = transport.write(&bytes).unwrap();
    assert!(taken < bytes.len(), "the sockets hold {taken} bytes");
    assert_eq!(transport.flush().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(transport.write(&bytes[taken..]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let Transport::Tls(tls) = &mut transport else { unreachable!("it is under TLS") };
    let mut waiting = Vec::new();
    tls.session.write_tls(&mut waiting).unwrap();
    assert!(waiting.len() <= TLS_RECORD_BYTES + 256, "{} bytes of ciphertext", waiting.len());
    assert!(!tls.session.wants_write());
    drop(transport);
    // It gets the first part of the bytes taken.
    let mut got = Vec::new();
    let _ = peer.read_to_end(&mut got);
    assert!(taken - got.len() <= TLS_RECORD_BYTES && got == bytes[..got.len()]);
}

#[test]
fn progress_without_a_write_is_reported_once() {
    let (mut transport, mut peer) = connection();
    let mut taken = 0;
    while let Ok(more) = transport.write(&[0; 64 * 1024]) {
        taken += more;
    }
    transport.take_moved();
    assert!(!transport.take_moved());
    let client = std::thread::spawn(move || {
        let mut got = vec![0; taken];
        peer.read_exact(&mut got).unwrap();
        peer
    });
    while transport.flush().is_err() {}
    assert!(transport.take_moved());
    assert!(!transport.take_moved());
    drop(client.join().unwrap());
}

#[test]
fn the_end_of_the_stream_is_read_with_close_notify_and_without() {
    for is_announced in [true, false] {
        let (mut transport, mut peer) = connection();
        peer.write_all(b"last words").unwrap();
        if is_announced {
            peer.conn.send_close_notify();
            peer.conn.write_tls(&mut peer.sock).unwrap();
        } else {
            peer.sock.shutdown(Shutdown::Write).unwrap();
        }
        let mut buffer = [0; 64];
        assert_eq!(read(&mut transport, &mut buffer).unwrap(), 10);
        assert_eq!(read(&mut transport, &mut buffer).unwrap(), 0);
    }
}

#[test]
fn a_peer_that_breaks_tls_gets_an_alert() {
    let (mut transport, mut peer) = connection();
    peer.sock.write_all(b"\x17\x03\x03\x00\x18nobody has sealed this record").unwrap();
    let error = read(&mut transport, &mut [0; 64]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    let told = peer.read(&mut [0; 64]).unwrap_err();
    assert!(told.to_string().contains("BadRecordMac"), "{told}");
}

#[test]
fn a_part_of_a_record_is_no_plaintext() {
    let (mut transport, mut peer) = connection();
    peer.conn.writer().write_all(b"subscribe").unwrap();
    let mut record = Vec::new();
    peer.conn.write_tls(&mut record).unwrap();
    let (first, rest) = record.split_at(record.len() / 2);
    let mut buffer = [0; 64];
    peer.sock.write_all(first).unwrap();
    while transport.read(&mut buffer).unwrap_err().kind() == ErrorKind::WouldBlock {}
    assert_eq!(transport.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    peer.sock.write_all(rest).unwrap();
    assert_eq!(read(&mut transport, &mut buffer).unwrap(), 9);
}

#[test]
fn the_writing_side_ends_with_close_notify() {
    let (mut transport, mut peer) = connection();
    transport.write(b"bye").unwrap();
    transport.shutdown_write().unwrap();
    let mut got = String::new();
    peer.read_to_string(&mut got).unwrap();
    assert_eq!(got, "bye", "rustls reports an end without close_notify as an error");
}
