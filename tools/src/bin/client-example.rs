//! Subscribes to trades and prints them; see [`tools::client`].

use std::process::ExitCode;

use clap::Parser as _;
use tools::client::{self, Options};
use tools::term::{Stop, reader_is_gone};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = async { client::run(&options, Stop::on_signals()?).await };
    match outcome.await {
        Ok(code) => code,
        Err(error) if reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client-example: {error:#}");
            ExitCode::FAILURE
        }
    }
}
