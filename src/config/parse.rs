//! Values of settings, from text and back to text. Pure, but for looking whether a file is there.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::limits::{CHANNEL_PREFIX_BYTES_MAX, KIB, MIB, SERVER_ID_BYTES_MAX};
use crate::market::{EventType, EventTypes};

/// A whole number; signs and anything but digits are refused.
pub(super) fn number(text: &str) -> Option<u64> {
    digits_and_unit(text).filter(|(_, unit)| unit.is_empty()).map(|(number, _)| number)
}

/// A file with at least one certificate in PEM.
pub(super) fn pem_file(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    let mut certificates = CertificateDer::pem_file_iter(&path).ok()?;
    certificates.next()?.ok()?;
    Some(path)
}

/// A size in bytes: a plain number, or with a unit (`k`, `KB`, `KiB`, `m`, …; powers of 1024, any case).
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = digits_and_unit(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => KIB as u64,
        "m" | "mb" | "mib" => MIB as u64,
        "g" | "gb" | "gib" => 1024 * MIB as u64,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A time in milliseconds: a plain number is milliseconds already, units are `ms`, `s`, `m` and `h`.
pub(super) fn time_ms(text: &str) -> Option<u64> {
    let (number, unit) = digits_and_unit(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Splits `30 s` into 30 and `s`.
fn digits_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim_start()))
}

/// On or off.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// An address to listen on; brackets around IPv6 are taken as URLs have them.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// A name that may go into a header, JSON and a label as it is.
pub(super) fn server_id(text: &str) -> Option<String> {
    let fits = (1..=SERVER_ID_BYTES_MAX).contains(&text.len());
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
    (fits && plain).then(|| text.to_owned())
}

/// A channel prefix: what Redis would take as part of a pattern isn't allowed, because the subscription is a pattern.
pub(super) fn channel_prefix(text: &str) -> Option<String> {
    let fits = (1..=CHANNEL_PREFIX_BYTES_MAX).contains(&text.len());
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"*?[]\\".contains(&b));
    (fits && plain).then(|| text.to_owned())
}

/// A comma-separated list of types of events, at least one.
pub(super) fn channel_types(text: &str) -> Option<EventTypes> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let types: Vec<_> = names.map(|name| EventType::parse(name.as_bytes())).collect::<Option<_>>()?;
    (!types.is_empty()).then(|| types.into_iter().collect())
}

/// A filter of log lines, as `tracing_subscriber` takes it.
pub(super) fn log_filter(text: &str) -> Option<String> {
    tracing_subscriber::EnvFilter::builder().parse(text).ok().map(|_| text.to_owned())
}

/// A comma-separated list of origins, each as browsers write it ([`origin`]); `*` among them means any (`Some(None)`).
pub(super) fn origins(text: &str) -> Option<Option<Vec<String>>> {
    let mut list = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        if part == "*" {
            return Some(None);
        }
        list.push(origin(part)?);
    }
    (!list.is_empty()).then_some(Some(list))
}

/// Normalises an origin (RFC 6454 section 6.2) to `scheme://host[:port]` in lower case without the scheme's default port;
/// `None` if it is none (it has a path, say). `null`, the origin of files and sandboxes, is kept.
pub fn origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    if text == "null" {
        return Some(text);
    }
    let (scheme, host) = text.split_once("://")?;
    let scheme_ok =
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let host_ok =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b));
    if !scheme_ok || !host_ok {
        return None;
    }
    let host = match scheme {
        "http" => host.strip_suffix(":80").unwrap_or(host),
        "https" => host.strip_suffix(":443").unwrap_or(host),
        _ => host,
    };
    Some(format!("{scheme}://{host}"))
}

/// Shows a size in the largest unit that leaves a whole number.
pub(super) fn show_bytes(bytes: usize) -> String {
    match bytes {
        0 => "0".to_owned(),
        b if b.is_multiple_of(1024 * MIB) => format!("{}GiB", b / (1024 * MIB)),
        b if b.is_multiple_of(MIB) => format!("{}MiB", b / MIB),
        b if b.is_multiple_of(KIB) => format!("{}KiB", b / KIB),
        b => b.to_string(),
    }
}

