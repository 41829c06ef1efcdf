//! Loads a gateway and checks every event; see [`ws_load`].

use std::process::ExitCode;

use clap::Parser as _;
use tools::term::end;
use ws_load::Options;
use ws_load::dialect::Gateway;

fn main() -> ExitCode {
    end("ws-load", ws_load::main::<Gateway>(&Options::parse()))
}
