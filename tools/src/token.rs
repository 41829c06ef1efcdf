//! `ws-token`: makes keys, signs tokens, looks into them, and says what a gateway of some configuration makes of one.
//!
//! | part | command |
//! |---|---|
//! | [`keys`] | `key`, and the reading of keys to sign with |
//! | [`sign`] | `sign`: claims in the gateway's terms |
//! | [`inspect`] | `inspect`: what a token says of itself |
//! | [`check`] | `check`: what a gateway makes of it, by the gateway's own code |
//! | `unread` | the claims of a token that a gateway passes over |
//! | [`times`] | points in time, for people |

pub mod check;
pub mod inspect;
pub mod keys;
pub mod sign;
pub mod times;
mod unread;

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  ws-token key --alg ES256 --out prices          prices.key.pem, prices.pub.pem, prices.jwks.json
  ws-token sign --key prices.key.pem --sub alice --symbols 'AAPL,BTC-*' --max-rate 4
  ws-token sign --sub robot --expires 30d        with the secret in JWT_SECRET_KEY
  ws-token inspect \"$TOKEN\"
  ws-token check \"$TOKEN\" --subscribe AAPL,MSFT    by the settings of this directory and environment
  ws-token check \"$TOKEN\" --pid \"$(pidof ws-gateway)\"  by those of a running gateway

Exit code: 0, or for check 0 if the token holds and the subscribe is granted; 1 if not, 2 for a wrong
command line.";

/// Makes keys and tokens for ws-gateway, and says what a gateway makes of them.
#[derive(Debug, Parser)]
#[command(name = "ws-token", version, after_help = EXAMPLES)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key: a secret on standard output, or a pair in files
    Key(keys::Options),
    /// Sign a token, and print it
    Sign(Box<sign::Options>),
    /// Show what a token says, without checking its signature
    Inspect(inspect::Options),
    /// Say what a gateway makes of a token: who it is, what it may have, or why not
    Check(Box<check::Options>),
}

/// Does what the command line says.
///
/// # Errors
/// When a file or a token can't be used, or standard output can't be written.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    match options.command {
        Command::Key(options) => keys::run(&options),
        Command::Sign(options) => sign::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Check(options) => check::run(&options).await,
    }
}

/// A token from the command line, or from standard input: other users of the machine see command lines.
fn token(argument: Option<&str>) -> anyhow::Result<String> {
    let token = match argument {
        Some(token) if token != "-" => token.to_owned(),
        _ => {
            let mut text = String::new();
            // As much as a token may have, several times over.
            std::io::stdin().take(1 << 20).read_to_string(&mut text).context("standard input")?;
            text
        }
    };
    let token = token.trim();
    // As it stands in a header, or in an example.
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
    ensure!(!token.is_empty(), "there is no token: name it, or give it on standard input");
    Ok(token.to_owned())
}
