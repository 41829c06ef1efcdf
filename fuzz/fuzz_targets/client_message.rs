//! Text of a client. Nothing may panic; what is accepted says the same when it is written again; and every reply is
//! one object of JSON that ends with the request's `id` exactly as the client wrote it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use ws_gateway::market::{Form, Kind, Kinds, Name, SymbolCase};
use ws_gateway::protocol::native::read as session;
use ws_gateway::protocol::native::write::reply;
use ws_gateway::protocol::refusal::Refusal;
use ws_gateway::protocol::reply::{ClientStats, Reply};
use ws_gateway::protocol::request::{Action, Grammar, Id, Request, Selection};
use ws_gateway::protocol::terms::{Conflate, Options};

const NOW_MS: u64 = 1_234_567_890;

/// A refusal repeats a bad value only in part, so its length is bounded whatever the client has sent.
const REFUSAL_BYTES_MAX: usize = 1_024;

#[derive(Deserialize)]
struct Answer<'r> {
    r#type: &'r str,
    timestamp: u64,
    #[serde(borrow)]
    id: Option<&'r RawValue>,
    code: Option<&'r str>,
}

fuzz_target!(|message: &str| {
    let kinds = "trade,quote,halt,mine".parse().unwrap_or_default();
    let grammar = Grammar::new(kinds, SymbolCase::Upper);
    match session::parse(message, &grammar) {
        Ok(request) => accepted(message, &request, &grammar),
        Err(refusal) => refused(&refusal, &grammar),
    }
});

fn accepted(message: &str, request: &Request, grammar: &Grammar) {
    assert!(serde_json::from_str::<IgnoredAny>(message).is_ok(), "accepted, but not JSON");
    let (id, kinds) = (request.id.as_ref(), &grammar.kinds);
    if is_written_in_one_way(request) {
        assert_eq!(session::parse(&write(request, &grammar.kinds), grammar).as_ref(), Ok(request));
    }
    match &request.action {
        Action::Subscribe(subscribe) => {
            check_names(&subscribe.selection, grammar);
            let subjects = subscribe.selection.subjects(Form::JSON);
            let held: Vec<_> = subjects.iter().collect();
            let resumed = subscribe.resume.iter();
            let recovered: Vec<_> =
                resumed.map(|(symbol, seq)| (Name::Symbol(symbol.clone()), seq % 2 == 0)).collect();
            let selection = &subscribe.selection;
            let subscribed = Reply::Subscribed { selection, held: &held, recovered: &recovered, id };
            let written = reply(&subscribed, kinds, NOW_MS);
            check_reply(&written, "success", id);
        }
        Action::Unsubscribe(selection) => {
            check_names(selection, grammar);
            let subjects = selection.subjects(Form::JSON);
            let held: Vec<_> = subjects.iter().collect();
            check_reply(
                &reply(&Reply::Unsubscribed { left: &subjects, held: &held, id }, kinds, NOW_MS),
                "success",
                id,
            );
            check_reply(
                &reply(&Reply::Unsubscribed { left: &[], held: &[], id }, kinds, NOW_MS),
                "success",
                id,
            );
        }
        Action::Auth(token) => {
            let user = (!token.as_str().is_empty()).then_some("u");
            let told = Reply::Authenticated { user, expires_ms: None, held: None, id };
            check_reply(&reply(&told, kinds, NOW_MS), "success", id);
        }
        Action::List => check_reply(&reply(&Reply::List { held: &[], id }, kinds, NOW_MS), "success", id),
        Action::Ping { stats } => {
            let stats = stats.then(ClientStats::default);
            check_reply(&reply(&Reply::Pong { stats, id }, kinds, NOW_MS), "pong", id);
        }
        Action::Enter | Action::Desk(_) => panic!("the desk is asked otherwise"),
        Action::SetCombined(_) | Action::IsCombined => panic!("only a dialect has it"),
    }
}

fn refused(refusal: &Refusal, grammar: &Grammar) {
    let written = reply(&Reply::Refused(refusal), &grammar.kinds, NOW_MS);
    check_reply(&written, "error", refusal.id.as_ref());
    assert!(written.len() <= REFUSAL_BYTES_MAX, "a refusal of {} bytes", written.len());
}

