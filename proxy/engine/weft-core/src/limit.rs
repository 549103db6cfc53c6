//! Bounds on how much is open towards a service: connections, waiting requests, requests under way. Exact over all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use weft_model::section;

/// The bounds of one service, with what is open.
#[derive(Clone, Debug, Default)]
pub struct Capacity {
    /// Open connections.
    pub connections: Arc<Limit>,
    /// Requests that wait for one.
    pub pending: Arc<Limit>,
    /// Requests under way.
    pub requests: Arc<Limit>,
}

/// One bound and its count.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Limit {
    open: AtomicU32,
    most: AtomicU32,
}

/// Room for one; given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Limit>);

// === impl Capacity ===

impl Capacity {
    /// With the bounds of a section.
    pub fn new(bounds: &section::Capacity) -> Capacity {
        let capacity = Capacity::default();
        capacity.set(bounds);
        capacity
    }

    /// Other bounds from now on; what is open stays counted, and stays open even if it is too much now.
    pub fn set(&self, bounds: &section::Capacity) {
        self.connections.set(bounds.connections);
        self.pending.set(bounds.pending);
        self.requests.set(bounds.requests);
    }
}

// === impl Limit ===

impl Limit {
    /// With a bound; 0: none.
    pub fn of(most: u32) -> Limit {
        let limit = Limit::default();
        limit.set(most);
        limit
    }

    /// Another bound from now on; 0: none.
    pub fn set(&self, most: u32) {
        self.most.store(most, Relaxed);
    }

    /// Room for one more; `None`: full.
    pub fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let most = match self.most.load(Relaxed) {
            0 => u32::MAX,
            most => most,
        };
        self.open
            .fetch_update(Relaxed, Relaxed, |open| (open < most).then_some(open + 1))
            .ok()?;
        Some(Permit(Arc::clone(self)))
    }

    /// The bound; 0: none.
    pub fn most(&self) -> u32 {
        self.most.load(Relaxed)
    }

    /// How many are open.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_up_to_the_bound_and_again_when_something_ended() {
        let capacity = Capacity::new(&section::Capacity {
            connections: 2,
            pending: 0,
            requests: 1,
        });
        let held: Vec<_> = (0..5)
            .filter_map(|_| capacity.connections.acquire())
            .collect();
        assert_eq!(held.len(), 2);
        drop(held);
        assert!(capacity.connections.acquire().is_some());
        assert_eq!(
            (0..1_000)
                .filter_map(|_| capacity.pending.acquire())
                .collect::<Vec<_>>()
                .len(),
            1_000
        );
    }

    #[test]
    fn a_smaller_bound_ends_nothing_and_admits_nothing() {
        let limit = Arc::new(Limit::default());
        let held: Vec<_> = (0..3).filter_map(|_| limit.acquire()).collect();
        limit.set(2);
        assert_eq!((limit.open(), limit.acquire().is_none()), (3, true));
        drop(held);
        assert!(limit.acquire().is_some());
    }

    #[test]
    fn four_threads_together_never_exceed_it() {
        let limit = Arc::new(Limit::default());
        limit.set(7);
        let held: Vec<Permit> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..100).filter_map(|_| limit.acquire()).collect::<Vec<_>>())
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert_eq!(held.len(), 7);
    }
}
