use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

fn frames(texts: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    texts.iter().for_each(|text| out.extend_from_slice(&header::text(text.as_bytes())));
    out
}

fn attached() -> (Polling, Session, Arc<AtomicUsize>) {
    let (polling, session) = session();
    let woken = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&woken);
    polling.attach(
        3,
        Box::new(move |token| {
            assert_eq!(token, 7);
            count.fetch_add(1, Ordering::Relaxed);
        }),
    );
    polling.register(7);
    (polling, session, woken)
}

proptest! {
    /// However the shard's writes are cut and whenever requests take, every packet comes once, whole and in order; and what a WebSocket takes over is
    /// the rest of the same bytes.
    #[test]
    fn packets_come_as_they_were_written(
        texts in prop::collection::vec("[a-z]{0,200}", 0..40),
        cuts in prop::collection::vec((1_usize..300, any::<bool>()), 1..60),
        released in any::<bool>(),
    ) {
        let (polling, session, _) = attached();
        let turn = session.begin(true).unwrap();
        let all = frames(&texts);
        let (mut rest, mut taken) = (&all[..], Vec::new());
        for (length, takes) in cuts.iter().cycle().take(20_000) {
            if rest.is_empty() {
                break;
            }
            let offered = (*length).min(rest.len());
            rest = &rest[polling.write(&rest[..offered]).unwrap()..];
            if *takes && let Taken::Packets(packets) = turn.take() {
                taken.extend(String::from_utf8(packets).unwrap().split('\u{1e}').map(str::to_owned));
            }
            if released && rest.len() < all.len() / 2 {
                break;
            }
        }
        let left = [&polling.release()[..], rest].concat();
        // An empty packet is none: the gateway writes none.
        let taken: Vec<_> = taken.into_iter().filter(|text| !text.is_empty()).collect();
        let texts: Vec<_> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        prop_assert!(texts.starts_with(&taken));
        let expected = frames(&texts[taken.len()..]);
        let left: Vec<u8> = without_empty(&left);
        prop_assert_eq!(left, expected);
    }
}

/// Frames but for those without a payload.
fn without_empty(mut frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [_, length, ..] = frames {
        let bytes = match length {
            126 => 4 + usize::from(u16::from_be_bytes([frames[2], frames[3]])),
            length => 2 + usize::from(*length),
        };
        if bytes > 2 {
            out.extend_from_slice(&frames[..bytes]);
        }
        frames = &frames[bytes..];
    }
    out
}

#[test]
fn what_waits_is_bounded_and_the_shard_is_told_of_room() {
    let (polling, session, woken) = attached();
    let turn = session.begin(true).unwrap();
    let frame = frames(&["x".repeat(1_000)]);
    let mut written = 0;
    while let Ok(count) = polling.write(&frame) {
        written += count;
        assert!(count == frame.len() || written >= POLLING_BYTES_MAX - 2_000);
    }
    assert!(written <= POLLING_BYTES_MAX + frame.len());
    assert!(matches!(turn.take(), Taken::Packets(packets) if packets.len() <= POLLING_BYTES_MAX));
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert!(polling.write(&frame).is_ok());
    // A frame that is larger comes as well.
    let (polling, session, _) = attached();
    let large = frames(&["x".repeat(3 * POLLING_BYTES_MAX)]);
    let mut rest = &large[..];
    while !rest.is_empty() {
        rest = &rest[polling.write(rest).unwrap()..];
    }
    let turn = session.begin(true).unwrap();
    assert!(matches!(turn.take(), Taken::Packets(packets) if packets.len() == 3 * POLLING_BYTES_MAX));
}

#[tokio::test]
async fn requests_bring_what_the_shard_reads() {
    let (polling, session, woken) = attached();
    let turn = session.begin(false).unwrap();
    assert!(session.begin(false).is_none() && session.begin(true).is_some(), "one of each");
    assert!(turn.put(|out| header::write_client_text(out, b"40")).await);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    let mut buffer = [0; 64];
    let count = polling.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"\x81\x82\0\0\0\x0040");
    assert_eq!(polling.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(turn.put(|out| header::write_client_binary(out, b"x")).await);
    let next = async { turn.put(|out| header::write_client_text(out, b"3")).await };
    let read = async { polling.read(&mut buffer).unwrap() };
    assert_eq!(tokio::join!(next, read), (true, 7), "it waits until the last is read");
    session.end();
    assert!(polling.read(&mut buffer).unwrap() > 0);
    assert_eq!(polling.read(&mut buffer).unwrap(), 0, "the end behind the last");
    assert!(!turn.put(|_| {}).await);
}

