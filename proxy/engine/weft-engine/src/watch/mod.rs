//! Being told of single requests: the access log, taps, spans. Off the path of requests: a worker asks with one relaxed load
//! whether anybody listens, and hands a record to a thread of its own ([`thread`]) over a bounded queue; what does not fit is
//! dropped and counted, never waited for.

mod collector;
mod ending;
mod export;
mod filter;
mod log;
mod otlp;
mod record;
mod tap;
mod thread;

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

pub(crate) use ending::Ending;
pub(crate) use export::Traces;
pub(crate) use filter::{Facts, Filter};
pub(crate) use log::{Log, Mode};
pub(crate) use record::{Missed, Record, Trace, bounded};
pub(crate) use tap::{Tap, Tapped};
pub(crate) use thread::start;

use self::thread::Told;

/// Records that may wait for the thread.
const QUEUE: usize = 4_096;

/// So many taps at once.
const MOST_TAPS: usize = 16;

/// So many records a second a worker makes for taps, and for spans.
const MOST_TAPPED: u32 = 2_000;
const MOST_SPANS: u32 = 2_000;

const FAILURES: u64 = 1;
const ALL: u64 = 2;
const TAPS: u64 = 4;
const SPANS: u64 = 8;
const EPOCH: u64 = 16;

/// Who listens; shared by everyone.
#[derive(Debug)]
pub(crate) struct Watch {
    /// What anybody listens to, and above it an epoch that rises with every tap that comes or goes.
    word: AtomicU64,
    taps: Mutex<Arc<Vec<Arc<Tap>>>>,
    queue: SyncSender<Told>,
    log: Log,
    /// The share of new traces that are recorded; `None`: no span is made.
    ratio: Option<f64>,
    /// What came of it.
    pub(crate) counts: Counts,
}

/// What is counted of listening itself.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) logged: AtomicU64,
    pub(crate) suppressed: AtomicU64,
    pub(crate) log_failed: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) tapped: AtomicU64,
    pub(crate) tap_dropped: AtomicU64,
    pub(crate) spans_exported: AtomicU64,
    pub(crate) spans_dropped: AtomicU64,
    pub(crate) spans_failed: AtomicU64,
}

/// For whom a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    log: bool,
    span: bool,
    /// A bit for each tap.
    taps: u32,
}

/// One worker's side.
#[derive(Debug)]
pub(crate) struct Watcher {
    watch: Arc<Watch>,
    epoch: Cell<u64>,
    taps: RefCell<Arc<Vec<Arc<Tap>>>>,
    failures: Pace,
    tapped: Pace,
    spans: Pace,
}

/// So many in each second.
#[derive(Debug, Default)]
struct Pace {
    second: Cell<Option<Instant>>,
    count: Cell<u32>,
}

// === impl Watch ===

impl Watch {
    /// As configured; told to the other end of the queue.
    fn new(log: Log, traces: &Traces, queue: SyncSender<Told>) -> Self {
        let logs = match log.mode {
            Mode::Off => 0,
            Mode::Failures => FAILURES,
            Mode::All => FAILURES | ALL,
        };
        Self {
            word: AtomicU64::new(logs | if traces.endpoint.is_some() { SPANS } else { 0 }),
            ratio: traces.endpoint.is_some().then_some(traces.sample),
            taps: Mutex::default(),
            queue,
            log,
            counts: Counts::default(),
        }
    }

    /// Somebody taps until the returned end of it is dropped; `None`: there are too many who do.
    pub(crate) fn tap(self: &Arc<Self>, filter: Filter) -> Option<Tapped> {
        let mut taps = self
            .taps
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if taps.len() >= MOST_TAPS {
            return None;
        }
        let (tap, received) = Tap::new(filter);
        let tap = Arc::new(tap);
        let mut with = Vec::clone(&taps);
        with.push(Arc::clone(&tap));
        self.show(&mut taps, with);
        Some(Tapped::new(tap, received, Arc::clone(self)))
    }

    fn untap(&self, tap: &Arc<Tap>) {
        let mut taps = self
            .taps
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let without = taps
            .iter()
            .filter(|one| !Arc::ptr_eq(one, tap))
            .cloned()
            .collect();
        self.show(&mut taps, without);
    }

    fn show(&self, taps: &mut Arc<Vec<Arc<Tap>>>, next: Vec<Arc<Tap>>) {
        let kept = self.word.load(Relaxed) & !TAPS;
        let bit = if next.is_empty() { 0 } else { TAPS };
        *taps = Arc::new(next);
        self.word.store((kept + EPOCH) | bit, Relaxed);
    }

    /// What is counted, as metric, its labels and what it means.
    pub(crate) fn counted(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
        let counts = &self.counts;
        let spans = "Spans: taken by the collector, lost because it was behind, or not taken.";
        let log = "Lines of the access log: written, held back in a storm of failures, or lost.";
        let tap = "Records for taps: handed over, or lost because the reader was slow.";
        let one = |name, labels, help, count: &AtomicU64| (name, labels, help, count.load(Relaxed));
        vec![
            one(
                "weft_access_log_lines_total",
                "outcome=\"written\"",
                log,
                &counts.logged,
            ),
            one(
                "weft_access_log_lines_total",
                "outcome=\"suppressed\"",
                log,
                &counts.suppressed,
            ),
            one(
                "weft_access_log_lines_total",
                "outcome=\"failed\"",
                log,
                &counts.log_failed,
            ),
            one(
                "weft_tap_records_total",
                "outcome=\"sent\"",
                tap,
                &counts.tapped,
            ),
            one(
                "weft_tap_records_total",
                "outcome=\"dropped\"",
                tap,
                &counts.tap_dropped,
            ),
            one(
                "weft_spans_total",
                "outcome=\"exported\"",
                spans,
                &counts.spans_exported,
            ),
            one(
                "weft_spans_total",
                "outcome=\"dropped\"",
                spans,
                &counts.spans_dropped,
            ),
            one(
                "weft_spans_total",
                "outcome=\"failed\"",
                spans,
                &counts.spans_failed,
            ),
            one(
                "weft_records_dropped_total",
                "",
                "Records lost because the thread that takes them was behind.",
                &counts.dropped,
            ),
        ]
    }
}

