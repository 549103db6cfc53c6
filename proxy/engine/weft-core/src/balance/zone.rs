//! How much stays in the caller's own zone.

/// Weights of the endpoints of one side: all that are registered, and those that are up and in rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    /// Of all.
    pub whole: f64,
    /// Of the healthy.
    pub healthy: f64,
}

/// The share of requests that stays in the zone, 0 to 1.
///
/// A side whose healthy share is at least `spill_below` percent takes all it is given; below, as much less as is
/// missing. What the zone does not take goes elsewhere, as far as there is health; where both sides together could not
/// take everything, they share it by what they can.
pub fn stays(zone: Health, elsewhere: Health, spill_below: f64) -> f64 {
    let (zone, elsewhere) = (zone.takes(spill_below), elsewhere.takes(spill_below));
    let spilled = elsewhere.min(1.0 - zone);
    if zone + spilled > 0.0 {
        zone / (zone + spilled)
    } else {
        1.0
    }
}

// === impl Health ===

impl Health {
    fn takes(self, spill_below: f64) -> f64 {
        if self.healthy <= 0.0 {
            return 0.0;
        }
        let enough = self.whole * spill_below / 100.0;
        if self.healthy >= enough {
            1.0
        } else {
            self.healthy / enough
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn side(whole: f64, healthy: f64) -> Health {
        Health { whole, healthy }
    }

    #[test]
    fn what_is_missing_to_the_threshold_spills() {
        let elsewhere = side(100.0, 100.0);
        for (healthy, expected) in [
            (100.0, 1.0),
            (70.0, 1.0),
            (35.0, 0.5),
            (7.0, 0.1),
            (0.0, 0.0),
        ] {
            let stays = stays(side(100.0, healthy), elsewhere, 70.0);
            assert!((stays - expected).abs() < 1e-9, "{healthy}: {stays}");
        }
        assert_eq!(stays(side(10.0, 1.0), side(10.0, 0.0), 70.0), 1.0);
        assert_eq!(stays(side(10.0, 0.0), side(0.0, 0.0), 70.0), 1.0);
        assert_eq!(stays(side(0.0, 0.0), elsewhere, 70.0), 0.0);
        assert_eq!(stays(side(10.0, 1.0), elsewhere, 0.0), 1.0, "never spills");
        let scarce = stays(side(10.0, 1.0), side(10.0, 3.0), 100.0);
        assert!((scarce - 0.25).abs() < 1e-9, "{scarce}");
    }

    proptest! {
        #[test]
        fn it_is_a_share_that_grows_with_the_zones_health_and_never_goes_where_nobody_is(
            whole in 1.0..1e6_f64,
            (less, more) in (0.0..=1.0_f64, 0.0..=1.0_f64),
            (other_whole, other) in (0.0..1e6_f64, 0.0..=1.0_f64),
            spill_below in 0.0..=100.0_f64,
        ) {
            let (less, more) = (less.min(more), less.max(more));
            let elsewhere = side(other_whole, other_whole * other);
            let at = |share: f64| stays(side(whole, whole * share), elsewhere, spill_below);
            prop_assert!((0.0..=1.0).contains(&at(less)));
            prop_assert!(at(less) <= at(more) + 1e-12);
            if more * 100.0 >= spill_below && more > 0.0 {
                prop_assert_eq!(at(more), 1.0);
            }
            if less == 0.0 && elsewhere.healthy > 0.0 {
                prop_assert_eq!(at(less), 0.0);
            }
            if elsewhere.healthy == 0.0 {
                prop_assert_eq!(at(less), 1.0);
            }
        }
    }
}
