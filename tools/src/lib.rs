//! What the tools are made of: the test publisher and the example client.
//!
//! | module | what lives there |
//! |---|---|
//! | [`publisher`] | trades → Redis: made up or replayed, paced, pipelined |
//! | [`client`] | WebSocket → terminal: subscribe, print, come back |
//! | [`trade`] | a trade's JSON as both tools show it, and the aligned columns |
//! | [`event`] | the same for events of other types |
//! | [`backoff`] | how long to wait before trying again |
//! | [`cli`] | values of flags: times, symbols, addresses |
//! | [`term`] | standard output, colours, signals |
//!
//! The made-up market itself is [`ws_gateway::demo`]: the gateway's `--demo` shows the same one.

pub mod backoff;
pub mod cli;
pub mod client;
pub mod event;
pub mod publisher;
pub mod term;
pub mod trade;

pub use ws_gateway::demo::walk;
