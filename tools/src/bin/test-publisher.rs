//! Publishes events to Redis; see [`tools::publisher`].

use std::process::ExitCode;

use clap::Parser as _;
use tools::publisher::{self, Options};
use tools::term::{Stop, end};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = async { publisher::run(&options, Stop::on_signals()?).await };
    end("test-publisher", outcome.await)
}
