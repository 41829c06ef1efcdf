//! The load generator: subscribers by the ten thousand on one side, a publisher on the other, and exact books in
//! between.
//!
//! ```text
//!  coordinator ── publisher thread ──► Redis ──► gateway ──► workers (processes)
//!      │  samples CPU and memory of all of them                │
//!      └──────────────── commands ► ◄ reports ─────────────────┘
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`options`], [`preset`] | the command line, the scenarios that have names, the plan |
//! | [`run`] | the coordinator: open, publish, watch, finish |
//! | [`workers`], [`worker`], [`wire`] | processes that hold connections: started, run, talked with |
//! | [`swarm`] | connections on one epoll |
//! | [`handshake`], [`frames`], [`message`] | what a connection reads and writes, in place |
//! | [`crowd`], [`ledger`] | who subscribes to what; whether everything came once and in order |
//! | [`desk`] | rooms in place of symbols: who talks when |
//! | [`feed`], [`pace`], [`resp`] | the publisher, its schedule, its protocol |
//! | [`dialect`], [`forms`] | which protocol: the gateway's in one of its forms, or another to compare with |
//! | [`server`], [`clock`], [`latency`] | processor time and memory; clocks; histograms |
//! | [`report`], [`table`] | the result, as JSON and for people |
//!
//! A worker is a process even when there is only one, so that its processor time is its own, and so that there is only
//! one way.

pub mod clock;
pub mod crowd;
pub mod desk;
pub mod dialect;
pub mod feed;
pub mod forms;
pub mod frames;
pub mod handshake;
pub mod latency;
pub mod ledger;
pub mod message;
pub mod options;
pub mod pace;
pub mod preset;
pub mod report;
pub mod resp;
pub mod run;
pub mod server;
pub mod swarm;
pub mod table;
pub mod wire;
pub mod worker;
pub mod workers;

use std::process::ExitCode;

use anyhow::Context as _;

use tools::term::{print, tell};

pub use options::Options;

use dialect::Dialect;

/// Runs what the command line asks for, and prints the result.
///
/// # Errors
/// If it can't be run at all; what the server does wrong shows in the result, and in the exit code.
pub fn main<D: Dialect>(options: &Options) -> anyhow::Result<ExitCode> {
    if options.worker {
        worker::run::<D>()?;
        return Ok(ExitCode::SUCCESS);
    }
    let descriptors =
        rlimit::increase_nofile_limit(u64::MAX).context("the open-file limit can't be raised")?;
    let plan = options.plan::<D>(descriptors)?;
    let report = run::run::<D>(&plan)?;
    let table = table::render(&report);
    let printed = if options.json {
        tell(table.trim_end());
        print(&serde_json::to_string(&report)?)
    } else {
        print(table.trim_end())
    };
    // Whoever no longer reads the report still has the exit code.
    printed.or_else(|error| if error.reader_is_gone() { Ok(()) } else { Err(error) })?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
