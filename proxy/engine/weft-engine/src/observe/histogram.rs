//! Latencies in buckets.

use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};
use std::time::Duration;

use super::exposition::Exemplar;

/// Upper bounds in seconds, as both texts write them, with the same in nanoseconds.
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
    ("1.0", 1_000_000_000),
    ("2.5", 2_500_000_000),
    ("5.0", 5_000_000_000),
    ("10.0", 10_000_000_000),
    ("30.0", 30_000_000_000),
    ("60.0", 60_000_000_000),
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// After its first few requests a bucket's exemplar is replaced by one in so many.
const SELDOM: u64 = 256;

/// Counts by bucket, not cumulative; written by one thread, read by another.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// The sum of several histograms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) nanos: u64,
}

/// A request for each bucket of a histogram; made when there is a first one.
#[derive(Debug, Default)]
pub(crate) struct Exemplars(OnceLock<Box<[Slot; BUCKETS]>>);

/// Written by one thread while others read: what is read between two equal even versions is whole.
#[derive(Debug, Default)]
struct Slot {
    version: AtomicU64,
    trace: [AtomicU64; 4],
    nanos: AtomicU64,
    at: AtomicU64,
}

// === impl Histogram ===

impl Histogram {
    /// Counts one duration; says in which bucket, and how many are in it now.
    pub(crate) fn observe(&self, took: Duration) -> (usize, u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(_, bound)| *bound < nanos);
        add(&self.nanos, nanos);
        (bucket, add(&self.buckets[bucket], 1))
    }

    /// Adds what it counted.
    pub(crate) fn add_to(&self, sum: &mut Sum) {
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Relaxed);
        }
        sum.nanos += self.nanos.load(Relaxed);
    }
}

// === impl Exemplars ===

impl Exemplars {
    /// Whether the request that was counted as the so manyth of its bucket is kept: the first ones, then seldom.
    pub(crate) const fn keeps(count: u64) -> bool {
        count.is_power_of_two() || count.is_multiple_of(SELDOM)
    }

    /// Keeps a request by the 32 digits of its trace.
    pub(crate) fn keep(&self, bucket: usize, trace: &[u8; 32], took: Duration, at: u64) {
        let slot = &self.0.get_or_init(Box::default)[bucket];
        let version = slot.version.load(Relaxed);
        slot.version.store(version + 1, Relaxed);
        fence(Release);
        for (part, digits) in slot.trace.iter().zip(trace.as_chunks::<8>().0) {
            part.store(u64::from_ne_bytes(*digits), Relaxed);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        slot.nanos.store(nanos, Relaxed);
        slot.at.store(at, Relaxed);
        slot.version.store(version + 2, Release);
    }

    /// The request that stands for a bucket.
    pub(crate) fn of(&self, bucket: usize) -> Option<Exemplar> {
        self.0.get()?[bucket].read()
    }
}

// === impl Slot ===

impl Slot {
    fn read(&self) -> Option<Exemplar> {
        let version = self.version.load(Acquire);
        if version == 0 || version % 2 == 1 {
            return None;
        }
        let digits = self
            .trace
            .each_ref()
            .map(|part| part.load(Relaxed).to_ne_bytes());
        let (nanos, at) = (self.nanos.load(Relaxed), self.at.load(Relaxed));
        fence(Acquire);
        let trace = String::from_utf8(digits.concat()).ok()?;
        (self.version.load(Relaxed) == version).then_some(Exemplar { trace, nanos, at })
    }
}

/// One writer needs no read-modify-write. Says how many there are now.
pub(crate) fn add(counter: &AtomicU64, count: u64) -> u64 {
    let sum = counter.load(Relaxed).wrapping_add(count);
    counter.store(sum, Relaxed);
    sum
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

    #[test]
    fn an_exemplar_reads_back_and_an_empty_bucket_has_none() {
        let kept = Exemplars::default();
        assert_eq!(kept.of(3), None);
        kept.keep(
            3,
            b"4bf92f3577b34da6a3ce929d0e0e4736",
            Duration::from_millis(4),
            1_000,
        );
        let one = kept.of(3).expect("kept");
        assert_eq!(one.trace, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((one.nanos, one.at), (4_000_000, 1_000));
        assert_eq!(kept.of(4), None);
    }

    #[test]
    fn what_is_read_while_it_is_written_is_whole() {
        let kept = Exemplars::default();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 0_u64..20_000 {
                    let digit = b'0' + (n % 10) as u8;
                    kept.keep(0, &[digit; 32], Duration::from_nanos(n % 10), n % 10);
                }
            });
            while !writer.is_finished() {
                if let Some(one) = kept.of(0) {
                    let digit = one.nanos.to_string();
                    assert_eq!((one.trace, one.at), (digit.repeat(32), one.nanos));
                }
            }
        });
    }
}
