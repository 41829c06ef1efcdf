//! Finds the media type that a client prefers (`Accept`, RFC 9110 section 12.5.1). Pure.

use super::handshake::{Fields, tokens};
use hyper::header::ACCEPT;

/// The index in `ours` of the media type that the client prefers, the first of equals. Ignores parameters other than `q`. For a
/// client that accepts none of them it is the first, as the RFC allows.
pub(super) fn preferred<F: Fields + ?Sized>(request: &F, ours: &[&str]) -> usize {
    let quality = |media_type: &&str| {
        let ranges = tokens(request, &ACCEPT).filter_map(|range| matching(range, media_type));
        // The most specific range that matches decides.
        ranges.max_by_key(|(specificity, _)| *specificity).map_or(0, |(_, quality)| quality)
    };
    let qualities = ours.iter().map(quality).enumerate();
    // `max_by_key` takes the last of equals.
    qualities.rev().max_by_key(|(_, quality)| *quality).map_or(0, |(index, _)| index)
}

/// How specific a range such as `text/*;q=0.5` is, and its quality in thousandths; `None` if it doesn't match.
fn matching(range: &str, media_type: &str) -> Option<(u8, u32)> {
    let mut parts = range.split(';').map(str::trim);
    let pattern = parts.next()?;
    let specificity = if pattern.eq_ignore_ascii_case(media_type) {
        2
    } else if pattern == "*/*" {
        0
    } else {
        let (main, sub) = pattern.split_once('/')?;
        let (our_main, _) = media_type.split_once('/')?;
        (sub == "*" && main.eq_ignore_ascii_case(our_main)).then_some(1)?
    };
    let weight = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let quality = weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok()).unwrap_or(0.0);
    Some((specificity, (quality.clamp(0.0, 1.0) * 1000.0) as u32))
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderValue};

    use super::*;

    const OURS: [&str; 2] = ["application/openmetrics-text", "text/plain"];

    fn choice(accept: &'static str) -> &'static str {
        let headers: HeaderMap = [(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
        OURS[preferred(&headers, &OURS)]
    }

    #[test]
    fn the_client_gets_the_type_that_it_prefers() {
        for accept in [
            "",
            "*/*",
            "application/openmetrics-text",
            "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.6",
            // Prometheus 2.50 as it asks by default.
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/json",
            "text/plain;q=0",
            "text/plain;q=nonsense, */*;q=0.1",
        ] {
            assert_eq!(choice(accept), OURS[0], "{accept}");
        }
        for accept in [
            "text/plain",
            "TEXT/Plain; version=0.0.4",
            "text/*",
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;q=0.1, text/plain;q=0.2",
            "*/*, application/openmetrics-text;q=0",
        ] {
            assert_eq!(choice(accept), OURS[1], "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &OURS), 0);
    }
}
