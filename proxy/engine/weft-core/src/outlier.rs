//! Outlier detection: who is taken out of rotation for how they answer, and how they come back.
//!
//! Out: after so many failures in a row; after too few successes within ten seconds; a suspect at its first failure; and
//! all endpoints of a host together when its inbound port cannot be connected to. Back: the time being over, one request
//! goes there; its success brings the endpoint back, its failure ejects it again, longer. Never more than the configured
//! share of a service is out at once, suspects and hosts excepted, because they are not slow but absent.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use weft_model::section;

use crate::balance::Why;
use crate::endpoint::{Member, Members};
use crate::time::Moment;

/// Seconds over which successes are counted.
pub const WINDOW: usize = 10;

/// Fewer requests than these say nothing about a share.
pub const MIN_REQUESTS: u32 = 5;

/// A suspect that failed so many probes is given up.
pub const MAX_FAILED_PROBES: u32 = 3;

/// Seconds in rotation without a failure after which one ejection is forgiven.
const CALM: u32 = 30;

/// The rules of one service.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    consecutive: u32,
    success_below: f64,
    eject: Duration,
    max_ejected: f64,
}

/// How a request to an endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, whatever the application said below 500.
    Success,
    /// It was reset, timed out, refused, or answered with 500 or above.
    Failure,
    /// The inbound port of its host could not be connected to.
    HostUnreachable,
}

/// What is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Place in [`Members::list`].
    pub member: usize,
    /// What happened to it.
    pub change: Change,
}

/// What happened to an endpoint or its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Out for so long.
    Ejected(Duration),
    /// It and all others of its host are out for so long.
    HostEjected(Duration),
    /// In again.
    Returned,
    /// The host is in again.
    HostReturned,
    /// A suspect that is given up.
    Gone,
}

/// Successes and failures of the last seconds; only the control thread has it.
#[derive(Debug, Default)]
pub(crate) struct Window {
    seconds: [(u32, u32); WINDOW],
    next: usize,
    calm: u32,
}

// === impl Policy ===

impl Policy {
    /// From the section.
    pub fn new(outlier: &section::Outlier) -> Policy {
        Policy {
            consecutive: outlier.consecutive,
            success_below: outlier.success_below,
            eject: Duration::from_millis(outlier.eject_ms),
            max_ejected: outlier.max_ejected,
        }
    }

    /// Counts how a request ended that [`crate::balance::Balancer::pick`] sent there for that reason.
    pub fn report(
        &self,
        members: &Members,
        index: usize,
        why: Why,
        outcome: Outcome,
        now: Moment,
    ) -> Option<Event> {
        let member = &members.list()[index];
        let change = match outcome {
            Outcome::Success => self.succeeded(members, member, why),
            Outcome::Failure => self.failed(members, member, why, now),
            Outcome::HostUnreachable => self.unreachable(members, member, why, now),
        };
        change.map(|change| Event {
            member: index,
            change,
        })
    }

    /// To be called every second by one thread: judges the shares of the last ten.
    pub fn roll(&self, members: &Members, now: Moment) -> Vec<Event> {
        members.recount();
        let mut events = Vec::new();
        for (index, member) in members.list().iter().enumerate() {
            let (successes, failures) = member.roll();
            let total = successes + failures;
            let poor = total >= MIN_REQUESTS
                && f64::from(successes) * 100.0 < self.success_below * f64::from(total);
            if poor && let Some(length) = self.eject(members, member, now) {
                member.forget_window();
                events.push(Event {
                    member: index,
                    change: Change::Ejected(length),
                });
            }
        }
        events
    }

    fn succeeded(&self, members: &Members, member: &Member, why: Why) -> Option<Change> {
        let state = &member.state;
        if state.consecutive.load(Relaxed) != 0 {
            state.consecutive.store(0, Relaxed);
        }
        state.successes.fetch_add(1, Relaxed);
        if !matches!(why, Why::Probe | Why::LastResort) {
            return None;
        }
        state.failed_probes.store(0, Relaxed);
        let host_is_back = member.host.give_back();
        if give_back(members, member) {
            Some(Change::Returned)
        } else {
            host_is_back.then_some(Change::HostReturned)
        }
    }

