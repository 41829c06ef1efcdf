//! Subscribes to events and prints them; see [`tools::client`].

use std::process::ExitCode;

use clap::Parser as _;
use tools::client::{self, Options};
use tools::term::{Stop, end};
use tools::tui;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = async {
        let stop = Stop::on_signals()?;
        if options.tui { tui::run(&options, stop).await } else { client::run(&options, stop).await }
    };
    end("ws-client", outcome.await)
}
