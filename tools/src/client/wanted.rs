//! What the client wants to hold, whatever the connection does: the one place to ask when subscribing again.

use serde::Serialize;

/// The symbols, and the swap that is still to come.
#[derive(Debug, Clone)]
pub struct Wanted {
    symbols: Vec<String>,
    swap: Option<(String, String)>,
}

#[derive(Serialize)]
struct Request<'r> {
    action: &'static str,
    symbols: &'r [String],
}

fn request(action: &'static str, symbols: &[String]) -> String {
    // Strings and a list of strings always serialise.
    serde_json::to_string(&Request { action, symbols }).unwrap_or_default()
}

impl Wanted {
    /// `swap` is (drop, take), for later.
    pub fn new(symbols: Vec<String>, swap: Option<(String, String)>) -> Self {
        Self { symbols, swap }
    }

    /// The request that subscribes to all of it: the first frame of every connection.
    pub fn subscribe(&self) -> String {
        request("subscribe", &self.symbols)
    }

    /// Whether the swap is still to come.
    pub fn swap_is_pending(&self) -> bool {
        self.swap.is_some()
    }

    /// Swaps, once: the requests that tell the gateway, to be sent in this order, so that a client at its limit of
    /// symbols has room for the new one. A connection that subscribes later holds the new symbols at once.
    pub fn swap(&mut self) -> Vec<String> {
        let Some((drop, take)) = self.swap.take() else { return Vec::new() };
        let held = self.symbols.contains(&take);
        self.symbols.retain(|symbol| *symbol != drop);
        let mut requests = vec![request("unsubscribe", &[drop])];
        if !held {
            requests.push(request("subscribe", std::slice::from_ref(&take)));
            self.symbols.push(take);
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(symbols: &[&str], swap: (&str, &str)) -> Wanted {
        let symbols = symbols.iter().map(|&symbol| symbol.to_owned()).collect();
        Wanted::new(symbols, Some((swap.0.to_owned(), swap.1.to_owned())))
    }

    #[test]
    fn requests_are_what_the_protocol_shows() {
        let wanted = wanted(&["AAPL", "GOOGL"], ("AAPL", "X"));
        assert_eq!(wanted.subscribe(), r#"{"action":"subscribe","symbols":["AAPL","GOOGL"]}"#);
    }

    #[test]
    fn a_swap_drops_first_and_happens_once() {
        let mut wanted = wanted(&["AAPL", "GOOGL", "MSFT"], ("MSFT", "TSLA"));
        assert!(wanted.swap_is_pending());
        assert_eq!(
            wanted.swap(),
            [
                r#"{"action":"unsubscribe","symbols":["MSFT"]}"#,
                r#"{"action":"subscribe","symbols":["TSLA"]}"#
            ]
        );
        assert!(!wanted.swap_is_pending());
        assert!(wanted.swap().is_empty());
        assert_eq!(wanted.subscribe(), r#"{"action":"subscribe","symbols":["AAPL","GOOGL","TSLA"]}"#);
    }

    #[test]
    fn a_symbol_that_is_held_already_is_not_subscribed_twice() {
        let mut wanted = wanted(&["MSFT", "TSLA"], ("MSFT", "TSLA"));
        assert_eq!(wanted.swap(), [r#"{"action":"unsubscribe","symbols":["MSFT"]}"#]);
        assert_eq!(wanted.subscribe(), r#"{"action":"subscribe","symbols":["TSLA"]}"#);
    }
}
