//! Endpoints and what all workers know of them together.
//!
//! What is written in the registry changes with every snapshot; what was learned by talking to an endpoint must not be
//! forgotten with it. So [`Members::reconcile`] builds a new list whose [`State`]s are those of the old one wherever host
//! and instance are the same.

mod rotation;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weft_model::section::{Endpoint, EndpointState};

use crate::time::Moment;

pub use self::rotation::{Carried, MAX_EJECTION, PROBE_LEASE, Rotation, Standing};

/// What a slow start begins with.
pub const LEAST_PART: f64 = 0.1;

/// The instances of one service, immutable.
#[derive(Clone, Debug, Default)]
pub struct Members {
    list: Box<[Member]>,
    usable: usize,
    pub(crate) ejected: Arc<AtomicUsize>,
    changes: Arc<AtomicU64>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Member {
    /// As the registry has it.
    pub endpoint: Endpoint,
    /// What was learned of it.
    pub state: Arc<State>,
    /// What was learned of its host, shared with all that are on it.
    pub host: Arc<Rotation>,
}

/// What all workers know of an endpoint together, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct State {
    active: AtomicU32,
    pending: AtomicU32,
    pub(crate) consecutive: AtomicU32,
    pub(crate) failed_probes: AtomicU32,
    pub(crate) sums: crate::outlier::Sums,
    /// Since when it is out as a suspect, as the control thread saw it; 0: it is not.
    pub(crate) suspect_since: AtomicU64,
    /// Whether it is in rotation.
    pub rotation: Rotation,
    /// Only the control thread looks at it.
    pub(crate) window: Mutex<crate::outlier::Window>,
}

/// The hosts of all services, kept by the control thread, so that one failed connect speaks for all endpoints of a host.
#[derive(Debug, Default)]
pub struct Hosts {
    known: HashMap<String, Arc<Rotation>>,
    /// Rises whenever anybody anywhere leaves rotation or comes back.
    changes: Arc<AtomicU64>,
}

/// A request under way to an endpoint; ends when dropped.
#[derive(Debug)]
pub struct Active(Arc<State>);

/// A request that waits for a connection to an endpoint; ends when dropped.
#[derive(Debug)]
pub struct Pending(Arc<State>);

// === impl Members ===

impl Members {
    /// The list for new endpoints, with the states of this one where host and instance are the same. An endpoint that was
    /// given up as lost and is confirmed now starts anew. What is up now and was not in this list is so since `now`;
    /// where there was nobody, everybody is as if always there.
    pub fn reconcile(&self, endpoints: &[Endpoint], hosts: &mut Hosts, now: Moment) -> Members {
        let known: HashMap<(&str, &str), &Member> = self
            .list
            .iter()
            .map(|member| (member.key(), member))
            .collect();
        let was_up =
            |member: &Member| member.is_usable() && member.endpoint.state == EndpointState::Up;
        let anybody = self.list.iter().any(was_up);
        let list: Box<[Member]> = endpoints
            .iter()
            .map(|endpoint| {
                let before = known.get(&(endpoint.host.as_str(), endpoint.instance.as_str()));
                let state = match before.map(|before| &before.state) {
                    Some(state) if endpoint.suspect || !state.rotation.is_gone() => {
                        Arc::clone(state)
                    }
                    _ => Arc::default(),
                };
                let member = Member {
                    endpoint: endpoint.clone(),
                    state,
                    host: hosts.get(&endpoint.host),
                };
                if anybody && was_up(&member) && !before.is_some_and(|before| was_up(before)) {
                    member.state.rotation.starts(now);
                }
                member
            })
            .collect();
        let usable = list.iter().filter(|member| member.is_usable()).count();
        let members = Members {
            list,
            usable,
            ejected: Arc::clone(&self.ejected),
            changes: Arc::clone(&hosts.changes),
        };
        members.recount();
        members
    }

