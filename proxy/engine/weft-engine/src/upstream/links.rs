//! Connections of one worker that many requests share, by endpoint and identity.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Key;
use crate::fold::Folded;
use crate::h2::{Link, Sender};

/// Open connections.
#[derive(Debug, Default)]
pub(crate) struct Links {
    open: RefCell<Folded<Key, Vec<Shared>>>,
    opening: RefCell<Folded<Key, Rc<Mutex<()>>>>,
}

#[derive(Debug)]
struct Shared {
    link: Rc<Link>,
    idle: Duration,
}

// === impl Links ===

impl Links {
    /// A place on the connection that was opened last and has room.
    pub(crate) fn take(&self, key: Key, now: Instant) -> Option<Sender> {
        let mut open = self.open.borrow_mut();
        let known = open.get_mut(&key)?;
        known.retain(|shared| shared.link.is_good(now));
        let found = known.iter().rev().find(|shared| shared.link.has_room(now));
        found.map(|shared| shared.link.sender(now))
    }

    /// Keeps a connection for all who come, until it is idle for that long.
    pub(crate) fn give(&self, key: Key, link: Rc<Link>, idle: Duration) {
        let mut open = self.open.borrow_mut();
        open.entry(key).or_default().push(Shared { link, idle });
    }

    /// Whoever holds this opens a connection; others wait, since one is enough for many.
    pub(crate) fn opening(&self, key: Key) -> Rc<Mutex<()>> {
        Rc::clone(self.opening.borrow_mut().entry(key).or_default())
    }

    /// Ends all to a host that is dead.
    pub(crate) fn give_up_on(&self, address: SocketAddr) {
        self.open.borrow_mut().retain(|key, known| {
            let lives = !key.leads_to(address);
            if !lives {
                known.iter().for_each(|shared| shared.link.give_up());
            }
            lives
        });
    }

    /// Lets those of identities that are not shown any more end with what is under way on them.
    pub(crate) fn keep_identities(&self, current: impl Fn(u64) -> bool) {
        self.open
            .borrow_mut()
            .retain(|key, _| key.identity == 0 || current(key.identity));
    }

    /// Lets go of what is not good any more, or idle for too long.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.open.borrow_mut().retain(|_, known| {
            known.retain(|Shared { link, idle }| {
                let rested = link.idle_since().is_some_and(|since| now >= since + *idle);
                link.is_good(now) && !rested
            });
            !known.is_empty()
        });
        self.opening
            .borrow_mut()
            .retain(|_, lock| Rc::strong_count(lock) > 1);
    }
}
