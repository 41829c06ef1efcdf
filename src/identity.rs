//! What a client may have. Pure.
//!
//! The control side decides on a client's rights and sends them along with its connection; the client's shard intersects each
//! subscribe with them. Nothing is filtered when events are delivered.

use crate::market::{Name, Subject};
use crate::protocol::refusal::Refusal;
use crate::protocol::request::Selection;

/// What a client may subscribe to. Clients with equal rights share one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Whether patterns are among it: `ALLOW_WILDCARD`.
    pub allow_wildcard: bool,
    /// Most subscriptions at a time: `MAX_SYMBOLS_PER_CLIENT`.
    pub max_symbols: usize,
}

impl Rights {
    /// What a subscribe to that selection comes to.
    ///
    /// # Errors
    /// A [`Refusal`] that names what the client may not have; nothing of the selection is granted then.
    pub fn grant(&self, selection: &Selection) -> Result<Vec<Subject>, Refusal> {
        let is_pattern = |name: &&Name| matches!(name, Name::Pattern(_));
        match selection.names.iter().map(|chosen| &chosen.name).find(is_pattern) {
            Some(pattern) if !self.allow_wildcard => Err(Refusal::no_wildcards(pattern)),
            _ => Ok(selection.subjects()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Kind, SymbolCase};

    #[test]
    fn patterns_are_granted_where_wildcards_are_allowed() {
        let names = ["AAPL", "BTC-*"].map(|name| Name::parse(name.as_bytes(), SymbolCase::Upper).unwrap());
        let selection = Selection::of_market(&[Kind::TRADE], &names);
        let open = Rights { allow_wildcard: true, max_symbols: 5 };
        assert_eq!(open.grant(&selection), Ok(selection.subjects()));
        let refusal = Rights { allow_wildcard: false, ..open.clone() }.grant(&selection).unwrap_err();
        assert_eq!(
            refusal.message,
            r#"Invalid symbols "BTC-*": must be a symbol: this gateway has no wildcards (ALLOW_WILDCARD)"#
        );
        let symbols = Selection::of_market(&[Kind::TRADE], &names[..1]);
        assert_eq!(Rights { allow_wildcard: false, ..open }.grant(&symbols), Ok(symbols.subjects()));
    }
}
