//! The binary: reads the configuration, then runs the gateway or the other action of the command line.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use ws_gateway::config::{Action, Config, ConfigError, env_example, settings_markdown};
use ws_gateway::signals::Signals;
use ws_gateway::{gateway, healthcheck, limits, logging};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code for a command line or a setting that isn't allowed.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(limits::CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build();
    let control = match control {
        Ok(control) => control,
        Err(error) => {
            return fail(format_args!("ws-gateway: the control threads could not be started: {error}"));
        }
    };
    let ended = control.block_on(run());
    // Tasks are left only if a signal ended the start or the drain; the process doesn't wait for them.
    control.shutdown_background();
    ended
}

/// Signals are caught before anything is read: `.env` may be a FIFO, or lie on a server that is away.
async fn run() -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return fail(format_args!("ws-gateway: signals can't be caught: {error}")),
    };
    let begun = tokio::select! {
        begun = tokio::task::spawn_blocking(begin) => begun,
        signal = signals.end() => return fail(format_args!("ws-gateway: ended by {signal}")),
    };
    match begun {
        Ok(Begun::Gateway(config)) => serve(*config, signals).await,
        Ok(Begun::Ended(code)) => code,
        Err(error) => fail(format_args!("ws-gateway: {error}")),
    }
}

/// What the command line asks for.
enum Begun {
    /// A gateway.
    Gateway(Box<Config>),
    /// Something else, which has been done.
    Ended(ExitCode),
}

/// Reads the configuration, and does what the command line asks for unless it is a gateway.
fn begin() -> Begun {
    let config = match Config::from_args_and_env(std::env::args_os()) {
        Ok(config) => config,
        Err(error) => return Begun::Ended(explain(&error)),
    };
    Begun::Ended(match config.action {
        Action::Run => return Begun::Gateway(Box::new(config)),
        Action::Healthcheck => match healthcheck(&config) {
            Ok(body) => print(&format!("{body}\n")),
            Err(problem) => fail(format_args!("unhealthy: {problem}")),
        },
        Action::CheckConfig => {
            let warnings = config.warnings.iter().map(|warning| format!("warning: {warning}\n"));
            print(&format!("{}the configuration is good\n", warnings.collect::<String>()))
        }
        Action::PrintConfig => print(&config.show()),
        Action::PrintSettingsTable => print(&settings_markdown()),
        Action::PrintEnvExample => print(&env_example()),
    })
}

/// Asks the operator's port, if there is one, or else the clients', under TLS where that is on.
fn healthcheck(config: &Config) -> Result<String, String> {
    match config.operator.listen() {
        Some(listen) => healthcheck::ask(listen, false),
        None => healthcheck::ask(config.server.listen, config.server.tls().is_some()),
    }
}

async fn serve(config: Config, signals: Signals) -> ExitCode {
    let log = match logging::start(&config) {
        Ok(log) => log,
        Err(error) => {
            return fail(format_args!("ws-gateway: the log's thread could not be started: {error}"));
        }
    };
    let served = gateway::serve(config, signals).await;
    if let Err(error) = &served {
        log.tell(&format!("{error:#}"));
    }
    log.finish();
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints help and version on standard output, and everything else as an error.
fn explain(error: &ConfigError) -> ExitCode {
    match error {
        ConfigError::CommandLine(answer) if !answer.use_stderr() => printed(answer.print()),
        ConfigError::CommandLine(error) => {
            let _ = error.print();
            ExitCode::from(MISUSED)
        }
        error => {
            fail(format_args!("ws-gateway: {error}"));
            ExitCode::from(MISUSED)
        }
    }
}

fn print(text: &str) -> ExitCode {
    let mut output = io::stdout().lock();
    printed(output.write_all(text.as_bytes()).and_then(|()| output.flush()))
}

/// The exit code after printing. A reader that closed the pipe early, such as `head`, is no error; a full disk is one.
fn printed(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(format_args!("ws-gateway: standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Says on standard error why the process ends. If that can't be written, the exit code is all there is.
fn fail(why: impl Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "{why}");
    ExitCode::FAILURE
}
