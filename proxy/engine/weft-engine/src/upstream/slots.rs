//! Room for connections to a service where their number is bounded: who has it, and who waits for it.
//!
//! Whoever finds none waits for a connection of somebody else, the newest first: under load the oldest have little time left
//! to do anything with it. Within a worker a connection that becomes free is handed on as it is; to others only its room can
//! go, so that it is closed. Idle connections that hold room somebody waits for are closed by whoever keeps them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};
use weft_core::limit::{Limit, Permit};

use super::{Connection, Key};

/// Wakes the keepers of idle connections.
static WANTED: Notify = Notify::const_new();

/// The room for connections to one service, over all workers.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: Arc<Limit>,
    waiting: AtomicUsize,
    freed: Notify,
}

/// Room for one connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    permit: Option<Permit>,
    slots: Arc<Slots>,
}

/// What a wait ended with.
#[derive(Debug)]
pub(crate) enum Room {
    /// Room for a new one.
    New(Slot),
    /// One that was handed on.
    Known(Box<Connection>),
}

/// Those who wait in one worker, by what connection they could use.
#[derive(Debug, Default)]
pub(crate) struct Waiters(RefCell<HashMap<Key, Vec<oneshot::Sender<Box<Connection>>>>>);

/// One who waits, counted.
struct Waiting<'a>(&'a Slots);

/// Ready when somebody waits for room that an idle connection may hold.
pub(crate) async fn wanted() {
    WANTED.notified().await;
}

// === impl Slots ===

impl Slots {
    /// Under a bound.
    pub(crate) fn new(limit: &Arc<Limit>) -> Arc<Self> {
        Arc::new(Self {
            limit: Arc::clone(limit),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// Room, if there is some now.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Slot> {
        let permit = self.limit.acquire()?;
        Some(Slot {
            permit: Some(permit),
            slots: Arc::clone(self),
        })
    }

    /// Waits for room, or for a connection that fits; `None`: there was none in time. `key`: of HTTP/1.1 only.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        waiters: &Waiters,
        key: Option<Key>,
        within: Instant,
    ) -> Option<Room> {
        let _waiting = Waiting::new(self);
        let mut handed = key.map(|key| waiters.enter(key));
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // From here on whatever becomes free is heard of.
            freed.as_mut().enable();
            if let Some(slot) = self.take() {
                return Some(Room::New(slot));
            }
            let either = async {
                match &mut handed {
                    None => {
                        freed.await;
                        None
                    }
                    Some(handed) => tokio::select! {
                        biased;
                        connection = handed => connection.ok(),
                        () = freed => None,
                    },
                }
            };
            if let Some(connection) = timeout_at(within, either).await.ok()? {
                return Some(Room::Known(connection));
            }
        }
    }
}

// === impl Slot ===

impl Slot {
    /// Whether somebody waits for it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.slots.waiting.load(SeqCst) > 0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.permit = None;
        if self.is_wanted() {
            self.slots.freed.notify_last();
        }
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn new(slots: &'a Slots) -> Self {
        // While somebody waits nothing becomes idle, so that only the first has to ask for it.
        if slots.waiting.fetch_add(1, SeqCst) == 0 {
            WANTED.notify_waiters();
        }
        Self(slots)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

// === impl Waiters ===

impl Waiters {
    /// Hands a connection to the newest of this worker who can use it; back comes one that nobody can.
    pub(crate) fn hand(&self, mut connection: Box<Connection>) -> Option<Box<Connection>> {
        let mut all = self.0.borrow_mut();
        let Some(waiting) = all.get_mut(&connection.key) else {
            return Some(connection);
        };
        connection.input.release();
        connection.reused = true;
        while let Some(newest) = waiting.pop() {
            match newest.send(connection) {
                Ok(()) => return None,
                Err(back) => connection = back,
            }
        }
        Some(connection)
    }

    fn enter(&self, key: Key) -> oneshot::Receiver<Box<Connection>> {
        let (hand, handed) = oneshot::channel();
        let mut all = self.0.borrow_mut();
        let waiting = all.entry(key).or_default();
        waiting.retain(|one| !one.is_closed());
        waiting.push(hand);
        handed
    }

    /// Forgets those who do not wait any more.
    pub(crate) fn sweep(&self) {
        self.0.borrow_mut().retain(|_, waiting| {
            waiting.retain(|one| !one.is_closed());
            !waiting.is_empty()
        });
    }
}
