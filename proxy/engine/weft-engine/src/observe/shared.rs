//! What is counted of one service by all workers and the control thread together: seldom, or only where it is asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use weft_core::balance::{Pick, Why};
use weft_core::outlier::{Cause, Change};

/// Counts of one service; they live as long as it is known.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Shared {
    zone: [AtomicU64; 2],
    panicked: AtomicU64,
    failovers: AtomicU64,
    retries: [AtomicU64; RETRIES.len()],
    changes: [AtomicU64; CHANGES.len()],
}

/// What came of a failure that may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retried {
    /// It was.
    Tried,
    /// It would have been, but for the budget.
    OverBudget,
    /// It would have been, but what was sent of its body is not there any more.
    BodyGone,
}

/// The words for them, in their order.
pub(crate) const RETRIES: [&str; 3] = ["tried", "over_budget", "body_gone"];

/// What happens to an endpoint or a host, and why: the labels of `weft_ejections_total`.
pub(crate) const CHANGES: [(&str, &str); 9] = [
    ("ejected", "consecutive"),
    ("ejected", "success"),
    ("ejected", "latency"),
    ("ejected", "suspect"),
    ("ejected", "probe"),
    ("ejected", "connect"),
    ("returned", "endpoint"),
    ("returned", "host"),
    ("gone", "suspect"),
];

/// All counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedCounts {
    /// Requests that stayed in the caller's zone, and those that did not, where one is preferred.
    pub(crate) zone: [u64; 2],
    /// Requests that went to an ejected instance, because too many were.
    pub(crate) panicked: u64,
    /// Requests that went to another service, because nobody of this one was in rotation.
    pub(crate) failovers: u64,
    /// As in [`RETRIES`].
    pub(crate) retries: [u64; RETRIES.len()],
    /// As in [`CHANGES`].
    pub(crate) changes: [u64; CHANGES.len()],
}

/// The words for what happened to an endpoint or a host.
pub(crate) fn words(change: Change) -> (&'static str, &'static str) {
    CHANGES[place(change)]
}

fn place(change: Change) -> usize {
    match change {
        Change::Ejected(_, Cause::Consecutive) => 0,
        Change::Ejected(_, Cause::Success) => 1,
        Change::Ejected(_, Cause::Latency) => 2,
        Change::Ejected(_, Cause::Suspect) => 3,
        Change::Ejected(_, Cause::Probe) => 4,
        Change::HostEjected(_) => 5,
        Change::Returned => 6,
        Change::HostReturned => 7,
        Change::Gone => 8,
    }
}

// === impl Shared ===

impl Shared {
    /// Somebody was picked.
    pub(crate) fn picked(&self, pick: Pick) {
        if let Some(here) = pick.here {
            self.zone[usize::from(!here)].fetch_add(1, Relaxed);
        }
        if pick.why == Why::Panic {
            self.panicked.fetch_add(1, Relaxed);
        }
    }

    /// A request goes to another service.
    pub(crate) fn failed_over(&self) {
        self.failovers.fetch_add(1, Relaxed);
    }

    /// A request or connection was tried again, or was not.
    pub(crate) fn retried(&self, how: Retried) {
        self.retries[how as usize].fetch_add(1, Relaxed);
    }

    /// Somebody left rotation or came back.
    pub(crate) fn changed(&self, change: Change) {
        self.changes[place(change)].fetch_add(1, Relaxed);
    }

    /// All of it.
    pub(crate) fn counts(&self) -> SharedCounts {
        let load = |count: &AtomicU64| count.load(Relaxed);
        SharedCounts {
            zone: self.zone.each_ref().map(load),
            panicked: load(&self.panicked),
            failovers: load(&self.failovers),
            retries: self.retries.each_ref().map(load),
            changes: self.changes.each_ref().map(load),
        }
    }
}

// === impl SharedCounts ===

impl SharedCounts {
    /// Adds another's.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, one) in self.zone.iter_mut().zip(other.zone) {
            *sum += one;
        }
        self.panicked += other.panicked;
        self.failovers += other.failovers;
        for (sum, one) in self.retries.iter_mut().zip(other.retries) {
            *sum += one;
        }
        for (sum, one) in self.changes.iter_mut().zip(other.changes) {
            *sum += one;
        }
    }
}
