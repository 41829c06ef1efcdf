//! Against flate2 on miniz_oxide: another implementation of both directions.

use flate2::{Compress, FlushCompress};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::websocket::header;

const MAX_BYTES: usize = 100_000;

/// A payload as another implementation compresses it, in several pieces, each flushed (section 7.2.3.5).
fn compressed_elsewhere(pieces: &[&[u8]], level: u32) -> Vec<u8> {
    let mut compress = Compress::new(flate2::Compression::new(level), false);
    let mut out = Vec::with_capacity(MAX_BYTES * 2);
    for piece in pieces {
        compress.compress_vec(piece, &mut out, FlushCompress::Sync).unwrap();
    }
    assert!(out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

fn inflated(payload: &[u8]) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    inflate(payload, MAX_BYTES, &mut out).map(|()| out)
}

fn trades(count: u64) -> Vec<u8> {
    let trade = |n| format!(r#",{{"symbol":"AAPL","price":{n}.25,"volume":{},"timestamp":{n}}}"#, n * 7);
    (0..count).map(trade).collect::<String>().into_bytes()
}

#[test]
fn a_message_is_compressed_from_the_threshold_on() {
    let compressor = Compressor::new(Some(Compression { threshold_bytes: 1_000, level: 6 }));
    let long = trades(50);
    let frame = compressor.compress(&header::text(&long)).unwrap();
    assert_eq!((frame[0], is_compressed(&frame)), (0xc1, true));
    let compressed = payload(&frame);
    assert_eq!(inflated(compressed).unwrap(), long);
    assert_eq!(reference::inflated(compressed), Some(long.clone()));
    let mut out = [b"before".to_vec(), header::text(&long)].concat();
    compressor.compress_last(&mut out, 6);
    assert_eq!(out, [b"before", &frame[..]].concat(), "the same again: no context");
    let mut noise = vec![0; 2_000];
    fastrand::Rng::with_seed(1).fill(&mut noise);
    for plain in [&long[..999], &noise] {
        assert_eq!(compressor.compress(&header::text(plain)), None);
    }
    assert!(!is_compressed(&header::text(&long)) && !is_compressed(&[]));
    compressor.count_uncompressed();
    let (bytes_in, bytes_out) = (2 * long.len() as u64, 2 * compressed.len() as u64);
    assert_eq!(compressor.counts(), Counts { compressed: 2, uncompressed: 3, bytes_in, bytes_out });
    assert_eq!(Compressor::default().compress(&header::text(&long)), None);
}

#[test]
fn the_examples_of_rfc_7692_are_read() {
    let hello = |bytes: &[u8]| assert_eq!(inflated(bytes).unwrap(), b"Hello", "{bytes:x?}");
    hello(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    // One without compression, one with a final block, two blocks.
    hello(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]);
    hello(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]);
    hello(&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]);
    // A final block and nothing behind it, as some libraries leave it.
    hello(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    assert_eq!(inflated(&[0x00]).unwrap(), b"", "an empty message (section 7.2.3.6)");
    assert_eq!(inflated(&[0x02, 0x00]).unwrap(), b"");
    // It refers to the message before, as if there were a context.
    assert_eq!(inflated(&[0xf2, 0x00, 0x11, 0x00, 0x00]), Err(InflateError::Corrupt));
}

#[test]
fn what_is_cut_off_or_corrupt_is_refused() {
    let whole = compressed_elsewhere(&[&trades(20)], 6);
    for end in 1..whole.len() - 1 {
        assert_eq!(inflated(&whole[..end]), Err(InflateError::Corrupt), "{end} of {}", whole.len());
    }
    for noise in [&[0xff, 0xff][..], &[0x06, 0x00], &[0x00, 0x05, 0x00, 0xfa, 0xfe, 1, 2, 3, 4, 5, 0]] {
        assert_eq!(inflated(noise), Err(InflateError::Corrupt), "{noise:x?}");
    }
    // The state is none the worse.
    assert_eq!(inflated(&whole).unwrap(), trades(20));
}

#[test]
fn the_bound_is_exact_and_kept_before_memory_is_taken() {
    let zeros = vec![0; MAX_BYTES];
    let bomb = compressed_elsewhere(&[&zeros], 9);
    assert_eq!(inflated(&bomb).unwrap().len(), MAX_BYTES);
    let mut out = Vec::new();
    assert_eq!(inflate(&bomb, MAX_BYTES - 1, &mut out), Err(InflateError::TooLarge));
    assert!(out.len() < MAX_BYTES && out.capacity() <= 2 * MAX_BYTES);
    assert_eq!(inflate(&compressed_elsewhere(&[b"x"], 6), 0, &mut Vec::new()), Err(InflateError::TooLarge));
    assert_eq!(inflate(&[0x00], 0, &mut Vec::new()), Ok(()));
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3_000),
        prop::collection::vec(0u8..4, 0..20_000),
        (1u64..200).prop_map(trades),
    ]
}

proptest! {
    #[test]
    fn what_others_compress_is_read(content in content(), cuts in prop::collection::vec(any::<Index>(), 0..5), level in 0u32..10) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
        cuts.extend([0, content.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &content[cut[0]..cut[1]]).collect();
        prop_assert_eq!(inflated(&compressed_elsewhere(&pieces, level)), Ok(content));
    }

    #[test]
    fn others_read_what_is_compressed(content in content(), level in 1u32..10) {
        let compressor = Compressor::new(Some(Compression { threshold_bytes: 0, level }));
        if let Some(frame) = compressor.compress(&header::text(&content)) {
            prop_assert!(frame.len() < header::text(&content).len());
            prop_assert_eq!(reference::inflated(payload(&frame)), Some(content.clone()));
            prop_assert_eq!(inflated(payload(&frame)), Ok(content));
        }
    }

    #[test]
    fn noise_does_no_harm(noise in prop::collection::vec(any::<u8>(), 0..300), max_bytes in 0usize..2_000) {
        let mut out = Vec::new();
        _ = inflate(&noise, max_bytes, &mut out);
        prop_assert!(out.len() <= max_bytes);
    }
}
