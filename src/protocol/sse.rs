//! Server-sent events (HTML Living Standard, section 9.2) on `/sse`: the gateway speaks, and the client's request is the URL. Pure.
//!
//! Events have their bytes from [`form`](super::form). Replies and statuses are written here, each as an event of its kind: `success`, `refused`,
//! `status`. A client can't ask again on its stream, so whatever is refused ends it, and what is said last says when to come back (`retry`).

use serde_json::{Map, Value};

use super::native::read;
use super::refusal::{ErrorCode, Refusal};
use super::reply::{Reply, Status};
use super::request::{Action, Grammar, Subscribe};
use crate::market::event::SEQ_END;
use crate::market::{Kind, REFUSED_EVENT, Symbol};

/// A line that means nothing, sent so that nobody on the way takes the connection for dead.
pub const COMMENT: &[u8] = b":\n\n";

/// When a client comes back that was refused: browsers come back for ever, so as late as makes no difference.
const RETRY_REFUSED_MS: u64 = 3_600_000;
/// When one comes back that was too slow.
const RETRY_SLOW_MS: u64 = 5_000;
/// When one comes back whose token has ended: it learns by HTTP that it needs another.
const RETRY_EXPIRED_MS: u64 = 1_000;

/// A reply or status as an event of the stream. `object` is what the native protocol writes for it.
pub fn reply(reply: &Reply<'_>, object: &[u8]) -> Vec<u8> {
    let name = match reply {
        Reply::Refused(_) => REFUSED_EVENT,
        Reply::Status(_) => "status",
        _ => "success",
    };
    let retry = retry_ms(reply).map_or_else(String::new, |retry_ms| format!("retry: {retry_ms}\n"));
    [format!("event: {name}\n{retry}data: ").as_bytes(), object, b"\n\n"].concat()
}

/// What a client that is about to be disconnected is told of its return.
fn retry_ms(reply: &Reply<'_>) -> Option<u64> {
    match reply {
        Reply::Status(Status::Shutdown { reconnect_after_ms, .. }) => Some(*reconnect_after_ms),
        Reply::Refused(Refusal { code: ErrorCode::SlowClient, .. }) => Some(RETRY_SLOW_MS),
        Reply::Refused(Refusal { code: ErrorCode::Unauthorized, .. }) => Some(RETRY_EXPIRED_MS),
        Reply::Refused(_) => Some(RETRY_REFUSED_MS),
        _ => None,
    }
}

/// What a URL asks for, decoded.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// `symbols`.
    pub symbols: Vec<String>,
    /// The other parameters, in their order.
    pub others: Vec<(String, String)>,
    /// `Last-Event-ID`, unless it is empty.
    pub last_event_id: Option<String>,
}

/// Reads what a client asks for. The rules are those of a subscribe, whose options are the parameters of the same names.
///
/// # Errors
/// A [`Refusal`] that names the first bad value.
pub fn read(query: &Query, grammar: &Grammar) -> Result<Subscribe, Refusal> {
    read::no_adjacent_pluses(&query.symbols)?;
    let mut request = Map::new();
    request.insert("action".to_owned(), "subscribe".into());
    request.insert("symbols".to_owned(), query.symbols.clone().into());
    for (name, value) in &query.others {
        if let Some(value) = read::query_option(name, value) {
            request.insert(name.clone(), value);
        }
    }
    let request = read::parse(&Value::Object(request).to_string(), grammar)?;
    let Action::Subscribe(mut subscribe) = request.action else {
        return Err(Refusal::new(ErrorCode::UnknownAction, "A stream subscribes, and nothing else"));
    };
    if let Some(id) = &query.last_event_id {
        subscribe.is_return = true;
        // What isn't resumed begins with its last value.
        subscribe.options.snapshot = Some(true);
        if let Some((kind, seq, symbol)) = last_event(id, grammar)
            && subscribe.selection.types.contains(&kind)
        {
            // A request resumes topics of its first type.
            subscribe.selection.types.sort_by_key(|each| *each != kind);
            subscribe.resume = vec![(symbol, seq)];
        }
    }
    Ok(subscribe)
}

