//! The retry budget: retries are a share of what is under way, so that a failing service is not buried under them.
//!
//! Two verbs: every request deposits while it is under way, every retry withdraws while it is under way. Shared by all
//! workers, exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use weft_model::section::RetryBudget;

/// The budget of one service.
#[derive(Debug, Default)]
pub struct Budget {
    requests: AtomicU32,
    retries: AtomicU32,
    percent: AtomicU64,
    min: AtomicU32,
}

/// A request under way; ends when dropped.
#[derive(Debug)]
pub struct Deposit(Arc<Budget>);

/// A retry under way; ends when dropped.
#[derive(Debug)]
pub struct Withdrawal(Arc<Budget>);

// === impl Budget ===

impl Budget {
    /// With the bounds of a section.
    pub fn new(bounds: &RetryBudget) -> Arc<Budget> {
        let budget = Budget::default();
        budget.set(bounds);
        Arc::new(budget)
    }

    /// Other bounds from now on; what is under way stays counted.
    pub fn set(&self, bounds: &RetryBudget) {
        self.percent.store(bounds.percent.to_bits(), Relaxed);
        self.min.store(bounds.min, Relaxed);
    }

    /// A request is under way until the guard is dropped.
    pub fn deposit(self: &Arc<Self>) -> Deposit {
        self.requests.fetch_add(1, Relaxed);
        Deposit(Arc::clone(self))
    }

    /// A retry is under way until the guard is dropped; `None`: not now.
    pub fn withdraw(self: &Arc<Self>) -> Option<Withdrawal> {
        let share = f64::from(self.requests.load(Relaxed))
            * f64::from_bits(self.percent.load(Relaxed))
            / 100.0;
        let most = (share as u32).max(self.min.load(Relaxed));
        self.retries
            .fetch_update(Relaxed, Relaxed, |retries| {
                (retries < most).then_some(retries + 1)
            })
            .ok()?;
        Some(Withdrawal(Arc::clone(self)))
    }

    /// Requests and retries under way.
    pub fn under_way(&self) -> (u32, u32) {
        (self.requests.load(Relaxed), self.retries.load(Relaxed))
    }
}

impl Drop for Deposit {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        self.0.retries.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimum_is_always_allowed_and_beyond_it_the_share() {
        let budget = Budget::new(&RetryBudget {
            percent: 20.0,
            min: 3,
        });
        let withdrawn: Vec<_> = (0..10).filter_map(|_| budget.withdraw()).collect();
        assert_eq!(withdrawn.len(), 3);
        let deposits: Vec<_> = (0..50).map(|_| budget.deposit()).collect();
        let more: Vec<_> = (0..50).filter_map(|_| budget.withdraw()).collect();
        assert_eq!((more.len(), budget.under_way()), (7, (50, 10)));
        drop((withdrawn, more, deposits));
        assert_eq!(budget.under_way(), (0, 0));
    }

    #[test]
    fn four_threads_together_never_exceed_it() {
        let budget = Budget::new(&RetryBudget {
            percent: 0.0,
            min: 5,
        });
        let held: Vec<Withdrawal> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..100)
                            .filter_map(|_| budget.withdraw())
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert_eq!(held.len(), 5);
    }
}
