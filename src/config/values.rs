//! Reads settings whose values are text. Pure, but for reading certificate files.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

use super::units;
use crate::limits::{
    CHANNEL_PREFIX_BYTES_MAX, FEED_DELAY_MIN_MS, OPS_TOKEN_BYTES_MAX, SERVER_ID_BYTES_MAX, TIME_MAX_MS,
};
use crate::market::{Delay, Delays};
use crate::origin;

/// The path of a file with at least one certificate in PEM.
pub(super) fn pem_file(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    let mut certificates = CertificateDer::pem_file_iter(&path).ok()?;
    certificates.next()?.ok()?;
    Some(path)
}

/// The path of a file, which is looked into once all settings are known. A 0 was meant to turn something off.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    (text != "0").then(|| PathBuf::from(text))
}

/// A path as it was written, empty if there is none.
pub(super) fn show_path(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}

/// A file that can be opened.
pub(super) fn file(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    let is_file = File::open(&path).and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.is_file());
    is_file.then_some(path)
}

/// A comma-separated list of texts, at least one.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    let list: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    (!list.is_empty()).then(|| list.into_iter().map(str::to_owned).collect())
}

/// `FEED_DELAYS`.
pub(super) fn delays(text: &str) -> Option<Delays> {
    let delay = |text: &String| {
        let delay_ms = u64::try_from(units::time(text)?.as_millis()).ok()?;
        (FEED_DELAY_MIN_MS..=TIME_MAX_MS).contains(&delay_ms).then_some(())?;
        NonZeroU32::new(u32::try_from(delay_ms).ok()?)
    };
    Delays::new(list(text)?.iter().map(delay).collect::<Option<Vec<_>>>()?)
}

/// Writes delays as [`delays`] reads them.
pub(super) fn show_delays(delays: &Delays) -> String {
    let show =
        |(_, delay_ms): (Delay, NonZeroU32)| units::show_time(Duration::from_millis(delay_ms.get().into()));
    delays.iter().map(show).collect::<Vec<_>>().join(",")
}

/// A JSON object.
pub(super) fn json_object(text: &str) -> Option<String> {
    serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(text).is_ok().then(|| text.to_owned())
}

/// On or off.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The address of a key set: with https, or with http where no packet leaves the machine.
pub(super) fn key_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (is_safe && is_bare).then_some(url)
}

/// A host to connect to: a name or an address, with or without brackets, without a port.
pub(super) fn host(text: &str) -> Option<&str> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = bare.unwrap_or(text).parse::<IpAddr>().is_ok();
    let is_name = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    (is_address || is_name && text != "0").then_some(bare.unwrap_or(text))
}

/// An address to listen on. An IPv6 address may be in brackets, as in URLs.
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

/// A name that needs no escapes in a header, in JSON and in a label.
pub(super) fn server_id(text: &str) -> Option<String> {
    let fits = (1..=SERVER_ID_BYTES_MAX).contains(&text.len());
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
    (fits && plain).then(|| text.to_owned())
}

/// A token that may go into a header as it is.
pub(super) fn token(text: &str) -> Option<String> {
    let fits = (1..=OPS_TOKEN_BYTES_MAX).contains(&text.len());
    (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

/// A prefix of channels or keys. Characters with a meaning in Redis' patterns aren't allowed, because the subscription is a
/// pattern. A 0 isn't either: it was probably meant to turn something off.
pub(super) fn channel_prefix(text: &str) -> Option<String> {
    let fits = (1..=CHANNEL_PREFIX_BYTES_MAX).contains(&text.len());
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"*?[]\\".contains(&b));
    (fits && plain && text != "0").then(|| text.to_owned())
}

/// A filter of log lines, as `tracing_subscriber` reads it. A word alone has to be a level: `tracing_subscriber` takes any other
/// word for the name of a target, so `infos` would log nothing.
pub(super) fn log_filter(text: &str) -> Option<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let directives: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let is_clear = |part: &&str| {
        part.contains(['=', '[']) || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part))
    };
    let filter = directives.join(",");
    let is_filter =
        !filter.is_empty() && directives.iter().all(is_clear) && EnvFilter::builder().parse(&filter).is_ok();
    is_filter.then_some(filter)
}

/// A comma-separated list of origins as browsers write them, at least one. `Some(None)` means any: `*` is among them.
pub(super) fn origins(text: &str) -> Option<Option<Vec<String>>> {
    let mut list = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        if part == "*" {
            return Some(None);
        }
        list.push(origin::normalise_allowed(part)?);
    }
    (!list.is_empty()).then_some(Some(list))
}

/// A comma-separated list of host names without ports, at least one.
pub(super) fn host_names(text: &str) -> Option<Vec<String>> {
    let names = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let list = names.map(origin::host_name).collect::<Option<Vec<_>>>()?;
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(address("::"), Some("::".parse().unwrap()));
        assert_eq!(address("[::1]"), Some("::1".parse().unwrap()));
        assert_eq!(address("localhost"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(address("[127.0.0.1]"), None);
        assert_eq!(address("example.com"), None);
        for (text, expected) in
            [("redis", "redis"), ("10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("[::1]", "::1")]
        {
            assert_eq!(host(text), Some(expected));
        }
        for bad in ["redis:6379", "redis://h", "a b", "[redis]", "u@h", "0"] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for good in [
            "https://id.example/keys?p=1",
            "https://10.0.0.1:8443/",
            "http://localhost:8080/jwks",
            "http://127.0.0.2/jwks",
            "http://[::1]/jwks",
        ] {
            assert_eq!(key_url(good).map(|url| url.to_string()).as_deref(), Some(good));
        }
        for bad in [
            "0",
            "id.example/keys",
            "http://id.example/keys",
            "http://10.0.0.1/keys",
            "http://localhost.example/keys",
            "file:///etc/keys",
            "https://user@id.example/keys",
            "https://:secret@id.example/keys",
            "https://id.example/keys#one",
        ] {
            assert_eq!(key_url(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_log_filter_has_levels() {
        for good in ["info", "WARN", "off", "info,hyper=warn", "ws_gateway::http=trace", "[span]=info"] {
            assert_eq!(log_filter(good).as_deref(), Some(good));
        }
        assert_eq!(log_filter(" debug , a=off,").as_deref(), Some("debug,a=off"));
        for bad in ["infos", "info,debugg", "ws_gateway", "0", "3", "ws=loud", "", " , ", "info warn"] {
            assert_eq!(log_filter(bad), None, "{bad}");
        }
    }

    #[test]
    fn origins_and_hosts_are_lists() {
        assert_eq!(origins(" , "), None);
        assert_eq!(origins("https://a, *"), Some(None));
        assert_eq!(origins("https://a,http://b:80"), Some(Some(vec!["https://a".into(), "http://b".into()])));
        assert_eq!(origins("https://a/b"), None);
        assert_eq!(host_names("A.example, b.example"), Some(vec!["a.example".into(), "b.example".into()]));
        assert_eq!(host_names(" , "), None);
        assert_eq!(host_names("a.example:8080"), None);
    }
}
