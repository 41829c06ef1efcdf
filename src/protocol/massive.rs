//! The stream of Massive, formerly Polygon, as its SDKs speak it: JSON in text messages, one endpoint for each market. Pure.
//!
//! | part | what it is |
//! |---|---|
//! | [`channel`] | its names for types of events, market by market |
//! | [`event`] | a worker's event as an object of Massive's |
//! | [`read`] | requests |
//! | [`mod@write`] | replies and statuses |
//!
//! Messages are arrays. What the gateway says that the API doesn't know is a status like all others, with a `message`.

pub mod channel;
pub mod event;
pub mod read;
pub mod write;

#[cfg(test)]
mod tests;
