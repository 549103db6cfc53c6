//! One pick: who may get the request, and who of those does.

use std::time::Duration;

use rand::Rng;

use super::candidates::{Candidates, Kind};
use super::key::Key;
use super::weighted::Weighted;
use super::{Ask, DRAWS, FEW, Latencies, Pick, Why};
use crate::endpoint::{Members, Standing};

/// Endpoints that one key asks for before any other will do.
const WALK: usize = 64;

/// What holds for one pick.
pub(super) struct Round<'a> {
    pub(super) candidates: &'a Candidates,
    pub(super) members: &'a Members,
    pub(super) latencies: &'a Latencies,
    pub(super) ask: Ask<'a>,
    pub(super) panic: bool,
}

impl Round<'_> {
    /// Whether a member that is up may get it, and why. A due probe is claimed by asking.
    fn admits(&self, index: usize) -> Option<Why> {
        if self.ask.failed.contains(&index) {
            return None;
        }
        let member = &self.members.list()[index];
        match member.standing(self.ask.now) {
            Standing::In => Some(Why::Rotation),
            // To a host that could not be connected to no request goes before a connection did.
            Standing::Due if !member.host.is_ejected() && member.claim(self.ask.now) => {
                Some(Why::Probe)
            }
            _ if self.panic && member.is_reachable() => Some(Why::Panic),
            _ => None,
        }
    }

    pub(super) fn admitted(&self, member: usize) -> Option<Pick> {
        self.admits(member).map(|why| self.picked(member, why))
    }

    fn picked(&self, member: usize, why: Why) -> Pick {
        let zone = &self.candidates.zone;
        let here = (zone.as_ref()).map(|zone| **zone == *self.members.list()[member].endpoint.zone);
        Pick { member, why, here }
    }

    /// The share of its weight that a member has yet.
    pub(super) fn part(&self, member: usize) -> f64 {
        match self.candidates.slow_start {
            Duration::ZERO => 1.0,
            whole => self.members.list()[member].part(self.ask.now, whole),
        }
    }

    /// The first of those a key asks for that may get it.
    pub(super) fn keyed(&self, key: Key) -> Option<Pick> {
        let (mut looked, mut found) = (0, None);
        self.candidates.walk(key, |member| {
            looked += 1;
            found = self.admitted(member);
            found.is_none() && looked < WALK
        });
        found
    }

    /// One at random, or the better of two.
    pub(super) fn draw(&self, pool: &Weighted, rng: &mut impl Rng) -> Option<Pick> {
        let one = match self.candidates.kind {
            Kind::Random | Kind::RoundRobin => true,
            Kind::P2c | Kind::LeastRequest => pool.len() == 1,
        };
        let (mut first, mut passed) = (None, None);
        for _ in 0..DRAWS {
            let place = pool.draw(rng);
            let member = pool.member(place);
            let Some(why) = self.admits(member) else {
                continue;
            };
            if why == Why::Probe {
                return Some(self.picked(member, why));
            }
            let part = self.part(member);
            if part < 1.0 && rng.random::<f64>() >= part {
                passed = Some((place, why));
                continue;
            }
            match first {
                None if one => return Some(self.picked(member, why)),
                None => first = Some((place, why)),
                Some((other, _)) if other == place => {}
                Some((other, other_why)) => {
                    let better = self.better(pool, other, place);
                    let why = if better == other { other_why } else { why };
                    return Some(self.picked(pool.member(better), why));
                }
            }
        }
        let (place, why) = first.or(passed)?;
        Some(self.picked(pool.member(place), why))
    }

    /// The cheaper of two places; at a tie the first, so that idle endpoints get their weight.
    fn better(&self, pool: &Weighted, first: usize, second: usize) -> usize {
        let load = |place: usize| {
            let member = pool.member(place);
            let state = &self.members.list()[member].state;
            f64::from(state.active()) / (pool.relative_weight(place) * self.part(member))
        };
        let estimate = |place: usize| {
            self.latencies
                .0
                .get(pool.member(place))?
                .estimate(self.ask.now)
        };
        let costs = match (self.candidates.kind, estimate(first), estimate(second)) {
            (Kind::P2c, Some(a), Some(b)) => (a * (load(first) + 1.0), b * (load(second) + 1.0)),
            // Of one of them nothing is known yet: only how busy they are.
            _ => (load(first), load(second)),
        };
        if costs.1 < costs.0 { second } else { first }
    }

    pub(super) fn draining(&self, rng: &mut impl Rng) -> Option<Pick> {
        let may = |member: &usize| {
            !self.ask.failed.contains(member)
                && self.members.list()[*member].standing(self.ask.now) == Standing::In
        };
        let member = self
            .candidates
            .draining
            .around(rng)
            .take(FEW)
            .find(|member| may(member))?;
        Some(self.picked(member, Why::Draining))
    }

    /// Whoever is left: rather one that did not fail, rather one whose host can be reached.
    pub(super) fn last_resort(&self, rng: &mut impl Rng) -> Option<Pick> {
        let Candidates {
            pools, draining, ..
        } = self.candidates;
        let everybody: Vec<usize> = pools
            .iter()
            .chain([draining])
            .flat_map(|pool| pool.around(rng).take(FEW).collect::<Vec<_>>())
            .collect();
        let not_gone = |member: &usize| !self.members.list()[*member].state.rotation.is_gone();
        let rank = |member: &usize| {
            let host_lost = self.members.list()[*member].host.is_ejected();
            let failed = self.ask.failed.contains(member);
            (failed, host_lost, rng.random::<u32>())
        };
        let member = everybody.into_iter().filter(not_gone).min_by_key(rank)?;
        Some(self.picked(member, Why::LastResort))
    }
}