// === impl Watcher ===

impl Watcher {
    /// For one worker.
    pub(crate) fn new(watch: Arc<Watch>) -> Self {
        Self {
            watch,
            epoch: Cell::new(0),
            taps: RefCell::default(),
            failures: Pace::default(),
            tapped: Pace::default(),
            spans: Pace::default(),
        }
    }

    /// Whether anybody wants to hear of this request; `sampled` is whether its trace is recorded, and `facts` are looked at only where a tap does. `now` is its end, `chance`
    /// a number from 0 to 1.
    pub(crate) fn wants(
        &self,
        (failed, sampled): (bool, bool),
        now: Instant,
        chance: impl FnOnce() -> f64,
        facts: &Facts<'_>,
    ) -> Option<Wants> {
        let word = self.watch.word.load(Relaxed);
        let always = word & (ALL | TAPS) != 0;
        if !(always || failed && word & FAILURES != 0 || (failed || sampled) && word & SPANS != 0) {
            return None;
        }
        let mut wants = Wants::default();
        let log = &self.watch.log;
        let chance = chance();
        if failed && word & FAILURES != 0 {
            wants.log = self.failures.admits(now, log.per_second);
            if !wants.log {
                self.watch.counts.suppressed.fetch_add(1, Relaxed);
            }
        } else if word & ALL != 0 {
            wants.log = chance < log.sample;
        }
        if word & SPANS != 0 && (failed || sampled) {
            wants.span = self.spans.admits(now, MOST_SPANS);
            if !wants.span {
                self.watch.counts.spans_dropped.fetch_add(1, Relaxed);
            }
        }
        if word & TAPS != 0 {
            wants.taps = self.tapped_by(word, now, chance, facts);
        }
        (wants != Wants::default()).then_some(wants)
    }

    /// Whether anybody wants to hear that something began which may last long: only who taps.
    pub(crate) fn wants_begin(
        &self,
        now: Instant,
        chance: impl FnOnce() -> f64,
        facts: &Facts<'_>,
    ) -> Option<Wants> {
        let word = self.watch.word.load(Relaxed);
        if word & TAPS == 0 {
            return None;
        }
        let taps = self.tapped_by(word, now, chance(), facts);
        (taps != 0).then_some(Wants {
            taps,
            ..Wants::default()
        })
    }

    /// Hands a record over.
    pub(crate) fn tell(&self, wants: Wants, record: Record) {
        let told = Told {
            wants,
            taps: (wants.taps != 0).then(|| Arc::clone(&self.taps.borrow())),
            record: Box::new(record),
        };
        match self.watch.queue.try_send(told) {
            // The thread ends last.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.watch.counts.dropped.fetch_add(1, Relaxed);
            }
        }
    }

    /// The share of new traces that are recorded; `None`: nobody here records any, so that others decide.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.watch.ratio
    }

    /// What may be told of a target, as it came and as it went on.
    pub(crate) fn path(&self, received: &[u8], target: &[u8]) -> String {
        self.watch.log.redacted(received, target)
    }

    /// Names of fields that a tap which wants this record asked for.
    pub(crate) fn fields(&self, wants: Wants) -> Vec<String> {
        let taps = self.taps.borrow();
        let wanted = taps
            .iter()
            .enumerate()
            .filter(|(place, _)| wants.taps & (1 << place) != 0);
        let mut names: Vec<String> = wanted
            .flat_map(|(_, tap)| tap.filter.fields.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// A bit for each tap that wants it, as long as there are not too many records.
    fn tapped_by(&self, word: u64, now: Instant, chance: f64, facts: &Facts<'_>) -> u32 {
        let epoch = word / EPOCH;
        if self.epoch.replace(epoch) != epoch {
            let taps = self
                .watch
                .taps
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            *self.taps.borrow_mut() = Arc::clone(&taps);
        }
        let taps = self.taps.borrow();
        let wanting = taps
            .iter()
            .enumerate()
            .filter(|(_, tap)| chance < tap.filter.sample && tap.filter.matches(facts));
        let wanted = wanting.fold(0, |bits, (place, _)| bits | (1 << place));
        if wanted != 0 && !self.tapped.admits(now, MOST_TAPPED) {
            self.watch.counts.tap_dropped.fetch_add(1, Relaxed);
            return 0;
        }
        wanted
    }
}

// === impl Pace ===

impl Pace {
    fn admits(&self, now: Instant, most: u32) -> bool {
        let fresh = self
            .second
            .get()
            .is_none_or(|began| now.saturating_duration_since(began).as_secs() >= 1);
        if fresh {
            self.second.set(Some(now));
            self.count.set(0);
        }
        self.count.set(self.count.get() + 1);
        self.count.get() <= most
    }
}
