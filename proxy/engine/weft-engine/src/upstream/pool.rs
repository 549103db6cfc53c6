//! Idle connections of one worker: last in, first out, by endpoint and identity.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_core::endpoint::State;

use super::Connection;
use crate::fold::Folded;

/// Idle connections to one endpoint under one identity.
const PER_ENDPOINT: usize = 256;

/// Idle connections altogether.
const ALTOGETHER: usize = 8192;

/// Which connections are as good as each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    endpoint: usize,
    address: SocketAddr,
    pub(super) identity: u64,
}

/// Idle connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: RefCell<Folded<Key, Vec<Idle>>>,
    count: Cell<usize>,
    /// Identities that are shown now.
    shown: RefCell<HashSet<u64>>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    until: Instant,
}

// === impl Key ===

impl Key {
    /// For an endpoint at an address, under the build of an identity (0: none, to an application on this host).
    pub(crate) fn new(state: &Arc<State>, address: SocketAddr, identity: u64) -> Self {
        Self {
            endpoint: Arc::as_ptr(state) as usize,
            address,
            identity,
        }
    }

    /// Whether connections of it go there.
    pub(super) fn leads_to(&self, address: SocketAddr) -> bool {
        self.address == address
    }

    fn is_shown(&self, identities: &HashSet<u64>) -> bool {
        self.identity == 0 || identities.contains(&self.identity)
    }
}

// === impl Pool ===

impl Pool {
    /// The connection that was given back last and is still good; worse ones are closed on the way.
    pub(crate) fn take(&self, key: Key, now: Instant) -> Option<Box<Connection>> {
        loop {
            let idle = self.idle.borrow_mut().get_mut(&key)?.pop()?;
            self.count.set(self.count.get() - 1);
            let mut connection = idle.connection;
            if now < idle.until && connection.is_good(now) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, unless its identity or what it was believed by has changed meanwhile.
    pub(crate) fn give(&self, mut connection: Box<Connection>, idle: Duration, now: Instant) {
        if !connection.key.is_shown(&self.shown.borrow()) {
            return;
        }
        connection.input.release();
        connection.reused = true;
        let mut pool = self.idle.borrow_mut();
        let kept = pool.entry(connection.key).or_default();
        if kept.len() < PER_ENDPOINT && self.count.get() < ALTOGETHER {
            kept.push(Idle {
                until: now + idle,
                connection,
            });
            self.count.set(self.count.get() + 1);
        }
    }

    /// Only these builds of identities are shown from now on; connections of others are closed.
    pub(crate) fn show(&self, identities: impl Iterator<Item = u64>) {
        let identities: HashSet<u64> = identities.collect();
        if *self.shown.borrow() == identities {
            return;
        }
        self.idle
            .borrow_mut()
            .retain(|key, _| key.is_shown(&identities));
        self.shown.replace(identities);
        self.recount();
    }

    /// Closes all to a host that is dead.
    pub(crate) fn give_up_on(&self, address: SocketAddr) {
        self.idle
            .borrow_mut()
            .retain(|key, _| !key.leads_to(address));
        self.recount();
    }

    /// Closes those whose room somebody waits for.
    pub(crate) fn yield_room(&self) {
        self.idle.borrow_mut().retain(|_, kept| {
            kept.retain(|idle| !idle.connection.slot.is_wanted());
            !kept.is_empty()
        });
        self.recount();
    }

    /// Closes what is not good any more.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, kept| {
            kept.retain_mut(|idle| now < idle.until && idle.connection.is_good(now));
            !kept.is_empty()
        });
        self.recount();
    }

    fn recount(&self) {
        self.count
            .set(self.idle.borrow().values().map(Vec::len).sum());
    }
}
