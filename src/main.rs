//! The binary: configuration, logging, and the gateway.

use std::process::ExitCode;

use ws_gateway::config::Config;
use ws_gateway::gateway::Gateway;
use ws_gateway::{limits, logging};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = Config::from_args_and_env(std::env::args_os()).unwrap_or_else(|error| error.exit());
    if let Some(answered) = config.answer() {
        return answered;
    }
    logging::start(&config);
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(limits::CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build();
    let served = control
        .map_err(Into::into)
        .and_then(|control| control.block_on(async { Gateway::build(config).await?.run().await }));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ws-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
