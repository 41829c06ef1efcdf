//! A peer that breaks TLS, stalls within a record, truncates, renegotiates or goes without `close_notify` ends, costs no
//! processor time while it stays, and the others lose nothing.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::ChildStdin;
use tokio_rustls::client::TlsStream;

use crate::support::process::Process;
use crate::support::tls::{self, Identity, SecureClient};
use crate::support::{Client, Redis, raw, until};

/// A gateway of one shard with an honest client.
struct Stage {
    redis: Redis,
    gateway: Process,
    honest: SecureClient,
    sent: u64,
}

impl Stage {
    async fn set(args: &[&str]) -> Self {
        let (redis, identity) = (Redis::start().await, Identity::new());
        let flags = identity.flags();
        let flags = flags.each_ref().map(String::as_str);
        let gateway = Process::on(&redis, &[&flags[..], &["--shards", "1"], args].concat()).await;
        let honest = tls::subscriber(gateway.addr(), &["AAPL"]).await;
        Self { redis, gateway, honest, sent: 0 }
    }

    /// A client that has shaken hands, and its stream.
    async fn peer(&self) -> TlsStream<TcpStream> {
        let client = tls::client(self.gateway.addr()).await;
        client.ws.into_inner()
    }

    /// The honest client still gets its events.
    async fn goes_on(&mut self) {
        self.sent += 1;
        self.redis.publisher().await.numbered("AAPL", self.sent).await;
        self.honest.gets("AAPL", self.sent).await;
    }

    /// Waits until as many clients are connected.
    async fn until_connected(&self, clients: u64) {
        let part = format!(r#""connections":{clients},"#);
        until("the others to be let go", async || {
            tls::get(self.gateway.addr(), "/health", "").await.body.contains(&part).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_truncation_and_a_sudden_end() {
    let mut stage = Stage::set(&[]).await;
    let mut garbage = stage.peer().await;
    garbage
        .get_mut()
        .0
        .write_all(&[0x17, 3, 3, 0, 24, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
        .await
        .unwrap();
    garbage.get_mut().0.write_all(&[0x55; 64]).await.unwrap();
    let told = garbage.read(&mut [0; 64]).await.expect_err("an alert");
    assert!(told.to_string().contains("BadRecordMac"), "{told}");
    stage.until_connected(1).await;

    let mut oversized = stage.peer().await;
    oversized.get_mut().0.write_all(&[0x17, 3, 3, 0xff, 0xff, 1, 2, 3]).await.unwrap();
    assert!(oversized.read(&mut [0; 64]).await.is_err(), "a record longer than records may be");
    stage.until_connected(1).await;

    let mut truncated = stage.peer().await;
    truncated.get_mut().0.write_all(&[0x17, 3, 3, 1, 0, 1, 2, 3]).await.unwrap();
    truncated.get_mut().0.shutdown().await.unwrap();
    stage.until_connected(1).await;

    let unannounced = stage.peer().await;
    drop(unannounced);
    stage.until_connected(1).await;
    stage.goes_on().await;
}

/// A client that stops within a record waits as one that is idle; it is pinged, and goes if it doesn't answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_within_a_record_costs_nothing() {
    let patience = ["--ping-interval", "1s", "--pong-timeout", "1s", "--max-missed-pongs", "4"];
    let mut stage = Stage::set(&patience).await;
    // It answers pings, as all that a connected honest client needs.
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut peer = stage.peer().await;
        peer.get_mut().0.write_all(&[0x17, 3, 3, 1, 0, 1, 2, 3]).await.unwrap();
        stalled.push(peer);
    }
    stage.goes_on().await;
    let before = stage.gateway.processor_time();
    let honest = &mut stage.honest;
    // Reading answers the gateway's pings meanwhile.
    let _ = tokio::time::timeout(Duration::from_secs(1), honest.message()).await;
    let spent = stage.gateway.processor_time() - before;
    assert!(spent < Duration::from_millis(300), "{spent:?} for peers that send nothing");
    let honest_reads = async {
        loop {
            let _ = tokio::time::timeout(Duration::from_millis(100), honest.message()).await;
        }
    };
    let part = r#""connections":1,"#;
    let addr = stage.gateway.addr();
    let gone = until("the stalled ones to be let go", async || {
        tls::get(addr, "/health", "").await.body.contains(part).then_some(())
    });
    tokio::select! {
        () = honest_reads => {}
        () = gone => {}
    }
    stage.goes_on().await;
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn renegotiation_is_refused_and_new_keys_are_taken() {
    let mut stage = Stage::set(&[]).await;
    let addr = stage.gateway.addr();
    let upgrade = raw::request(addr, "/ws?symbols=AAPL");
    // `R` asks for a renegotiation, `K` changes the keys of both sides; each stands on a line of its own.
    for (version, command) in [("-tls1_2", "R\n"), ("-tls1_3", "K\n")] {
        let mut child = tls::openssl(addr, &[version]).spawn().expect("openssl is installed");
        let mut stdin: ChildStdin = child.stdin.take().expect("piped");
        let mut stdout = child.stdout.take().expect("piped");
        let mut said = String::new();
        stdin.write_all(upgrade.as_bytes()).await.unwrap();
        read_until(&mut stdout, &mut said, "currentSubscriptions").await;
        stdin.write_all(command.as_bytes()).await.unwrap();
        if version == "-tls1_2" {
            let ended = tokio::time::timeout(crate::support::PATIENCE, child.wait()).await;
            ended.expect("OpenSSL gives up").expect("an exit");
        } else {
            // Its answer, and what follows, is under the new keys.
            read_until_key_update(&mut child).await;
            stage.goes_on().await;
            read_until(&mut stdout, &mut said, &format!(r#""timestamp":{},"#, stage.sent)).await;
            child.kill().await.expect("it is ours");
        }
        stage.until_connected(1).await;
    }
    stage.goes_on().await;
}

/// Waits until `openssl` has told of its key update, on standard error.
async fn read_until_key_update(child: &mut tokio::process::Child) {
    let mut said = String::new();
    read_until(child.stderr.as_mut().expect("piped"), &mut said, "KEYUPDATE").await;
}

async fn read_until(from: &mut (impl AsyncReadExt + Unpin), said: &mut String, part: &str) {
    let mut buffer = [0; 4096];
    while !said.contains(part) {
        let read = tokio::time::timeout(crate::support::PATIENCE, from.read(&mut buffer)).await;
        let read = read.unwrap_or_else(|_| panic!("{part} in {said}")).expect("a pipe");
        assert!(read > 0, "{part} in {said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}

/// A message in hundreds of records, and hundreds of messages in one, are read as they would be without TLS.
#[tokio::test(flavor = "multi_thread")]
async fn records_need_not_be_messages() {
    // So that nothing but the client's bytes has the gateway read on: no pong does.
    let mut stage = Stage::set(&["--ping-interval", "1h"]).await;
    let mut peer = stage.peer().await;
    let frame = raw::text_frame(&format!(r#"{{"action":"ping","id":"{}"}}"#, "x".repeat(60)));
    for byte in &frame {
        peer.write_all(&[*byte]).await.unwrap();
        peer.flush().await.unwrap();
    }
    peer.write_all(&frame.repeat(400)).await.unwrap();
    let mut client = Client::on_upgraded(peer).await;
    for _ in 0..401 {
        assert_eq!(client.json().await["type"], "pong");
    }
    stage.goes_on().await;
}