/// The event that an id names: `trade:1042:AAPL`. `None` if it is no id of ours.
fn last_event(id: &str, grammar: &Grammar) -> Option<(Kind, u64, Symbol)> {
    let mut parts = id.splitn(3, ':');
    let (kind, seq, symbol) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = grammar.kinds.find(kind.as_bytes())?;
    let seq = seq.parse().ok().filter(|seq| *seq < SEQ_END)?;
    let symbol = Symbol::parse(symbol.as_bytes(), kind.case(grammar.symbol_case))?;
    Some((kind, seq, symbol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::SymbolCase;
    use crate::protocol::reply::ShutdownReason;
    use crate::protocol::terms::{Conflate, MaxRate, Options, SlowClientPolicy};

    fn grammar() -> Grammar {
        Grammar::new("trade,quote".parse().unwrap(), SymbolCase::Upper)
    }

    fn query(symbols: &[&str], others: &[(&str, &str)], last_event_id: Option<&str>) -> Query {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Query {
            symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
            others: others.iter().map(owned).collect(),
            last_event_id: last_event_id.map(str::to_owned),
        }
    }

    #[test]
    fn a_url_is_a_subscribe() {
        let others = [
            ("types", "trade,quote"),
            ("snapshot", "1"),
            ("maxRate", "4"),
            ("conflate", "aggregate"),
            ("onSlow", "skip"),
            ("heartbeat", "0"),
            ("token", "x"),
            ("action", "unsubscribe"),
        ];
        let subscribe = read(&query(&["aapl", "BTC-*"], &others, None), &grammar()).unwrap();
        let names: Vec<_> = subscribe.selection.names().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["AAPL", "BTC-*"]);
        assert_eq!(subscribe.selection.types[..], [Kind::TRADE, Kind::QUOTE]);
        let expected = Options {
            snapshot: Some(true),
            conflate: Some(Conflate::Aggregate),
            max_rate: MaxRate::new(4.0),
            on_slow: Some(SlowClientPolicy::Skip),
            heartbeat: Some(false),
        };
        assert_eq!((subscribe.options, subscribe.is_return), (expected, false));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let why = |symbols: &[&str], others: &[(&str, &str)]| {
            read(&query(symbols, others, None), &grammar()).unwrap_err().message
        };
        assert!(why(&["A\"B"], &[]).starts_with(r#"Invalid symbols "A\"B""#));
        assert!(why(&["A++B"], &[]).contains("%20"));
        let rate = "must be a number from 0.1 to 1000";
        assert_eq!(why(&["A"], &[("maxRate", "0")]), format!("Invalid maxRate 0: {rate}"));
        for (bad, shown) in [("fast", r#""fast""#), ("", r#""""#), ("1 2", r#""1 2""#), ("{}", "{}")] {
            assert_eq!(why(&["A"], &[("maxRate", bad)]), format!("Invalid maxRate {shown}: {rate}"));
        }
        assert_eq!(why(&["A"], &[("snapshot", "yes")]), r#"Invalid snapshot "yes": must be true or false"#);
        assert!(why(&["A"], &[("types", "trade,nope")]).starts_with("Invalid types"));
        assert!(why(&["A"], &[("onSlow", "x")]).starts_with(r#"Invalid onSlow "x""#));
    }

    #[test]
    fn the_last_event_s_topic_is_resumed() {
        let resumed = |id: &str| {
            let others = [("types", "trade,quote")];
            let subscribe = read(&query(&["AAPL", "A:B"], &others, Some(id)), &grammar()).unwrap();
            assert!(subscribe.is_return && subscribe.options.wants_snapshot());
            subscribe
                .resume
                .first()
                .map(|(symbol, seq)| (subscribe.selection.types[0], symbol.to_string(), *seq))
        };
        assert_eq!(resumed("trade:7:AAPL"), Some((Kind::TRADE, "AAPL".to_owned(), 7)));
        assert_eq!(resumed("quote:7:a:b"), Some((Kind::QUOTE, "A:B".to_owned(), 7)));
        for foreign in [
            "",
            "7",
            "trade:x:A",
            "trade:-1:A",
            "halt:1:A",
            "nope:1:A",
            "trade:1:",
            "trade:9007199254740992:A",
        ] {
            assert_eq!(resumed(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn replies_are_events_and_the_last_one_says_when_to_come_back() {
        let text = |told: &Reply<'_>| String::from_utf8(reply(told, b"{}")).unwrap();
        assert_eq!(text(&Reply::Pong { stats: None, id: None }), "event: success\ndata: {}\n\n");
        let shutdown =
            Reply::Status(Status::Shutdown { reason: ShutdownReason::Shutdown, reconnect_after_ms: 700 });
        assert_eq!(text(&shutdown), "event: status\nretry: 700\ndata: {}\n\n");
        assert_eq!(text(&Reply::Status(Status::FeedDown)), "event: status\ndata: {}\n\n");
        for (code, retry_ms) in [
            (ErrorCode::SlowClient, 5_000),
            (ErrorCode::Unauthorized, 1_000),
            (ErrorCode::Forbidden, 3_600_000),
        ] {
            let refused = text(&Reply::Refused(&Refusal::new(code, "")));
            assert_eq!(refused, format!("event: refused\nretry: {retry_ms}\ndata: {{}}\n\n"));
        }
    }
}
