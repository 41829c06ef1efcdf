//! The offers of a handshake's `Sec-WebSocket-Extensions` (RFC 6455 section 9.1, RFC 7692 sections 5 and 7.1). Pure.

/// What is answered to an offer of permessage-deflate: neither side keeps a context from one message to the next.
pub const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

const NAME: &str = "permessage-deflate";

/// Whether one of the offers on these lines is met by [`ANSWER`]. A line against the grammar has no offers.
pub fn is_offered<'l>(lines: impl Iterator<Item = &'l str>) -> bool {
    lines.filter_map(offers).flatten().any(|offer| offer.is_met())
}

/// An extension that a client offers.
#[derive(Debug, Default)]
struct Offer<'l> {
    name: &'l str,
    parameters: Vec<(&'l str, Option<&'l str>)>,
}

impl Offer<'_> {
    /// A parameter that is unknown, stands there twice or has a wrong value declines the offer (RFC 7692 section 7.1). So does
    /// `server_max_window_bits`, which only an answer that repeats it can meet (section 7.1.2.1).
    fn is_met(&self) -> bool {
        let is_met = |(name, value): &(&str, Option<&str>)| match *name {
            "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
            "client_max_window_bits" => value.is_none_or(is_window),
            _ => false,
        };
        let mut names: Vec<_> = self.parameters.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let is_unique = names.windows(2).all(|pair| pair[0] != pair[1]);
        self.name == NAME && is_unique && self.parameters.iter().all(is_met)
    }
}

/// 8 to 15, without a zero in front (section 7.1.2).
fn is_window(bits: &str) -> bool {
    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

/// The offers of a line; `None` if it is against the grammar.
fn offers(line: &str) -> Option<Vec<Offer<'_>>> {
    let mut rest = Rest(line);
    let mut offers = Vec::new();
    loop {
        // A list may have empty elements (RFC 9110 section 5.6.1.2).
        while rest.take(b',') {}
        if rest.is_at_end() {
            return Some(offers);
        }
        let mut offer = Offer { name: rest.token()?, parameters: Vec::new() };
        while rest.take(b';') {
            let name = rest.token()?;
            let value = if rest.take(b'=') { Some(rest.value()?) } else { None };
            offer.parameters.push((name, value));
        }
        offers.push(offer);
        if !rest.is_at_end() && !rest.take(b',') {
            return None;
        }
    }
}

/// What is left of a line.
struct Rest<'l>(&'l str);

impl<'l> Rest<'l> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_blanks();
        self.0.is_empty()
    }

    /// Whether the next character is this one, which is ASCII. It is taken then.
    fn take(&mut self, character: u8) -> bool {
        self.skip_blanks();
        let rest = self.0.strip_prefix(char::from(character));
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn token(&mut self) -> Option<&'l str> {
        self.skip_blanks();
        let end = self.0.bytes().position(|byte| !is_of_token(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token, which may be in quotes. An escape in it changes nothing but how it is written; as no client needs one, none is read.
    fn value(&mut self) -> Option<&'l str> {
        if !self.take(b'"') {
            return self.token();
        }
        let (value, rest) = self.0.split_once('"')?;
        self.0 = rest;
        (!value.is_empty() && value.bytes().all(is_of_token)).then_some(value)
    }
}

/// Whether a byte may be in a token (RFC 9110 section 5.6.2).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(lines: &[&str]) -> bool {
        is_offered(lines.iter().copied())
    }

    #[test]
    fn what_clients_offer_is_accepted() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=\"15\" ",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "\tpermessage-deflate\t;\tclient_max_window_bits = 12",
            ", ,permessage-deflate,",
        ] {
            assert!(is_accepted(&[offer]), "{offer}");
        }
    }

    #[test]
    fn what_the_answer_does_not_meet_is_declined() {
        for offer in [
            "",
            ",",
            "x-webkit-deflate-frame",
            "permessage-deflate2",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover=\"\"",
            "permessage-deflate; unknown",
            "permessage-deflate; x=\"a, permessage-deflate\"",
            "permessage-deflate x",
            "permessage-deflate;",
            "permessage-deflate; client_max_window_bits=\"10",
            "permessage-deflate; =1",
            "permessage-deflate, ä",
        ] {
            assert!(!is_accepted(&[offer]), "{offer}");
        }
    }

    #[test]
    fn the_first_offer_that_is_met_counts_whichever_line_it_is_on() {
        let narrow = "permessage-deflate; server_max_window_bits=10";
        assert!(is_accepted(&[&format!("{narrow}, permessage-deflate")]));
        assert!(is_accepted(&[narrow, "foo; bar=1", "permessage-deflate"]));
        assert!(is_accepted(&["bad line;;", "permessage-deflate"]));
        assert!(!is_accepted(&[narrow, narrow]));
        assert!(!is_accepted(&[]));
    }
}
