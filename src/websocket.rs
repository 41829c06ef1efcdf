//! WebSocket as RFC 6455 has it: frames in and out, and how a connection ends. Pure.
//!
//! | part | what it is |
//! |---|---|
//! | [`reader`] | bytes in, messages out |
//! | [`header`] | text frames out |
//! | [`close`] | close codes, and the frames that aren't messages |

pub mod close;
pub mod header;
pub mod reader;