/// Where market types and custom types have different names, no list of names says the same for both.
fn is_written_in_one_way(request: &Request) -> bool {
    let selection = match &request.action {
        Action::Subscribe(subscribe) => &subscribe.selection,
        Action::Unsubscribe(selection) => selection,
        Action::Auth(_)
        | Action::List
        | Action::Ping { .. }
        | Action::SetCombined(_)
        | Action::IsCombined
        | Action::Enter
        | Action::Desk(_) => return true,
    };
    let is_market = |kind: &Kind| kind.is_market();
    selection.types.iter().all(is_market) || !selection.types.iter().any(is_market)
}

/// What a request says, as another client would put it.
fn write(request: &Request, kinds: &Kinds) -> String {
    let id = request.id.as_ref().map_or(String::new(), |id| format!(r#""id":{id},"#));
    match &request.action {
        Action::Subscribe(subscribe) => {
            let resume = match subscribe.resume.iter().map(|(symbol, seq)| format!("\"{symbol}\":{seq}")) {
                entries if entries.len() > 0 => {
                    format!(r#""resume":{{{}}},"#, entries.collect::<Vec<_>>().join(","))
                }
                _ => String::new(),
            };
            let (selection, options) =
                (write_selection(&subscribe.selection, kinds), write_options(&subscribe.options));
            format!(r#"{{{id}{resume}{options}{selection},"action":"subscribe"}}"#)
        }
        Action::Unsubscribe(selection) => {
            format!(r#"{{{id}{},"action":"unsubscribe"}}"#, write_selection(selection, kinds))
        }
        Action::Auth(token) => {
            format!(r#"{{{id}"action":"auth","token":{}}}"#, serde_json::Value::from(token.as_str()))
        }
        Action::List => format!(r#"{{{id}"action":"list"}}"#),
        Action::Ping { stats } => format!(r#"{{{id}"action":"ping","stats":{stats}}}"#),
        Action::SetCombined(_) | Action::IsCombined | Action::Enter | Action::Desk(_) => String::new(),
    }
}

/// None of the characters of names needs an escape, so Rust's notation of a list of strings is JSON's.
fn write_selection(selection: &Selection, kinds: &Kinds) -> String {
    let names: Vec<String> = selection.names().into_iter().map(Name::to_string).collect();
    let types: Vec<&str> = selection.types.iter().map(|kind| kinds.name(*kind)).collect();
    format!(r#""symbols":{names:?},"types":{types:?}"#)
}

fn write_options(options: &Options) -> String {
    let mut text = String::new();
    if let Some(snapshot) = options.snapshot {
        text.push_str(&format!(r#""snapshot":{snapshot},"#));
    }
    if let Some(conflate) = options.conflate {
        let value = match conflate {
            Conflate::Off => "false",
            Conflate::Latest => "true",
            Conflate::Aggregate => "\"aggregate\"",
        };
        text.push_str(&format!(r#""conflate":{value},"#));
    }
    if let Some(rate) = options.max_rate {
        text.push_str(&format!(r#""maxRate":{:?},"#, rate.per_second()));
    }
    if let Some(policy) = options.on_slow {
        text.push_str(&format!(r#""onSlow":"{}","#, policy.word()));
    }
    if let Some(heartbeat) = options.heartbeat {
        text.push_str(&format!(r#""heartbeat":{heartbeat},"#));
    }
    text
}

fn check_names(selection: &Selection, grammar: &Grammar) {
    assert!(!selection.names.is_empty() && !selection.types.is_empty());
    let names = selection.names();
    for (position, name) in names.iter().enumerate() {
        assert!(!names[..position].contains(name), "{name} is there twice");
    }
    for (position, kind) in selection.types.iter().enumerate() {
        assert!(grammar.kinds.carries(*kind));
        assert!(!selection.types[..position].contains(kind), "{kind:?} is there twice");
        for name in selection.names_of(*kind) {
            let normalised = Name::parse(name.to_string().as_bytes(), kind.case(grammar.symbol_case));
            assert_eq!(normalised.as_ref(), Some(name), "not normalised");
        }
    }
    let named: usize = selection.types.iter().map(|kind| selection.names_of(*kind).len()).sum();
    assert_eq!(selection.subjects(Form::JSON).len(), named);
}

fn check_reply(reply: &[u8], expected: &str, id: Option<&Id>) {
    let text = std::str::from_utf8(reply).expect("UTF-8");
    let reply: Answer<'_> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert_eq!((reply.r#type, reply.timestamp), (expected, NOW_MS));
    assert_eq!(reply.code.is_some(), expected == "error");
    assert_eq!(reply.id.map(RawValue::get), id.map(Id::to_string).as_deref());
}
