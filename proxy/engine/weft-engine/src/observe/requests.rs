//! Requests by what they were and how they ended, with a bound on how many series there may be.

use std::cell::RefCell;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weft_core::reason::Reason;
use weft_http1::Method;

use super::cap::Caps;
use super::histogram::{Exemplars, add};
use super::{Histogram, Label};
use crate::fold::Folded;

/// So many series of requests are told apart; those that come later are counted together, as `overflow`.
pub(super) const MOST: usize = 10_000;

/// So many pairs of histograms, each of which is 38 lines.
pub(super) const MOST_TIMINGS: usize = 1_000;

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

/// How long a request took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// To the end of the answer.
    pub(crate) whole: Duration,
    /// To its head, where one came from upstream.
    pub(crate) head: Option<Duration>,
}

/// One series with the histograms it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) key: RequestKey,
    pub(crate) count: Arc<AtomicU64>,
    pub(crate) timings: Arc<Timings>,
}

/// What durations are counted by: direction, destination, class of the code.
pub(crate) type TimingKey = (Direction, Label, u8);

/// The histograms of one key.
#[derive(Debug)]
pub(crate) struct Timings {
    pub(crate) whole: Histogram,
    pub(crate) head: Histogram,
    pub(crate) exemplars: Exemplars,
    pub(crate) since: u64,
}

/// The series of one worker: looked up by it alone, listed for whoever scrapes.
#[derive(Debug)]
pub(crate) struct Requests {
    known: RefCell<Folded<RequestKey, Series>>,
    timings: RefCell<Folded<TimingKey, Arc<Timings>>>,
    caps: Arc<Caps>,
    listed: Arc<Listed>,
}

/// What a scrape reads.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    series: Mutex<Vec<ListedRequests>>,
    timings: Mutex<Vec<(TimingKey, Arc<Timings>)>>,
}

/// A series, what it counted, and when it began in milliseconds since the epoch.
#[derive(Clone, Debug)]
pub(crate) struct ListedRequests {
    pub(crate) key: RequestKey,
    pub(crate) count: Arc<AtomicU64>,
    pub(crate) since: u64,
}

/// The code of what is counted together, whatever its own was.
pub(crate) const ANY: u16 = u16::MAX;

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

// === impl RequestKey ===

impl RequestKey {
    /// The series of all that are not told apart: only which way, and why they failed, is.
    const fn overflow(self) -> Self {
        Self {
            source: Label::OVERFLOW,
            destination: Label::OVERFLOW,
            route: Label::OVERFLOW,
            method: Method::Other,
            code: ANY,
            ..self
        }
    }
}

// === impl Requests ===

impl Requests {
    /// Of one worker among several.
    pub(crate) fn new(caps: Arc<Caps>) -> Self {
        Self {
            known: RefCell::default(),
            timings: RefCell::default(),
            caps,
            listed: Arc::default(),
        }
    }

    /// For the thread that scrapes.
    pub(crate) fn listed(&self) -> Arc<Listed> {
        Arc::clone(&self.listed)
    }

    /// Counts a request that ended. `last` is the caller's memory of the series it counted in before: usually the same again.
    /// `trace` are the digits of its trace, if it is recorded.
    pub(crate) fn count(
        &self,
        key: RequestKey,
        took: Took,
        trace: Option<&[u8; 32]>,
        last: &mut Option<Series>,
    ) {
        let series = match last {
            Some(series) if series.key == key => series,
            _ => last.insert(self.series(key)),
        };
        add(&series.count, 1);
        let timings = &series.timings;
        if let Some(head) = took.head {
            timings.head.observe(head);
        }
        let (bucket, count) = timings.whole.observe(took.whole);
        if Exemplars::keeps(count)
            && let Some(trace) = trace
        {
            timings.exemplars.keep(bucket, trace, took.whole, millis());
        }
    }

    fn series(&self, key: RequestKey) -> Series {
        if let Some(series) = self.known.borrow().get(&key) {
            return series.clone();
        }
        let remembers = self.known.borrow().len() < self.caps.requests.remembered();
        let series = if remembers && self.caps.requests.admits(key) {
            Series {
                key,
                count: self.list(key),
                timings: self.timings(key),
            }
        } else {
            self.overflow(key)
        };
        if remembers {
            self.known.borrow_mut().insert(key, series.clone());
        }
        series
    }

