//! Who subscribes to what: a crowd of connections, described so that every process that opens a part of it draws the
//! same symbols for the same connection.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::desk::Desk;

/// Connections from one source address to one server: the default range of local ports has 28,232, less some that
/// others use or that wait for their end.
pub const PORTS_PER_SOURCE: u32 = 20_000;

/// The connections of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    /// Where the server listens.
    pub addr: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// Path and query of the upgrade request.
    pub path: String,
    /// How many connections.
    pub connections: u32,
    /// Symbols that trade: `S0000`, `S0001` and so on.
    pub symbols: u32,
    /// How many of them each connection holds from beginning to end.
    pub subscribed: u32,
    /// Subscribes and unsubscribes a second of one further symbol of each connection, all connections together; 0 = none.
    pub churn_per_second: u32,
    /// Handshakes in flight at a time.
    pub connecting_max: u32,
    /// What the draws follow from.
    pub seed: u64,
    /// Rooms in place of symbols: those are its talkers.
    pub desk: Option<Desk>,
}

impl Crowd {
    /// The symbols that a connection holds throughout, in ascending order, and the one it comes and goes with.
    pub fn symbols_of(&self, connection: u32) -> (Vec<u32>, Option<u32>) {
        if let Some(desk) = &self.desk {
            return (desk.symbols_of(connection), None);
        }
        let mut rng =
            Rng::with_seed(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(connection.into()));
        let churned = u32::from(self.churn_per_second > 0);
        let wanted = (self.subscribed + churned).min(self.symbols);
        // Floyd's way of drawing without repeats: as many draws as symbols are wanted.
        let mut drawn = Vec::with_capacity(wanted as usize);
        for top in self.symbols - wanted..self.symbols {
            let symbol = rng.u32(0..=top);
            drawn.push(if drawn.contains(&symbol) { top } else { symbol });
        }
        let churned = (churned > 0).then(|| drawn.swap_remove(rng.usize(0..drawn.len())));
        drawn.sort_unstable();
        (drawn, churned)
    }

    /// The address that a connection comes from, if the system's choice won't do: each 20,000 connections have one of
    /// 127.0.0.0/8 of their own.
    pub fn source_of(&self, connection: u32) -> Option<IpAddr> {
        let block = connection / PORTS_PER_SOURCE;
        if block == 0 || !matches!(self.addr.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
            return None;
        }
        // 127.0.0.1 is the first block's.
        let [_, b, c, d] = (1 + block).to_be_bytes();
        Some(IpAddr::V4(Ipv4Addr::new(127, b, c, d)))
    }
}

/// A symbol's name.
pub fn symbol_name(symbol: u32) -> String {
    format!("S{symbol:04}")
}

/// The symbol of a name that [`symbol_name`] gave, back from what the server made of it.
pub fn symbol_number(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(b"S")?;
    if digits.len() < 4 || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0_u32, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + u32::from(digit - b'0')),
        _ => None,
    })
}

/// Writes the message that subscribes to symbols, or unsubscribes from them.
pub fn write_request(out: &mut String, action: &str, symbols: &[u32]) {
    let _ = write!(out, r#"{{"action":"{action}","symbols":["#);
    write_list(out, symbols, |out, symbol| write!(out, r#""S{symbol:04}""#));
    out.push_str("]}");
}

/// Writes symbols, each as `write_one` does, separated by commas.
pub fn write_list(out: &mut String, symbols: &[u32], write_one: impl Fn(&mut String, u32) -> fmt::Result) {
    for (n, &symbol) in symbols.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        // Writing into a string can't fail.
        let _ = write_one(out, symbol);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    pub(crate) fn crowd(connections: u32, symbols: u32, subscribed: u32) -> Crowd {
        Crowd {
            addr: "127.0.0.1:8080".parse().unwrap(),
            host: "127.0.0.1:8080".to_owned(),
            path: "/ws".to_owned(),
            connections,
            symbols,
            subscribed,
            churn_per_second: 0,
            connecting_max: 16,
            seed: 1,
            desk: None,
        }
    }

    #[test]
    fn draws_have_no_repeats_and_reach_every_symbol() {
        let crowd = crowd(1000, 100, 5);
        let mut holders = vec![0; 100];
        for connection in 0..crowd.connections {
            let (symbols, churned) = crowd.symbols_of(connection);
            assert_eq!((symbols.len(), churned), (5, None));
            assert!(symbols.is_sorted_by(|a, b| a < b), "{symbols:?}");
            symbols.iter().for_each(|&symbol| holders[symbol as usize] += 1);
        }
        assert_eq!(holders.iter().sum::<i32>(), 5000);
        assert!(holders.iter().all(|held| (20..90).contains(held)), "{holders:?}");
    }

    #[test]
    fn the_symbol_that_comes_and_goes_is_none_of_the_others() {
        let crowd = Crowd { churn_per_second: 1, ..crowd(50, 10, 4) };
        for connection in 0..50 {
            let (mut symbols, churned) = crowd.symbols_of(connection);
            symbols.push(churned.unwrap());
            assert_eq!(symbols.iter().collect::<BTreeSet<_>>().len(), 5);
        }
    }

    #[test]
    fn every_process_draws_the_same() {
        let crowd = crowd(10, 1000, 5);
        assert_eq!(crowd.symbols_of(7), crowd.clone().symbols_of(7));
        assert_ne!(crowd.symbols_of(7), crowd.symbols_of(8));
    }

    #[test]
    fn all_symbols_can_be_held() {
        assert_eq!(crowd(1, 3, 3).symbols_of(0), (vec![0, 1, 2], None));
        assert_eq!(crowd(1, 1, 0).symbols_of(0), (vec![], None));
    }

    #[test]
    fn names_are_read_back() {
        for symbol in [0, 42, 9_999, 10_000, 999_999] {
            assert_eq!(symbol_number(symbol_name(symbol).as_bytes()), Some(symbol));
        }
        for other in ["", "S", "AAPL", "S12", "S00x1", "S9999999999"] {
            assert_eq!(symbol_number(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn source_addresses_change_before_ports_run_out() {
        let crowd = crowd(1, 1, 1);
        assert_eq!(crowd.source_of(19_999), None);
        assert_eq!(crowd.source_of(20_000), Some("127.0.0.2".parse().unwrap()));
        assert_eq!(crowd.source_of(20_000 * 255), Some("127.0.1.0".parse().unwrap()));
        let elsewhere = Crowd { addr: "10.0.0.1:1".parse().unwrap(), ..crowd };
        assert_eq!(elsewhere.source_of(20_000), None);
    }

    #[test]
    fn requests_are_what_the_protocol_says() {
        let mut out = String::new();
        write_request(&mut out, "subscribe", &[1, 20]);
        assert_eq!(out, r#"{"action":"subscribe","symbols":["S0001","S0020"]}"#);
    }
}
