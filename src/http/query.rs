//! What the query of a client's URL says.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The pair of a query by which a client is one of the desk from the beginning.
pub(super) const AT_DESK: &str = "desk=1";

/// Whether a query has a pair as it stands.
pub(super) fn has_pair(query: Option<&str>, wanted: &str) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair == wanted))
}

/// The symbols of `?symbols=AAPL,GOOGL`, decoded but not checked; `None` if there are none. A `+` stays a `+`, because symbols
/// may have one, and `%20` is a space. Bytes that aren't UTF-8 become U+FFFD, which no symbol may have.
pub(super) fn symbols(query: Option<&str>) -> Option<Vec<String>> {
    let lists = query?.split('&').filter_map(|pair| pair.strip_prefix("symbols="));
    let mut symbols = Vec::new();
    for list in lists {
        let list = percent_decode_str(list).decode_utf8_lossy();
        symbols.extend(list.split(',').map(str::trim).filter(|symbol| !symbol.is_empty()).map(str::to_owned));
    }
    (!symbols.is_empty()).then_some(symbols)
}

/// The token of `?token=`, decoded. What isn't UTF-8 becomes U+FFFD, which no token has.
pub(super) fn token(query: Option<&str>) -> Option<Cow<'_, str>> {
    let token = query?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    Some(percent_decode_str(token).decode_utf8_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_of_the_query() {
        assert_eq!(token(Some("symbols=A&token=a.b%2Dc&token=x")).as_deref(), Some("a.b-c"));
        assert_eq!(token(Some("token=")).as_deref(), Some(""));
        assert_eq!(token(Some("mytoken=a")), None);
        assert_eq!(token(None), None);
    }

    #[test]
    fn symbols_of_the_query() {
        let list = |query| symbols(Some(query)).unwrap_or_default();
        assert_eq!(list("symbols=AAPL,GOOGL"), ["AAPL", "GOOGL"]);
        assert_eq!(list("a=b&symbols=btc%2Dusd%2Ceth-usd,,%20X&symbols=Y"), ["btc-usd", "eth-usd", "X", "Y"]);
        assert_eq!(list("symbols=AAPL%20%20240119C00190000,M%26M.NS"), ["AAPL  240119C00190000", "M&M.NS"]);
        assert_eq!(list("symbols=A+B,100%,%zz,%e4"), ["A+B", "100%", "%zz", "\u{fffd}"]);
        assert_eq!(symbols(Some("symbols=")), None);
        assert_eq!(symbols(Some("mysymbols=A")), None);
        assert_eq!(symbols(None), None);
    }
}
