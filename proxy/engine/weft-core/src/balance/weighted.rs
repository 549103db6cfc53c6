//! Drawing by weight in constant time: Walker's alias method in Vose's form.

use rand::Rng;

/// One round of turns of a member with weight 1.
const CIRCLE: u64 = 1 << 32;

/// Members with weights above 0, at places from 0 on.
#[derive(Clone, Debug)]
pub(crate) struct Weighted {
    members: Box<[u32]>,
    weights: Box<[u32]>,
    mean: f64,
    /// Empty where all weights are equal.
    alias: Box<[(f64, u32)]>,
}

// === impl Weighted ===

impl Weighted {
    pub(crate) fn new(members: impl Iterator<Item = (u32, u32)>) -> Weighted {
        let (members, weights): (Vec<u32>, Vec<u32>) = members.unzip();
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let mean = sum / weights.len().max(1) as f64;
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let alias = if equal {
            Vec::new()
        } else {
            alias(&weights, mean)
        };
        Weighted {
            members: members.into(),
            weights: weights.into(),
            mean,
            alias: alias.into(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member at a place.
    pub(crate) fn member(&self, place: usize) -> usize {
        self.members[place] as usize
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(|member| *member as usize)
    }

    /// All members, starting at a random place.
    pub(crate) fn around(&self, rng: &mut impl Rng) -> impl Iterator<Item = usize> {
        let start = if self.is_empty() {
            0
        } else {
            rng.random_range(0..self.len())
        };
        let (before, after) = self.members.split_at(start);
        after.iter().chain(before).map(|member| *member as usize)
    }

    /// A place, each by its weight. There must be one.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> usize {
        let place = rng.random_range(0..self.len());
        match self.alias.get(place) {
            Some((own, other)) if rng.random::<f64>() >= *own => *other as usize,
            _ => place,
        }
    }

    /// Its weight.
    pub(crate) fn weight(&self, place: usize) -> u32 {
        self.weights[place]
    }

    /// Its weight, the mean being 1.
    pub(crate) fn relative_weight(&self, place: usize) -> f64 {
        f64::from(self.weights[place]) / self.mean
    }

    /// How far apart its turns are.
    pub(crate) fn stride(&self, place: usize) -> u64 {
        CIRCLE / u64::from(self.weights[place])
    }
}

fn alias(weights: &[u32], mean: f64) -> Vec<(f64, u32)> {
    let mut table: Vec<(f64, u32)> = weights
        .iter()
        .enumerate()
        .map(|(place, weight)| (f64::from(*weight) / mean, place as u32))
        .collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..table.len()).partition(|place| table[*place].0 < 1.0);
    while let (Some(little), Some(much)) = (small.pop(), large.last().copied()) {
        table[little].1 = much as u32;
        table[much].0 -= 1.0 - table[little].0;
        if table[much].0 < 1.0 {
            large.pop();
            small.push(much);
        }
    }
    for place in small.into_iter().chain(large) {
        table[place].0 = 1.0; // what is left is a rounding error away from it
    }
    table
}
