//! The signals that the process acts on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT and SIGQUIT, which end the gateway, and SIGHUP, which has it read files again and never ends it.
///
/// Install them before anything that can take time. Without a handler such a signal kills an ordinary process at once,
/// and does nothing to the first process of a container.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Installs the handlers. Must be called within a tokio runtime.
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

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End("SIGTERM"),
            _ = self.interrupt.recv() => Asked::End("SIGINT"),
            _ = self.quit.recv() => Asked::End("SIGQUIT"),
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    /// Waits for the next signal that ends the gateway, and returns its name.
    pub async fn end(&mut self) -> &'static str {
        loop {
            match self.next().await {
                Asked::End(signal) => return signal,
                Asked::Reload => {
                    tracing::info!("SIGHUP: nothing is read again while the gateway starts or ends");
                }
            }
        }
    }
}

/// The request of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// End the gateway; the signal's name.
    End(&'static str),
    /// Read files again.
    Reload,
}
