//! How much memory the tables take that strangers and users fill, at their bounds: the resident size of a process, with the gateway's
//! allocator. `cargo bench --bench admission` runs each case in a process of its own and prints what it has grown by.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::{Value, json};
use ws_gateway::address::Network;
use ws_gateway::admission::{Admission, PerIpLimits, PerUserLimits};
use ws_gateway::auth::key_set::KeySet;
use ws_gateway::bus::{Seat, UserSeat};
use ws_gateway::identity::User;
use ws_gateway::limits;
use ws_gateway::rate::Rate;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MILLION: u64 = 1_000_000;
/// Clients that hold their connection, in the cases that have some.
const CONNECTED: usize = 100_000;

type Case = (&'static str, fn() -> Kept);

/// What lives until the memory has been read.
type Kept = Box<dyn std::any::Any>;

const CASES: [Case; 6] = [
    ("a million /64s, one connection each, none held", || walk(MILLION, 0)),
    ("a million /64s, of which the last 100,000 hold theirs", || walk(MILLION, CONNECTED)),
    ("100,000 seats alone: no limit by address", seats_alone),
    ("users at the table's bound, none connected", || users(0)),
    ("users at the table's bound, 100,000 of them connected", || users(CONNECTED)),
    ("100 key sets of 64 keys, EC P-256 with a kid of 64 bytes", key_sets),
];

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    if let Some((_, case)) = wanted.as_ref().and_then(|name| CASES.iter().find(|(known, _)| known == name)) {
        let before = resident_bytes();
        let kept = case();
        let grown = resident_bytes().saturating_sub(before);
        println!("{:8.2} MiB", grown as f64 / (1024.0 * 1024.0));
        return drop(kept);
    }
    let program = std::env::current_exe().expect("this program's path");
    for (name, _) in CASES {
        let output = Command::new(&program).arg(name).output().expect("this program again");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        println!("{}  {name}", String::from_utf8_lossy(&output.stdout).trim_end());
    }
}

/// `VmRSS` of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

fn admission() -> Arc<Admission> {
    let per_ip = PerIpLimits {
        connections: NonZeroUsize::new(20),
        rate: Rate::new(100, Duration::from_secs(15 * 60)),
    };
    let per_user = PerUserLimits { connections: NonZeroUsize::new(5), ..PerUserLimits::default() };
    Admission::new(limits::MAX_CONNECTIONS_MAX, per_ip, per_user, Arc::default())
}

/// Somebody connects once from each of so many networks, a thousand a second, and holds the last `held` connections.
fn walk(networks: u64, held: usize) -> Kept {
    let (admission, mut seats) = (admission(), VecDeque::<Seat>::with_capacity(held + 1));
    for n in 0..networks {
        let bits = (0x2001_0db8_0000_0000 | u128::from(n)) << 64 | u128::from(n);
        let network: Network = IpAddr::from(Ipv6Addr::from_bits(bits)).into();
        seats.push_back(admission.admit(network, n * 1_000).expect("a seat"));
        if seats.len() > held {
            seats.pop_front();
        }
    }
    Box::new((admission, seats))
}

fn seats_alone() -> Kept {
    let admission = Admission::new(
        limits::MAX_CONNECTIONS_MAX,
        PerIpLimits::default(),
        PerUserLimits::default(),
        Arc::default(),
    );
    let seat = |_| admission.admit(Network::default(), 0).expect("a seat");
    let seats: VecDeque<Seat> = (0..CONNECTED).map(seat).collect();
    Box::new((admission, seats))
}

/// Ever new users with the longest name come, send a message and go, all but the last `held`, until the table has been swept
/// several times.
fn users(held: usize) -> Kept {
    let rate = Rate::new(100, Duration::from_secs(60)).expect("a rate");
    let (admission, mut seats) = (admission(), VecDeque::<Arc<UserSeat>>::with_capacity(held + 1));
    for n in 0..4 * (held + limits::USERS_OWING_MAX) {
        let user = User::parse(&format!("{n:0>128}")).expect("a name");
        let seat = admission.admit_user(&user, 0).expect("a place").seat;
        seat.share().messages.take(rate, 0).expect("the first message");
        seats.push_back(seat);
        if seats.len() > held {
            seats.pop_front();
        }
    }
    Box::new((admission, seats))
}

fn key_sets() -> Kept {
    let keys: Vec<Value> = (0..limits::JWKS_KEYS_MAX)
        .map(|n| {
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
            let point = pair.der_bytes();
            let [x, y] = [&point[1..33], &point[33..]].map(base64url);
            json!({"kty": "EC", "crv": "P-256", "kid": format!("{n:0>64}"), "x": x, "y": y})
        })
        .collect();
    let document = serde_json::to_vec(&json!({ "keys": keys })).expect("JSON");
    let sets: Vec<KeySet> = (0..100).map(|_| KeySet::parse(&document).expect("a key set")).collect();
    assert!(sets.iter().all(|set| set.len() == limits::JWKS_KEYS_MAX));
    Box::new(sets)
}

/// RFC 4648 section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let groups = bytes.chunks(3).flat_map(|group| {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        (0..=group.len()).map(move |at| LETTERS[(bits >> (18 - 6 * at)) as usize & 63] as char)
    });
    groups.collect()
}
