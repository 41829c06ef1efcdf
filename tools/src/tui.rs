//! `ws-client --tui`: the session of [`crate::client`] on a screen.
//!
//! [`model`] holds what came, one [`row`] a symbol, and [`link`] how connection and feed stand; [`keys`] reads keys, [`desk`]
//! holds what the person has chosen; [`view`] draws both, with [`text`] and [`theme`]. All of these are pure. [`screen`] is the terminal,
//! with session and keys around one model on one thread: nothing waits between them, so what the screen can't keep up with stays in
//! the socket, where the gateway notices and tells.

pub mod desk;
pub mod keys;
pub mod link;
pub mod model;
pub mod row;
pub mod screen;
pub mod text;
pub mod theme;
pub mod view;

pub use screen::run;
