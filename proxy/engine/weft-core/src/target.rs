//! Which of a rule's targets a request goes to.

use rand::Rng;
use weft_model::section::{OnEmpty, Target};

/// The targets of one rule with their shares.
#[derive(Clone, Debug)]
pub struct Split {
    weights: Box<[u32]>,
    sum: u64,
    on_empty: OnEmpty,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// To the target at this place.
    To(usize),
    /// Its own target has no endpoints, so to this other one; counted as spilled.
    Spilled {
        /// Whose share it was.
        from: usize,
        /// Where it goes.
        to: usize,
    },
    /// Nowhere: `no_endpoint`.
    Empty {
        /// Whose share it was.
        from: usize,
    },
}

// === impl Split ===

impl Split {
    /// The targets of a valid `forward` action: at least one has a weight above 0.
    pub fn new(targets: &[Target], on_empty: OnEmpty) -> Split {
        let weights: Box<[u32]> = targets.iter().map(|target| target.weight).collect();
        let sum = weights.iter().map(|weight| u64::from(*weight)).sum();
        Split {
            weights,
            sum,
            on_empty,
        }
    }

    /// A target by weight. `is_empty`: whether the target at a place has no endpoints at all. A target of weight 0 gets
    /// nothing, not even what spills.
    pub fn choose(&self, rng: &mut impl Rng, is_empty: impl Fn(usize) -> bool) -> Choice {
        let Some(from) = self.draw(rng, self.sum, |_| true) else {
            return Choice::Empty { from: 0 };
        };
        if !is_empty(from) {
            return Choice::To(from);
        }
        if self.on_empty == OnEmpty::Fail {
            return Choice::Empty { from };
        }
        let left = |place: usize| place != from && !is_empty(place);
        let sum = (0..self.weights.len())
            .filter(|place| left(*place))
            .map(|place| u64::from(self.weights[place]))
            .sum();
        match self.draw(rng, sum, left) {
            Some(to) => Choice::Spilled { from, to },
            None => Choice::Empty { from },
        }
    }

    fn draw(&self, rng: &mut impl Rng, sum: u64, among: impl Fn(usize) -> bool) -> Option<usize> {
        if sum == 0 {
            return None;
        }
        let mut point = rng.random_range(0..sum);
        (0..self.weights.len())
            .filter(|place| among(*place))
            .find(|place| {
                let weight = u64::from(self.weights[*place]);
                let here = point < weight;
                point = point.saturating_sub(weight);
                here
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn split(weights: &[u32], on_empty: OnEmpty) -> Split {
        let target = |weight: &u32| Target {
            service: "a/b".to_owned(),
            labels: Default::default(),
            weight: *weight,
        };
        Split::new(&weights.iter().map(target).collect::<Vec<_>>(), on_empty)
    }

    #[test]
    fn every_target_gets_its_share() {
        let split = split(&[70, 0, 30], OnEmpty::Spill);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            match split.choose(&mut rng, |_| false) {
                Choice::To(place) => counts[place] += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(
            (6_800..7_200).contains(&counts[0]) && counts[1] == 0,
            "{counts:?}"
        );
    }

    #[test]
    fn the_share_of_an_empty_target_spills_or_fails_as_told() {
        let mut rng = SmallRng::seed_from_u64(1);
        let only = split(&[1, 0, 0], OnEmpty::Spill);
        assert_eq!(
            only.choose(&mut rng, |place| place == 0),
            Choice::Empty { from: 0 }
        );
        for _ in 0..100 {
            let spilled = split(&[1, 1], OnEmpty::Spill).choose(&mut rng, |place| place == 0);
            assert!(
                matches!(spilled, Choice::To(1) | Choice::Spilled { from: 0, to: 1 }),
                "{spilled:?}"
            );
            let failed = split(&[1, 1], OnEmpty::Fail).choose(&mut rng, |place| place == 0);
            assert!(
                matches!(failed, Choice::To(1) | Choice::Empty { from: 0 }),
                "{failed:?}"
            );
        }
    }
}
