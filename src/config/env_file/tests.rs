use proptest::prelude::*;

use super::*;

fn owner(name: &str) -> Owner {
    match name {
        "PORT" | "A" | "B" => Owner::Gateway,
        "PASSWORD" => Owner::Secret,
        _ => Owner::Other,
    }
}

fn parse(file: impl AsRef<[u8]>) -> EnvFile {
    EnvFile::parse(file.as_ref(), ".env", owner)
}

/// The value of `A`, in a file without fault.
fn value_of_a(file: &str) -> Option<String> {
    let parsed = parse(file);
    assert_eq!(parsed.warnings, [""; 0], "{file}");
    parsed.get("A").map(|variable| variable.value.clone().expect("a value"))
}

#[test]
fn values_are_literal() {
    for (file, expected) in [
        ("A=$ecret77", "$ecret77"),
        ("A=${HOME}/x$B", "${HOME}/x$B"),
        (r"A=a\nb\$c\", r"a\nb\$c\"),
        ("A=b c", "b c"),
        ("A = \t b ", "b"),
        ("  export\tA=b", "b"),
        ("A=a=b==", "a=b=="),
        ("A=a#b", "a#b"),
        ("A=#b", "#b"),
        ("A=a'b\"c", "a'b\"c"),
        ("A=b # c # d", "b"),
        ("A=b\t#c", "b"),
        ("A=b\r\nB=c\r\n", "b"),
        ("# A=x\n\n  # A=y\nA=b", "b"),
        ("A=\u{e9}\u{2713}", "\u{e9}\u{2713}"),
        ("A=b\nA=c", "b"),
        ("A=\nA=c", "c"),
    ] {
        assert_eq!(value_of_a(file).as_deref(), Some(expected), "{file}");
    }
    for file in ["", "A=", "A= ", "A= # b", "A=''", "A=\"\" # b", "exportA=b", "XA=b", "#A=b"] {
        assert_eq!(value_of_a(file), None, "{file}");
    }
}

#[test]
fn a_value_in_quotes_is_whole() {
    for (file, expected) in [
        (r#"A="b c""#, "b c"),
        ("A='b c'", "b c"),
        ("A=\" b # c \"", " b # c "),
        (r#"A="$b\n\"c""#, r#"$b\n\"c"#),
        (r#"A="it's""#, "it's"),
        (r#"A='say "b"'"#, r#"say "b""#),
        (r#"A="b"c""#, r#"b"c"#),
        (r#"A="b" # say "c""#, "b"),
        ("A=\"b\" \r\n", "b"),
        ("A=\"b\nc\r\n\nd\"\nB=e", "b\nc\n\nd"),
    ] {
        assert_eq!(value_of_a(file).as_deref(), Some(expected), "{file}");
    }
}

#[test]
fn lines_of_other_programs_are_ignored_and_faulty_ones_have_a_warning() {
    let parsed = parse("DATABASE_URL=postgres://u:p@h/d?a=b\nKEY=\"-----BEGIN\nabc==\n-----END\" # x\nA=1\n");
    assert_eq!((parsed.warnings.len(), parsed.get("A").map(|a| a.line)), (0, Some(5)));
    assert_eq!(parsed.get("DATABASE_URL"), None, "nobody asks for it");

    let parsed =
        parse(b"export PATH\nname: value\n=x\nA B=1\nL=G\xe9rard\nA=1\n# Ger\xe4t\nKEY='x\n".as_slice());
    let told = |line, reason| format!(".env line {line} is ignored: {reason}");
    let not = |line| told(line, "it is not NAME=value");
    let expected =
        [not(1), not(2), not(3), not(4), told(5, "it is not UTF-8"), told(8, "its quote is not closed")];
    assert_eq!(parsed.warnings, expected);
    assert_eq!(parsed.get("A").map(|a| a.line), Some(6));
}

#[test]
fn a_fault_in_a_line_of_the_gateway_names_its_variable_and_never_its_value() {
    let parsed = parse(b"PORT=\xe9\nB=\"b\nA=1".as_slice());
    let expected = [
        ".env line 1 (PORT) is ignored: it is not UTF-8",
        ".env line 2 (B) is ignored: its quote is not closed",
    ];
    assert_eq!(parsed.warnings, expected);
    assert!(parsed.get("A").is_some(), "the open quote swallows no setting");
}

#[test]
fn a_secret_that_cannot_be_read_is_an_error() {
    for (file, reason) in [(b"PASSWORD=g\xe9heim".as_slice(), NOT_UTF8), (b"PASSWORD='x\nA=1", NOT_CLOSED)] {
        let parsed = parse(file);
        assert_eq!(parsed.warnings, [""; 0], "whoever asks for it says so");
        assert_eq!(parsed.get("PASSWORD").map(|found| &found.value), Some(&Err(reason)));
    }
}

#[test]
fn a_byte_order_mark_is_ignored_and_so_is_a_file_in_utf16() {
    let parsed = parse(b"\xef\xbb\xbfA=1\n".as_slice());
    assert_eq!(parsed.get("A").map(|a| a.line), Some(1));
    assert!(parsed.warnings[0].starts_with(".env line 1 begins with a byte order mark"), "{parsed:?}");
    for file in [b"\xff\xfeA\0=\0".as_slice(), b"\xfe\xff\0A\0="] {
        let parsed = parse(file);
        assert_eq!(parsed.warnings, [".env is ignored: it is UTF-16, save it as UTF-8"]);
    }
}

#[test]
fn a_file_that_is_something_else_does_not_fill_the_log() {
    let parsed = parse("nonsense\n".repeat(1_000));
    assert_eq!(parsed.warnings.len(), WARNINGS_MAX + 1);
    assert_eq!(parsed.warnings[WARNINGS_MAX], ".env: 990 more lines are ignored");
}

#[test]
fn files_that_cannot_be_read_are_ignored() {
    let directory = tempfile::tempdir().expect("a directory");
    let read = |name: &str| EnvFile::read(&directory.path().join(name), owner).warnings;
    assert_eq!(read("none"), [""; 0]);
    std::fs::create_dir(directory.path().join("folder")).expect("a directory");
    let [warning] = &read("folder")[..] else { panic!("one warning") };
    assert!(warning.ends_with("folder is ignored: Is a directory (os error 21)"), "{warning}");
    std::fs::write(directory.path().join("large"), "A=1\n".repeat(100_000)).expect("a file");
    let [warning] = &read("large")[..] else { panic!("one warning") };
    assert!(warning.ends_with("larger than 262144 bytes"), "{warning}");
}

/// A value that may be enclosed in such quotes, and the text of the file.
fn quoted(quote: char) -> impl Strategy<Value = (String, String)> {
    let value = "[ -~\u{e9}$\\\\'\"#\t]{0,30}".prop_filter("ends there", move |value| {
        closing(&format!("{value}{quote}"), quote) == Some(value.len())
    });
    value.prop_map(move |value| (format!("{quote}{value}{quote}"), value))
}

/// A value without quotes around it.
fn bare() -> impl Strategy<Value = (String, String)> {
    let value = "[!-~\u{e9}$\\\\]([ -~\u{e9}$\\\\]{0,30}[!-~])?"
        .prop_filter("no quote first, no comment", |value| {
            !value.starts_with(['"', '\'']) && !value.contains(" #")
        });
    value.prop_map(|value| (value.clone(), value))
}

proptest! {
    #[test]
    fn a_written_value_is_read_as_it_was(
        (written, value) in prop_oneof![quoted('"'), quoted('\''), bare()],
        before in prop::sample::select(vec!["", " ", "export ", "\texport\t"]),
        after in prop::sample::select(vec!["", " ", " # it's", "\t#", "\r"]),
    ) {
        let file = format!("X=1\n{before}A={written}{after}\nB=2\n");
        let parsed = parse(&file);
        prop_assert_eq!(&parsed.warnings, &Vec::<String>::new());
        let a = parsed.get("A").map(|a| a.value.clone());
        prop_assert_eq!(a, (!value.is_empty()).then_some(Ok(value)));
        prop_assert_eq!(parsed.get("B").map(|b| b.line), Some(3));
    }

    #[test]
    fn any_file_is_read(file in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"A=\"'#\n\r $".to_vec())], 0..300)) {
        let parsed = parse(&file);
        prop_assert!(parsed.warnings.len() <= WARNINGS_MAX + 1);
    }
}
