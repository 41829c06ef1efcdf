//! Hides secrets in URLs. Pure; the tools use it too.

/// A Redis URL that may be printed: the text before the last `@`, and every query parameter that isn't known to be harmless, is
/// replaced by `***`. Accepts text that is no URL too, because error messages show such text.
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
        // Either a password has a `?` in it, or a parameter an `@`. Which part is secret can't be known.
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
