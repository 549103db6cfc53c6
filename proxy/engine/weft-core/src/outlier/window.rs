//! What the last seconds were like.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::WINDOW;
use crate::endpoint::Member;

/// Seconds in rotation without a failure after which one ejection is forgiven.
const CALM: u32 = 30;

/// This second, written by all workers.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    successes: AtomicU32,
    failures: AtomicU32,
    answers: AtomicU32,
    micros: AtomicU64,
}

/// One second, or the sum of several.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Second {
    pub(super) successes: u32,
    pub(super) failures: u32,
    pub(super) answers: u32,
    micros: u64,
}

/// The last seconds; only the control thread has it.
#[derive(Debug, Default)]
pub(crate) struct Window {
    seconds: [Second; WINDOW],
    next: usize,
    calm: u32,
}

// === impl Sums ===

impl Sums {
    pub(super) fn succeeded(&self) {
        self.successes.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn took(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX >> 32);
        self.micros.fetch_add(micros, Relaxed);
        self.answers.fetch_add(1, Relaxed);
    }

    fn take(&self) -> Second {
        Second {
            successes: self.successes.swap(0, Relaxed),
            failures: self.failures.swap(0, Relaxed),
            answers: self.answers.swap(0, Relaxed),
            micros: self.micros.swap(0, Relaxed),
        }
    }
}

// === impl Second ===

impl Second {
    /// Seconds that an answer took.
    pub(super) fn mean(&self) -> f64 {
        self.micros as f64 / 1e6 / f64::from(self.answers.max(1))
    }

    fn plus(self, other: &Second) -> Second {
        Second {
            successes: self.successes.saturating_add(other.successes),
            failures: self.failures.saturating_add(other.failures),
            answers: self.answers.saturating_add(other.answers),
            micros: self.micros.saturating_add(other.micros),
        }
    }
}

// === impl Member ===

impl Member {
    /// Ends a second: the sums of the last ten.
    pub(super) fn roll(&self) -> Second {
        let state = &self.state;
        let second = state.sums.take();
        let mut window = state.window.lock().unwrap_or_else(PoisonError::into_inner);
        let next = window.next;
        window.seconds[next] = second;
        window.next = (next + 1) % WINDOW;
        window.calm = if second.failures > 0 || state.rotation.is_ejected() {
            0
        } else {
            window.calm + 1
        };
        if window.calm >= CALM {
            window.calm = 0;
            state.rotation.forgive();
            self.host.forgive();
        }
        let none = Second::default();
        window
            .seconds
            .iter()
            .fold(none, |sum, second| sum.plus(second))
    }

    /// What led to an ejection is not held against it when it is back.
    pub(super) fn forget_window(&self) {
        let mut window = self
            .state
            .window
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        window.seconds = Default::default();
    }
}
