//! Who gets the next request.
//!
//! Candidates are drawn at random by weight, or taken in turn, and looked at one by one, so that a request costs the same
//! with three endpoints and with ten thousand. What is out of rotation is passed over; where a probe is due, this request
//! is it. If fewer than half of the endpoints are left, ejections are not believed any more (panic). What is draining is
//! used where nothing else is left, and last of all what is on hosts that could not be reached.

mod ewma;
mod weighted;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use weft_model::section::{Balance, EndpointState};

use self::ewma::Ewma;
use self::weighted::Weighted;
use crate::endpoint::{Member, Members, Standing};
use crate::time::Moment;

/// Draws before all candidates are looked through.
const DRAWS: usize = 8;

/// The members that one target may use, prepared for drawing; shared by all workers.
#[derive(Clone, Debug)]
pub struct Candidates {
    up: Weighted,
    draining: Weighted,
}

/// What a worker measured of the members of one service.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Ewma>);

/// What a request saw of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It took so long to its response head.
    Answer(Duration),
    /// It failed, which counts as its timeout, so that a quick refusal attracts nobody.
    Failure(Duration),
}

/// A worker's own choice among the candidates of one target.
#[derive(Clone, Debug)]
pub struct Balancer {
    kind: Balance,
    /// For turns: when each is next, and its place among the candidates that are up.
    turns: BinaryHeap<Reverse<(u64, u32)>>,
}

/// Who was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Place in [`Members::list`].
    pub member: usize,
    /// Why this one; the outcome is reported with it.
    pub why: Why,
}

/// Why it may get the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is in rotation.
    Rotation,
    /// Its ejection is over, and this request is the probe.
    Probe,
    /// It is ejected, but so are too many others.
    Panic,
    /// It is draining, and nothing else is left.
    Draining,
    /// It is out, or is the one that failed, and there is nobody else at all.
    LastResort,
}

// === impl Candidates ===

impl Candidates {
    /// The members that carry all of the labels.
    pub fn new(members: &Members, labels: &BTreeMap<String, String>) -> Candidates {
        let of = |state: EndpointState| {
            Weighted::new(
                members
                    .list()
                    .iter()
                    .enumerate()
                    .filter_map(|(index, member)| {
                        let endpoint = &member.endpoint;
                        let carried = labels
                            .iter()
                            .all(|(key, value)| endpoint.labels.get(key) == Some(value));
                        (member.is_usable() && endpoint.state == state && carried)
                            .then_some((index as u32, endpoint.weight))
                    }),
            )
        };
        Candidates {
            up: of(EndpointState::Up),
            draining: of(EndpointState::Drain),
        }
    }

    /// Who they are, by place in [`Members::list`]: those that are up, then those that are draining.
    pub fn members(&self) -> impl Iterator<Item = usize> {
        self.up.members().chain(self.draining.members())
    }

    /// Whether there is nobody at all.
    pub fn is_empty(&self) -> bool {
        self.up.is_empty() && self.draining.is_empty()
    }
}

// === impl Latencies ===

impl Latencies {
    /// For a list that came from another: what was measured of the same endpoints is kept.
    pub fn carry(&self, from: &Members, to: &Members) -> Latencies {
        let known: HashMap<_, _> = from
            .list()
            .iter()
            .zip(&self.0)
            .map(|(member, ewma)| (Arc::as_ptr(&member.state), *ewma))
            .collect();
        let of = |member: &Member| {
            known
                .get(&Arc::as_ptr(&member.state))
                .copied()
                .unwrap_or_default()
        };
        Latencies(to.list().iter().map(of).collect())
    }

    /// What a request saw of a member.
    pub fn observe(&mut self, member: usize, seen: Seen, now: Moment) {
        if let Some(ewma) = self.0.get_mut(member) {
            match seen {
                Seen::Answer(took) => ewma.observe(took, now),
                Seen::Failure(waited) => ewma.fail(waited, now),
            }
        }
    }

    /// The estimate, if there is one.
    pub fn estimate(&self, member: usize, now: Moment) -> Option<Duration> {
        self.0
            .get(member)?
            .estimate(now)
            .map(|nanos| Duration::from_nanos(nanos as u64))
    }
}

// === impl Balancer ===

impl Balancer {
    /// For the candidates of one target; made anew when they change. Turns start at random places, so that workers and
    /// hosts do not all begin with the same endpoint.
    pub fn new(kind: Balance, candidates: &Candidates, rng: &mut impl Rng) -> Balancer {
        let mut turns = BinaryHeap::new();
        if kind == Balance::RoundRobin {
            turns = (0..candidates.up.len())
                .map(|place| {
                    Reverse((
                        rng.random_range(0..candidates.up.stride(place)),
                        place as u32,
                    ))
                })
                .collect();
        }
        Balancer { kind, turns }
    }

