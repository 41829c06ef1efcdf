//! Finds the variable that is meant by a name that is none. The environment and `.env` are shared with other programs, so such a name is
//! passed over; but a limit that is misspelt is no limit. Pure.

use strsim::osa_distance;

/// Shorter names are too much like those of other programs (`ES_HOST`, `SERVER_IP`).
const LETTERS_MIN: usize = 10;

/// The one of `known` that differs from `name` in its case, or in one letter: one too many, missing, changed, or two swapped. The nearest of
/// several, and of those the first in the alphabet.
pub(super) fn meant(name: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    let distance = |known: &str| osa_distance(&upper, known);
    let is_near = |known: &str| distance(known) <= usize::from(known.len() >= LETTERS_MIN);
    known.into_iter().filter(|known| is_near(known)).min_by_key(|known| (distance(known), *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_is_forgiven() {
        let meant = |name| meant(name, ["MAX_SYMBOLS_PER_CLIENT", "REDIS_URL", "SEQ", "WS_PORT"]);
        for name in [
            "MAX_SYMBOL_PER_CLIENT",
            "MAX_SYMBOLS_PER_CLIENTS",
            "MAX_SYMBOLS-PER_CLIENT",
            "MAX_SMYBOLS_PER_CLIENT",
            "max_symbols_per_client",
        ] {
            assert_eq!(meant(name), Some("MAX_SYMBOLS_PER_CLIENT"), "{name}");
        }
        assert_eq!(meant("ws_port"), Some("WS_PORT"));
        for other in ["MAX_SYMBOLS", "REDIS_URI", "SEQS", "PORT", "PATH", ""] {
            assert_eq!(meant(other), None, "{other}");
        }
    }
}