#[tokio::test]
async fn an_end_is_told_behind_the_last_packets() {
    let (polling, session, woken) = attached();
    let turn = session.begin(true).unwrap();
    polling.write(&frames(&["42".to_owned()])).unwrap();
    polling.write(b"\x88\x02\x03\xf4").unwrap();
    polling.shut();
    assert_eq!(turn.packets().await, Taken::Packets(b"42\x1e1".to_vec()));
    assert_eq!(woken.load(Ordering::Relaxed), 1, "the shard may let go of it");
    assert_eq!(turn.packets().await, Taken::Ended);
    drop(polling);
    assert!(session.is_gone() && session.probe().is_none());
}

#[tokio::test]
async fn a_web_socket_takes_its_place_once() {
    let (polling, session, _) = attached();
    let probe = session.probe().unwrap();
    assert_eq!((probe.shard(), probe.token()), (3, 7));
    assert!(session.probe().is_none());
    drop(probe);
    let probe = session.probe().unwrap();
    let turn = session.begin(true).unwrap();
    polling.hurry();
    assert_eq!(turn.packets().await, Taken::Packets(Vec::new()));
    polling.write(&frames(&["3".to_owned()])[..2]).unwrap();
    assert_eq!(polling.release(), b"\x81\x01");
    drop((polling, probe));
    assert_eq!(turn.packets().await, Taken::Ended);
}

#[test]
fn a_ping_is_answered_once_the_client_has_what_stands_before_it() {
    let (polling, session, woken) = attached();
    let answered = || {
        let mut buffer = [0; 64];
        polling.read(&mut buffer).ok().map(|count| buffer[..count].to_vec())
    };
    let ask = || session.begin(true).unwrap();
    polling.write(&frames(&["42".to_owned()])).unwrap();
    polling.write(b"\x89\x01a").unwrap();
    let turn = ask();
    assert_eq!(answered(), None, "it is behind what is yet to be taken");
    assert_eq!(turn.take(), Taken::Packets(b"42".to_vec()));
    assert_eq!(answered(), None, "the answer is on its way");
    // Behind the same answer, and the last one counts.
    polling.write(b"\x89\x01b").unwrap();
    drop(turn);
    let turn = ask();
    assert_eq!(answered().as_deref(), Some(&b"\x8a\x81\0\0\0\0b"[..]));
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    // One that comes while a request waits is answered by the next one, if nothing else is.
    polling.write(b"\x89\x01c").unwrap();
    drop(turn);
    polling.write(&frames(&["43".to_owned()])).unwrap();
    polling.write(b"\x89\x01d").unwrap();
    let turn = ask();
    assert_eq!(answered().as_deref(), Some(&b"\x8a\x81\0\0\0\0c"[..]));
    assert_eq!(turn.take(), Taken::Packets(b"43".to_vec()));
    drop(turn);
    drop(ask());
    assert_eq!(answered().as_deref(), Some(&b"\x8a\x81\0\0\0\0d"[..]));
    drop(ask());
    assert_eq!(answered(), None, "each once");
}

#[test]
fn a_web_socket_that_takes_the_place_is_sent_the_pings_that_nobody_has_answered() {
    let (polling, session, _woken) = attached();
    polling.write(&frames(&["42".to_owned()])).unwrap();
    polling.write(b"\x89\x01a").unwrap();
    let turn = session.begin(true).unwrap();
    assert_eq!(turn.take(), Taken::Packets(b"42".to_vec()));
    polling.write(&frames(&["43".to_owned()])).unwrap();
    polling.write(b"\x89\x01b").unwrap();
    assert_eq!(polling.release(), b"\x89\x01a\x81\x0243\x89\x01b");
}
