//! Loads a gateway and checks every event; see [`tools::load`].

use std::process::ExitCode;

use clap::Parser as _;
use tools::load::{self, Options};
use tools::term::reader_is_gone;

fn main() -> ExitCode {
    match load::main(&Options::parse()) {
        Ok(code) => code,
        Err(error) if reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ws-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
