//! The reader's rules one by one. [`super::property_tests`] tests them together.

use super::*;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CONTINUATION: u8 = 0x0;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

const MAX_BYTES: usize = 1_000;

/// A masked frame; `first` is its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend_from_slice(payload);
    let start = frame.len() - payload.len();
    let mask = [frame[start - 4], frame[start - 3], frame[start - 2], frame[start - 1]];
    for (position, byte) in frame[start..].iter_mut().enumerate() {
        *byte ^= mask[position % 4];
    }
    frame
}

/// The header of a masked frame.
fn header(first: u8, payload_bytes: u64) -> Vec<u8> {
    let mut header = vec![first];
    match payload_bytes {
        0..=125 => header.push(0x80 | payload_bytes as u8),
        126..=0xffff => {
            header.push(0x80 | 126);
            header.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend_from_slice(&payload_bytes.to_be_bytes());
        }
    }
    header.extend_from_slice(&[0x37, 0xfa, 0x21, 0x3d]);
    header
}

/// Everything that a new reader finds in `input`, in one piece.
fn read(input: &[u8]) -> Vec<Result<differential::Message, ReadError>> {
    let (messages, end) = differential::ours(input, &[], MAX_BYTES, Compressed::Refused);
    messages.into_iter().map(Ok).chain(end.err().map(Err)).collect()
}

/// The one error that `input` leads to.
fn error(input: &[u8]) -> ReadError {
    let (messages, end) = differential::ours(input, &[], MAX_BYTES, Compressed::Refused);
    assert_eq!(messages, []);
    end.unwrap_err()
}

fn text(text: &str) -> Result<differential::Message, ReadError> {
    Ok(differential::Message::Text(text.to_owned()))
}

#[test]
fn a_whole_frame_is_a_slice_of_the_input() {
    let mut input = [frame(FIN | TEXT, b"hello"), frame(FIN | BINARY, &[0xff; 200])].concat();
    let place = input.as_ptr_range();
    let mut reader = Reader::default();
    let step = reader.next(&mut input, MAX_BYTES, Compressed::Refused).unwrap();
    let Some(Incoming::Text("hello")) = step.message else { panic!("{step:?}") };
    assert_eq!(step.consumed, 11);
    assert!(reader.partial.is_none());
    let step = reader.next(&mut input[11..], MAX_BYTES, Compressed::Refused).unwrap();
    let Some(Incoming::Binary(bytes)) = step.message else { panic!("{step:?}") };
    assert_eq!(bytes, [0xff; 200]);
    assert!(place.contains(&bytes.as_ptr()));
    assert!(reader.partial.is_none());
}

#[test]
fn the_frames_of_rfc_6455_section_5_7_are_read() {
    // The masked ones as they stand there; the others with a mask of zeros, as a client has to send them.
    assert_eq!(read(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), [text("Hello")]);
    assert_eq!(read(b"\x01\x83\0\0\0\0Hel\x80\x82\0\0\0\0lo"), [text("Hello")]);
    let pong = Ok(differential::Message::Pong(b"Hello".to_vec()));
    assert_eq!(read(b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), [pong]);
    let kilobyte = [&b"\x82\xfe\x01\x00\0\0\0\0"[..], &[7; 256]].concat();
    assert_eq!(read(&kilobyte), [Ok(differential::Message::Binary(vec![7; 256]))]);
}

#[test]
fn a_cut_off_frame_is_kept_only_until_it_is_complete() {
    let mut input = frame(FIN | TEXT, b"hello");
    let (head, tail) = input.split_at_mut(8);
    let mut reader = Reader::default();
    assert_eq!(reader.next(head, MAX_BYTES, Compressed::Refused), Ok(Step { consumed: 8, message: None }));
    reader.release_buffer();
    assert_eq!(reader.held_bytes(), 2);
    let step = reader.next(tail, MAX_BYTES, Compressed::Refused).unwrap();
    assert_eq!(step, Step { consumed: 3, message: Some(Incoming::Text("hello")) });
    reader.release_buffer();
    assert!(reader.partial.is_none());
}

