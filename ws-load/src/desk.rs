//! Rooms in place of symbols: who is in which, who talks when, and what is said. Pure.
//!
//! Of each room the first members talk, in turn. Each of them numbers what it says, so that to the books a talker is a symbol: every member
//! holds those of its room, the talkers themselves as well.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::crowd::symbol_name;
use super::message::Trade;

/// Rooms, all alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desk {
    /// How many.
    pub rooms: u32,
    /// Connections in each, every one a user of its own.
    pub members: u32,
    /// How many of them talk.
    pub talkers: u32,
    /// From one message to the next, of all rooms together.
    pub every_ns: u64,
}

impl Desk {
    /// The rooms of a scenario: so many messages a second in each.
    pub fn new(rooms: u32, members: u32, talkers: u32, per_second: f64) -> Self {
        let every_ns = (1e9 / (per_second * f64::from(rooms))).ceil().max(1.0) as u64;
        Self { rooms, members, talkers: talkers.min(members), every_ns }
    }

    /// All members of all rooms.
    pub fn connections(&self) -> u32 {
        self.rooms * self.members
    }

    /// All talkers of all rooms.
    pub fn symbols(&self) -> u32 {
        self.rooms * self.talkers
    }

    /// The room that a connection is in. Neighbours are in different ones, so that a room has members in every process.
    pub fn room_of(&self, connection: u32) -> u32 {
        connection % self.rooms
    }

    /// The talkers whom a connection hears, in ascending order.
    pub fn symbols_of(&self, connection: u32) -> Vec<u32> {
        let first = self.room_of(connection) * self.talkers;
        (first..first + self.talkers).collect()
    }

    /// Who says the n-th message: the connection, and its number as a talker.
    pub fn talker(&self, n: u64) -> (u32, u32) {
        let room = (n % u64::from(self.rooms)) as u32;
        let turn = (n / u64::from(self.rooms) % u64::from(self.talkers)) as u32;
        (turn * self.rooms + room, room * self.talkers + turn)
    }

    /// When the n-th message is due, in ns since the first one.
    pub fn due_ns(&self, n: u64) -> u64 {
        n.saturating_mul(self.every_ns)
    }

    /// Messages a second, all rooms together.
    pub fn per_second(&self) -> f64 {
        1e9 / self.every_ns as f64
    }
}

/// Writes the request to join a room.
pub fn write_join(out: &mut String, room: u32) {
    // Writing into a string can't fail.
    let _ = write!(out, r#"{{"type":"join_room","payload":{{"room_id":"R{room:04}"}},"id":0}}"#);
}

/// Writes what a talker says: as a trade begins, so that it is read back as one, and then a few words.
pub fn write_message(out: &mut String, room: u32, said: &Trade) {
    let Trade { symbol, seq, sent_ns } = *said;
    let name = symbol_name(symbol);
    let _ = write!(
        out,
        r#"{{"type":"room_message","payload":{{"room_id":"R{room:04}","message":{{"symbol":"{name}","seq":{seq},"sent":{sent_ns},"text":"Has anybody an offer for that at 150.25?"}}}}}}"#
    );
}

/// One more message of a room, in the order in which a member hears them.
#[inline]
pub fn order_with(order: u64, said: &Trade) -> u64 {
    let this = u64::from(said.symbol) << 40 ^ said.seq;
    (order ^ this).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_talks_in_its_own_room_and_in_turn() {
        let desk = Desk::new(3, 4, 2, 5.0);
        assert_eq!((desk.connections(), desk.symbols(), desk.every_ns), (12, 6, 66_666_667));
        let mut said = vec![0; desk.symbols() as usize];
        for n in 0..60 {
            let (connection, symbol) = desk.talker(n);
            assert!(desk.symbols_of(connection).contains(&symbol), "talkers hear themselves");
            assert_eq!(u64::from(desk.room_of(connection)), n % 3);
            said[symbol as usize] += 1;
        }
        assert_eq!(said, [10; 6]);
        assert_eq!(desk.due_ns(15), 1_000_000_005);
        assert_eq!(Desk::new(1, 4, 9, 5.0).talkers, 4, "only members talk");
    }

    #[test]
    fn another_order_shows() {
        let said = |symbol, seq| Trade { symbol, seq, sent_ns: 0 };
        let order = |all: &[Trade]| all.iter().fold(0, order_with);
        let (a, b, c) = (said(1, 1), said(2, 1), said(1, 2));
        assert_eq!(order(&[a, b, c]), order(&[a, b, c]));
        assert_ne!(order(&[a, b, c]), order(&[b, a, c]));
        assert_ne!(order(&[a, b]), order(&[a]));
    }

    #[test]
    fn requests_are_what_the_protocol_says() {
        let mut out = String::new();
        write_join(&mut out, 7);
        assert_eq!(out, r#"{"type":"join_room","payload":{"room_id":"R0007"},"id":0}"#);
        out.clear();
        write_message(&mut out, 7, &Trade { symbol: 12, seq: 3, sent_ns: 9 });
        let request: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(request["payload"]["message"]["symbol"], "S0012");
    }
}
