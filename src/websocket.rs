//! WebSocket (RFC 6455, RFC 7692): reads and writes frames. Pure.
//!
//! | part | what it does |
//! |---|---|
//! | [`reader`] | turns a client's bytes into messages |
//! | [`header`] | writes text frames |
//! | [`deflate`] | compresses messages, and reads compressed ones (RFC 7692) |
//! | [`extension`] | whether a client offers that |
//! | [`close`] | close codes, and writing control frames: close, ping, pong |

pub mod close;
pub mod deflate;
pub mod extension;
pub mod header;
pub mod reader;