#[test]
fn the_next_read_frees_the_last_message() {
    let mut input = [frame(TEXT, b"a"), frame(FIN | CONTINUATION, b"b"), frame(FIN | TEXT, b"c")].concat();
    let mut reader = Reader::default();
    assert_eq!(
        reader.next(&mut input, MAX_BYTES, Compressed::Refused),
        Ok(Step { consumed: 7, message: None })
    );
    let step = reader.next(&mut input[7..], MAX_BYTES, Compressed::Refused).unwrap();
    assert_eq!(step.message, Some(Incoming::Text("ab")));
    let step = reader.next(&mut input[14..], MAX_BYTES, Compressed::Refused).unwrap();
    assert_eq!(step.message, Some(Incoming::Text("c")));
    assert!(reader.partial.is_none());
}

#[test]
fn memory_grows_with_bytes_received_not_with_lengths_announced() {
    let mut input = [header(FIN | BINARY, 1 << 40), vec![1; 10]].concat();
    let mut reader = Reader::default();
    assert_eq!(reader.next(&mut input, usize::MAX, Compressed::Refused).unwrap().message, None);
    let partial = reader.partial.unwrap();
    assert_eq!(partial.data.len(), 10);
    assert!(partial.data.capacity() < 100);
}

#[test]
fn no_input_is_no_message() {
    let mut reader = Reader::default();
    assert_eq!(reader.next(&mut [], MAX_BYTES, Compressed::Refused), Ok(Step { consumed: 0, message: None }));
    reader.release_buffer();
    assert!(reader.partial.is_none());
}

#[test]
fn control_frames_come_between_fragments_and_in_pieces() {
    let input = [
        frame(TEXT, b"on"),
        frame(FIN | PING, b"are you there"),
        frame(CONTINUATION, b"e"),
        frame(FIN | PONG, b""),
        frame(FIN | CONTINUATION, b""),
        frame(FIN | CLOSE, b"\x03\xe8bye"),
    ]
    .concat();
    let expected = [
        differential::Message::Ping(b"are you there".to_vec()),
        differential::Message::Pong(Vec::new()),
        differential::Message::Text("one".to_owned()),
        differential::Message::Close(Some((1000, "bye".to_owned()))),
    ];
    for size in 1..input.len() {
        let (messages, end) =
            differential::ours(&input, &vec![size; input.len()], MAX_BYTES, Compressed::Refused);
        assert_eq!((&messages[..], end), (&expected[..], Ok(())), "in pieces of {size}");
    }
}

#[test]
fn headers_against_the_rules_are_refused() {
    let long = (MAX_BYTES as u64).to_be_bytes();
    let unmasked_long = [&[FIN | TEXT, 127][..], &long].concat();
    let cases: [(&[u8], &str); 14] = [
        (&frame(FIN | RSV1 | TEXT, b"x"), "reserved bits"),
        (&frame(FIN | 0x20 | TEXT, b"x"), "reserved bits"),
        (&frame(FIN | 0x10 | PING, b"x"), "reserved bits"),
        (&frame(FIN | 0x3, b"x"), "opcode"),
        (&frame(FIN | 0x7, b"x"), "opcode"),
        (&frame(FIN | 0xb, b"x"), "opcode"),
        (&frame(FIN | 0xf, b"x"), "opcode"),
        (&[FIN | TEXT, 1, b'x'], "without a mask"),
        (&unmasked_long, "without a mask"),
        (&header(FIN | BINARY, 1 << 63), "highest bit"),
        (&frame(PING, b""), "fragmented control"),
        (&header(FIN | PING, 126), "longer than 125"),
        (&frame(FIN | CONTINUATION, b"x"), "continuation of no message"),
        (&frame(CONTINUATION, b"x"), "continuation of no message"),
    ];
    for (input, part) in cases {
        let error = error(input);
        assert!(error.to_string().contains(part), "{error} for {input:x?}");
        assert_eq!(error.close_code(), CloseCode::Protocol);
    }
}

#[test]
fn a_message_cannot_begin_within_another() {
    for first in [TEXT, FIN | TEXT, BINARY, FIN | BINARY] {
        let input = [frame(TEXT, b""), frame(first, b"x")].concat();
        assert_eq!(error(&input), ReadError::Protocol("new message within a fragmented one"));
    }
    let input =
        [frame(BINARY, b"1"), frame(FIN | CONTINUATION, b"2"), frame(FIN | CONTINUATION, b"3")].concat();
    let end = Err(ReadError::Protocol("continuation of no message"));
    assert_eq!(read(&input), [Ok(differential::Message::Binary(b"12".to_vec())), end]);
}

