//! Outlier detection: who is taken out of rotation for how they answer, and how they come back.
//!
//! Out: after so many failures in a row; after too few successes within ten seconds, or where the answers of those ten
//! seconds took so many times longer than its peers'; a suspect at its first failure; and all endpoints of a host together
//! when its inbound port cannot be connected to. Back: the time being over, one request goes there; its success brings the
//! endpoint back, its failure ejects it again, longer. To a host whose port could not be connected to no request goes: the
//! control thread connects ([`claim_hosts`]), so that a dead host costs a caller one attempt, not one for each probe. Never
//! more than the configured share of a service is out at once, suspects and hosts excepted, because they are not slow but
//! absent.
//!
//! Whoever decides first decides for all workers, and it alone tells: an ejection is one event, however many saw the failures.

mod window;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use weft_model::section;

use crate::balance::{Why, hash};
use crate::endpoint::{Member, Members, Rotation, Standing};
use crate::time::Moment;

pub(crate) use self::window::{Sums, Window};

/// Seconds over which successes and latencies are counted.
pub const WINDOW: usize = 10;

/// Fewer requests than these say nothing about a share or a mean.
pub const MIN_REQUESTS: u32 = 5;

/// Fewer endpoints with that many requests are no peers to be compared with.
pub const MIN_PEERS: usize = 3;

/// Slower than its peers by less than this is nobody, whatever the factor.
pub const LEAST_LAG: Duration = Duration::from_millis(5);

/// A suspect that failed so many probes is given up.
pub const MAX_FAILED_PROBES: u32 = 3;

/// A suspect that is out for so long is given up.
pub const MAX_SUSPICION: Duration = Duration::from_secs(600);

/// The rules of one service.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    consecutive: u32,
    success_below: f64,
    latency_factor: f64,
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
    /// Out for so long, and why.
    Ejected(Duration, Cause),
    /// It and all others of its host are out for so long.
    HostEjected(Duration),
    /// In again.
    Returned,
    /// The host is in again.
    HostReturned,
    /// A suspect that is given up.
    Gone,
}

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Failures in a row.
    Consecutive,
    /// Too few successes.
    Success,
    /// Slower than its peers.
    Latency,
    /// A suspect's first failure.
    Suspect,
    /// Its probe failed.
    Probe,
}

// === impl Policy ===

impl Policy {
    /// From the section.
    pub fn new(outlier: &section::Outlier) -> Policy {
        Policy {
            consecutive: outlier.consecutive,
            success_below: outlier.success_below,
            latency_factor: outlier.latency_factor,
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
            Outcome::Success => self.succeeded(members, member, why, now),
            Outcome::Failure => self.failed(members, member, why, now),
            Outcome::HostUnreachable => self.unreachable(members, member, why, now),
        };
        change.map(|change| Event {
            member: index,
            change,
        })
    }

    /// How long an answer took, where that is judged.
    pub fn took(&self, members: &Members, index: usize, took: Duration) {
        if self.latency_factor > 0.0
            && let Some(member) = members.list().get(index)
        {
            member.state.sums.took(took);
        }
    }

    /// To be called every second by one thread: judges the last ten.
    pub fn roll(&self, members: &Members, now: Moment) -> Vec<Event> {
        members.recount();
        let mut events = Vec::new();
        let mut means = Vec::new();
        for (index, member) in members.list().iter().enumerate() {
            if self.is_overdue(members, member, now) {
                events.push(Event {
                    member: index,
                    change: Change::Gone,
                });
            }
            let sums = member.roll();
            let total = sums.successes.saturating_add(sums.failures);
            let poor = total >= MIN_REQUESTS
                && f64::from(sums.successes) * 100.0 < self.success_below * f64::from(total);
            if poor {
                events.extend(self.judged(members, index, Cause::Success, now));
            } else if self.latency_factor > 0.0 && sums.answers >= MIN_REQUESTS {
                means.push((sums.mean(), index));
            }
        }
        for index in laggards(&mut means, self.latency_factor) {
            events.extend(self.judged(members, index, Cause::Latency, now));
        }
        events
    }

    /// After one connection for all of those hosts: suspects on the ones that `missed` are a probe nearer to their end.
    pub fn missed(&self, members: &Members, missed: impl Fn(&Arc<Rotation>) -> bool) -> Vec<Event> {
        let suspects = members.list().iter().enumerate();
        suspects
            .filter(|(_, member)| member.endpoint.suspect && missed(&member.host))
            .filter(|(_, member)| self.gave_up(members, member))
            .map(|(index, _)| Event {
                member: index,
                change: Change::Gone,
            })
            .collect()
    }

    /// The connection to the host of that member, which [`claim_hosts`] asked for, came about or not.
    pub fn probed(
        &self,
        members: &Members,
        index: usize,
        reached: bool,
        now: Moment,
    ) -> Option<Event> {
        let host = &members.list()[index].host;
        let change = match reached {
            true => host.give_back(now).then_some(Change::HostReturned),
            false => {
                let length = host.eject_again(now, jitter(self.eject, now));
                length.map(Change::HostEjected)
            }
        };
        change.map(|change| {
            members.changed();
            Event {
                member: index,
                change,
            }
        })
    }

    fn judged(&self, members: &Members, index: usize, cause: Cause, now: Moment) -> Option<Event> {
        let member = &members.list()[index];
        let length = self.eject(members, member, now)?;
        member.forget_window();
        Some(Event {
            member: index,
            change: Change::Ejected(length, cause),
        })
    }

