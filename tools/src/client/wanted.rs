//! What the client wants to hold, whatever the connection does: the one place to ask when subscribing again.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Number;
use ws_gateway::limits::SEQ_WINDOW;
use ws_gateway::market::event::SEQ_END;

use super::frame::Held;

/// How events are to be delivered: fields of a subscribe that are left out where nothing was asked for.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// The last known event of each symbol first.
    #[serde(skip_serializing_if = "is_off")]
    pub snapshot: bool,
    /// A heartbeat each second.
    #[serde(skip_serializing_if = "is_off")]
    pub heartbeat: bool,
    /// `true` or `"aggregate"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflate: Option<serde_json::Value>,
    /// Updates a second of each symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<Number>,
    /// `skip`, `conflate` or `disconnect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_slow: Option<String>,
}

/// The symbols and their terms, the swap that is still to come, and how far each symbol was seen.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Names and patterns.
    pub symbols: Vec<String>,
    /// (drop, take), for later.
    pub swap: Option<(String, String)>,
    /// None: trades, which requests needn't say.
    pub types: Vec<String>,
    /// Of all symbols.
    pub terms: Terms,
    /// The highest `seq` seen of each symbol since its worker restarted its numbers, where the client resumes.
    pub resume: Option<Seen>,
    /// Types whose symbols the gateway folds, as its answers have shown.
    pub folded: BTreeSet<String>,
    /// Symbols that were added while connected and that the gateway hasn't granted yet, by the request's id.
    pub asked: BTreeMap<u64, String>,
    /// Of the last such request.
    pub last_id: u64,
}

/// The highest `seq` seen by type and symbol.
pub type Seen = BTreeMap<(String, String), u64>;

#[derive(Serialize)]
struct Request<'r> {
    action: &'static str,
    symbols: &'r [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    types: &'r [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    resume: BTreeMap<&'r str, u64>,
    #[serde(flatten)]
    terms: Option<&'r Terms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
}

/// What a client sends that wants to know how far behind it is.
pub const PING_WITH_STATS: &str = r#"{"action":"ping","stats":true}"#;

fn is_off(switch: &bool) -> bool {
    !switch
}

