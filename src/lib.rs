//! Market-data fan-out gateway.
pub mod market;
pub mod metrics;
pub mod state;
