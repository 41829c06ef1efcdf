//! What gateways tell each other of who is where, beside joins and leaves.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::desk::envelope::VERSION;
use crate::desk::{DeskId, GatewayId};

/// What gateways tell each other, beside joins and leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gossip {
    /// The gateway lives, and this is what it has.
    Beat {
        /// Which.
        gateway: GatewayId,
        /// What it has.
        sum: Sum,
    },
    /// Somebody wants to hear all that a gateway has, or that every one has.
    Ask {
        /// Who asks.
        by: GatewayId,
        /// Of whom; `None` = of every one.
        of: Option<GatewayId>,
    },
    /// A part of all that a gateway has.
    Part {
        /// Which.
        gateway: GatewayId,
        /// The number of the part.
        part: u32,
        /// How many parts there are.
        of: u32,
        /// Rooms and the users in them.
        rooms: Vec<(DeskId, Vec<DeskId>)>,
    },
    /// The gateway ends: its users have this long to come back elsewhere.
    Bye {
        /// Which.
        gateway: GatewayId,
        /// In milliseconds.
        grace_ms: u64,
    },
    /// A part of what is known of a gateway that doesn't speak for itself any more.
    Left {
        /// Who says so.
        by: GatewayId,
        /// Which.
        gateway: GatewayId,
        /// Its users are there this much longer, in milliseconds.
        left_ms: u64,
        /// It has said that it ends; else it is silent.
        has_ended: bool,
        /// Rooms and the users in them.
        rooms: Vec<(DeskId, Vec<DeskId>)>,
    },
}

/// A sum of pairs of room and user, by which two lists of them are told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub pairs: u64,
    /// Of all of them.
    pub hash: u64,
}

impl Sum {
    pub(super) fn add(&mut self, room: &DeskId, user: &DeskId) {
        self.pairs += 1;
        self.hash = self.hash.wrapping_add(hash_of(room, user));
    }

    pub(super) fn remove(&mut self, room: &DeskId, user: &DeskId) {
        self.pairs -= 1;
        self.hash = self.hash.wrapping_sub(hash_of(room, user));
    }
}

