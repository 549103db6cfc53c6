//! The members that one target may use, prepared once for all workers.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_model::section::{Balance, EndpointState, Traffic};

use super::hash;
use super::key::Key;
use super::maglev::Table;
use super::ring::{Named, Ring};
use super::weighted::Weighted;
use crate::endpoint::{Member, Members, Standing};
use crate::time::Moment;

/// How a service is balanced, as seen from one zone.
#[derive(Clone, Debug)]
pub struct Plan {
    balance: Balance,
    slow_start: Duration,
    /// The caller's own zone, and the percentage of it that is enough; none where no zone is preferred.
    zone: Option<(String, f64)>,
}

/// The members that one target may use.
#[derive(Clone, Debug)]
pub struct Candidates {
    pub(super) kind: Kind,
    pub(super) slow_start: Duration,
    /// The caller's own zone, where it is preferred.
    pub(super) zone: Option<Box<str>>,
    pub(super) spill_below: f64,
    /// Those that are up. Where a zone is preferred: those in it, then the others; else one of all.
    pub(super) pools: Box<[Weighted]>,
    /// The weight of all members of each pool, whatever their state.
    pub(super) whole: Box<[f64]>,
    pub(super) draining: Weighted,
    table: Option<Keyed>,
}

/// A balancer's name without what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    P2c,
    LeastRequest,
    RoundRobin,
    /// Also where a key is missing.
    Random,
}

/// Who gets a key.
#[derive(Clone, Debug)]
enum Keyed {
    Ring(Ring),
    Table(Table),
}

// === impl Plan ===

impl Plan {
    /// Without a preferred zone or a slow start.
    pub fn plain(balance: Balance) -> Plan {
        Plan {
            balance,
            slow_start: Duration::ZERO,
            zone: None,
        }
    }

    /// Of a service's traffic, for callers in `zone`; an empty zone is none. Keys are the same everywhere, so that zones
    /// and slow starts do not move them.
    pub fn new(traffic: &Traffic, zone: &str) -> Plan {
        let keyed = matches!(traffic.balance, Balance::RingHash(_) | Balance::Maglev(_));
        let preferred = traffic.zone.filter(|_| !keyed && !zone.is_empty());
        let slow_start = if keyed { 0 } else { traffic.slow_start_ms };
        Plan {
            balance: traffic.balance.clone(),
            slow_start: Duration::from_millis(slow_start),
            zone: preferred.map(|preferred| (zone.to_owned(), preferred.spill_below)),
        }
    }
}

#[cfg(test)]
impl Plan {
    pub(super) fn test(balance: Balance) -> Plan {
        Plan::plain(balance)
    }

    pub(super) fn slowly(self, slow_start: Duration) -> Plan {
        Plan { slow_start, ..self }
    }

    pub(super) fn near(self, zone: &str, spill_below: f64) -> Plan {
        Plan {
            zone: Some((zone.to_owned(), spill_below)),
            ..self
        }
    }
}

// === impl Candidates ===

