//! What an open connection has to know of, beside its own bytes: that it may be served no longer.
//!
//! Every request asks whether anything has changed, which is one comparison; only then is it looked at what. A connection
//! that waits is woken where the change may end it. It leaves word for that once, not for each request.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The changes of what a worker serves.
#[derive(Debug)]
pub(crate) struct Changes {
    count: Cell<u64>,
    ends_some: Notify,
}

/// How many changes there were: it tells whether there was one since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(u64);

// === impl Changes ===

impl Default for Changes {
    fn default() -> Self {
        Self {
            // Who has seen nothing has not seen the first world either.
            count: Cell::new(1),
            ends_some: Notify::new(),
        }
    }
}

impl Changes {
    /// How many there were up to now.
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.count.get())
    }

    /// There is another one; whether it may be the end of connections that wait.
    pub(super) fn note(&self, ends_some: bool) {
        self.count.set(self.count.get() + 1);
        if ends_some {
            self.ends_some.notify_waiters();
        }
    }

    /// Ready at the next change that may end connections.
    pub(crate) fn next(&self) -> Notified<'_> {
        self.ends_some.notified()
    }

    /// Has the task woken at the next change, whatever `next` was told before. A task asks once, and again after a change.
    pub(crate) fn wake_at_next<'a>(
        &'a self,
        mut next: Pin<&mut Notified<'a>>,
        cx: &mut Context<'_>,
    ) {
        while let Poll::Ready(()) = next.as_mut().poll(cx) {
            next.set(self.next());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::rc::Rc;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn who_asked_once_is_woken_at_a_change_that_ends_connections_and_may_ask_again() {
        let changes = Rc::new(Changes::default());
        let other = Rc::clone(&changes);
        let local = tokio::task::LocalSet::new();
        let woken = local.spawn_local(async move {
            let mut next = pin!(other.next());
            for _ in 0..3 {
                let before = other.seen();
                poll_fn(|cx| {
                    if other.seen() != before {
                        return Poll::Ready(());
                    }
                    other.wake_at_next(next.as_mut(), cx);
                    Poll::Pending
                })
                .await;
            }
        });
        local
            .run_until(async {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                    changes.note(true);
                }
                woken.await
            })
            .await
            .expect("no panic");
        assert_ne!(changes.seen(), Seen::default());
    }
}
