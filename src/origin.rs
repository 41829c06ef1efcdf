//! Decides which web pages may connect, by the origin (RFC 6454) that the browser sends. Pure.

use url::{Host, Url};

/// Stands in a pattern between the scheme and the domain.
const WILDCARD: &str = "://*.";

/// The pages that may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// `ALLOWED_ORIGINS`, normalised: origins, and patterns such as `https://*.example.com`. `None` allows any.
    pub allowed: Option<Vec<String>>,
    /// `PUBLIC_HOSTS`, normalised: the host names under which the gateway serves its own page.
    pub public_hosts: Vec<String>,
}

/// The scheme and host that a request was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'r> {
    /// `http` or `https`.
    pub scheme: &'r str,
    /// The `Host` header: a name or an address, with a port unless it is the scheme's default.
    pub host: &'r str,
}

impl Origins {
    /// Whether a page of `origin` may send a request to `target`. This keeps out pages in browsers only: any other client can
    /// send any origin, or none.
    pub fn allow(&self, origin: &str, target: Target<'_>) -> bool {
        let Some(allowed) = &self.allowed else { return true };
        normalise(origin).is_some_and(|origin| {
            allowed.iter().any(|allowed| covers(allowed, &origin)) || self.is_own_page(&origin, target)
        })
    }

    /// Whether the page was served by the host that it connects to. A host name counts only if it is `localhost` or in
    /// `PUBLIC_HOSTS`: an attacker can point a name of its own to this gateway (DNS rebinding), and then that page's origin
    /// equals its target too.
    fn is_own_page(&self, origin: &str, Target { scheme, host }: Target<'_>) -> bool {
        let own = format!("{scheme}://{host}");
        if normalise(&own).as_deref() != Some(origin) {
            return false;
        }
        let url = Url::parse(origin).ok();
        match url.as_ref().and_then(Url::host) {
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            Some(Host::Domain(name)) => {
                name == "localhost" || self.public_hosts.iter().any(|own| own == name)
            }
            None => false,
        }
    }
}

/// Whether `allowed`, an origin or a pattern, covers `origin`. Both are normalised.
fn covers(allowed: &str, origin: &str) -> bool {
    let Some((scheme, domain)) = allowed.split_once(WILDCARD) else { return allowed == origin };
    let host = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    let subdomain = host.and_then(|host| host.strip_suffix(domain)?.strip_suffix('.'));
    subdomain.is_some_and(|subdomain| !subdomain.is_empty())
}

/// Normalises an element of `ALLOWED_ORIGINS`: an origin, or a pattern that covers all subdomains of a domain, but not the domain
/// itself (`https://*.example.com`). `None` if it is neither.
pub fn normalise_allowed(text: &str) -> Option<String> {
    match text.split_once(WILDCARD) {
        Some((scheme, domain)) => {
            let origin = normalise(&format!("{scheme}://{domain}"))?;
            let (scheme, domain) = origin.split_once("://")?;
            (!domain.is_empty()).then(|| format!("{scheme}{WILDCARD}{domain}"))
        }
        None => normalise(text),
    }
}

/// Normalises an origin to `scheme://host[:port]`: lower case, without the scheme's default port, host names in ASCII. `None`
/// if `text` is no origin (it has a path, say). `null` and `file://`, the origins of files and sandboxed pages, stay as they are.
pub fn normalise(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    if ["null", "file://"].contains(&text.as_str()) {
        return Some(text);
    }
    let (scheme, authority) = text.split_once("://")?;
    // The URL parser would take these characters for other parts of a URL, or skip them. A `*` is no character of a host.
    let is_foreign = |c: char| "/\\?#@%*".contains(c) || c.is_whitespace() || c.is_control();
    if !is_scheme(scheme) || authority.is_empty() || authority.chars().any(is_foreign) {
        return None;
    }
    let url = Url::parse(&text).ok()?;
    let origin = url.origin();
    if origin.is_tuple() {
        return Some(origin.ascii_serialization());
    }
    // `capacitor://localhost`, `chrome-extension://…`: the URL standard gives these no origin, browsers do.
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    url.host_str().map(|host| format!("{}://{host}{port}", url.scheme()))
}

/// Whether the text, in lower case, is a URL's scheme (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    let may_follow = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(may_follow)
}

