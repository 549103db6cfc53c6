//! How many series there may be, over all workers: who names things cannot make an engine, or whoever scrapes it, grow.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Mutex;

use super::requests::{self, RequestKey, TimingKey, lock};
use super::tunnels::{self, TunnelSeries};

/// Which series all workers together tell apart.
#[derive(Debug)]
pub(crate) struct Caps {
    pub(super) requests: Cap<RequestKey>,
    pub(super) timings: Cap<TimingKey>,
    pub(super) tunnels: Cap<TunnelSeries>,
}

/// The series of one family that are told apart.
#[derive(Debug)]
pub(super) struct Cap<K> {
    admitted: Mutex<HashSet<K>>,
    most: usize,
}

// === impl Caps ===

impl Default for Caps {
    fn default() -> Self {
        Self {
            requests: Cap::new(requests::MOST),
            timings: Cap::new(requests::MOST_TIMINGS),
            tunnels: Cap::new(tunnels::MOST),
        }
    }
}

// === impl Cap ===

impl<K: Copy + Eq + Hash> Cap<K> {
    /// So many and no more.
    pub(super) fn new(most: usize) -> Self {
        let admitted = Mutex::default();
        Self { admitted, most }
    }

    /// Whether a series is told apart from others. Once it is, it always is. Not for every request: it locks.
    pub(super) fn admits(&self, key: K) -> bool {
        let mut admitted = lock(&self.admitted);
        if admitted.len() < self.most {
            admitted.insert(key);
            return true;
        }
        admitted.contains(&key)
    }

    /// How many series a worker remembers, those that are not told apart included.
    pub(super) const fn remembered(&self) -> usize {
        self.most * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_time_is_told_apart_for_good_and_nothing_else_is() {
        let cap = Cap::new(3);
        let admitted = (0..5).map(|n| cap.admits(n)).collect::<Vec<_>>();
        assert_eq!(admitted, [true, true, true, false, false]);
        assert!(cap.admits(2) && !cap.admits(4));
    }
}
