//! Connections whose bytes are only carried: how they ended, and how many bytes went through while they last.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use weft_core::reason::Reason;

use super::cap::Caps;
use super::histogram::add;
use super::requests::{lock, millis};
use super::{Direction, Label};

/// So many series are told apart; those that come later are counted together, as `overflow`.
pub(super) const MOST: usize = 4096;

/// Who carried to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TunnelKey {
    pub(crate) direction: Direction,
    pub(crate) source: Label,
    pub(crate) destination: Label,
}

/// What is counted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    /// A connection that ended so; why it was refused, if it was.
    Ended(&'static str, Option<Reason>),
    /// Bytes towards the called service.
    Sent,
    /// Bytes back from it.
    Received,
}

/// Where one connection's bytes are counted.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

/// What connections are counted by.
pub(super) type TunnelSeries = (TunnelKey, Counted);

/// The series of one worker: looked up by it alone, listed for whoever scrapes.
#[derive(Debug)]
pub(crate) struct Tunnels {
    known: RefCell<HashMap<TunnelSeries, Arc<AtomicU64>>>,
    caps: Arc<Caps>,
    listed: Arc<ListedTunnels>,
}

/// What a scrape reads.
#[derive(Debug, Default)]
pub(crate) struct ListedTunnels(Mutex<Vec<(TunnelSeries, Arc<AtomicU64>, u64)>>);

// === impl Tunnels ===

impl Tunnels {
    /// Of one worker among several.
    pub(crate) fn new(caps: Arc<Caps>) -> Self {
        Self {
            known: RefCell::default(),
            caps,
            listed: Arc::default(),
        }
    }

    /// For the thread that scrapes.
    pub(crate) fn listed(&self) -> Arc<ListedTunnels> {
        Arc::clone(&self.listed)
    }

    /// Counts a connection that ended.
    pub(crate) fn count(&self, key: TunnelKey, end: &'static str, reason: Option<Reason>) {
        add(&self.series(key, Counted::Ended(end, reason)), 1);
    }

    /// Counts a connection's bytes.
    pub(crate) fn meter(&self, key: TunnelKey) -> Meter {
        Meter {
            sent: self.series(key, Counted::Sent),
            received: self.series(key, Counted::Received),
        }
    }

    fn series(&self, key: TunnelKey, what: Counted) -> Arc<AtomicU64> {
        let mut known = self.known.borrow_mut();
        let bounded = if known.contains_key(&(key, what)) || self.caps.tunnels.admits((key, what)) {
            key
        } else {
            TunnelKey {
                source: Label::OVERFLOW,
                destination: Label::OVERFLOW,
                ..key
            }
        };
        let series = known.entry((bounded, what)).or_insert_with(|| {
            let count = Arc::<AtomicU64>::default();
            lock(&self.listed.0).push(((bounded, what), Arc::clone(&count), millis()));
            count
        });
        Arc::clone(series)
    }
}

// === impl ListedTunnels ===

impl ListedTunnels {
    /// Everything there is as it stands, with the moment it began at in milliseconds since the epoch.
    pub(super) fn each(&self, mut visit: impl FnMut(TunnelKey, Counted, u64, u64)) {
        let listed = lock(&self.0).clone();
        for ((key, what), count, since) in listed {
            visit(key, what, count.load(Relaxed), since);
        }
    }
}

// === impl Meter ===

impl Meter {
    /// So many more.
    pub(crate) fn add(&self, sent: u64, received: u64) {
        add(&self.sent, sent);
        add(&self.received, received);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(source: &str) -> TunnelKey {
        TunnelKey {
            direction: Direction::Outbound,
            source: Label::of(source),
            destination: Label::of("shop/db"),
        }
    }

    #[test]
    fn bytes_are_counted_while_they_flow_and_ends_by_how_they_were() {
        let tunnels = Tunnels::new(Arc::default());
        let meter = tunnels.meter(key("shop/web"));
        meter.add(3, 5);
        meter.add(4, 0);
        tunnels.count(key("shop/web"), "refused", Some(Reason::Denied));
        let mut seen = Vec::new();
        tunnels
            .listed()
            .each(|_, what, count, _| seen.push((what, count)));
        assert_eq!(
            seen,
            [
                (Counted::Sent, 7),
                (Counted::Received, 5),
                (Counted::Ended("refused", Some(Reason::Denied)), 1)
            ]
        );
    }

    #[test]
    fn series_are_bounded_and_what_comes_later_is_counted_together() {
        let tunnels = Tunnels::new(Arc::default());
        for n in 0..MOST + 10 {
            tunnels.count(key(&format!("tunnel/n{n}")), "done", None);
        }
        let mut others = 0;
        tunnels.listed().each(|key, _, count, _| {
            others += if key.source == Label::OVERFLOW {
                count
            } else {
                0
            };
        });
        assert_eq!(others, 10);
    }
}