    fn failed(&self, members: &Members, member: &Member, why: Why, now: Moment) -> Option<Change> {
        let state = &member.state;
        state.failures.fetch_add(1, Relaxed);
        let consecutive = state.consecutive.fetch_add(1, Relaxed).saturating_add(1);
        if why == Why::Probe {
            // Whatever failed, its host could be reached.
            let host_is_back = member.host.give_back();
            if self.gave_up(members, member) {
                return Some(Change::Gone);
            }
            return match state.rotation.eject_again(now, self.eject) {
                Some(length) => Some(Change::Ejected(length)),
                None => host_is_back.then_some(Change::HostReturned),
            };
        }
        if member.endpoint.suspect {
            return eject(members, member, now, self.eject).map(Change::Ejected);
        }
        if self.consecutive == 0 || consecutive < self.consecutive {
            return None;
        }
        self.eject(members, member, now).map(Change::Ejected)
    }

    fn unreachable(
        &self,
        members: &Members,
        member: &Member,
        why: Why,
        now: Moment,
    ) -> Option<Change> {
        if why == Why::Probe {
            let again = member.host.eject_again(now, self.eject);
            let own = member.state.rotation.eject_again(now, self.eject);
            if self.gave_up(members, member) {
                return Some(Change::Gone);
            }
            if let Some(length) = again {
                return Some(Change::HostEjected(length));
            }
            if own.is_some() {
                return member.host.eject(now, self.eject).map(Change::HostEjected);
            }
        }
        member.host.eject(now, self.eject).map(Change::HostEjected)
    }

    /// Within the bound.
    fn eject(&self, members: &Members, member: &Member, now: Moment) -> Option<Duration> {
        let all = members.usable() as f64;
        if (members.ejected() + 1) as f64 > all * self.max_ejected / 100.0 {
            return None;
        }
        eject(members, member, now, self.eject)
    }

    fn gave_up(&self, members: &Members, member: &Member) -> bool {
        let failed = member
            .state
            .failed_probes
            .fetch_add(1, Relaxed)
            .saturating_add(1);
        if !member.endpoint.suspect || failed < MAX_FAILED_PROBES {
            return false;
        }
        let was_in = !member.state.rotation.is_ejected();
        let gone = member.state.rotation.give_up();
        if gone && was_in {
            members.ejected.fetch_add(1, Relaxed);
        }
        gone
    }
}

fn eject(members: &Members, member: &Member, now: Moment, base: Duration) -> Option<Duration> {
    let length = member.state.rotation.eject(now, base)?;
    members.ejected.fetch_add(1, Relaxed);
    member.state.consecutive.store(0, Relaxed);
    Some(length)
}

fn give_back(members: &Members, member: &Member) -> bool {
    let back = member.state.rotation.give_back();
    if back {
        // A recount may have come in between; it must not go below nothing.
        let _ = members
            .ejected
            .fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
    }
    back
}

// === impl Member ===

impl Member {
    /// Ends a second: the sums of the last ten.
    fn roll(&self) -> (u32, u32) {
        let state = &self.state;
        let second = (
            state.successes.swap(0, Relaxed),
            state.failures.swap(0, Relaxed),
        );
        let mut window = state
            .window
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = window.next;
        window.seconds[next] = second;
        window.next = (next + 1) % WINDOW;
        window.calm = if second.1 > 0 || state.rotation.is_ejected() {
            0
        } else {
            window.calm + 1
        };
        if window.calm >= CALM {
            window.calm = 0;
            state.rotation.forgive();
            self.host.forgive();
        }
        window.seconds.iter().fold((0, 0), |(good, bad), second| {
            (
                u32::saturating_add(good, second.0),
                u32::saturating_add(bad, second.1),
            )
        })
    }

    /// What led to an ejection is not held against it when it is back.
    fn forget_window(&self) {
        let mut window = self
            .state
            .window
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        window.seconds = Default::default();
    }
}

#[cfg(test)]
mod tests;