    /// Whether a suspect has been out for too long.
    fn is_overdue(&self, members: &Members, member: &Member, now: Moment) -> bool {
        if !member.endpoint.suspect || member.state.rotation.is_gone() {
            return false;
        }
        let since = &member.state.suspect_since;
        if member.standing(now) == Standing::In {
            since.store(0, Relaxed);
            return false;
        }
        match since.load(Relaxed) {
            0 => {
                since.store(now.as_nanos().max(1), Relaxed);
                false
            }
            out => {
                let overdue = now.since(Moment::from_nanos(out)) >= MAX_SUSPICION;
                overdue && give_up(members, member)
            }
        }
    }

    fn succeeded(
        &self,
        members: &Members,
        member: &Member,
        why: Why,
        now: Moment,
    ) -> Option<Change> {
        let state = &member.state;
        if state.consecutive.load(Relaxed) != 0 {
            state.consecutive.store(0, Relaxed);
        }
        state.sums.succeeded();
        if !matches!(why, Why::Probe | Why::LastResort) {
            return None;
        }
        state.failed_probes.store(0, Relaxed);
        let host_is_back = member.host.give_back(now);
        let is_back = give_back(members, member, now);
        if host_is_back || is_back {
            members.changed();
        }
        if is_back {
            Some(Change::Returned)
        } else {
            host_is_back.then_some(Change::HostReturned)
        }
    }

    fn failed(&self, members: &Members, member: &Member, why: Why, now: Moment) -> Option<Change> {
        let state = &member.state;
        state.sums.failed();
        let consecutive = state.consecutive.fetch_add(1, Relaxed).saturating_add(1);
        if why == Why::Probe {
            if self.gave_up(members, member) {
                return Some(Change::Gone);
            }
            let length = match member.endpoint.suspect {
                true => jitter(self.eject, now),
                false => self.eject,
            };
            let again = state.rotation.eject_again(now, length);
            return again.map(|length| Change::Ejected(length, Cause::Probe));
        }
        if member.endpoint.suspect {
            let length = state.rotation.eject(now, jitter(self.eject, now))?;
            members.ejected.fetch_add(1, Relaxed);
            left(members, member);
            return Some(Change::Ejected(length, Cause::Suspect));
        }
        if self.consecutive == 0 || consecutive < self.consecutive {
            return None;
        }
        let length = self.eject(members, member, now)?;
        Some(Change::Ejected(length, Cause::Consecutive))
    }

    /// All of its host are out, outside the bound.
    fn unreachable(
        &self,
        members: &Members,
        member: &Member,
        why: Why,
        now: Moment,
    ) -> Option<Change> {
        let length = jitter(self.eject, now);
        if why == Why::Probe {
            member.state.rotation.eject_again(now, length);
            if self.gave_up(members, member) {
                return Some(Change::Gone);
            }
        }
        let length = member.host.eject(now, length)?;
        members.changed();
        Some(Change::HostEjected(length))
    }

    /// Within the bound, which holds whoever else ejects at the same time.
    fn eject(&self, members: &Members, member: &Member, now: Moment) -> Option<Duration> {
        let most = members.usable() as f64 * self.max_ejected / 100.0;
        let room = |count: usize| ((count + 1) as f64 <= most).then_some(count + 1);
        let ejected = &members.ejected;
        ejected.fetch_update(Relaxed, Relaxed, room).ok()?;
        let Some(length) = member.state.rotation.eject(now, self.eject) else {
            one_less(members);
            return None;
        };
        left(members, member);
        Some(length)
    }

    fn gave_up(&self, members: &Members, member: &Member) -> bool {
        let failed = member
            .state
            .failed_probes
            .fetch_add(1, Relaxed)
            .saturating_add(1);
        member.endpoint.suspect && failed >= MAX_FAILED_PROBES && give_up(members, member)
    }
}

/// The members whose hosts are due for a connection, one for each host: whoever gets them is the one to make it.
pub fn claim_hosts(members: &Members, now: Moment) -> impl Iterator<Item = usize> {
    let list = members.list().iter().enumerate();
    list.filter(move |(_, member)| member.host.standing(now) == Standing::Due)
        .filter(move |(_, member)| member.host.claim(now))
        .map(|(index, _)| index)
}

fn give_up(members: &Members, member: &Member) -> bool {
    let was_in = !member.state.rotation.is_ejected();
    let gone = member.state.rotation.give_up();
    if gone {
        if was_in {
            members.ejected.fetch_add(1, Relaxed);
        }
        members.changed();
    }
    gone
}

fn left(members: &Members, member: &Member) {
    member.state.consecutive.store(0, Relaxed);
    members.changed();
}

fn give_back(members: &Members, member: &Member, now: Moment) -> bool {
    let back = member.state.rotation.give_back(now);
    if back {
        one_less(members);
    }
    back
}

fn one_less(members: &Members) {
    // A recount may have come in between; it must not go below nothing.
    let less = |count: usize| count.checked_sub(1);
    let _ = members.ejected.fetch_update(Relaxed, Relaxed, less);
}

/// A little longer than `length`, so that not everybody probes at the same moment; decided by when it is.
fn jitter(length: Duration, now: Moment) -> Duration {
    let part = (hash::mix(now.as_nanos()) >> 32) as u32;
    length + length.mul_f64(f64::from(part) / f64::from(u32::MAX) / 4.0)
}

/// Who took `factor` times as long as the median of the others.
fn laggards(means: &mut [(f64, usize)], factor: f64) -> Vec<usize> {
    if means.len() < MIN_PEERS {
        return Vec::new();
    }
    means.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let middle = (means.len() - 2) / 2;
    let least = LEAST_LAG.as_secs_f64();
    let late = |(rank, (mean, index)): (usize, &(f64, usize))| {
        let median = means[if middle < rank { middle } else { middle + 1 }].0;
        (*mean > median * factor && *mean - median >= least).then_some(*index)
    };
    means.iter().enumerate().filter_map(late).collect()
}

#[cfg(test)]
mod tests;
