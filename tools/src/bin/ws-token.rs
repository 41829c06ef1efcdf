//! Makes keys and tokens, and says what a gateway makes of them; see [`tools::token`].

use std::process::ExitCode;

use clap::Parser as _;
use tools::term::end;
use tools::token::{self, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    end("ws-token", token::run(Options::parse()).await)
}
