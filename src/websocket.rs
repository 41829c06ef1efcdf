//! WebSocket (RFC 6455): reads and writes frames. Pure.
//!
//! | part | what it does |
//! |---|---|
//! | [`reader`] | turns a client's bytes into messages |
//! | [`header`] | writes text frames |
//! | [`close`] | close codes, and writing control frames: close, ping, pong |

pub mod close;
pub mod header;
pub mod reader;
