use proptest::prelude::*;

use super::*;
use crate::resp::write_command;

const LIMITS: CommandLimits =
    CommandLimits { args_max: 100, bulk_bytes_max: 1000, total_bytes_max: 70_000, unauthenticated: false };

fn parse(input: &[u8]) -> Result<Progress<Command<'_>>, CommandError> {
    parse_command(input, &LIMITS)
}

/// The words of one whole inline command.
fn inline(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let bytes = [line, b"\n"].concat();
    match parse(&bytes) {
        Ok(Progress::Done { value, used_bytes }) => {
            assert_eq!(used_bytes, bytes.len());
            Some(value.args().iter().map(|arg| arg.to_vec()).collect())
        }
        Err(CommandError::UnbalancedQuotes) => None,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_written_command_is_read_back_from_any_chunks(
        args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..8),
        behind in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut bytes = Vec::new();
        write_command(&mut bytes, &words);
        let len = bytes.len();
        for cut in 0..len {
            match parse(&bytes[..cut]) {
                Ok(Progress::Incomplete { needed_bytes }) => {
                    prop_assert!(cut < needed_bytes && needed_bytes <= len, "{needed_bytes} at {cut} of {len}");
                }
                other => prop_assert!(false, "{other:?} at {cut} of {len}"),
            }
        }
        bytes.extend(behind);
        let Ok(Progress::Done { value, used_bytes }) = parse(&bytes) else { panic!("not read back") };
        prop_assert_eq!(used_bytes, len);
        let args = value.args();
        prop_assert_eq!(args.as_slice(), words.as_slice());
    }

    #[test]
    fn a_longer_input_never_changes_an_answer(bytes in "[*$0-3a-c'\" \\\\\r\n-]{0,24}") {
        let bytes = bytes.as_bytes();
        let full = parse(bytes);
        for cut in 0..bytes.len() {
            match parse(&bytes[..cut]) {
                Ok(Progress::Incomplete { needed_bytes }) => prop_assert!(needed_bytes > cut),
                answer => prop_assert_eq!(&answer, &full),
            }
        }
    }

    #[test]
    fn quoted_bytes_come_out_as_they_went_in(word in proptest::collection::vec(any::<u8>(), 0..20)) {
        let hex: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let line = format!("ECHO \"{hex}\"");
        prop_assert_eq!(inline(line.as_bytes()), Some(vec![b"ECHO".to_vec(), word]));
    }
}

#[test]
fn lines_are_split_as_redis_splits_them() {
    let words = |words: &[&str]| Some(words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
    for (line, expected) in [
        ("", words(&[])),
        ("\r", words(&[])),
        (" \t ", words(&[])),
        ("PING\r", words(&["PING"])),
        ("  SET  a\tb  ", words(&["SET", "a", "b"])),
        (r#"ECHO "a b""#, words(&["ECHO", "a b"])),
        (r#"ECHO "a\"b\\\n\x41\q""#, words(&["ECHO", "a\"b\\\nAq"])),
        (r"ECHO 'a\'b\n'", words(&["ECHO", "a'b\\n"])),
        (r#"ECHO a"b c""#, words(&["ECHO", "ab c"])),
        (r#"ECHO """#, words(&["ECHO", ""])),
        (r#"ECHO "a"#, None),
        (r"ECHO 'a", None),
        (r#"ECHO "a"b"#, None),
        ("ECHO a\0b c", words(&["ECHO", "a"])),
    ] {
        assert_eq!(inline(line.as_bytes()), expected, "{line:?}");
    }
}

#[test]
fn an_empty_array_is_a_command_of_no_words() {
    for bytes in [&b"*0\r\n"[..], b"*-1\r\n"] {
        let used_bytes = bytes.len();
        assert_eq!(parse(bytes), Ok(Progress::Done { value: Command::Array(Args::new()), used_bytes }));
    }
}

#[test]
fn errors_are_those_of_redis() {
    let long_line = [b'a'; LINE_BYTES_MAX + 1];
    let long_header = [&b"*"[..], &[b'1'; HEADER_BYTES_MAX]].concat();
    let long_bulk_header = [&b"*1\r\n$"[..], &[b'1'; HEADER_BYTES_MAX]].concat();
    for (bytes, text) in [
        (&long_line[..], "too big inline request"),
        (&long_header, "too big mbulk count string"),
        (&long_bulk_header, "too big bulk count string"),
        (b"*a\r\n", "invalid multibulk length"),
        (b"*101\r\n", "invalid multibulk length"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n$a\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$1001\r\n", "invalid bulk length"),
        (b"ECHO \"\n", "unbalanced quotes in request"),
        (
            &[&b"*100\r\n"[..], &[&b"$1000\r\n"[..], &[b'x'; 1000], b"\r\n"].concat().repeat(70)].concat(),
            "too big request",
        ),
    ] {
        let error = parse(bytes).expect_err("it is no command");
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_client_may_send_little_before_it_has_given_the_password() {
    let parse = |bytes| parse_command(bytes, &CommandLimits::UNAUTHENTICATED);
    assert_eq!(parse(b"*11\r\n"), Err(CommandError::UnauthenticatedArrayLength));
    assert_eq!(parse(b"*1\r\n$16385\r\n"), Err(CommandError::UnauthenticatedBulkLength));
    assert!(matches!(parse(b"*10\r\n$16384\r\n"), Ok(Progress::Incomplete { .. })));
}

#[test]
fn the_hint_counts_every_argument_still_to_come() {
    assert_eq!(parse(b"*10\r\n"), Ok(Progress::Incomplete { needed_bytes: 5 + 60 }));
    assert_eq!(parse(b"*10\r\n$100\r\nabc"), Ok(Progress::Incomplete { needed_bytes: 5 + 6 + 102 + 54 }));
}
