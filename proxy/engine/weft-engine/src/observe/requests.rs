//! Requests by what they were and how they ended, with a bound on how many series there may be.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weft_core::reason::Reason;
use weft_http1::Method;

use super::histogram::add;
use super::{Histogram, Label};

/// So many series one worker counts; whatever comes later is counted with `_other` for its names.
const MOST: usize = 4096;

/// Which way a request went through the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Direction {
    /// From an application here.
    Outbound,
    /// To an application here.
    Inbound,
    /// From the world.
    Gateway,
}

/// What requests are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey {
    pub(crate) direction: Direction,
    pub(crate) source: Label,
    pub(crate) destination: Label,
    pub(crate) route: Label,
    pub(crate) method: Method,
    pub(crate) code: u16,
    pub(crate) reason: Option<Reason>,
}

/// One series with the histogram it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) key: RequestKey,
    pub(crate) count: Arc<AtomicU64>,
    pub(crate) duration: Arc<Histogram>,
}

/// What durations are counted by.
pub(crate) type DurationKey = (Direction, Label, u8);

/// The series of one worker: looked up by it alone, listed for whoever scrapes.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    known: RefCell<HashMap<RequestKey, Series, BuildHasherDefault<Fold>>>,
    durations: RefCell<HashMap<DurationKey, Arc<Histogram>>>,
    listed: Arc<Listed>,
}

/// What a scrape reads.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) series: Mutex<Vec<(RequestKey, Arc<AtomicU64>)>>,
    pub(crate) durations: Mutex<Vec<(DurationKey, Arc<Histogram>)>>,
}

// === impl Direction ===

impl Direction {
    /// The word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::Gateway => "gateway",
        }
    }
}

// === impl Requests ===

impl Requests {
    /// For the thread that scrapes.
    pub(crate) fn listed(&self) -> Arc<Listed> {
        Arc::clone(&self.listed)
    }

    /// Counts a request that ended. `last` is the caller's memory of the series it counted in before: usually the same again.
    pub(crate) fn count(&self, key: RequestKey, took: Duration, last: &mut Option<Series>) {
        let series = match last {
            Some(series) if series.key == key => series,
            _ => last.insert(self.series(key)),
        };
        add(&series.count, 1);
        series.duration.observe(took);
    }

    fn series(&self, key: RequestKey) -> Series {
        if let Some(series) = self.known.borrow().get(&key) {
            return series.clone();
        }
        let full = self.known.borrow().len() >= MOST;
        let bounded = if full {
            RequestKey {
                source: Label::OTHER,
                destination: Label::OTHER,
                route: Label::OTHER,
                ..key
            }
        } else {
            key
        };
        // The overflow series are few: their names are one, so only words and codes tell them apart.
        if full && let Some(series) = self.known.borrow().get(&bounded) {
            return Series {
                key,
                ..series.clone()
            };
        }
        let series = Series {
            key: bounded,
            count: Arc::default(),
            duration: self.duration(&bounded),
        };
        lock(&self.listed.series).push((bounded, Arc::clone(&series.count)));
        self.known.borrow_mut().insert(bounded, series.clone());
        Series { key, ..series }
    }

    fn duration(&self, key: &RequestKey) -> Arc<Histogram> {
        let class = u8::try_from(key.code / 100).unwrap_or(0);
        let key = (key.direction, key.destination, class);
        let mut durations = self.durations.borrow_mut();
        Arc::clone(durations.entry(key).or_insert_with(|| {
            let histogram = Arc::<Histogram>::default();
            lock(&self.listed.durations).push((key, Arc::clone(&histogram)));
            histogram
        }))
    }
}

/// A mutex that is only ever held to push or to copy.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The keys are a handful of small numbers of our own: mixing them is enough.
#[derive(Debug, Default)]
pub(crate) struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    fn key(code: u16, source: Label) -> RequestKey {
        RequestKey {
            direction: Direction::Outbound,
            source,
            destination: Label::NONE,
            route: Label::NONE,
            method: Method::Get,
            code,
            reason: None,
        }
    }

    #[test]
    fn requests_are_counted_by_all_of_their_key() {
        let requests = Requests::default();
        let mut last = None;
        for code in [200, 200, 503] {
            requests.count(key(code, Label::NONE), Duration::ZERO, &mut last);
        }
        let listed = lock(&requests.listed.series).clone();
        let counts: Vec<_> = listed
            .iter()
            .map(|(key, count)| (key.code, count.load(Relaxed)))
            .collect();
        assert_eq!(counts, [(200, 2), (503, 1)]);
    }

    #[test]
    fn series_are_bounded_and_what_comes_later_is_counted_together() {
        let requests = Requests::default();
        let mut last = None;
        for n in 0..MOST + 10 {
            requests.count(
                key(200, Label::of(&format!("n{n}"))),
                Duration::ZERO,
                &mut last,
            );
        }
        let listed = lock(&requests.listed.series).clone();
        assert_eq!(listed.len(), MOST + 1);
        assert_eq!(
            (listed[MOST].0.source, listed[MOST].1.load(Relaxed)),
            (Label::OTHER, 10)
        );
    }
}
