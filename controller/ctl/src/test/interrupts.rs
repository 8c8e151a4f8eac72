//! Signals that ask the test to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Requests to end: the first one ends the test, the next one the cleaning.
pub(crate) trait Interrupts {
    /// Waits for the next one.
    async fn next(&mut self);
}

/// SIGINT, SIGTERM and SIGHUP.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

impl Interrupts for Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
