//! Binance's market streams, as its SDKs speak them: JSON in text messages, one event each. Pure.
//!
//! | part | what it is |
//! |---|---|
//! | [`stream`] | its names for types of events of a symbol |
//! | [`event`] | a worker's event as an object of Binance's |
//! | [`sums`] | an event that stands for several trades |
//! | [`read`] | requests |
//! | [`mod@write`] | replies and statuses |
//!
//! A connection is *combined*, then the stream's name stands around each event, or *raw*. What the gateway says that the API doesn't know has a
//! stream of its own, `!gateway`, so a raw connection isn't told.

pub mod event;
pub mod read;
pub mod stream;
pub mod sums;
pub mod write;

#[cfg(test)]
mod tests;