    /// As what a request is counted that is not told apart.
    fn overflow(&self, key: RequestKey) -> Series {
        let together = key.overflow();
        let known = self.known.borrow().get(&together).cloned();
        let count = known.map_or_else(|| self.list(together), |known| known.count);
        let timings = self.timings(RequestKey {
            destination: Label::OVERFLOW,
            ..key
        });
        let series = Series {
            key,
            count,
            timings,
        };
        self.known.borrow_mut().insert(together, series.clone());
        series
    }

    fn list(&self, key: RequestKey) -> Arc<AtomicU64> {
        let count = Arc::<AtomicU64>::default();
        lock(&self.listed.series).push(ListedRequests {
            key,
            count: Arc::clone(&count),
            since: millis(),
        });
        count
    }

    fn timings(&self, key: RequestKey) -> Arc<Timings> {
        let class = u8::try_from(key.code / 100).unwrap_or(0);
        let mut key = (key.direction, key.destination, class);
        let mut timings = self.timings.borrow_mut();
        if !timings.contains_key(&key) && !self.caps.timings.admits(key) {
            key.1 = Label::OVERFLOW;
        }
        let known = timings.entry(key).or_insert_with(|| {
            let made = Arc::new(Timings::new());
            lock(&self.listed.timings).push((key, Arc::clone(&made)));
            made
        });
        Arc::clone(known)
    }
}

// === impl Timings ===

impl Timings {
    fn new() -> Self {
        Self {
            whole: Histogram::default(),
            head: Histogram::default(),
            exemplars: Exemplars::default(),
            since: millis(),
        }
    }
}

// === impl Listed ===

impl Listed {
    /// The series as they stand. The lock is held for the copy only, so that a worker with a new one hardly waits.
    pub(super) fn series(&self) -> Vec<ListedRequests> {
        lock(&self.series).clone()
    }

    /// The histograms as they stand.
    pub(super) fn timings(&self) -> Vec<(TimingKey, Arc<Timings>)> {
        lock(&self.timings).clone()
    }
}

/// Now, in milliseconds since the epoch.
pub(super) fn millis() -> u64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// A mutex that is only ever held to push or to copy.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    const NOTHING: Took = Took {
        whole: Duration::ZERO,
        head: None,
    };

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

    fn counted(requests: &Requests) -> Vec<(u16, u64)> {
        let series = requests.listed.series();
        let counts = series.iter();
        counts
            .map(|one| (one.key.code, one.count.load(Relaxed)))
            .collect()
    }

    #[test]
    fn requests_are_counted_by_all_of_their_key() {
        let requests = Requests::new(Arc::default());
        let mut last = None;
        for code in [200, 200, 503] {
            requests.count(key(code, Label::NONE), NOTHING, None, &mut last);
        }
        assert_eq!(counted(&requests), [(200, 2), (503, 1)]);
    }

    #[test]
    fn series_are_bounded_over_all_workers_and_what_comes_later_is_counted_together() {
        let caps = Arc::<Caps>::default();
        let workers = [(); 2].map(|()| Requests::new(Arc::clone(&caps)));
        let mut last = None;
        for n in 0..2 * MOST + 10 {
            let source = Label::of(&format!("n{n}"));
            workers[n % 2].count(key(200, source), NOTHING, None, &mut last);
        }
        let counted = workers.each_ref().map(counted).concat();
        let (together, apart): (Vec<_>, Vec<_>) =
            counted.iter().partition(|(code, _)| *code == ANY);
        assert_eq!(apart.len(), MOST);
        let counts = together.iter().map(|(_, count)| count);
        assert_eq!((together.len(), counts.sum::<u64>()), (2, MOST as u64 + 10));
    }

    #[test]
    fn a_series_of_one_worker_is_told_apart_by_another_that_sees_it_late() {
        let caps = Arc::<Caps>::default();
        let (early, late) = (Requests::new(Arc::clone(&caps)), Requests::new(caps));
        let mut last = None;
        for n in 0..MOST + 10 {
            let source = Label::of(&format!("m{n}"));
            early.count(key(200, source), NOTHING, None, &mut last);
        }
        late.count(key(200, Label::of("m3")), NOTHING, None, &mut None);
        assert_eq!(counted(&late), [(200, 1)]);
    }

    #[test]
    fn a_worker_remembers_no_more_than_a_bounded_number_of_series() {
        let requests = Requests::new(Arc::default());
        for n in 0..3 * MOST {
            let source = Label::of(&format!("k{n}"));
            requests.count(key(200, source), NOTHING, None, &mut None);
        }
        assert!(requests.known.borrow().len() <= 2 * MOST + 1);
        assert_eq!(requests.timings.borrow().len(), 2);
    }
}
