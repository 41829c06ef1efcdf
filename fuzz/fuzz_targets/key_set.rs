//! Key sets, as a key server may send them. Nothing may panic; no more keys count than there may be, none of them for a secret's algorithm,
//! and no token is tried with more than a few of them.
#![no_main]

use jsonwebtoken::{Algorithm, Header};
use libfuzzer_sys::fuzz_target;
use ws_gateway::auth::key_set::{KeySet, Signers};

const ALGORITHMS: [Algorithm; 12] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fuzz_target!(|bytes: &[u8]| {
    let Ok(set) = KeySet::parse(bytes) else { return };
    assert!((1..=64).contains(&set.len()));
    let kids: Vec<_> = set.ids().map(str::to_owned).collect();
    for algorithm in ALGORITHMS {
        for kid in kids.iter().map(|kid| Some(kid.clone())).chain([None]) {
            let header = Header { kid, ..Header::new(algorithm) };
            if let Signers::Known(keys) = set.signers(&header) {
                assert!(keys.len() <= 8);
                assert!(keys.is_empty() || !format!("{algorithm:?}").starts_with("HS"), "a secret in public");
            }
        }
    }
});
