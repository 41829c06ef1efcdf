//! Loads a gateway and checks every event; see [`ws_load`].

use std::process::ExitCode;

use clap::Parser as _;
use tools::term::reader_is_gone;
use ws_load::Options;

fn main() -> ExitCode {
    match ws_load::main(&Options::parse()) {
        Ok(code) => code,
        Err(error) if reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ws-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
