//! The buckets of one rule.

use std::hash::RandomState;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use weft_model::section::Limit;

use crate::time::Moment;

/// So many places are looked at for a key.
const PROBES: usize = 8;

/// Of refusals by one rule, one in this time is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// The buckets of one rule; the last is that of all keys that found no other.
#[derive(Debug)]
pub(super) struct Table {
    /// Makes keys; seeded, so that nobody can choose where theirs come to lie.
    pub(super) hasher: RandomState,
    buckets: Box<[Bucket]>,
    /// Nanoseconds for each request; 0: no rate.
    interval: AtomicU64,
    /// The interval times the burst.
    span: AtomicU64,
    /// At a time.
    places: AtomicU32,
    refused: AtomicU64,
    overflowed: AtomicU64,
    told: AtomicU64,
}

/// What one key has.
#[derive(Debug, Default)]
struct Bucket {
    /// 0: nobody's.
    key: AtomicU64,
    /// When it is full again, in nanoseconds; in the past: it is.
    full: AtomicU64,
    /// At this moment.
    open: AtomicU32,
}

// === impl Table ===

impl Table {
    /// For so many keys, a power of two or none.
    pub(super) fn new(keys: usize) -> Self {
        debug_assert!(keys == 0 || keys.is_power_of_two());
        Self {
            hasher: RandomState::new(),
            buckets: (0..=keys).map(|_| Bucket::default()).collect(),
            interval: AtomicU64::new(0),
            span: AtomicU64::new(0),
            places: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    /// These bounds hold from now on, for what is open and spent too.
    pub(super) fn set(&self, limit: &Limit, share: f64) {
        let burst = (f64::from(limit.burst) * share).max(1.0);
        let window = Duration::from_millis(limit.window_ms).as_nanos() as f64;
        let interval = match limit.rate {
            0 => 0.0,
            // Never rounded to nothing; a share of nothing is one request in the longest time there is.
            rate => (window / (f64::from(rate) * share)).clamp(1.0, 1e15),
        };
        self.interval.store(interval as u64, Relaxed);
        self.span.store((interval * burst) as u64, Relaxed);
        let places = match limit.concurrency {
            0 => 0,
            places => ((f64::from(places) * share).round() as u32).max(1),
        };
        self.places.store(places, Relaxed);
    }

    /// The bucket of everybody.
    pub(super) fn shared(&self) -> usize {
        self.buckets.len() - 1
    }

    /// The bucket of a key: its own, one that nobody needs any more, or everybody's.
    pub(super) fn find(&self, key: u64, now: Moment) -> usize {
        let key = key | 1;
        let mask = self.shared().wrapping_sub(1);
        let places = || (0..PROBES).map(|step| (key as usize).wrapping_add(step) & mask);
        if self.shared() > 0 {
            if let Some(own) = places().find(|place| self.buckets[*place].key.load(Relaxed) == key)
            {
                return own;
            }
            if let Some(made) = places().find(|place| self.buckets[*place].claim(key, now)) {
                return made;
            }
        }
        self.overflowed.fetch_add(1, Relaxed);
        self.shared()
    }

    /// One request now; else how long until there may be one.
    pub(super) fn take(&self, bucket: usize, now: Moment) -> Result<(), Duration> {
        let (interval, span) = (self.interval.load(Relaxed), self.span.load(Relaxed));
        if interval == 0 {
            return Ok(());
        }
        let now = now.as_nanos();
        let next = |full: u64| full.max(now).saturating_add(interval);
        self.buckets[bucket]
            .full
            .fetch_update(Relaxed, Relaxed, |full| {
                (next(full) - now <= span).then(|| next(full))
            })
            .map(drop)
            .map_err(|full| Duration::from_nanos(next(full) - now - span))
    }

    /// How long until the bucket of everybody is full again.
    pub(super) fn spent(&self, now: Moment) -> Duration {
        let full = self.buckets[self.shared()].full.load(Relaxed);
        Duration::from_nanos(full.saturating_sub(now.as_nanos()))
    }

    /// It is full again only then.
    pub(super) fn spend(&self, left: Duration, now: Moment) {
        let full = now.plus(left).as_nanos();
        self.buckets[self.shared()].full.fetch_max(full, Relaxed);
    }

    /// One request that was taken did not happen.
    pub(super) fn give_back(&self, bucket: usize) {
        let interval = self.interval.load(Relaxed);
        // What was taken under another bound may be less than an interval now.
        let _ = self.buckets[bucket]
            .full
            .fetch_update(Relaxed, Relaxed, |full| Some(full.saturating_sub(interval)));
    }

    /// Whether there is a place; then it is taken.
    pub(super) fn enter(&self, bucket: usize) -> bool {
        let places = self.places.load(Relaxed);
        self.buckets[bucket]
            .open
            .fetch_update(Relaxed, Relaxed, |open| (open < places).then_some(open + 1))
            .is_ok()
    }

    /// A place is free again.
    pub(super) fn leave(&self, bucket: usize) {
        self.buckets[bucket].open.fetch_sub(1, Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Whether a refusal now is worth telling.
    pub(super) fn is_news(&self, now: Moment) -> bool {
        let next = now.plus(TOLD_EVERY).as_nanos();
        self.told
            .fetch_update(Relaxed, Relaxed, |told| {
                (told <= now.as_nanos()).then_some(next)
            })
            .is_ok()
    }

    /// Requests refused, and keys that found no bucket of their own.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.refused.load(Relaxed), self.overflowed.load(Relaxed))
    }
}

// === impl Bucket ===

impl Bucket {
    /// Makes it the key's, if nobody needs it: nobody has it, or who had it owes nothing.
    fn claim(&self, key: u64, now: Moment) -> bool {
        let before = self.key.load(Relaxed);
        let free = before == 0
            || self.open.load(Relaxed) == 0 && self.full.load(Relaxed) <= now.as_nanos();
        let claimed = || self.key.compare_exchange(before, key, Relaxed, Relaxed);
        // Whoever was faster may have been the same key.
        free && claimed().map_or_else(|found| found == key, |_| true)
    }
}
