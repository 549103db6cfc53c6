//! Who of a target's members is in rotation, looked at all together: only after something changed, and seldom where they
//! are many, so that no request pays for their number.

use std::time::Duration;

use super::candidates::Candidates;
use super::weighted::Weighted;
use super::zone::{Health, stays};
use crate::endpoint::{Members, Standing};
use crate::time::Moment;

/// Surveys are so far apart for each member: they cost a percent or two, however often things change.
const REST: Duration = Duration::from_micros(10);

/// What one saw.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    /// The count of changes it was taken at; none: never.
    changes: Option<u64>,
    at: Moment,
    /// Whether fewer than half of those on hosts that can be reached are in rotation.
    pub(super) panic: bool,
    /// Whether nobody is in rotation, draining ones not counted.
    pub(super) nobody: bool,
    /// The share that stays in the caller's zone.
    pub(super) stays: f64,
    /// Those of each pool that are in rotation, once they were so few that drawing among all found none.
    pub(super) left: Option<Box<[Weighted]>>,
}

// === impl Survey ===

impl Survey {
    pub(super) fn new() -> Survey {
        Survey {
            changes: None,
            at: Moment::default(),
            panic: false,
            nobody: false,
            stays: 1.0,
            left: None,
        }
    }

    /// Looks, if something changed since; `true` if it did. `list`: whether those in rotation are wanted.
    pub(super) fn refresh(
        &mut self,
        candidates: &Candidates,
        members: &Members,
        now: Moment,
        list: bool,
    ) -> bool {
        let changes = members.changes();
        let missing = list && self.left.is_none();
        let rest = REST.saturating_mul(u32::try_from(candidates.ups()).unwrap_or(u32::MAX));
        let rests = self.changes.is_some() && now.since(self.at) < rest;
        if !missing && (rests || self.changes == Some(changes)) {
            return false;
        }
        let list = list || self.left.is_some();
        *self = Survey::of(candidates, members, now, list);
        self.changes = Some(changes);
        true
    }

    fn of(candidates: &Candidates, members: &Members, now: Moment, list: bool) -> Survey {
        let mut health: Vec<Health> = Vec::with_capacity(candidates.pools.len());
        let (mut reachable, mut count) = (0_usize, 0_usize);
        let mut left = Vec::new();
        for (pool, whole) in candidates.pools.iter().zip(&candidates.whole) {
            let (mut weight, mut healthy) = (0.0, Vec::new());
            for place in 0..pool.len() {
                let member = &members.list()[pool.member(place)];
                reachable += usize::from(member.is_reachable());
                if member.standing(now) != Standing::In {
                    continue;
                }
                count += 1;
                weight += f64::from(pool.weight(place));
                if list {
                    healthy.push((pool.member(place) as u32, pool.weight(place)));
                }
            }
            health.push(Health {
                whole: *whole,
                healthy: weight,
            });
            left.push(Weighted::new(healthy.into_iter()));
        }
        let panic = count < reachable && count * 2 < reachable;
        let share = match (panic, &*health) {
            // Then health is not believed.
            (true, [here, _]) if here.whole > 0.0 && !candidates.pools[0].is_empty() => 1.0,
            (_, [here, elsewhere]) => stays(*here, *elsewhere, candidates.spill_below),
            _ => 1.0,
        };
        Survey {
            changes: None,
            at: now,
            panic,
            nobody: count == 0,
            stays: share,
            left: list.then(|| left.into()),
        }
    }
}

/// How a target stands, for whoever looks from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stand {
    /// Whether so few are in rotation that ejections are not believed.
    pub panic: bool,
    /// Whether nobody is in rotation.
    pub nobody: bool,
    /// The share of requests that stays in the caller's zone; none where none is preferred.
    pub stays: Option<f64>,
}

impl Candidates {
    /// How they stand now; looks at every one.
    pub fn stand(&self, members: &Members, now: Moment) -> Stand {
        let survey = Survey::of(self, members, now, false);
        Stand {
            panic: survey.panic,
            nobody: survey.nobody,
            stays: (self.pools.len() > 1).then_some(survey.stays),
        }
    }
}