#[test]
fn the_longest_control_frame_is_taken() {
    let ping = frame(FIN | PING, &[b'p'; 125]);
    assert_eq!(read(&ping), [Ok(differential::Message::Ping(vec![b'p'; 125]))]);
}

#[test]
fn close_frames_carry_codes_that_may_be_sent() {
    let with_code = |code: u16| read(&frame(FIN | CLOSE, &[&code.to_be_bytes()[..], b"why"].concat()));
    for code in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
    {
        assert_eq!(with_code(code), [Ok(differential::Message::Close(Some((code, "why".to_owned()))))]);
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        assert_eq!(with_code(code), [Err(ReadError::Protocol("close code that may not be sent"))]);
    }
    assert_eq!(read(&frame(FIN | CLOSE, b"")), [Ok(differential::Message::Close(None))]);
    assert_eq!(error(&frame(FIN | CLOSE, b"\x03")), ReadError::Protocol("close frame with half a code"));
    assert_eq!(error(&frame(FIN | CLOSE, b"\x03\xe8\xc3")), ReadError::Utf8);
}

#[test]
fn bad_utf8_is_found_with_the_bytes_that_make_it_bad() {
    assert_eq!(error(&frame(FIN | TEXT, b"a\xffb")), ReadError::Utf8);
    assert_eq!(error(&frame(TEXT, b"a\xffb")), ReadError::Utf8);
    assert_eq!(error(&frame(TEXT, b"a\xed\xa0\x80")), ReadError::Utf8, "a surrogate");
    let broken_off = [frame(TEXT, b"\xc3"), frame(FIN | CONTINUATION, b"")].concat();
    assert_eq!(error(&broken_off), ReadError::Utf8);
    let badly_continued = [frame(TEXT, b"\xe2\x82"), frame(CONTINUATION, b"x")].concat();
    assert_eq!(error(&badly_continued), ReadError::Utf8);
    // Two of three bytes of the payload are here, and the second is wrong whatever the third may be.
    let whole = frame(FIN | TEXT, b"\xe2\x28\xa1");
    assert_eq!(error(&whole[..whole.len() - 1]), ReadError::Utf8);
    assert_eq!(ReadError::Utf8.close_code(), CloseCode::InvalidData);
}

#[test]
fn characters_may_be_split_anywhere() {
    let word = "aä€𝄞z".as_bytes();
    for at in 0..=word.len() {
        let (head, tail) = word.split_at(at);
        let input = [frame(TEXT, head), frame(FIN | CONTINUATION, tail)].concat();
        assert_eq!(read(&input), [text("aä€𝄞z")]);
    }
    let one_by_one: Vec<u8> = word.iter().flat_map(|byte| frame(CONTINUATION, &[*byte])).collect();
    let input = [frame(TEXT, b""), one_by_one, frame(FIN | CONTINUATION, b"")].concat();
    assert_eq!(read(&input), [text("aä€𝄞z")]);
}

#[test]
fn text_is_checked_once_however_small_its_pieces() {
    let mut input = frame(TEXT, "aä€".as_bytes());
    let cut = input.len() - 1;
    let mut reader = Reader::default();
    assert_eq!(
        reader.next(&mut input[..cut], MAX_BYTES, Compressed::Refused),
        Ok(Step { consumed: cut, message: None })
    );
    assert_eq!(reader.partial.unwrap().valid_bytes, 3, "all but the character that is cut off");
}

#[test]
fn binary_need_not_be_utf8() {
    let input = [frame(BINARY, b"\xff"), frame(FIN | CONTINUATION, b"\xfe")].concat();
    assert_eq!(read(&input), [Ok(differential::Message::Binary(vec![0xff, 0xfe]))]);
}

#[test]
fn a_message_too_large_is_refused_by_its_header() {
    let exact = vec![b'x'; MAX_BYTES];
    assert_eq!(read(&frame(FIN | BINARY, &exact)), [Ok(differential::Message::Binary(exact.clone()))]);
    let too_large = |bytes| ReadError::TooLarge { bytes, max_bytes: MAX_BYTES };
    assert_eq!(error(&header(FIN | TEXT, 1_001)), too_large(1_001));
    assert_eq!(error(&header(TEXT, u64::MAX >> 1)), too_large(u64::MAX >> 1));
    let fragments = [frame(BINARY, &exact), header(FIN | CONTINUATION, 1)].concat();
    assert_eq!(error(&fragments), too_large(1_001));
    let endless = [frame(BINARY, b"x"), header(CONTINUATION, u64::MAX >> 1)].concat();
    assert_eq!(error(&endless), too_large(1 << 63));
    assert_eq!(too_large(1_001).close_code(), CloseCode::TooLarge);
    assert_eq!(
        too_large(1_001).to_string(),
        "message of at least 1001 bytes exceeds the maximum of 1000 bytes"
    );
}

