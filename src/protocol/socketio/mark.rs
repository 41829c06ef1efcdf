//! What an answer has to know of its request: the namespace, the number of the acknowledgement, and what was asked. It travels as the request's
//! [`Id`] does in the gateway's own protocol, so whoever answers needs to know nothing of Socket.IO. Pure.

use crate::market::Namespace;
use crate::protocol::request::Id;

/// The mark of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark<'m> {
    /// Where it was said, and is answered.
    pub namespace: Namespace,
    /// What was asked.
    pub verb: Verb,
    /// The number of the acknowledgement, if one is wanted.
    pub ack: Option<u64>,
    /// Of [`Verb::Connect`] the connection's public id, of [`Verb::Nowhere`] the name of the namespace, of [`Verb::Topic`] the member of the request
    /// that names the topic, as JSON.
    pub text: &'m str,
}

/// What was asked: how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// To join a namespace.
    Connect,
    /// To join one that there isn't.
    Nowhere,
    /// `subscribe`, `unsubscribe`, and whatever is answered with a `status`.
    Status,
    /// `subscribe:<type>` and `unsubscribe:<type>`.
    Topic,
    /// Something of the desk: it is answered with `success`.
    Desk,
}

const VERBS: [(u8, Verb); 5] = [
    (b'c', Verb::Connect),
    (b'n', Verb::Nowhere),
    (b's', Verb::Status),
    (b't', Verb::Topic),
    (b'd', Verb::Desk),
];

impl<'m> Mark<'m> {
    /// The mark as a request has it.
    pub fn to_id(self) -> Id {
        let Self { namespace, verb, ack, text } = self;
        let letter =
            VERBS.iter().find(|(_, each)| *each == verb).map_or('?', |(letter, _)| char::from(*letter));
        let ack = ack.map(|ack| ack.to_string()).unwrap_or_default();
        Id(format!("{}{letter}{ack}|{text}", namespace as u8).into())
    }

    /// The mark of a request; `None` if it has another one.
    pub fn of_id(id: &'m Id) -> Option<Self> {
        let (head, text) = id.as_str().split_once('|')?;
        let [place, letter, ack @ ..] = head.as_bytes() else { return None };
        let namespace = *Namespace::ALL.get(usize::from(place.checked_sub(b'0')?))?;
        let (_, verb) = VERBS.iter().find(|(each, _)| each == letter)?;
        let ack = std::str::from_utf8(ack).ok()?;
        let ack = if ack.is_empty() { None } else { Some(ack.parse().ok()?) };
        Some(Self { namespace, verb: *verb, ack, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_travel_as_ids() {
        for namespace in Namespace::ALL {
            for (_, verb) in VERBS {
                for ack in [None, Some(0), Some(7_000_000_000)] {
                    for text in ["", r#""caseId":"a|b""#] {
                        let mark = Mark { namespace, verb, ack, text };
                        assert_eq!(Mark::of_id(&mark.to_id()), Some(mark));
                    }
                }
            }
        }
        for other in ["7", "\"x\"", "9c|", "0x|", "0cx|", "|"] {
            assert_eq!(Mark::of_id(&Id(other.into())), None, "{other}");
        }
    }
}
