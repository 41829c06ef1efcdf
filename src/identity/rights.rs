//! What a client may subscribe to. Pure.

use std::collections::HashSet;

use super::scope::Scopes;
use crate::desk::rights::RoomScope;
use crate::market::{Delay, Form, Kind, KindSet, Kinds, Subject};
use crate::protocol::Dialect;
use crate::protocol::refusal::{Forbidden, Refusal};
use crate::protocol::request::Selection;
use crate::protocol::terms::MaxRate;

/// What a client may subscribe to: what the configuration offers, as far as the client's claims go.
#[derive(Debug, Clone, PartialEq)]
pub struct Rights {
    /// Whether the gateway takes patterns: `ALLOW_WILDCARD`.
    pub allow_wildcard: bool,
    /// Most subscriptions at a time: `MAX_SYMBOLS_PER_CLIENT`, or the claim `maxSymbols`.
    pub max_symbols: usize,
    /// The same in a dialect: `DIALECT_MAX_SYMBOLS`, or the claim.
    pub dialect_max_symbols: usize,
    /// The claim `types`; `None` = every type.
    pub types: Option<KindSet>,
    /// The claim `symbols`; `None` = every name.
    pub scopes: Option<Scopes>,
    /// The claim `maxRate`: most events a second of each topic.
    pub max_rate: Option<MaxRate>,
    /// With which delay events come.
    pub delay: Delay,
    /// The claim `rooms`: names and patterns of rooms; `None` = every room.
    pub rooms: Option<RoomScope>,
}

/// What a subscribe comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// What the client is to be subscribed to, without repeats.
    pub subjects: Vec<Subject>,
    /// What each subject of the request comes to, in their order; empty where the rights are literal ([`Rights::is_literal`]).
    pub grants: Vec<Grant>,
}

/// What a subject of a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// As the client wrote it.
    pub written: Subject,
    /// What it is subscribed to in its place: at least one, and none covers another one.
    pub parts: Vec<Subject>,
}

impl Granted {
    /// The subjects of the request, as the client wrote them.
    pub fn written(&self) -> impl Iterator<Item = &Subject> {
        let literal = if self.grants.is_empty() { self.subjects.as_slice() } else { &[] };
        literal.iter().chain(self.grants.iter().map(|grant| &grant.written))
    }
}

impl Grant {
    /// A subject that is granted as it is written.
    pub fn literal(subject: Subject) -> Self {
        Self { parts: vec![subject.clone()], written: subject }
    }
}

impl Rights {
    /// What the configuration offers, to a client without claims.
    pub const fn of_gateway(allow_wildcard: bool, max_symbols: usize) -> Self {
        let dialect_max_symbols = max_symbols;
        Self {
            allow_wildcard,
            max_symbols,
            dialect_max_symbols,
            types: None,
            scopes: None,
            max_rate: None,
            delay: Delay::NONE,
            rooms: None,
        }
    }

    /// Most subscriptions of a client that speaks so.
    pub const fn max_symbols_in(&self, dialect: Dialect) -> usize {
        if dialect.api().is_some() { self.dialect_max_symbols } else { self.max_symbols }
    }

    /// Whether what a client asks for is granted as it is written or not at all.
    pub const fn is_literal(&self) -> bool {
        self.scopes.is_none()
    }

    /// What a subscribe to that selection, with its events in that form, comes to.
    ///
    /// # Errors
    /// A [`Refusal`] that names all that the client may not have.
    pub fn grant(&self, selection: &Selection, form: Form, kinds: &Kinds) -> Result<Granted, Refusal> {
        let mut names = selection.names.iter().map(|chosen| &chosen.name);
        let pattern = names.find(|name| name.is_wildcard()).filter(|_| !self.allow_wildcard);
        if let Some(pattern) = pattern {
            return Err(Refusal::no_wildcards(pattern));
        }
        let types = selection.types.iter().filter(|kind| !self.has_type(**kind));
        let types: Vec<_> = types.map(|kind| kinds.name(*kind).into()).collect();
        if self.is_literal() && types.is_empty() {
            return Ok(Granted { subjects: selection.subjects(form), grants: Vec::new() });
        }
        let (mut grants, mut symbols) = (Vec::new(), Vec::new());
        for chosen in &selection.names {
            let begin = grants.len();
            grants.extend(selection.subjects_of(chosen, form).map(|subject| self.grant_one(subject)));
            if grants[begin..].iter().any(|grant| grant.parts.is_empty()) {
                symbols.push(chosen.name.clone());
            }
        }
        let forbidden = Forbidden { symbols, types };
        if !forbidden.is_empty() {
            return Err(Refusal::forbidden(forbidden));
        }
        let mut seen = HashSet::new();
        let parts = grants.iter().flat_map(|grant| &grant.parts);
        let subjects = parts.filter(|part| seen.insert(*part)).cloned().collect();
        Ok(Granted { subjects, grants })
    }

