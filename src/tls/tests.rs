use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

/// A certificate for `localhost` and its key, in PEM.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2031, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// The files of a pair in `dir`, with what is in them.
fn files(dir: &Path, certificate: &str, key: &str) -> ServerFiles {
    let files = PairFiles { role: Role::Port, certificate: dir.join("cert.pem"), key: dir.join("key.pem") };
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
    ServerFiles { pair: files, client_ca: None }
}

#[test]
fn a_pair_makes_a_server_that_knows_when_its_certificate_ends() {
    let dir = TempDir::new().unwrap();
    let (certificate, key) = pair();
    let server = Server::read(&files(dir.path(), &certificate, &key)).unwrap();
    assert_eq!(server.not_after_s, Some(1_924_992_000), "2031-01-01");
    assert_eq!(server.config.alpn_protocols, [b"http/1.1"]);
    assert!(server.config.ticketer.enabled());
}

#[test]
fn an_error_names_the_setting_the_file_and_the_remedy() {
    let dir = TempDir::new().unwrap();
    let (certificate, key) = pair();
    let (other_certificate, other_key) = pair();
    let refusal = |certificate: &str, key: &str| {
        let refused = Server::read(&files(dir.path(), certificate, key)).unwrap_err().to_string();
        assert_eq!(refused.lines().count(), 1, "{refused}");
        refused.replace(&dir.path().display().to_string(), "")
    };
    assert_eq!(
        refusal(&certificate, &other_key),
        r#"TLS_KEY_FILE: "/key.pem": it is not the key of the certificate in TLS_CERT_FILE, which is "/cert.pem""#
    );
    assert_eq!(
        refusal(&key, &key),
        r#"TLS_CERT_FILE: "/cert.pem": it holds no certificate in PEM (BEGIN CERTIFICATE)"#
    );
    assert_eq!(
        refusal(&certificate, &other_certificate),
        r#"TLS_KEY_FILE: "/key.pem": it holds no private key in PEM (BEGIN PRIVATE KEY)"#
    );
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(refusal(&certificate, encrypted).contains("openssl pkey decrypts it"));
    assert!(refusal("-----BEGIN CERTIFICATE-----\n?", &key).contains("it is not PEM"));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(refusal(garbage, &key).contains("its certificate can't be used"), "{}", refusal(garbage, &key));
    assert!(refusal(&"\n".repeat(1 << 21), &key).contains("it is larger than 1048576 bytes"));

    let mut missing = files(dir.path(), &certificate, &key);
    missing.pair.key = dir.path().join("missing.pem");
    let refused = Server::read(&missing).unwrap_err().to_string();
    assert!(
        refused.starts_with("TLS_KEY_FILE: ") && refused.contains("it can't be read: No such file"),
        "{refused}"
    );
}