impl Candidates {
    /// The members that carry all of the labels.
    pub fn new(members: &Members, labels: &BTreeMap<String, String>, plan: &Plan) -> Candidates {
        let carried = |member: &Member| {
            let has = |(key, value)| member.endpoint.labels.get(key) == Some(value);
            member.endpoint.weight > 0 && labels.iter().all(has)
        };
        let all: Vec<(u32, &Member)> = (0..)
            .zip(members.list())
            .filter(|(_, member)| carried(member))
            .collect();
        let weighed = |state, inside: &dyn Fn(&Member) -> bool| {
            let those = all
                .iter()
                .filter(|(_, member)| member.endpoint.state == state && inside(member));
            Weighted::new(those.map(|(index, member)| (*index, member.endpoint.weight)))
        };
        let whole = |inside: &dyn Fn(&Member) -> bool| {
            let those = all.iter().filter(|(_, member)| inside(member));
            those
                .map(|(_, member)| f64::from(member.endpoint.weight))
                .sum::<f64>()
        };
        let here = |zone: &str| {
            let zone = zone.to_owned();
            move |member: &Member| member.endpoint.zone == zone
        };
        let zone = plan.zone.as_ref().map(|(zone, _)| here(zone));
        let (pools, wholes): (Vec<_>, Vec<_>) = match &zone {
            Some(here) => {
                let elsewhere = |member: &Member| !here(member);
                let both: [&dyn Fn(&Member) -> bool; 2] = [here, &elsewhere];
                both.map(|inside| (weighed(EndpointState::Up, inside), whole(inside)))
                    .into_iter()
                    .unzip()
            }
            None => [(weighed(EndpointState::Up, &|_| true), whole(&|_| true))]
                .into_iter()
                .unzip(),
        };
        let draining = weighed(EndpointState::Drain, &|_| true);
        let (kind, table) = match &plan.balance {
            Balance::P2c => (Kind::P2c, None),
            Balance::LeastRequest => (Kind::LeastRequest, None),
            Balance::RoundRobin => (Kind::RoundRobin, None),
            Balance::Random => (Kind::Random, None),
            Balance::RingHash(_) => {
                let table = named(&pools[0], members).map(|named| Keyed::Ring(Ring::new(&named)));
                (Kind::Random, table)
            }
            Balance::Maglev(maglev) => {
                let table = named(&pools[0], members)
                    .map(|named| Keyed::Table(Table::new(&named, maglev.table_size)));
                (Kind::Random, table)
            }
        };
        Candidates {
            kind,
            slow_start: plan.slow_start,
            zone: plan.zone.as_ref().map(|(zone, _)| zone.as_str().into()),
            spill_below: plan.zone.as_ref().map_or(0.0, |(_, below)| *below),
            pools: pools.into(),
            whole: wholes.into(),
            draining,
            table,
        }
    }

    /// Who they are, by place in [`Members::list`]: those that are up, then those that are draining.
    pub fn members(&self) -> impl Iterator<Item = usize> {
        let all = self.pools.iter().chain([&self.draining]);
        all.flat_map(Weighted::members)
    }

    /// Whether there is nobody at all.
    pub fn is_empty(&self) -> bool {
        self.ups() == 0 && self.draining.is_empty()
    }

    /// How many are up.
    pub(super) fn ups(&self) -> usize {
        self.pools.iter().map(Weighted::len).sum()
    }

    /// Whether any of so many of each pool waits for the request that probes it; which ones are looked at changes with time.
    pub(super) fn is_due(&self, members: &Members, now: Moment, most: usize) -> bool {
        let waits = |pool: &Weighted, turn: usize| {
            let start = now.as_nanos() as usize % pool.len();
            let member = &members.list()[pool.member((start + turn) % pool.len())];
            !member.host.is_ejected() && member.standing(now) == Standing::Due
        };
        self.pools
            .iter()
            .any(|pool| (0..pool.len().min(most)).any(|turn| waits(pool, turn)))
    }

    /// Members, in the order in which that key asks for them.
    pub(super) fn walk(&self, key: Key, mut visit: impl FnMut(usize) -> bool) {
        let pool = &self.pools[0];
        let mut before = usize::MAX;
        let mut look = |place: usize| {
            let again = place == before;
            before = place;
            again || visit(pool.member(place))
        };
        match &self.table {
            Some(Keyed::Ring(ring)) => drop(ring.walk(key.0).all(&mut look)),
            Some(Keyed::Table(table)) => drop(table.walk(key.0).all(&mut look)),
            None => {}
        }
    }
}

/// Who takes part in a table; none where there is nobody.
fn named(pool: &Weighted, members: &Members) -> Option<Vec<Named>> {
    let name = |place: usize| {
        let (host, instance) = members.list()[pool.member(place)].key();
        let name = hash::of([host.as_bytes(), instance.as_bytes()]);
        (place as u32, pool.weight(place), name)
    };
    (!pool.is_empty()).then(|| (0..pool.len()).map(name).collect())
}
