//! What the tools are made of: the test publisher, the client for the command line, and tokens.
//!
//! | module | what lives there |
//! |---|---|
//! | [`publisher`] | trades → Redis: made up or replayed, paced, pipelined |
//! | [`client`] | WebSocket → terminal: subscribe, print, come back |
//! | [`tui`] | the same client on a screen: watchlist, chart, tape, keys |
//! | [`token`] | keys and tokens: make, sign, look into, check by a gateway's settings |
//! | [`trade`] | a trade's JSON as both tools show it, and the aligned columns |
//! | [`event`] | the same for events of other types |
//! | [`cli`] | values of flags and environment variables |
//! | [`term`] | the terminal: output, colours, foreign text, signals |
//!
//! What the gateway knows is taken from it: what a symbol is, the made-up market, units, back-off, escaping.

pub mod cli;
pub mod client;
pub mod event;
pub mod publisher;
pub mod term;
pub mod token;
pub mod trade;
pub mod tui;

use std::time::Duration;

/// The longest pause after a first failure to reach Redis or a gateway. Pauses are drawn from zero up, so that a crowd that lost the
/// same server spreads; their longest doubles with each failure.
pub const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause there is.
pub const PAUSE_MAX: Duration = Duration::from_secs(30);
