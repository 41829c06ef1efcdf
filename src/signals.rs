//! The signals that the process acts on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT and SIGQUIT, which ask the gateway to end, and SIGHUP, which asks it to read files again and doesn't
/// end it.
///
/// They have to be installed before anything that can take time: until then a signal ends an ordinary process
/// without a word, and is lost on the first process of a container.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Catches them from now on. Must be called within a runtime.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The name of the next signal that asks the gateway to end.
    pub async fn end(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.quit.recv() => return "SIGQUIT",
                _ = self.hang_up.recv() => {
                    tracing::info!("SIGHUP: nothing is reloaded, settings and files are read at the start only");
                }
            }
        }
    }
}
