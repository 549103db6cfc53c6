//! How the engine stands with its agent.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// Told by whoever speaks with agents, read by whoever scrapes.
#[derive(Debug)]
pub(crate) struct Standing {
    born: Instant,
    /// Nanoseconds since then; 0: never.
    acked: AtomicU64,
    agent: AtomicBool,
    fell_back: OnceLock<&'static str>,
}

// === impl Standing ===

impl Standing {
    /// Before anybody came.
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            acked: AtomicU64::new(0),
            agent: AtomicBool::new(false),
            fell_back: OnceLock::new(),
        }
    }

    /// The newest generation on disk was not served at the start: why.
    pub(crate) fn fell(&self, why: &'static str) {
        // Told once.
        let _ = self.fell_back.set(why);
    }

    /// Why the newest generation on disk was not served at the start, where it was not.
    pub(crate) fn fell_back(&self) -> Option<&'static str> {
        self.fell_back.get().copied()
    }

    /// A change is in force.
    pub(crate) fn acked(&self) {
        let nanos = u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.acked.store(nanos.max(1), Relaxed);
    }

    /// Whether an agent is here from now on.
    pub(crate) fn agent(&self, is_here: bool) {
        self.agent.store(is_here, Relaxed);
    }

    /// Whether an agent is here.
    pub(crate) fn has_agent(&self) -> bool {
        self.agent.load(Relaxed)
    }

    /// How long ago a change came into force; `None`: none did.
    pub(crate) fn age(&self) -> Option<Duration> {
        match self.acked.load(Relaxed) {
            0 => None,
            nanos => Some(
                self.born
                    .elapsed()
                    .saturating_sub(Duration::from_nanos(nanos)),
            ),
        }
    }
}