    /// What becomes of subscriptions that other rights allowed, in their order: those that aren't allowed any more are left out, and so
    /// are the last ones beyond `max_symbols`.
    pub fn grant_again(&self, held: impl IntoIterator<Item = Subject>, max_symbols: usize) -> Vec<Grant> {
        let allowed = held.into_iter().filter(|subject| self.may_ask_for(subject));
        let grants = allowed.map(|subject| self.grant_one(subject));
        grants.filter(|grant| !grant.parts.is_empty()).take(max_symbols).collect()
    }

    /// Whether all that a subject stands for is within the rights.
    pub fn covers(&self, subject: &Subject) -> bool {
        self.may_ask_for(subject) && self.grant_one(subject.clone()).parts.iter().eq([subject])
    }

    /// Whether a subject's type is allowed, and its pattern if it is one.
    fn may_ask_for(&self, subject: &Subject) -> bool {
        self.has_type(subject.kind) && (self.allow_wildcard || !subject.name.is_wildcard())
    }

    fn grant_one(&self, written: Subject) -> Grant {
        let Some(scopes) = &self.scopes else { return Grant::literal(written) };
        let part = |name| Subject { name, ..written };
        let common = scopes.of(written.kind).intersect(&written.name);
        Grant { parts: common.into_iter().map(part).collect(), written }
    }

    fn has_type(&self, kind: Kind) -> bool {
        self.types.is_none_or(|types| types.contains(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{AlpacaChannel, Name, SymbolCase};
    use crate::protocol::refusal::ErrorCode;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes(), SymbolCase::Upper).unwrap()
    }

    fn selection(types: &[Kind], names: &[&str]) -> Selection {
        Selection::of_market(types, &names.iter().map(|text| name(text)).collect::<Vec<_>>())
    }

    fn scopes<const N: usize>(names: [&str; N]) -> Option<Scopes> {
        Some(Scopes::new(&names, SymbolCase::Upper).unwrap())
    }

    fn kinds() -> Kinds {
        "trade,quote,halt,mine".parse().unwrap()
    }

    fn trade(text: &str) -> Subject {
        Subject::literal(Kind::TRADE, name(text))
    }

    #[test]
    fn without_claims_all_is_granted_as_it_is_written() {
        let open = Rights::of_gateway(true, 5);
        let asked = selection(&[Kind::TRADE, Kind::QUOTE], &["AAPL", "BTC-*"]);
        let granted = open.grant(&asked, Form::JSON, &kinds()).unwrap();
        assert_eq!(granted, Granted { subjects: asked.subjects(Form::JSON), grants: Vec::new() });
        assert!(granted.written().eq(&asked.subjects(Form::JSON)));
        let refusal = Rights::of_gateway(false, 5).grant(&asked, Form::JSON, &kinds()).unwrap_err();
        assert_eq!(
            refusal.message,
            r#"Invalid symbols "BTC-*": must be a symbol: this gateway has no wildcards (ALLOW_WILDCARD)"#
        );
        assert!(
            Rights::of_gateway(false, 5)
                .grant(&selection(&[Kind::TRADE], &["AAPL"]), Form::JSON, &kinds())
                .is_ok()
        );
    }

    #[test]
    fn a_request_is_intersected_or_refused_as_a_whole() {
        let scopes = scopes(["BTC-*", "AAPL", "BRK.A"]);
        let types = Some([Kind::TRADE, Kind::HALT].into_iter().collect());
        let rights = Rights { scopes, types, ..Rights::of_gateway(true, 5) };
        let asked = selection(&[Kind::TRADE], &["*", "B*", "AAPL"]);
        let granted = rights.grant(&asked, Form::JSON, &kinds()).unwrap();
        assert!(granted.written().eq(&asked.subjects(Form::JSON)));
        let parts: Vec<_> = granted.grants.iter().map(|grant| grant.parts.as_slice()).collect();
        assert_eq!(
            parts,
            [
                &[trade("AAPL"), trade("BRK.A"), trade("BTC-*")][..],
                &[trade("BRK.A"), trade("BTC-*")],
                &[trade("AAPL")]
            ]
        );
        assert_eq!(granted.subjects, parts[0], "each once");
        let asked = selection(&[Kind::TRADE, Kind::QUOTE], &["AAPL", "MSFT", "E*", "*"]);
        let refusal = rights.grant(&asked, Form::JSON, &kinds()).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Forbidden);
        let forbidden = refusal.forbidden.unwrap();
        assert_eq!(forbidden.symbols, [name("MSFT"), name("E*")]);
        assert_eq!(forbidden.types, [Box::<str>::from("quote")]);
        let literal = Rights { scopes: None, ..rights };
        let forbidden = literal.grant(&asked, Form::JSON, &kinds()).unwrap_err().forbidden.unwrap();
        assert_eq!((forbidden.symbols, forbidden.types), (Vec::new(), vec!["quote".into()]));
    }

