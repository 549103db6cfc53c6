//! Request bodies kept for a retry: up to 64 KiB each, and a bound for the whole worker.

use std::cell::Cell;
use std::rc::Rc;

/// The most that is kept of one body.
const PER_REQUEST: usize = 64 * 1024;

/// The most that one worker keeps.
const PER_WORKER: usize = 16 * 1024 * 1024;

/// What the requests of one worker keep together.
#[derive(Debug, Default)]
pub(crate) struct ReplayBudget(Cell<usize>);

/// What was read of a body so far, as long as it can be sent again from its first byte.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    budget: Option<Rc<ReplayBudget>>,
    kept: Vec<u8>,
    overflowed: bool,
}

// === impl Replay ===

impl Replay {
    /// Keeps a body; with no budget, none.
    pub(crate) fn start(&mut self, budget: Option<Rc<ReplayBudget>>) {
        self.forget();
        self.budget = budget;
        self.overflowed = false;
    }

    /// Another piece came. What does not fit any more is forgotten altogether.
    pub(crate) fn keep(&mut self, piece: &[u8]) {
        if self.overflowed || piece.is_empty() {
            return;
        }
        let fits = match &self.budget {
            Some(budget) if self.kept.len() + piece.len() <= PER_REQUEST => {
                budget.take(piece.len())
            }
            _ => false,
        };
        if fits {
            self.kept.extend_from_slice(piece);
        } else {
            self.forget();
            self.overflowed = true;
        }
    }

    /// What can be sent again; `None`: some of it is gone.
    pub(crate) fn kept(&self) -> Option<&[u8]> {
        (!self.overflowed).then_some(&self.kept[..])
    }

    fn forget(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give(self.kept.len());
        }
        self.kept = Vec::new();
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.forget();
    }
}

// === impl ReplayBudget ===

impl ReplayBudget {
    fn take(&self, bytes: usize) -> bool {
        let fits = self.0.get() + bytes <= PER_WORKER;
        if fits {
            self.0.set(self.0.get() + bytes);
        }
        fits
    }

    fn give(&self, bytes: usize) {
        self.0.set(self.0.get() - bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_kept_until_it_is_too_large_and_then_not_at_all() {
        let budget = Rc::new(ReplayBudget::default());
        let mut replay = Replay::default();
        replay.start(Some(Rc::clone(&budget)));
        replay.keep(&[1; PER_REQUEST]);
        assert_eq!(replay.kept().map(<[u8]>::len), Some(PER_REQUEST));
        replay.keep(&[1]);
        assert_eq!((replay.kept(), budget.0.get()), (None, 0));
    }

    #[test]
    fn without_a_budget_only_an_empty_body_can_be_sent_again() {
        let mut replay = Replay::default();
        replay.start(None);
        assert_eq!(replay.kept(), Some(&[][..]));
        replay.keep(b"x");
        assert_eq!(replay.kept(), None);
    }

    #[test]
    fn all_bodies_together_are_bounded() {
        let budget = Rc::new(ReplayBudget(Cell::new(PER_WORKER - 1)));
        let mut replay = Replay::default();
        replay.start(Some(Rc::clone(&budget)));
        replay.keep(b"a");
        replay.keep(b"b");
        assert_eq!(replay.kept(), None);
        drop(replay);
        assert_eq!(budget.0.get(), PER_WORKER - 1);
    }
}
