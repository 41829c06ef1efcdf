//! Alpaca's market data stream, version 2, as its SDKs speak it: JSON in text messages, or MessagePack in binary ones. Pure.
//!
//! | part | what it is |
//! |---|---|
//! | [`channel`] | its names for types of events |
//! | [`event`] | a worker's event as an object of Alpaca's |
//! | [`read`] | requests |
//! | [`mod@write`] | replies and statuses |
//!
//! Data messages are arrays of events. Replies and statuses are arrays of one. What the gateway says that Alpaca's API doesn't know has a `T` that
//! it doesn't have either (`feed`, `skipped`, `gap`): its SDKs pass over such objects.

pub mod channel;
pub mod event;
pub mod read;
pub mod write;