/// Shows a time in the largest unit that leaves a whole number; a minute stays `60s`, which reads better.
pub(super) fn show_time_ms(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        ms if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        ms if ms.is_multiple_of(60_000) && ms > 60_000 => format!("{}m", ms / 60_000),
        ms if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

/// A Redis URL that may be printed: whatever stands before the last `@` and every query parameter that isn't known to be
/// harmless is replaced. Works on text that is no URL too, because that is what error messages show.
pub fn redact_url(url: &str) -> String {
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + 3),
        None => ("", url),
    };
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    if query.is_some_and(|query| query.contains('@')) {
        // A password with a `?` in it, or a parameter with an `@`: too odd to tell what is secret.
        return format!("{scheme}***");
    }
    let place = match place.rfind('@') {
        Some(at) => format!("***{}", &place[at..]),
        None => place.to_owned(),
    };
    let Some(query) = query else { return format!("{scheme}{place}") };
    let query: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some(("db" | "protocol" | "user", _)) => pair.to_owned(),
            Some((key, _)) => format!("{key}=***"),
            None => "***".to_owned(),
        })
        .collect();
    format!("{scheme}{place}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_take_units() {
        let times = [
            ("500", 500),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("2 S", 2_000),
        ];
        for (text, ms) in times {
            assert_eq!(time_ms(text), Some(ms), "{text}");
        }
        let sizes =
            [("65536", 65_536), ("64k", 65_536), ("64KiB", 65_536), ("4MiB", 4 << 20), ("4mb", 4 << 20)];
        for (text, size) in sizes {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for bad in [
            "",
            "s",
            "-1",
            "+1",
            "1.5s",
            "5d",
            "1_000",
            "0x10",
            "99999999999999999999",
            "9999999999999999h",
            "５",
        ] {
            assert_eq!(time_ms(bad), None, "{bad}");
        }
        for bad in ["", "k", "-1", "1.5k", "1t", "20000000000g"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert_eq!(number("12"), Some(12));
        assert_eq!(number("12k"), None);
    }

    #[test]
    fn what_is_shown_parses_to_itself() {
        for ms in [0, 1, 50, 999, 1_000, 30_000, 60_000, 90_000, 120_000, 3_600_000, 86_400_000] {
            assert_eq!(time_ms(&show_time_ms(ms)), Some(ms));
        }
        for size in [0, 1, 1000, 1024, 65_536, 4 << 20, (4 << 20) + 1, 3 << 30] {
            assert_eq!(bytes(&show_bytes(size)), Some(size as u64));
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(address("::"), Some("::".parse().unwrap()));
        assert_eq!(address("[::1]"), Some("::1".parse().unwrap()));
        assert_eq!(address("localhost"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(address("[127.0.0.1]"), None);
        assert_eq!(address("example.com"), None);
    }

    #[test]
    fn origins_are_normalised() {
        assert_eq!(origin("HTTPS://App.Example.com:443").as_deref(), Some("https://app.example.com"));
        assert_eq!(origin("http://localhost:3000").as_deref(), Some("http://localhost:3000"));
        assert_eq!(origin("http://[::1]:80").as_deref(), Some("http://[::1]"));
        for bad in ["example.com", "https://", "https://a/b", "://a", "https://a b"] {
            assert_eq!(origin(bad), None, "{bad}");
        }
        assert_eq!(origins(" , "), None);
        assert_eq!(origins("https://a, *"), Some(None));
        assert_eq!(origins("https://a,http://b:80"), Some(Some(vec!["https://a".into(), "http://b".into()])));
    }

    #[test]
    fn passwords_in_urls_are_hidden() {
        for (url, shown) in [
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("redis://:s3cret@h", "redis://***@h"),
            ("rediss://user:s3/cr@et@h:1?protocol=3", "rediss://***@h:1?protocol=3"),
            ("user:s3cret@h", "***@h"),
            ("unix:///s.sock?pass=s3cret&db=1", "unix:///s.sock?pass=***&db=1"),
            ("redis+unix:///s.sock?db=1&p%61ss=s3cret", "redis+unix:///s.sock?db=1&p%61ss=***"),
            ("unix:///s.sock?pass=s3@cret", "unix://***"),
            ("redis://:s3?cr@et@h", "redis://***"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }
}
