//! Subscribes to events and prints them; see [`tools::client`].

use std::process::ExitCode;

use clap::Parser as _;
use tools::client::{self, Options};
use tools::term::{Stop, end};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = async { client::run(&options, Stop::on_signals()?).await };
    end("ws-client", outcome.await)
}