    /// All of them, in the order of the section.
    pub fn list(&self) -> &[Member] {
        &self.list
    }

    /// How many may get requests as far as the registry says.
    pub fn usable(&self) -> usize {
        self.usable
    }

    /// How many are ejected, hosts' ejections not counted.
    pub fn ejected(&self) -> usize {
        self.ejected.load(Relaxed)
    }

    /// Counts the ejected again: what two generations of a list counted at the same time.
    pub fn recount(&self) {
        let ejected = self
            .list
            .iter()
            .filter(|member| member.state.rotation.is_ejected())
            .count();
        if self.ejected.swap(ejected, Relaxed) != ejected {
            self.changed();
        }
    }

    /// How often anybody left rotation or came back, of these and of others.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Somebody left rotation or came back.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Relaxed);
    }
}

impl Member {
    /// Host and instance.
    pub fn key(&self) -> (&str, &str) {
        (&self.endpoint.host, &self.endpoint.instance)
    }

    /// Whether it may get requests at all as far as the registry says, were it only while nothing else is left.
    pub fn is_usable(&self) -> bool {
        self.endpoint.weight > 0 && self.endpoint.state != EndpointState::Down
    }

    /// Where it stands together with its host.
    pub fn standing(&self, now: Moment) -> Standing {
        match (self.host.standing(now), self.state.rotation.standing(now)) {
            (Standing::In, own) => own,
            (host, Standing::In) => host,
            (Standing::Due, Standing::Due) => Standing::Due,
            _ => Standing::Out,
        }
    }

    /// Whether its host can be reached, and it was not given up.
    pub fn is_reachable(&self) -> bool {
        !self.host.is_ejected() && !self.state.rotation.is_gone()
    }

    /// The share of its weight that it has yet, if it takes `whole` to have all of it: a tenth at first, and then as time goes.
    pub fn part(&self, now: Moment, whole: Duration) -> f64 {
        let since = |rotation: &Rotation| rotation.since.load(Relaxed);
        let since = since(&self.state.rotation).max(since(&self.host));
        if since == 0 {
            return 1.0;
        }
        let gone = now.since(Moment::from_nanos(since)).as_secs_f64();
        (gone / whole.as_secs_f64()).clamp(LEAST_PART, 1.0)
    }

    /// Claims the one probe that is due, of the endpoint, its host or both.
    pub fn claim(&self, now: Moment) -> bool {
        let due = |rotation: &Rotation| rotation.standing(now) == Standing::Due;
        match (due(&self.host), due(&self.state.rotation)) {
            (true, true) => self.host.claim(now) && self.state.rotation.claim(now),
            (true, false) => self.host.claim(now),
            (false, true) => self.state.rotation.claim(now),
            (false, false) => false,
        }
    }
}

// === impl State ===

impl State {
    /// A request is under way until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Relaxed);
        Active(Arc::clone(self))
    }

    /// A request waits for a connection until the guard is dropped.
    pub fn wait(self: &Arc<Self>) -> Pending {
        self.pending.fetch_add(1, Relaxed);
        Pending(Arc::clone(self))
    }

    /// Requests under way, of all workers.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Requests that wait for a connection, of all workers.
    pub fn pending(&self) -> u32 {
        self.pending.load(Relaxed)
    }

    /// Failures in a row.
    pub fn consecutive(&self) -> u32 {
        self.consecutive.load(Relaxed)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Relaxed);
    }
}

// === impl Hosts ===

impl Hosts {
    /// What was learned of a host, the same for everybody who asks.
    pub fn get(&mut self, host: &str) -> Arc<Rotation> {
        match self.known.get(host) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(self.known.entry(host.to_owned()).or_default()),
        }
    }

    /// Forgets the hosts of which no list has a member any more.
    pub fn sweep(&mut self) {
        self.known
            .retain(|_, rotation| Arc::strong_count(rotation) > 1);
    }
}

#[cfg(test)]
pub(crate) mod tests;