    /// Who gets it. `failed`: members that this request was sent to already; they get it again only if there is nobody
    /// else. `None`: there is nobody.
    pub fn pick(
        &mut self,
        candidates: &Candidates,
        members: &Members,
        latencies: &Latencies,
        failed: &[usize],
        now: Moment,
        rng: &mut impl Rng,
    ) -> Option<Pick> {
        let round = Round {
            members,
            failed,
            now,
            panic: panics(members),
        };
        self.fast(candidates, latencies, &round, rng)
            .or_else(|| round.search(candidates, rng))
    }

    fn fast(
        &mut self,
        candidates: &Candidates,
        latencies: &Latencies,
        round: &Round<'_>,
        rng: &mut impl Rng,
    ) -> Option<Pick> {
        if candidates.up.is_empty() {
            return None;
        }
        let mut first: Option<(usize, Why)> = None;
        for _ in 0..DRAWS {
            let place = match self.kind {
                Balance::RoundRobin => self.turn(candidates)?,
                _ => candidates.up.draw(rng),
            };
            let member = candidates.up.member(place);
            let Some(why) = round.admits(member) else {
                continue;
            };
            if why == Why::Probe || matches!(self.kind, Balance::RoundRobin | Balance::Random) {
                return Some(Pick { member, why });
            }
            match first {
                None if candidates.up.len() > 1 => first = Some((place, why)),
                None => return Some(Pick { member, why }),
                Some((other, _)) if other == place => {}
                Some((other, other_why)) => {
                    let better = self.better(candidates, latencies, round, other, place);
                    let why = if better == other { other_why } else { why };
                    return Some(Pick {
                        member: candidates.up.member(better),
                        why,
                    });
                }
            }
        }
        first.map(|(place, why)| Pick {
            member: candidates.up.member(place),
            why,
        })
    }

    /// The cheaper of two places; at a tie the first, so that idle endpoints get their weight.
    fn better(
        &self,
        candidates: &Candidates,
        latencies: &Latencies,
        round: &Round<'_>,
        first: usize,
        second: usize,
    ) -> usize {
        let load = |place: usize| {
            let state = &round.members.list()[candidates.up.member(place)].state;
            f64::from(state.active()) / candidates.up.relative_weight(place)
        };
        let estimate = |place: usize| {
            latencies
                .0
                .get(candidates.up.member(place))?
                .estimate(round.now)
        };
        let costs = match (self.kind, estimate(first), estimate(second)) {
            (Balance::P2c, Some(a), Some(b)) => (a * (load(first) + 1.0), b * (load(second) + 1.0)),
            // Of one of them nothing is known yet: only how busy they are.
            _ => (load(first), load(second)),
        };
        if costs.1 < costs.0 { second } else { first }
    }

    fn turn(&mut self, candidates: &Candidates) -> Option<usize> {
        let mut next = self.turns.peek_mut()?;
        let Reverse((at, place)) = *next;
        *next = Reverse((at.wrapping_add(candidates.up.stride(place as usize)), place));
        Some(place as usize)
    }
}

/// What holds for one pick.
struct Round<'a> {
    members: &'a Members,
    failed: &'a [usize],
    now: Moment,
    panic: bool,
}

impl Round<'_> {
    /// Whether a member that is up may get it, and why. A due probe is claimed by asking.
    fn admits(&self, index: usize) -> Option<Why> {
        if self.failed.contains(&index) {
            return None;
        }
        let member = &self.members.list()[index];
        match member.standing(self.now) {
            Standing::In => Some(Why::Rotation),
            Standing::Due if member.claim(self.now) => Some(Why::Probe),
            _ if self.panic && !member.host.is_ejected() && !member.state.rotation.is_gone() => {
                Some(Why::Panic)
            }
            _ => None,
        }
    }

    /// Every candidate, from a random place on: those that are up, those that drain, then whoever is left.
    fn search(&self, candidates: &Candidates, rng: &mut impl Rng) -> Option<Pick> {
        let up = candidates
            .up
            .around(rng)
            .find_map(|member| self.admits(member).map(|why| Pick { member, why }));
        up.or_else(|| {
            let draining = |member: &usize| {
                !self.failed.contains(member)
                    && self.members.list()[*member].standing(self.now) == Standing::In
            };
            let member = candidates.draining.around(rng).find(draining)?;
            Some(Pick {
                member,
                why: Why::Draining,
            })
        })
        .or_else(|| {
            let everybody = || candidates.up.members().chain(candidates.draining.members());
            let not_gone = |member: &usize| !self.members.list()[*member].state.rotation.is_gone();
            let rank = |member: &usize| {
                let host_lost = self.members.list()[*member].host.is_ejected();
                (self.failed.contains(member), host_lost, rng.random::<u32>())
            };
            let member = everybody().filter(not_gone).min_by_key(rank)?;
            Some(Pick {
                member,
                why: Why::LastResort,
            })
        })
    }
}

fn panics(members: &Members) -> bool {
    let ejected = members.ejected();
    ejected > 0 && members.usable().saturating_sub(ejected) * 2 < members.usable()
}

#[cfg(test)]
mod tests;
