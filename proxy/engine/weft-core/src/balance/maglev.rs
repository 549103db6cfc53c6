//! Maglev's table (Eisenbud and others, NSDI 2016, section 3.4): members take turns at claiming the next entry of a
//! permutation of their own, so that shares are as even as the table is long, and finding is one look.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::hash;
use super::ring::Named;

/// Entries: the place of a member each.
#[derive(Clone, Debug)]
pub(super) struct Table(Box<[u32]>);

const EMPTY: u32 = u32::MAX;

/// One member while the table is filled.
struct Filling {
    place: u32,
    weight: u64,
    claims: u64,
    at: u64,
    step: u64,
}

// === impl Table ===

impl Table {
    /// In whatever order the members come, the table is the same. `size` is a prime; there must be somebody.
    pub(super) fn new(members: &[Named], size: u32) -> Table {
        let long = u64::from(size);
        let mut order: Vec<&Named> = members.iter().collect();
        order.sort_unstable_by_key(|(_, _, name)| *name);
        let weights = order.iter().map(|(_, weight, _)| u64::from(*weight));
        let heaviest = weights.max().unwrap_or(1);
        let filling = |(place, weight, name): &&Named| Filling {
            place: *place,
            weight: u64::from(*weight),
            claims: 0,
            at: hash::mix(name ^ 1) % long,
            step: hash::mix(name ^ 2) % (long - 1).max(1) + 1,
        };
        let mut order: Vec<Filling> = order.iter().map(filling).collect();
        // Round by round, in order; the heaviest claims in each, the others as often as their weight says.
        let mut turns: BinaryHeap<Reverse<(u64, usize)>> =
            (0..order.len()).map(|index| Reverse((1, index))).collect();
        let mut entries = vec![EMPTY; size as usize];
        for _ in 0..entries.len() {
            let Some(mut turn) = turns.peek_mut() else {
                break;
            };
            let Reverse((round, index)) = *turn;
            let member = &mut order[index];
            while entries[member.at as usize] != EMPTY {
                member.at = (member.at + member.step) % long;
            }
            entries[member.at as usize] = member.place;
            member.claims += 1;
            let next = (member.claims * heaviest).div_ceil(member.weight);
            *turn = Reverse((next.max(round + 1), index));
        }
        Table(entries.into())
    }

    /// Places in the order in which a key asks for them: where a place is out, another is found as by another key.
    pub(super) fn walk(&self, key: u64) -> impl Iterator<Item = usize> {
        let long = self.0.len() as u64;
        (0..long).map(move |turn| {
            let key = if turn == 0 {
                key
            } else {
                hash::mix(key ^ turn)
            };
            self.0[(key % long) as usize] as usize
        })
    }
}
