//! Market-data fan-out gateway.
pub mod admission;
pub mod config;
pub mod conn;
pub mod demo;
pub mod fanout;
pub mod frame;
pub mod gateway;
pub mod healthcheck;
pub mod http;
pub mod ingest;
pub mod limits;
pub mod logging;
pub mod market;
pub mod metrics;
pub mod state;
pub mod stats;