#[test]
fn unmasking_goes_on_where_it_stopped() {
    let plain: Vec<u8> = (0..100).collect();
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let masked: Vec<u8> = plain.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    for at in 0..=plain.len() {
        let mut bytes = masked.clone();
        let (head, tail) = bytes.split_at_mut(at);
        unmask(head, mask, 0);
        unmask(tail, mask, at as u64);
        assert_eq!(bytes, plain);
    }
}

/// "Hello", as RFC 7692 section 7.2.3.1 compresses it.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

/// Everything that a reader finds that has agreed on compression.
fn read_deflated(input: &[u8]) -> Vec<Result<differential::Message, ReadError>> {
    let (messages, end) = differential::ours(input, &[], MAX_BYTES, Compressed::Inflated);
    messages.into_iter().map(Ok).chain(end.err().map(Err)).collect()
}

#[test]
fn a_compressed_message_is_inflated() {
    let fragmented = [
        frame(RSV1 | TEXT, &HELLO[..3]),
        frame(FIN | PING, b"p"),
        frame(CONTINUATION, &HELLO[3..4]),
        frame(FIN | CONTINUATION, &HELLO[4..]),
        frame(FIN | TEXT, b"plain"),
        frame(FIN | RSV1 | BINARY, &HELLO),
    ]
    .concat();
    let ping = Ok(differential::Message::Ping(b"p".to_vec()));
    let binary = Ok(differential::Message::Binary(b"Hello".to_vec()));
    assert_eq!(read_deflated(&fragmented), [ping, text("Hello"), text("plain"), binary]);
}

#[test]
fn compression_is_marked_on_the_first_frame_of_a_message_only() {
    let refused = [Err(ReadError::Protocol("reserved bits set"))];
    let continued = [frame(TEXT, b"a"), frame(FIN | RSV1 | CONTINUATION, &HELLO)].concat();
    assert_eq!(read_deflated(&continued), refused);
    for first in [FIN | RSV1 | PING, FIN | RSV1 | CLOSE, FIN | 0x20 | TEXT, FIN | RSV1 | 0x10 | TEXT] {
        assert_eq!(read_deflated(&frame(first, &HELLO)), refused, "{first:x}");
    }
}

#[test]
fn what_is_inflated_is_held_to_the_rules_for_messages() {
    // Stored blocks of so many bytes.
    let stored = |bytes: &[u8]| {
        let len = bytes.len() as u16;
        [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), bytes, &[0]].concat()
    };
    let of = |first: u8, bytes: &[u8]| read_deflated(&frame(FIN | RSV1 | first, &stored(bytes)));
    assert_eq!(of(TEXT, &[b'x'; MAX_BYTES]), [text(&"x".repeat(MAX_BYTES))]);
    let too_large = |bytes| Err(ReadError::TooLarge { bytes, max_bytes: MAX_BYTES });
    assert_eq!(of(TEXT, &[b'x'; MAX_BYTES + 1]), [too_large(1_001)]);
    assert_eq!(read_deflated(&header(FIN | RSV1 | TEXT, 1_190)), [too_large(1_190)], "by its header");
    assert_eq!(of(TEXT, b"a\xff"), [Err(ReadError::Utf8)]);
    assert_eq!(of(BINARY, b"a\xff"), [Ok(differential::Message::Binary(b"a\xff".to_vec()))]);
    assert_eq!(read_deflated(&frame(FIN | RSV1 | TEXT, b"\xff\xff")), [Err(ReadError::Deflate)]);
    assert_eq!(ReadError::Deflate.close_code(), CloseCode::InvalidData);
}

#[test]
fn who_throws_messages_away_does_not_inflate_them() {
    let mut input = frame(FIN | RSV1 | TEXT, &HELLO);
    let mut reader = Reader::default();
    let step = reader.next(&mut input, MAX_BYTES, Compressed::Kept).unwrap();
    assert_eq!(step.message, Some(Incoming::Binary(&HELLO)));
    reader.release_buffer();
    assert!(reader.partial.is_none());
}
