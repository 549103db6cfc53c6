//! One timer per connection, for whatever it waits for at the moment.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is moved without touching the wheel where it can: an alarm that comes early is simply set again.
///
/// It belongs to one task: that which polled it first is the one it wakes.
pub(crate) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
    /// The alarm knows the task that waits for it.
    waits: bool,
    at: Option<Instant>,
    bound: Option<Instant>,
}

// === impl Deadline ===

impl Deadline {
    /// A timer that never fires.
    pub(crate) const fn never() -> Self {
        Self {
            sleep: None,
            waits: false,
            at: None,
            bound: None,
        }
    }

    /// Fires then, and no longer when it would have fired before.
    pub(crate) fn set(&mut self, at: Instant) {
        let at = self.bound.map_or(at, |bound| at.min(bound));
        self.at = Some(at);
        if let Some(sleep) = &mut self.sleep
            && sleep.deadline() > at
        {
            sleep.as_mut().reset(at);
        }
    }

    /// From the next [`Self::set`] on it fires no later than that, whatever it is set to.
    pub(crate) fn bound(&mut self, at: Option<Instant>) {
        self.bound = at;
    }

    /// Ready from the set moment on.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if self.waits && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            self.waits = sleep.as_mut().poll(cx).is_pending();
            if self.waits {
                return Poll::Pending;
            }
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deadline({:?})", self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moved_later_fires_at_the_later_moment() {
        let start = Instant::now();
        let mut deadline = Deadline::never();
        deadline.set(start + Duration::from_secs(1));
        assert!(
            poll_fn(|cx| Poll::Ready(deadline.poll(cx)))
                .await
                .is_pending()
        );
        deadline.set(start + Duration::from_secs(3));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_deadline_moves_no_further_until_it_is_released() {
        let start = Instant::now();
        let mut deadline = Deadline::never();
        deadline.bound(Some(start + Duration::from_secs(2)));
        deadline.set(start + Duration::from_secs(60));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        deadline.bound(None);
        deadline.set(start + Duration::from_secs(3));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moved_earlier_fires_at_the_earlier_moment() {
        let start = Instant::now();
        let mut deadline = Deadline::never();
        deadline.set(start + Duration::from_secs(60));
        assert!(
            poll_fn(|cx| Poll::Ready(deadline.poll(cx)))
                .await
                .is_pending()
        );
        deadline.set(start + Duration::from_secs(1));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
