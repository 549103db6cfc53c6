//! Somebody who listens to single requests, over a connection of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{Counts, Filter, Watch};

/// Records that may wait for a reader.
const QUEUE: usize = 512;

/// The end that records are put into.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) filter: Filter,
    out: Sender<String>,
    dropped: AtomicU64,
}

/// The end that they are read from; nobody taps any more when it is dropped.
#[derive(Debug)]
pub(crate) struct Tapped {
    tap: Arc<Tap>,
    records: Receiver<String>,
    watch: Arc<Watch>,
}

// === impl Tap ===

impl Tap {
    pub(super) fn new(filter: Filter) -> (Self, Receiver<String>) {
        let (out, records) = channel(QUEUE);
        let dropped = AtomicU64::new(0);
        let tap = Self {
            filter,
            out,
            dropped,
        };
        (tap, records)
    }

    /// Puts one in, unless the reader is behind.
    pub(super) fn put(&self, record: &str, counts: &Counts) {
        if self.out.try_send(record.to_owned()).is_ok() {
            counts.tapped.fetch_add(1, Relaxed);
        } else {
            self.dropped.fetch_add(1, Relaxed);
            counts.tap_dropped.fetch_add(1, Relaxed);
        }
    }
}

// === impl Tapped ===

impl Tapped {
    pub(super) fn new(tap: Arc<Tap>, records: Receiver<String>, watch: Arc<Watch>) -> Self {
        Self {
            tap,
            records,
            watch,
        }
    }

    /// The next record, with how many were lost so far.
    pub(crate) async fn next(&mut self) -> Option<(String, u64)> {
        let record = self.records.recv().await?;
        Some((record, self.tap.dropped.load(Relaxed)))
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        self.watch.untap(&self.tap);
    }
}
