//! A ring of points: a key goes to the next point clockwise, and on from there where that one is out.
//!
//! Each member has points by its weight, at places that only its host, its instance and the point's number decide. So one
//! that leaves takes nothing from the others, and they share what it had.

use super::hash;

/// Points of a member of mean weight, as far as the bound allows: shares differ by some 8 %.
const POINTS: f64 = 160.0;

/// Points of a whole ring: 8 MB.
const MOST: f64 = 1_048_576.0;

/// Bits of a point that are its member's place; the others are where it is.
const PLACE: u32 = 22;

/// Points in order.
#[derive(Clone, Debug)]
pub(super) struct Ring(Box<[u64]>);

/// One who gets points: place, weight, and what its name hashes to.
pub(super) type Named = (u32, u32, u64);

// === impl Ring ===

impl Ring {
    /// In whatever order the members come, the ring is the same.
    pub(super) fn new(members: &[Named]) -> Ring {
        let sum: f64 = members
            .iter()
            .map(|(_, weight, _)| f64::from(*weight))
            .sum();
        let all = (POINTS * members.len() as f64).min(MOST);
        let mut points = Vec::with_capacity(all as usize + members.len());
        for (place, weight, name) in members {
            let own = (all * f64::from(*weight) / sum).round().max(1.0) as u64;
            let places = (0..own).map(|number| hash::mix(name ^ hash::mix(number + 1)));
            points.extend(places.map(|at| (at >> PLACE << PLACE) | u64::from(*place)));
        }
        points.sort_unstable();
        Ring(points.into())
    }

    /// Places in the order in which a key asks for them; some come again.
    pub(super) fn walk(&self, key: u64) -> impl Iterator<Item = usize> {
        let start = self
            .0
            .partition_point(|point| point >> PLACE < key >> PLACE);
        let (before, after) = self.0.split_at(start);
        let place = |point: &u64| (point & ((1 << PLACE) - 1)) as usize;
        after.iter().chain(before).map(place)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
