//! Crowds at the door: how many may be shaking hands, and how many may be inside.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

/// Handshakes under way. One too many ends the one that has waited longest: who means it is done within a round trip, so that
/// a crowd that leaves its handshakes half done keeps nobody else out.
#[derive(Debug)]
pub(super) struct Handshakes {
    most: usize,
    open: RefCell<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    ends: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One of them, until it is dropped.
struct Place<'a>(&'a Handshakes, u64);

/// The room behind each listener, for all workers together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rooms(Arc<Mutex<HashMap<SocketAddr, Arc<Semaphore>>>>);

// === impl Handshakes ===

impl Handshakes {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            open: RefCell::default(),
        }
    }

    /// Runs one; `None`: it had to make room.
    pub(super) async fn one<T>(&self, handshake: impl Future<Output = T>) -> Option<T> {
        let (end, ended) = oneshot::channel();
        let _place = self.enter(end);
        tokio::select! {
            biased;
            done = handshake => Some(done),
            _ = ended => None,
        }
    }

    fn enter(&self, end: oneshot::Sender<()>) -> Place<'_> {
        let mut open = self.open.borrow_mut();
        if open.ends.len() >= self.most
            && let Some((_, longest)) = open.ends.pop_first()
        {
            // One that ends at this moment needs no telling.
            let _ = longest.send(());
        }
        let id = open.next;
        open.next += 1;
        open.ends.insert(id, end);
        Place(self, id)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.open.borrow_mut().ends.remove(&self.1);
    }
}

// === impl Rooms ===

impl Rooms {
    /// The room behind a listener, which has so many places where it was empty.
    pub(super) fn behind(&self, address: SocketAddr, places: usize) -> Arc<Semaphore> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Rooms of listeners that are gone, and of which nobody is left.
        rooms.retain(|_, room| Arc::strong_count(room) > 1);
        let room = rooms.entry(address);
        Arc::clone(room.or_insert_with(|| Arc::new(Semaphore::new(places))))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn one_handshake_too_many_ends_the_one_that_waited_longest() {
        let handshakes = Handshakes::new(2);
        let (first, second) = (
            handshakes.one(pending::<()>()),
            handshakes.one(pending::<()>()),
        );
        tokio::pin!(first, second);
        for waiting in [first.as_mut(), second.as_mut()] {
            assert!(futures_poll(waiting).await.is_none());
        }
        assert_eq!(handshakes.one(async { 7 }).await, Some(7));
        assert_eq!(futures_poll(first).await, Some(None));
        assert!(futures_poll(second).await.is_none());
        assert_eq!(handshakes.open.borrow().ends.len(), 1);
    }

    /// What a future says when it is asked once.
    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match future.as_mut().poll(cx) {
                std::task::Poll::Ready(done) => Some(done),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[test]
    fn all_workers_share_one_room_and_a_new_listener_has_its_own() {
        let rooms = Rooms::default();
        let (here, there) = (([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
        let one = rooms.behind(here, 3);
        let taken = one.clone().try_acquire_owned().expect("a place");
        assert_eq!(rooms.clone().behind(here, 3).available_permits(), 2);
        assert_eq!(rooms.behind(there, 3).available_permits(), 3);
        drop((one, taken));
        assert_eq!(rooms.behind(here, 5).available_permits(), 5);
    }
}
