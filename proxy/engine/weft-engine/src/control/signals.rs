//! What people and supervisors say to an engine.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::start::StartError;

/// The two that ask for its end.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl Signals ===

impl Signals {
    pub(super) fn new() -> Result<Self, StartError> {
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Returns when somebody asks for the end.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!(signal = "SIGTERM", "ending"),
            _ = self.interrupt.recv() => tracing::info!(signal = "SIGINT", "ending"),
        }
    }

    /// Returns when it is done, or somebody asks for the end meanwhile.
    pub(super) async fn or(&mut self, done: impl Future<Output = ()>) {
        tokio::select! {
            () = done => {}
            () = self.asked() => tracing::info!("at once"),
        }
    }
}

/// What is heard of one signal.
pub(super) fn listen(kind: SignalKind) -> Result<Signal, StartError> {
    signal(kind).map_err(|error| StartError::new("signals", error))
}
