//! Why an upstream event was dropped.
//!
//! A new reason is a variant of [`Reject`] and of [`Reason`], and a place in [`Reason::ALL`]. Its log line, its metric and its entry in
//! `/stats` come from there.

use std::fmt;

use crate::market::SYMBOL_RULE;

/// Why an upstream event was dropped, with the field at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// The channel's last part is no symbol.
    BadSymbol,
    /// The payload is longer than `MAX_EVENT_BYTES`.
    TooLarge,
    /// The payload is not UTF-8 or not JSON.
    NotJson,
    /// The payload is JSON but not an object.
    NotObject,
    /// A string has half a surrogate pair.
    LoneSurrogate,
    /// Arrays and objects are nested too deep.
    TooDeep,
    /// A required field is missing.
    Missing(&'static str),
    /// A field has the wrong type.
    Wrong {
        /// Its name.
        field: &'static str,
        /// What it has to be.
        must_be: &'static str,
    },
    /// A field that may stand once stands twice.
    Twice(&'static str),
    /// `symbol` is not the channel's.
    WrongSymbol,
}

/// The kinds of [`Reject`]. One label value each in `ws_events_rejected_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The channel's last part is no symbol.
    BadSymbol,
    /// The payload is longer than `MAX_EVENT_BYTES`.
    TooLarge,
    /// The payload is not UTF-8 or not JSON.
    NotJson,
    /// The payload is JSON but not an object.
    NotObject,
    /// A string has half a surrogate pair.
    LoneSurrogate,
    /// Arrays and objects are nested too deep.
    TooDeep,
    /// A field is missing, stands twice or has the wrong type.
    BadField,
    /// `symbol` is not the channel's.
    WrongSymbol,
}

impl Reject {
    /// Its kind.
    pub const fn reason(self) -> Reason {
        match self {
            Self::BadSymbol => Reason::BadSymbol,
            Self::TooLarge => Reason::TooLarge,
            Self::NotJson => Reason::NotJson,
            Self::NotObject => Reason::NotObject,
            Self::LoneSurrogate => Reason::LoneSurrogate,
            Self::TooDeep => Reason::TooDeep,
            Self::Missing(_) | Self::Wrong { .. } | Self::Twice(_) => Reason::BadField,
            Self::WrongSymbol => Reason::WrongSymbol,
        }
    }

    /// The field at fault, where it is one.
    pub const fn field(self) -> Option<&'static str> {
        match self {
            Self::Missing(field) | Self::Wrong { field, .. } | Self::Twice(field) => Some(field),
            Self::WrongSymbol => Some("symbol"),
            _ => None,
        }
    }
}

impl fmt::Display for Reject {
    /// What is wrong, for the log: `field price must be a number`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSymbol => write!(f, "the channel's symbol must be {SYMBOL_RULE}"),
            Self::TooLarge => f.write_str("the payload is longer than MAX_EVENT_BYTES"),
            Self::NotJson => f.write_str("the payload is not JSON in UTF-8"),
            Self::NotObject => f.write_str("the payload is not a JSON object"),
            Self::LoneSurrogate => f.write_str("a string has half a surrogate pair"),
            Self::TooDeep => {
                write!(f, "the payload is nested deeper than {} levels", super::portable::DEPTH_MAX)
            }
            Self::Missing(field) => write!(f, "field {field} is missing"),
            Self::Wrong { field, must_be } => write!(f, "field {field} must be {must_be}"),
            Self::Twice(field) => write!(f, "field {field} stands twice"),
            Self::WrongSymbol => f.write_str("field symbol is not the channel's symbol"),
        }
    }
}

impl Reason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::BadSymbol,
        Self::TooLarge,
        Self::NotJson,
        Self::NotObject,
        Self::LoneSurrogate,
        Self::TooDeep,
        Self::BadField,
        Self::WrongSymbol,
    ];

    /// The reason as metrics and logs name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadSymbol => "bad_symbol",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::NotObject => "not_object",
            Self::LoneSurrogate => "lone_surrogate",
            Self::TooDeep => "too_deep",
            Self::BadField => "bad_field",
            Self::WrongSymbol => "wrong_symbol",
        }
    }
}
