//! Attacks on a real gateway, one kind a file. Each file states the bound that holds.
//!
//! Beside every attack two hundred honest clients of the same gateway get every trade, in order, and once the attack has gone the
//! gateway's memory comes back to what it was (see [`stage`]).

#[allow(dead_code, unused_imports, reason = "the guarantees use the rest")]
#[path = "../guarantees/support/mod.rs"]
mod support;

mod stage;

mod address_walks;
mod broken_frames;
mod deflate_bombs;
mod endless_messages;
mod forged_addresses;
mod forged_tokens;
mod frames_behind_the_upgrade;
mod header_bombs;
mod json_bombs;
mod kid_walks;
mod redis_that_lies;
mod slow_handshakes;
mod subscribe_storms;
mod tls_garbage;