/// Normalises a host name. `None` for a pattern or an address.
pub fn host_name(text: &str) -> Option<String> {
    match Host::parse(text) {
        Ok(Host::Domain(name)) if !name.contains('*') => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_normalised() {
        for (text, normal) in [
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://ABCDEF", "chrome-extension://abcdef"),
            ("null", "null"),
            ("file://", "file://"),
        ] {
            assert_eq!(normalise(text).as_deref(), Some(normal), "{text}");
            assert_eq!(normalise(normal).as_deref(), Some(normal), "again");
        }
        for bad in [
            "",
            "example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://a\\b",
            "https://user@a",
            "https://a\tb",
            " https://a ",
            "://a",
            "https://a b",
            "https://a:99999",
            "https://%61",
            "https://*.a",
            "file:///a",
            // The URL parser would skip the tab, and find another host.
            "https:/\t/a/x://b",
            "https:\\a://b",
            "https:a://b",
            "1https://a",
        ] {
            assert_eq!(normalise(bad), None, "{bad}");
        }
    }

    #[test]
    fn allowed_origins_are_compared_in_their_normal_form() {
        let target = Target { scheme: "http", host: "gateway:8080" };
        let allowed = Some(vec!["https://app.example.com".to_owned()]);
        let some = Origins { allowed, ..Origins::default() };
        assert!(some.allow("https://APP.example.com:443", target));
        for bad in
            ["https://evil.example", "http://app.example.com", "null", "https://app.example.com.evil", ""]
        {
            assert!(!some.allow(bad, target), "{bad}");
        }
        assert!(Origins::default().allow("https://evil.example", target), "any");
    }

    #[test]
    fn a_pattern_covers_all_subdomains_and_nothing_else() {
        let target = Target { scheme: "http", host: "gateway:8080" };
        let patterns = ["HTTPS://*.Example.com:443", "http://*.localhost:3000", "capacitor://*.app"];
        let allowed = patterns.map(|pattern| normalise_allowed(pattern).unwrap());
        assert_eq!(allowed, ["https://*.example.com", "http://*.localhost:3000", "capacitor://*.app"]);
        let some = Origins { allowed: Some(allowed.to_vec()), ..Origins::default() };
        for good in ["https://a.example.com", "https://A.b.example.com:443", "http://a.localhost:3000"] {
            assert!(some.allow(good, target), "{good}");
        }
        for bad in [
            "https://example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://evilexample.com",
            "https://.example.com",
            "https://a.example.com.evil",
            "https://*.example.com",
            "http://a.localhost",
            "null",
            "file://",
        ] {
            assert!(!some.allow(bad, target), "{bad}");
        }
        for no_pattern in [
            "https://*",
            "https://*.",
            "https://a.*.b",
            "https://*.*.b",
            "*.example.com",
            "https://*.a/b",
            "file://*.",
        ] {
            assert_eq!(normalise_allowed(no_pattern), None, "{no_pattern}");
        }
    }

    #[test]
    fn the_own_page_may_connect_unless_its_host_name_could_be_an_attackers() {
        let origins = Origins {
            allowed: Some(vec!["https://app.example.com".to_owned()]),
            public_hosts: vec!["prices.example.com".to_owned()],
        };
        let own = |origin, scheme, host| origins.allow(origin, Target { scheme, host });
        for (origin, scheme, host) in [
            ("http://127.0.0.1:8080", "http", "127.0.0.1:8080"),
            ("http://[::1]:8080", "http", "[0::1]:8080"),
            ("http://localhost:8080", "http", "LocalHost:8080"),
            ("https://prices.example.com", "https", "Prices.example.com:443"),
            ("http://prices.example.com:8080", "http", "prices.example.com:8080"),
        ] {
            assert!(own(origin, scheme, host), "{origin} at {host}");
        }
        for (origin, scheme, host) in [
            ("http://rebound.example:8080", "http", "rebound.example:8080"),
            ("http://localhost.example", "http", "localhost.example"),
            ("http://a.localhost", "http", "a.localhost"),
            ("http://sub.prices.example.com", "http", "sub.prices.example.com"),
            ("http://prices.example.com", "https", "prices.example.com"),
            ("http://127.0.0.1:8081", "http", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080", "http", "localhost:8080"),
            ("null", "http", "127.0.0.1"),
            ("", "http", ""),
            ("http://127.0.0.1", "http", "127.0.0.1/"),
        ] {
            assert!(!own(origin, scheme, host), "{origin} at {host}");
        }
    }

    #[test]
    fn host_names_are_normalised() {
        assert_eq!(host_name("Prices.Example.com").as_deref(), Some("prices.example.com"));
        assert_eq!(host_name("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
        for bad in ["", "a b", "a:80", "http://a", "*.example.com", "a/b", "127.0.0.1", "[::1]", "0"] {
            assert_eq!(host_name(bad), None, "{bad}");
        }
    }
}
