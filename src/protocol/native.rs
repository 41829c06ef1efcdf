//! The gateway's own protocol on `/ws` (subprotocol `md.v1.json`): JSON objects in text frames, one each. Pure.
//!
//! | part | what it is |
//! |---|---|
//! | [`read`] | what clients send |
//! | [`desk`] | what they send to the desk |
//! | [`mod@write`] | replies and statuses |
//! | [`held`] | of the replies those that say what a client holds |
//! | [`event`] | events |

pub mod desk;
pub mod event;
pub mod held;
mod options;
pub mod read;
pub mod write;