impl Request<'_> {
    fn write(&self) -> String {
        // Strings, numbers and lists of them always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Wanted {
    /// The requests that subscribe to all of it, the first frames of every connection: one, or where there is something to
    /// resume one for each type, as the protocol asks.
    pub fn subscribe(&self) -> Vec<String> {
        if self.symbols.is_empty() {
            return Vec::new();
        }
        self.subscribe_to(&self.symbols, None)
    }

    fn subscribe_to(&self, symbols: &[String], id: Option<u64>) -> Vec<String> {
        let request = |types: &[String], resume: BTreeMap<&str, u64>| {
            Request { action: "subscribe", symbols, types, resume, terms: Some(&self.terms), id }.write()
        };
        match &self.resume {
            Some(seen) if !seen.is_empty() => {
                let trades = ["trade".to_owned()];
                let types = if self.types.is_empty() { &trades[..] } else { &self.types };
                let of_type = |type_name: &String| {
                    let last = |name: &String| seen.get(&(type_name.clone(), name.clone())).copied();
                    let last = symbols.iter().filter_map(|name| Some((name.as_str(), last(name)?)));
                    let unsaid = self.types.is_empty();
                    request(if unsaid { &[] } else { std::slice::from_ref(type_name) }, last.collect())
                };
                types.iter().map(of_type).collect()
            }
            _ => vec![request(&self.types, BTreeMap::new())],
        }
    }

    /// Wants another symbol or pattern: the requests that tell the gateway, none if it is wanted already.
    pub fn add(&mut self, symbol: String) -> Vec<String> {
        if self.symbols.contains(&symbol) {
            return Vec::new();
        }
        self.last_id += 1;
        let requests = self.subscribe_to(std::slice::from_ref(&symbol), Some(self.last_id));
        self.asked.insert(self.last_id, symbol.clone());
        self.symbols.push(symbol);
        requests
    }

    /// Leaves a symbol or pattern, in whatever case it was asked for: the request that tells the gateway.
    pub fn remove(&mut self, symbol: &str) -> Vec<String> {
        let exact = self.symbols.iter().any(|name| name == symbol);
        let is_it = |name: &str| if exact { name == symbol } else { name.eq_ignore_ascii_case(symbol) };
        let (left, kept) = std::mem::take(&mut self.symbols).into_iter().partition(|name| is_it(name));
        self.symbols = kept;
        if let Some(seen) = &mut self.resume {
            seen.retain(|(_, name), _| !is_it(name));
        }
        let left: Vec<String> = left;
        if left.is_empty() {
            return Vec::new();
        }
        let leave = Request {
            action: "unsubscribe",
            symbols: &left,
            types: &self.types,
            resume: BTreeMap::new(),
            terms: None,
            id: None,
        };
        vec![leave.write()]
    }

    /// The gateway has refused a request: what it was for is not wanted any more, as it would be refused again with
    /// everything else when the next connection subscribes.
    pub fn refused(&mut self, id: u64) {
        if let Some(refused) = self.asked.remove(&id) {
            self.symbols.retain(|symbol| *symbol != refused);
        }
    }

    /// The gateway has said what we hold, in answer to the request with this id: a name that comes back in upper case shows that it folds the names of that type.
    pub fn answered(&mut self, held: &Held, id: Option<u64>) {
        if let Some(id) = id {
            self.asked.remove(&id);
        }
        let trades = ("trade", &held.current_subscriptions);
        let by_type = held.current_by_type.iter().map(|(type_name, names)| (type_name.as_str(), names));
        for (type_name, names) in by_type.chain([trades]) {
            let is_folded =
                |name: &String| !names.contains(name) && names.contains(&name.to_ascii_uppercase());
            if self.symbols.iter().any(is_folded) {
                self.folded.insert(type_name.to_owned());
            }
        }
    }

    /// An event has come. It is remembered if its symbol was asked for by name: a pattern can't be resumed.
    pub fn saw(&mut self, type_name: &str, symbol: &str, seq: u64) {
        let name = self.name_of(type_name, symbol).map(str::to_owned);
        if let (Some(seen), Some(name)) = (&mut self.resume, name)
            && seq < SEQ_END
        {
            let last = seen.entry((type_name.to_owned(), name)).or_insert(seq);
            // A late event is a little below what was seen; far below it the worker has restarted its numbers.
            if seq > *last || *last - seq >= SEQ_WINDOW {
                *last = seq;
            }
        }
    }

    /// By which name an event's symbol was asked for. A worker's spelling may differ where the gateway folds symbols. Where it
    /// hasn't shown that yet, an event in another spelling can only come by a pattern, or it does fold them.
    fn name_of(&self, type_name: &str, symbol: &str) -> Option<&str> {
        let names = || self.symbols.iter().map(String::as_str);
        let may_fold = self.folded.contains(type_name) || !names().any(|name| name.ends_with('*'));
        let exact = names().find(|name| *name == symbol);
        exact.or_else(|| names().find(|name| may_fold && name.eq_ignore_ascii_case(symbol)))
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
        if let Some(seen) = &mut self.resume {
            seen.retain(|(_, symbol), _| *symbol != drop);
        }
        let leave = Request {
            action: "unsubscribe",
            symbols: &[drop],
            types: &self.types,
            resume: BTreeMap::new(),
            terms: None,
            id: None,
        };
        let mut requests = vec![leave.write()];
        if !held {
            requests.extend(self.subscribe_to(std::slice::from_ref(&take), None));
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
        Wanted { symbols, swap: Some((swap.0.to_owned(), swap.1.to_owned())), ..Wanted::default() }
    }

    #[test]
    fn requests_are_what_the_protocol_shows() {
        let wanted = wanted(&["AAPL", "GOOGL"], ("AAPL", "X"));
        assert_eq!(wanted.subscribe(), [r#"{"action":"subscribe","symbols":["AAPL","GOOGL"]}"#]);
    }

    #[test]
    fn terms_and_types_stand_in_every_subscribe() {
        let mut wanted = wanted(&["AAPL", "BTC-*"], ("AAPL", "X"));
        wanted.types = ["trade", "quote"].map(str::to_owned).to_vec();
        wanted.terms = Terms {
            snapshot: true,
            heartbeat: true,
            conflate: Some("aggregate".into()),
            max_rate: "4".parse().ok(),
            on_slow: Some("conflate".to_owned()),
        };
        let terms =
            r#""snapshot":true,"heartbeat":true,"conflate":"aggregate","maxRate":4,"onSlow":"conflate""#;
        let subscribe = |symbols| {
            format!(r#"{{"action":"subscribe","symbols":[{symbols}],"types":["trade","quote"],{terms}}}"#)
        };
        assert_eq!(wanted.subscribe(), [subscribe(r#""AAPL","BTC-*""#)]);
        let leave = r#"{"action":"unsubscribe","symbols":["AAPL"],"types":["trade","quote"]}"#;
        assert_eq!(wanted.swap(), [leave.to_owned(), subscribe(r#""X""#)]);
    }

    #[test]
    fn what_was_seen_is_resumed_with_one_request_for_each_type() {
        let mut wanted = wanted(&["AAPL", "MSFT", "B-*"], ("MSFT", "X"));
        wanted.saw("trade", "AAPL", 1);
        assert_eq!(wanted.subscribe(), [r#"{"action":"subscribe","symbols":["AAPL","MSFT","B-*"]}"#]);

        wanted.resume = Some(Seen::new());
        wanted.saw("trade", "AAPL", 1041);
        wanted.saw("trade", "AAPL", 1040);
        wanted.saw("trade", "MSFT", 7);
        wanted.saw("trade", "B-1", 3);
        wanted.saw("trade", "AAPL", SEQ_END);
        assert_eq!(
            wanted.subscribe(),
            [r#"{"action":"subscribe","symbols":["AAPL","MSFT","B-*"],"resume":{"AAPL":1041,"MSFT":7}}"#]
        );
        // The worker has restarted its numbers.
        wanted.saw("trade", "AAPL", 1);
        wanted.types = ["trade", "quote"].map(str::to_owned).to_vec();
        wanted.saw("quote", "MSFT", 5);
        wanted.swap();
        assert_eq!(
            wanted.subscribe(),
            [
                r#"{"action":"subscribe","symbols":["AAPL","B-*","X"],"types":["trade"],"resume":{"AAPL":1}}"#,
                r#"{"action":"subscribe","symbols":["AAPL","B-*","X"],"types":["quote"]}"#
            ]
        );
    }

    #[test]
    fn the_gateway_says_whether_spellings_are_one_symbol() {
        let held = |names: &[&str]| Held {
            current_subscriptions: names.iter().map(|&name| name.to_owned()).collect(),
            ..Held::default()
        };
        let mut wanted = wanted(&["AMpB", "A*"], ("A*", "X"));
        wanted.answered(&held(&["AMpB", "A*"]), None);
        assert_eq!(wanted.name_of("trade", "AMPB"), None, "another share, which comes by the pattern");
        assert_eq!(wanted.name_of("trade", "AMpB"), Some("AMpB"));
        wanted.answered(&held(&["AMPB", "A*"]), None);
        assert_eq!(wanted.name_of("trade", "AMPB"), Some("AMpB"));
        assert_eq!(wanted.name_of("order_book", "AMPB"), None, "of this type it has said nothing");
        wanted.swap();
        assert_eq!(wanted.name_of("quote", "ampb"), Some("AMpB"), "by which other name would it come?");
    }

    #[test]
    fn what_is_refused_is_not_asked_for_again() {
        let mut wanted = wanted(&["AAPL"], ("AAPL", "X"));
        assert_eq!(wanted.add("MSFT".to_owned()), [r#"{"action":"subscribe","symbols":["MSFT"],"id":1}"#]);
        assert!(wanted.add("MSFT".to_owned()).is_empty());
        assert_eq!(wanted.add("TSLA".to_owned()).len(), 1);
        wanted.answered(&Held::default(), Some(1));
        wanted.refused(2);
        wanted.refused(1);
        assert_eq!(wanted.symbols, ["AAPL", "MSFT"]);
    }

    #[test]
    fn what_is_left_is_not_resumed() {
        let mut wanted = wanted(&["aapl", "MSFT", "msft"], ("AAPL", "X"));
        wanted.resume = Some(Seen::new());
        wanted.saw("trade", "AAPL", 7);
        assert_eq!(wanted.remove("AAPL"), [r#"{"action":"unsubscribe","symbols":["aapl"]}"#]);
        assert!(wanted.remove("AAPL").is_empty() && wanted.resume == Some(Seen::new()));
        assert_eq!(wanted.remove("MSFT"), [r#"{"action":"unsubscribe","symbols":["MSFT"]}"#]);
        assert_eq!(wanted.symbols, ["msft"], "where both are wanted they are two");
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
        assert_eq!(wanted.subscribe(), [r#"{"action":"subscribe","symbols":["AAPL","GOOGL","TSLA"]}"#]);
    }

    #[test]
    fn a_symbol_that_is_held_already_is_not_subscribed_twice() {
        let mut wanted = wanted(&["MSFT", "TSLA"], ("MSFT", "TSLA"));
        assert_eq!(wanted.swap(), [r#"{"action":"unsubscribe","symbols":["MSFT"]}"#]);
        assert_eq!(wanted.subscribe(), [r#"{"action":"subscribe","symbols":["TSLA"]}"#]);
    }
}
