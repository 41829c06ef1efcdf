//! How long what is under way may take.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::outgoing::inboxes::InboxPurpose;

fn job(asked: Instant, payload: usize) -> Job {
    let work = Work::Publish { channel: "c".to_owned(), payload: vec![b'x'; payload] };
    Job { work, purpose: Purpose::Own, asked, held: None }
}

fn timed_out() -> End {
    End::Lost("no reply within 900 ms".to_owned())
}

fn took_the_timeout(start: Instant) {
    let took = now() - start;
    // A timer's step is a millisecond.
    assert!((900..=901).contains(&took.as_millis()), "{took:?}");
}

/// How publishing ends, beside something that doesn't.
async fn end_beside(
    other: impl Future<Output = ()>,
    publishing: Publishing<'_>,
    io: tokio::io::DuplexStream,
    jobs: &mut UnboundedReceiver<Job>,
) -> End {
    tokio::select! {
        end = publishing.run(io, jobs) => end,
        () = other => unreachable!(),
    }
}

/// Redis takes the first bytes of what is written, and no more.
#[tokio::test(start_paused = true)]
async fn what_was_asked_first_ends_in_its_time_however_much_is_written() {
    let (jobs_tx, mut jobs) = unbounded_channel();
    let (done_tx, mut done) = unbounded_channel();
    let (io, _redis) = tokio::io::duplex(64);
    let start = now();
    jobs_tx.send(job(start, 1)).unwrap();
    let later = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        jobs_tx.send(job(now(), 1_000_000)).unwrap();
        std::future::pending::<()>().await;
    };
    let end = end_beside(later, Publishing::new(Vec::new(), None, &done_tx), io, &mut jobs).await;
    assert_eq!(end, timed_out());
    took_the_timeout(start);
    for asked in [0, 400] {
        let refused = done.try_recv().unwrap();
        assert!(!refused.is_confirmed);
        assert_eq!((refused.asked - start).as_millis() / 2, asked / 2);
    }
}

/// As a chat's `PUBLISH` does, behind what is written already.
#[tokio::test(start_paused = true)]
async fn what_was_asked_before_and_comes_later_ends_in_its_time_too() {
    let (jobs_tx, mut jobs) = unbounded_channel();
    let (done_tx, mut done) = unbounded_channel();
    let (io, _redis) = tokio::io::duplex(64);
    let start = now();
    tokio::time::advance(Duration::from_millis(500)).await;
    jobs_tx.send(job(now(), 1_000_000)).unwrap();
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        jobs_tx.send(job(start, 1)).unwrap();
        std::future::pending::<()>().await;
    };
    let end = end_beside(later, Publishing::new(Vec::new(), None, &done_tx), io, &mut jobs).await;
    assert_eq!(end, timed_out());
    took_the_timeout(start);
    assert!(!done.try_recv().unwrap().is_confirmed && !done.try_recv().unwrap().is_confirmed);
}