/// FNV-1a, which is the same in every gateway, of both names and a byte between them that none has.
fn hash_of(room: &DeskId, user: &DeskId) -> u64 {
    let bytes = room.as_str().bytes().chain([0]).chain(user.as_str().bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The fields of all of them.
#[derive(Serialize, Deserialize)]
struct Wire {
    v: u32,
    t: String,
    g: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    h: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rooms: Option<Vec<(String, Vec<String>)>>,
}

/// What every gossip has, also of a kind that only newer gateways know.
#[derive(Deserialize)]
struct Head<'g> {
    v: u32,
    #[serde(borrow)]
    t: Cow<'g, str>,
}

/// The kinds that this gateway knows.
const KINDS: [&str; 6] = ["beat", "ask", "part", "bye", "left", "silent"];

/// Most parts that are put together.
const PARTS_MAX: u32 = 10_000;

/// What no gateway would tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoGossip;

impl Gossip {
    /// Reads what another gateway has told; `None` if it is of a kind or version that only newer gateways know: they and this one run side by
    /// side while gateways are replaced.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, NoGossip> {
        let Head { v, t } = serde_json::from_slice(payload).map_err(|_| NoGossip)?;
        if v != VERSION || !KINDS.contains(&&*t) {
            return Ok(None);
        }
        Self::read(payload).map(Some).ok_or(NoGossip)
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(payload).ok()?;
        let gateway: GatewayId = wire.g.parse().ok()?;
        Some(match wire.t.as_str() {
            "beat" => {
                let hash = u64::from_str_radix(&wire.h?, 16).ok()?;
                Self::Beat { gateway, sum: Sum { pairs: wire.n?, hash } }
            }
            "ask" => Self::Ask { by: gateway, of: wire.of.map(|of| of.parse()).transpose().ok()? },
            "bye" => Self::Bye { gateway, grace_ms: wire.n? },
            "part" => {
                let (part, of) = wire.part.filter(|(part, of)| part < of && *of <= PARTS_MAX)?;
                Self::Part { gateway, part, of, rooms: ids_of(wire.rooms?)? }
            }
            "left" | "silent" => Self::Left {
                by: gateway,
                gateway: wire.of?.parse().ok()?,
                left_ms: wire.n?,
                has_ended: wire.t == "left",
                rooms: ids_of(wire.rooms?)?,
            },
            _ => return None,
        })
    }

    /// Writes it.
    pub fn write(&self) -> Vec<u8> {
        let new = |t: &str, gateway: &GatewayId| Wire {
            v: VERSION,
            t: t.to_owned(),
            g: gateway.to_string(),
            of: None,
            n: None,
            h: None,
            part: None,
            rooms: None,
        };
        let wire = match self {
            Self::Beat { gateway, sum } => {
                Wire { n: Some(sum.pairs), h: Some(format!("{:x}", sum.hash)), ..new("beat", gateway) }
            }
            Self::Ask { by, of } => Wire { of: of.map(|of| of.to_string()), ..new("ask", by) },
            Self::Bye { gateway, grace_ms } => Wire { n: Some(*grace_ms), ..new("bye", gateway) },
            Self::Part { gateway, part, of, rooms } => {
                Wire { part: Some((*part, *of)), rooms: Some(texts_of(rooms)), ..new("part", gateway) }
            }
            Self::Left { by, gateway, left_ms, has_ended, rooms } => Wire {
                of: Some(gateway.to_string()),
                n: Some(*left_ms),
                rooms: Some(texts_of(rooms)),
                ..new(if *has_ended { "left" } else { "silent" }, by)
            },
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

fn ids_of(rooms: Vec<(String, Vec<String>)>) -> Option<Vec<(DeskId, Vec<DeskId>)>> {
    let id = |name: String| DeskId::parse(&name);
    let rooms = rooms
        .into_iter()
        .map(|(room, users)| Some((id(room)?, users.into_iter().map(id).collect::<Option<Vec<_>>>()?)));
    rooms.collect()
}

fn texts_of(rooms: &[(DeskId, Vec<DeskId>)]) -> Vec<(String, Vec<String>)> {
    let texts = |users: &[DeskId]| users.iter().map(ToString::to_string).collect();
    rooms.iter().map(|(room, users)| (room.to_string(), texts(users))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gossip_reads_as_it_is_written() {
        let gateway = GatewayId::of(7);
        let id = |name: &str| DeskId::parse(name).unwrap();
        let rooms = || vec![(id("r"), vec![id("a"), id("Zoë")])];
        for gossip in [
            Gossip::Beat { gateway, sum: Sum { pairs: 2, hash: u64::MAX } },
            Gossip::Ask { by: gateway, of: None },
            Gossip::Ask { by: gateway, of: Some(GatewayId::of(8)) },
            Gossip::Bye { gateway, grace_ms: 10 },
            Gossip::Part { gateway, part: 1, of: 2, rooms: rooms() },
            Gossip::Left { by: GatewayId::of(8), gateway, left_ms: 1, has_ended: true, rooms: rooms() },
            Gossip::Left { by: GatewayId::of(8), gateway, left_ms: 1, has_ended: false, rooms: rooms() },
        ] {
            assert_eq!(Gossip::parse(&gossip.write()), Ok(Some(gossip)));
        }
        for bad in [
            "",
            "{}",
            r#"{"v":1,"g":"00000000000000000000000000000007"}"#,
            r#"{"v":1,"t":"beat","g":"x"}"#,
            r#"{"v":1,"t":"part","g":"00000000000000000000000000000007","part":[2,2],"rooms":[]}"#,
        ] {
            assert_eq!(Gossip::parse(bad.as_bytes()), Err(NoGossip), "{bad}");
        }
    }

    /// Whatever fields it has.
    #[test]
    fn what_newer_gateways_tell_is_passed_over() {
        for newer in [
            r#"{"v":1,"t":"moon","g":"00000000000000000000000000000007","n":1}"#,
            r#"{"v":1,"t":"mo\u006fn","g":7,"of":[],"n":"1","rooms":{}}"#,
            r#"{"v":2,"t":"beat"}"#,
        ] {
            assert_eq!(Gossip::parse(newer.as_bytes()), Ok(None), "{newer}");
        }
    }
}
