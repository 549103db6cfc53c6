//! Who gets the next request.
//!
//! Candidates are drawn at random by weight, taken in turn, or asked in the order of the request's key, and looked at one by
//! one, so that a request costs the same with three endpoints and with ten thousand. Where a zone is preferred, a draw first
//! says which side it is for ([`zone`]). One that is new, or back, is passed over as often as its slow start says.
//!
//! What is out of rotation is passed over; where a probe is due, this request is it. If fewer than half of the endpoints
//! that can be reached are left, ejections are not believed any more (panic). What is draining is used where nothing else is
//! left, and last of all what is on hosts that could not be reached. Where draws find nobody, all are looked through; if they
//! are many, that is done once for many requests ([`survey`]).

mod candidates;
mod ewma;
pub(crate) mod hash;
mod key;
mod maglev;
mod ring;
mod round;
mod survey;
mod weighted;
pub mod zone;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

pub use self::candidates::{Candidates, Plan};
pub use self::key::Key;
pub use self::survey::Stand;

use self::candidates::Kind;
use self::ewma::Ewma;
use self::round::Round;
use self::survey::Survey;
use self::weighted::Weighted;
use crate::endpoint::{Member, Members};
use crate::time::Moment;

/// Draws before all candidates are looked through.
const DRAWS: usize = 8;

/// So many are looked through for one request; more are drawn from.
const FEW: usize = 64;

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
    /// For turns: when each is next, and its place; for each pool.
    turns: Box<[Turns]>,
    survey: Survey,
}

/// When the next turn is, and whose.
type Turns = BinaryHeap<Reverse<(u64, u32)>>;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What the request has in common with others that go to the same endpoint, where balancing goes by that.
    pub key: Option<Key>,
    /// Members that it was sent to already; they get it again only if there is nobody else.
    pub failed: &'a [usize],
    /// Now.
    pub now: Moment,
}

/// Who was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Place in [`Members::list`].
    pub member: usize,
    /// Why this one; the outcome is reported with it.
    pub why: Why,
    /// Whether it is in the caller's zone; none where no zone is preferred.
    pub here: Option<bool>,
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
    pub fn new(candidates: &Candidates, rng: &mut impl Rng) -> Balancer {
        let mut turns_of = |pool: &Weighted| {
            let mut start = |place| rng.random_range(0..pool.stride(place));
            match candidates.kind {
                Kind::RoundRobin => (0..pool.len())
                    .map(|place| Reverse((start(place), place as u32)))
                    .collect(),
                _ => Turns::new(),
            }
        };
        Balancer {
            turns: candidates.pools.iter().map(&mut turns_of).collect(),
            survey: Survey::new(),
        }
    }

    /// Who gets it. `None`: there is nobody.
    pub fn pick(
        &mut self,
        candidates: &Candidates,
        members: &Members,
        latencies: &Latencies,
        ask: Ask<'_>,
        rng: &mut impl Rng,
    ) -> Option<Pick> {
        let preferred = candidates.pools.len() > 1;
        if preferred || members.ejected() > 0 {
            self.survey.refresh(candidates, members, ask.now, false);
        }
        let round = Round {
            candidates,
            members,
            latencies,
            ask,
            panic: members.ejected() > 0 && self.survey.panic,
        };
        if let Some(key) = ask.key
            && let Some(pick) = round.keyed(key)
        {
            return Some(pick);
        }
        let first = usize::from(preferred && rng.random::<f64>() >= self.survey.stays);
        self.among(&round, first, rng)
            .or_else(|| match preferred {
                true => self.among(&round, 1 - first, rng),
                false => None,
            })
            .or_else(|| round.draining(rng))
            .or_else(|| round.last_resort(rng))
    }

    /// Whether nobody is in rotation and no probe is due: then the request had better go to another service.
    pub fn is_out(&mut self, candidates: &Candidates, members: &Members, now: Moment) -> bool {
        if candidates.ups() == 0 {
            return true;
        }
        self.survey.refresh(candidates, members, now, false);
        self.survey.nobody && !candidates.is_due(members, now, FEW)
    }

    fn among(&mut self, round: &Round<'_>, pool: usize, rng: &mut impl Rng) -> Option<Pick> {
        self.fast(round, pool, rng)
            .or_else(|| self.left(round, pool, rng))
    }

    /// Draws from one pool.
    fn fast(&mut self, round: &Round<'_>, pool: usize, rng: &mut impl Rng) -> Option<Pick> {
        let candidates = round.candidates;
        if candidates.pools[pool].is_empty() {
            return None;
        }
        match candidates.kind {
            Kind::RoundRobin => {
                let turns = &mut self.turns[pool];
                let weighted = &candidates.pools[pool];
                (0..DRAWS).find_map(|_| {
                    let place = take_turn(turns, weighted, round)?;
                    round.admitted(weighted.member(place))
                })
            }
            _ => round.draw(&candidates.pools[pool], rng),
        }
    }

    /// Draws were in vain: whoever is in rotation all the same.
    fn left(&mut self, round: &Round<'_>, pool: usize, rng: &mut impl Rng) -> Option<Pick> {
        let weighted = &round.candidates.pools[pool];
        if weighted.len() <= FEW {
            let mut all = weighted.around(rng);
            return all.find_map(|member| round.admitted(member));
        }
        let Round {
            candidates,
            members,
            ask,
            ..
        } = round;
        self.survey.refresh(candidates, members, ask.now, true);
        let left = &self.survey.left.as_ref()?[pool];
        match left.is_empty() {
            true => None,
            false => round.draw(left, rng),
        }
    }
}

/// Whose turn it is; its next comes the later the less of its weight it has yet.
fn take_turn(turns: &mut Turns, pool: &Weighted, round: &Round<'_>) -> Option<usize> {
    let mut next = turns.peek_mut()?;
    let Reverse((at, place)) = *next;
    let part = round.part(pool.member(place as usize));
    let stride = pool.stride(place as usize);
    let stride = match part < 1.0 {
        true => (stride as f64 / part) as u64,
        false => stride,
    };
    *next = Reverse((at.wrapping_add(stride), place));
    Some(place as usize)
}

#[cfg(test)]
mod tests;
