//! Faults in `.env` don't stop the start: a line that can't be read is ignored, and a warning names the line and the reason. Only a
//! secret that can't be read stops the start, because the gateway would be open without it.

use std::path::Path;

use ws_gateway::config::{Config, ConfigError};

fn with(bytes: &[u8]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(".env");
    std::fs::write(&path, bytes).expect("a file");
    resolve(&path)
}

fn resolve(path: &Path) -> Result<Config, ConfigError> {
    Config::resolve(["ws-gateway"], |_| None, Some(path), 100_000)
}

#[test]
fn lines_of_other_programs_are_ignored() {
    let file = b"export PATH\nnonsense here\n# Ger\xe4t\nCITY=Z\xfcrich\nWS_PORT=9000\nCERT=\"a\nb\"\n";
    let config = with(file).expect("a configuration");
    assert_eq!(config.server.listen.port(), 9000);
    let told: Vec<_> = config.warnings.iter().map(|warning| warning.split(".env ").nth(1).unwrap()).collect();
    let expected = [
        "line 1 is ignored: it is not NAME=value",
        "line 2 is ignored: it is not NAME=value",
        "line 4 is ignored: it is not UTF-8",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_name_that_is_nearly_a_setting_is_told() {
    let warnings = |file: &[u8]| with(file).expect("a configuration").warnings;
    let told = "MAX_SYMBOL_PER_CLIENT (line 2 of .env) is no setting, and is ignored: is MAX_SYMBOLS_PER_CLIENT meant?";
    assert_eq!(warnings(b"\nMAX_SYMBOL_PER_CLIENT=10\nMAX_SYMBOLS=7\n"), [told]);
    // As far as it is not set.
    assert_eq!(warnings(b"MAX_SYMBOL_PER_CLIENT=10\nMAX_SYMBOLS_PER_CLIENT=10\n"), [""; 0]);
    assert_eq!(warnings(b"OFFLINE_QUEUE=100/7d\n"), ["OFFLINE_QUEUE changes nothing without DESK=true"]);
    assert_eq!(warnings(b"OFFLINE_QUEUE=100/7d\nDESK=true\n"), [""; 0]);
}

/// So it is in the environment, but for what Kubernetes sets for a service.
#[test]
fn a_variable_that_is_nearly_a_setting_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut gateway = std::process::Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
    gateway.arg("--check-config").current_dir(directory.path());
    gateway.env("MAX_SYMBOL_PER_CLIENT", "10").env("REDIS1_PORT", "tcp://10.0.0.1:6379");
    let output = gateway.output().expect("it runs");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("MAX_SYMBOL_PER_CLIENT (in the environment) is no setting"), "{told}");
    assert!(!told.contains("REDIS1_PORT"), "{told}");
}

#[test]
fn a_byte_order_mark_hides_no_setting() {
    let config = with(b"\xef\xbb\xbfWS_PORT=9000\r\nSHARDS=2\r\n").expect("a configuration");
    assert_eq!((config.server.listen.port(), config.process.shards), (9000, 2));
    assert!(
        config.warnings[0].contains(".env line 1 begins with a byte order mark"),
        "{:?}",
        config.warnings
    );
}

#[test]
fn a_setting_that_cannot_be_read_is_named_in_a_warning() {
    let config = with(b"SERVER_ID=caf\xe9\nWS_PORT=9000\n").expect("a configuration");
    assert_eq!(config.server.listen.port(), 9000);
    assert!(config.warnings[0].ends_with(".env line 1 (SERVER_ID) is ignored: it is not UTF-8"));
}

#[test]
fn a_file_that_cannot_be_read_is_ignored_with_a_warning() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = resolve(directory.path()).expect("a configuration");
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(warning.contains("is ignored: Is a directory"), "{warning}");
}

#[test]
fn a_bad_value_of_a_setting_stops_the_start_and_names_the_line() {
    let error = with(b"\nWS_PORT=many\n").expect_err("a refusal").to_string();
    assert!(error.starts_with("WS_PORT (line 2 of .env): \"many\" is not allowed; allowed: "), "{error}");
}

#[test]
fn a_secret_that_cannot_be_read_stops_the_start_and_is_not_shown() {
    for file in [b"EMBEDDED_REDIS_PASSWORD=g\xe9heim\n".as_slice(), b"EMBEDDED_REDIS_PASSWORD='geheim\n"] {
        let error = with(file).expect_err("a refusal").to_string();
        let start = "EMBEDDED_REDIS_PASSWORD (line 1 of .env): the value can't be read: ";
        assert!(error.starts_with(start) && !error.contains("heim"), "{error}");
    }
}
