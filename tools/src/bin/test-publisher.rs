//! Publishes trades to Redis; see [`tools::publisher`].

use std::process::ExitCode;

use clap::Parser as _;
use tools::publisher::{self, Options};
use tools::term::{Stop, reader_is_gone};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = async { publisher::run(&options, Stop::on_signals()?).await };
    match outcome.await {
        Ok(code) => code,
        Err(error) if reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("test-publisher: {error:#}");
            ExitCode::FAILURE
        }
    }
}