    #[test]
    fn a_symbol_of_candles_is_all_its_intervals() {
        let rights = Rights { scopes: scopes(["AAPL", "BTC-*"]), ..Rights::of_gateway(true, 5) };
        let kinds: Kinds = "candle".parse().unwrap();
        let candles = |names: &[&str]| {
            let asked = selection(&[Kind::CANDLE], names);
            rights.grant(&asked, Form::JSON, &kinds).map(|granted| granted.subjects)
        };
        let subject = |text: &str| Subject::parse(Kind::CANDLE, text.as_bytes(), SymbolCase::Upper).unwrap();
        assert_eq!(candles(&["AAPL"]).unwrap(), [subject("AAPL")]);
        assert_eq!(candles(&["A*"]).unwrap(), [subject("AAPL")]);
        assert_eq!(candles(&["BTC-USD"]).unwrap(), [subject("BTC-USD")]);
        assert_eq!(candles(&["*"]).unwrap(), [subject("AAPL"), subject("BTC-*")]);
        assert_eq!(candles(&["AAPLX"]).unwrap_err().forbidden.unwrap().symbols, [name("AAPLX")]);
        assert_eq!(rights.grant_again([subject("AAPL"), subject("X")], 5), [Grant::literal(subject("AAPL"))]);
        let plain = Rights { allow_wildcard: false, ..rights };
        assert_eq!(plain.grant_again([subject("AAPL")], 5), [Grant::literal(subject("AAPL"))]);
    }

    #[test]
    fn names_of_custom_types_are_not_folded() {
        let rights = Rights { scopes: scopes(["aapl", "b*"]), ..Rights::of_gateway(true, 5) };
        let mine = kinds().find(b"mine").unwrap();
        let part = |kind: Kind, text: &str| {
            let subject = Subject::parse(kind, text.as_bytes(), SymbolCase::Upper).unwrap();
            rights.grant_one(subject).parts.iter().map(|part| part.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(part(Kind::TRADE, "*"), ["AAPL", "B*"]);
        assert_eq!(part(mine, "*"), ["aapl", "b*"]);
        assert_eq!(part(mine, "AAPL"), [""; 0]);
    }

    /// Also where a dialect's channel has a form of its own.
    #[test]
    fn what_is_granted_has_the_clients_delay() {
        let rights = Rights { delay: Delay::ALL[1], ..Rights::of_gateway(true, 5) };
        let bars = Form::alpaca_json(AlpacaChannel::Bars);
        let asked = Selection::of_channels([
            (Kind::CANDLE, bars, name("AAPL")),
            (Kind::TRADE, Form::JSON, name("*")),
        ]);
        for scopes in [None, scopes(["AAPL"])] {
            let rights = Rights { scopes, ..rights.clone() };
            let kinds = "trade,candle".parse().unwrap();
            let granted = rights.grant(&asked, Form::JSON.delayed(rights.delay), &kinds).unwrap();
            assert_eq!(granted.subjects.len(), 2);
            assert!(granted.subjects.iter().all(|subject| subject.form.delay() == rights.delay));
        }
    }

    #[test]
    fn a_renewal_intersects_again_and_drops_the_latest() {
        let held = || ["*", "MSFT", "BTC-USD", "AAPL"].map(trade);
        let scopes = scopes(["BTC-*", "AAPL"]);
        let rights = Rights { scopes, ..Rights::of_gateway(true, 2) };
        let again = rights.grant_again(held(), 2);
        let written: Vec<_> = again.iter().map(|grant| grant.written.clone()).collect();
        assert_eq!(written, ["*", "BTC-USD"].map(trade));
        assert_eq!(again[0].parts, ["AAPL", "BTC-*"].map(trade));
        let none = Rights { types: Some([Kind::QUOTE].into_iter().collect()), ..rights };
        assert_eq!(none.grant_again(held(), 2), []);
    }
}