/// It is done with what was under way, then it ends. Without a cluster nothing is asked.
#[tokio::test(start_paused = true)]
async fn a_node_that_has_lost_slot_0_is_left() {
    let (jobs_tx, mut jobs) = unbounded_channel();
    let (done_tx, mut done) = unbounded_channel::<Done>();
    let node = Address::Tcp { host: "a".to_owned(), port: 1, tls: false };
    let (io, mut redis) = tokio::io::duplex(4_096);
    let start = now();
    let answering = async {
        let mut asked = Vec::new();
        for nodes in ["1 a:1@2 myself,master - 0 0 1 connected 0-16383", "2 b:1@2 master - 0 0 1 connected 0"]
        {
            asked.clear();
            while !asked.ends_with(b"NODES\r\n") {
                redis.read_buf(&mut asked).await.unwrap();
            }
            assert_eq!(asked, b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n");
            jobs_tx.send(job(now(), 1)).unwrap();
            while !asked.ends_with(b"x\r\n") {
                redis.read_buf(&mut asked).await.unwrap();
            }
            redis.write_all(format!("${}\r\n{nodes}\r\n:1\r\n", nodes.len()).as_bytes()).await.unwrap();
            assert!(done.recv().await.unwrap().is_confirmed);
        }
        std::future::pending::<()>().await;
    };
    let publishing = Publishing::new(Vec::new(), Some(node), &done_tx);
    let end = end_beside(answering, publishing, io, &mut jobs).await;
    assert_eq!(end, End::Moved);
    assert_eq!((now() - start).as_secs(), 2 * limits::CLUSTER_ASK.as_secs());
}

/// A job whose reply can be large.
fn read(asked: Instant) -> Job {
    let mut commands = super::super::Commands::default();
    commands.add(&[b"XRANGE"]);
    Job { work: Work::Commands(commands), purpose: Purpose::Own, asked, held: None }
}

/// A reply that comes in parts takes its time: what waits behind it is refused in its own, and the connection goes on.
#[tokio::test(start_paused = true)]
async fn a_reply_that_is_coming_is_waited_for() {
    for (first, last) in [("*2\r\n$6000000\r\n", "\r\n$2\r\nok\r\n"), ("*1\r\n$6000000\r\n", "\r\n")] {
        waits_for_a_large_string(first, last).await;
    }
}

/// The large string has this before it and behind it.
async fn waits_for_a_large_string(first: &str, last: &str) {
    let (jobs_tx, mut jobs) = unbounded_channel();
    let (done_tx, mut done) = unbounded_channel::<Done>();
    let (io, mut redis) = tokio::io::duplex(1 << 20);
    let start = now();
    jobs_tx.send(read(start)).unwrap();
    jobs_tx.send(job(start, 1)).unwrap();
    let answering = async {
        let mut asked = Vec::new();
        while !asked.ends_with(b"x\r\n") {
            redis.read_buf(&mut asked).await.unwrap();
        }
        redis.write_all(first.as_bytes()).await.unwrap();
        for part in 0..6 {
            tokio::time::sleep(Duration::from_millis(800)).await;
            redis.write_all(&[b'x'; 1_000_000]).await.unwrap();
            if part == 0 {
                jobs_tx.send(job(now(), 1)).unwrap();
                asked.clear();
                while !asked.ends_with(b"x\r\n") {
                    redis.read_buf(&mut asked).await.unwrap();
                }
            }
        }
        redis.write_all(format!("{last}:1\r\n:1\r\n").as_bytes()).await.unwrap();
        let mut fates = Vec::new();
        for _ in 0..3 {
            let Done { is_confirmed, may_have_come, said, .. } = done.recv().await.unwrap();
            fates.push((is_confirmed, may_have_come, said.len()));
        }
        assert_eq!(fates, [(false, true, 0), (false, true, 0), (true, false, 1)]);
        // Their replies were taken as theirs.
        jobs_tx.send(job(now(), 1)).unwrap();
        asked.clear();
        while !asked.ends_with(b"x\r\n") {
            redis.read_buf(&mut asked).await.unwrap();
        }
        redis.write_all(b":1\r\n").await.unwrap();
        assert!(done.recv().await.unwrap().is_confirmed);
        std::future::pending::<()>().await;
    };
    let until = tokio::time::timeout(
        Duration::from_secs(20),
        end_beside(answering, Publishing::new(Vec::new(), None, &done_tx), io, &mut jobs),
    );
    assert!(until.await.is_err(), "the connection is kept");
}

/// What no client waits for is not refused behind it: it would be asked again, and again. Its time begins when the reply has come.
#[tokio::test(start_paused = true)]
async fn what_no_client_waits_for_may_be_late() {
    let (jobs_tx, mut jobs) = unbounded_channel();
    let (done_tx, mut done) = unbounded_channel::<Done>();
    let (io, mut redis) = tokio::io::duplex(1 << 20);
    let start = now();
    let quiet = |asked| Job { purpose: Purpose::Inbox(InboxPurpose::Quiet), ..job(asked, 1) };
    jobs_tx.send(read(start)).unwrap();
    jobs_tx.send(quiet(start)).unwrap();
    let answering = async {
        let mut asked = Vec::new();
        while !asked.ends_with(b"x\r\n") {
            redis.read_buf(&mut asked).await.unwrap();
        }
        redis.write_all(b"$2000000\r\n").await.unwrap();
        for end in ["", "\r\n"] {
            tokio::time::sleep(Duration::from_millis(800)).await;
            redis.write_all(&[b'x'; 1_000_000]).await.unwrap();
            redis.write_all(end.as_bytes()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(800)).await;
        redis.write_all(b":1\r\n").await.unwrap();
        assert!(done.recv().await.unwrap().is_confirmed && done.recv().await.unwrap().is_confirmed);
        jobs_tx.send(quiet(start)).unwrap();
        std::future::pending::<()>().await;
    };
    let end = end_beside(answering, Publishing::new(Vec::new(), None, &done_tx), io, &mut jobs).await;
    assert_eq!(end, timed_out(), "nothing is coming: its time counts");
    assert!((3_300..=3_301).contains(&(now() - start).as_millis()), "{:?}", now() - start);
}

/// It is given up when nothing more of it comes, and at last in any case.
#[tokio::test(start_paused = true)]
async fn a_reply_that_stops_or_never_ends_is_not_waited_for() {
    for (parts, ends_ms) in [(3, 3 * 800 + 900), (u32::MAX, 60_000)] {
        let (jobs_tx, mut jobs) = unbounded_channel();
        let (done_tx, _done) = unbounded_channel::<Done>();
        let (io, mut redis) = tokio::io::duplex(4_096);
        let start = now();
        jobs_tx.send(read(start)).unwrap();
        let answering = async {
            let mut asked = Vec::new();
            while !asked.ends_with(b"XRANGE\r\n") {
                redis.read_buf(&mut asked).await.unwrap();
            }
            redis.write_all(b"$6000000\r\n").await.unwrap();
            for _ in 0..parts {
                tokio::time::sleep(Duration::from_millis(800)).await;
                redis.write_all(b"x").await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let end = end_beside(answering, Publishing::new(Vec::new(), None, &done_tx), io, &mut jobs).await;
        assert_eq!(end, timed_out());
        assert!((ends_ms..=ends_ms + 1).contains(&(now() - start).as_millis()), "{:?}", now() - start);
    }
}
