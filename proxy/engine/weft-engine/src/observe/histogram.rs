//! Latencies in buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds in seconds, as Prometheus writes them, with the same in nanoseconds.
pub(crate) const BOUNDS: [(&str, u64); 16] = [
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.0025", 2_500_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.025", 25_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.25", 250_000_000),
    ("0.5", 500_000_000),
    ("1", 1_000_000_000),
    ("2.5", 2_500_000_000),
    ("5", 5_000_000_000),
    ("10", 10_000_000_000),
    ("30", 30_000_000_000),
    ("60", 60_000_000_000),
];

/// Counts by bucket, not cumulative; written by one thread, read by another.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// The sum of several histograms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) buckets: [u64; BOUNDS.len() + 1],
    pub(crate) nanos: u64,
}

// === impl Histogram ===

impl Histogram {
    /// Counts one duration.
    pub(crate) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(_, bound)| *bound < nanos);
        add(&self.buckets[bucket], 1);
        add(&self.nanos, nanos);
    }

    /// Adds what it counted.
    pub(crate) fn add_to(&self, sum: &mut Sum) {
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Relaxed);
        }
        sum.nanos += self.nanos.load(Relaxed);
    }
}

/// One writer needs no read-modify-write.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for nanos in [500_000, 500_001, 61_000_000_000] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let mut sum = Sum::default();
        histogram.add_to(&mut sum);
        assert_eq!((sum.buckets[0], sum.buckets[1], sum.buckets[16]), (1, 1, 1));
    }
}
