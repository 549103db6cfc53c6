//! Zones, slow starts, and nobody left.

use super::*;

/// Members of zone a with these weights, then of zone b.
fn zones(here: &[u32], elsewhere: &[u32]) -> Vec<Endpoint> {
    let mut endpoints = fleet(&[here, elsewhere].concat());
    for (index, endpoint) in endpoints.iter_mut().enumerate() {
        endpoint.zone = if index < here.len() { "a" } else { "b" }.to_owned();
    }
    endpoints
}

fn shares(members: &Members, plan: &Plan, now: Moment, picks: usize) -> Vec<f64> {
    let mut rng = SmallRng::seed_from_u64(11);
    let candidates = Candidates::new(members, &BTreeMap::new(), plan);
    let mut balancer = Balancer::new(&candidates, &mut rng);
    let mut counts = vec![0.0; members.list().len()];
    for _ in 0..picks {
        let latencies = Latencies::default();
        let pick = balancer
            .pick(&candidates, members, &latencies, ask(&[], now), &mut rng)
            .expect("somebody");
        assert_eq!(pick.here.is_some(), candidates.zone.is_some());
        counts[pick.member] += 1.0 / picks as f64;
    }
    counts
}

fn eject(members: &Members, those: std::ops::Range<usize>) {
    for index in those {
        let rotation = &members.list()[index].state.rotation;
        rotation.eject(at(1), Duration::from_secs(300));
    }
    members.recount();
}

#[test]
fn the_zone_keeps_everything_while_enough_of_it_is_healthy_and_spills_what_it_lacks() {
    for kind in KINDS {
        for (out, expected) in [
            (0, 1.0),
            (3, 1.0),
            (5, 5.0 / 7.0),
            (9, 1.0 / 7.0),
            (10, 0.0),
        ] {
            let members = members(&zones(&[100; 10], &[100; 20]));
            eject(&members, 0..out);
            let shares = shares(&members, &plan(kind).near("a", 70.0), at(2), 10_000);
            let here: f64 = shares[..10].iter().sum();
            assert!((here - expected).abs() < 0.03, "{kind:?} {out}: {here}");
            assert!(shares[..out].iter().all(|share| *share == 0.0));
        }
    }
}

#[test]
fn who_is_down_or_draining_is_missing_to_the_zone() {
    let mut endpoints = zones(&[100; 4], &[100; 4]);
    endpoints[0].state = EndpointState::Down;
    endpoints[1].state = EndpointState::Drain;
    let members = members(&endpoints);
    let shares = shares(
        &members,
        &plan(Kind::Random).near("a", 100.0),
        at(1),
        10_000,
    );
    let here: f64 = shares[..4].iter().sum();
    assert!((here - 0.5).abs() < 0.03, "{here}");
}

#[test]
fn a_caller_without_a_zone_of_its_own_prefers_none() {
    let members = members(&zones(&[100], &[100; 3]));
    let shares = shares(&members, &plan(Kind::Random).near("c", 70.0), at(1), 10_000);
    assert!(
        shares.iter().all(|share| (share - 0.25).abs() < 0.03),
        "{shares:?}"
    );
}

#[test]
fn a_try_that_failed_in_the_zone_goes_elsewhere_if_there_is_nobody_else_in_it() {
    let members = members(&zones(&[100], &[100; 3]));
    let mut rng = SmallRng::seed_from_u64(11);
    let candidates = Candidates::new(&members, &BTreeMap::new(), &plan(Kind::P2c).near("a", 70.0));
    let mut balancer = Balancer::new(&candidates, &mut rng);
    let latencies = Latencies::default();
    let pick = balancer.pick(
        &candidates,
        &members,
        &latencies,
        ask(&[0], at(1)),
        &mut rng,
    );
    let pick = pick.expect("somebody");
    assert_eq!((pick.why, pick.here), (Why::Rotation, Some(false)));
}

#[test]
fn with_more_than_half_of_all_ejected_the_zone_keeps_everything_again() {
    let members = members(&zones(&[100; 10], &[100; 10]));
    eject(&members, 0..12);
    let shares = shares(&members, &plan(Kind::Random).near("a", 70.0), at(2), 5_000);
    assert_eq!(shares[10..].iter().sum::<f64>(), 0.0);
}

#[test]
fn who_is_new_gets_the_part_of_its_weight_that_its_slow_start_says() {
    let whole = Duration::from_secs(30);
    for kind in KINDS {
        let mut hosts = Default::default();
        let before = Members::default().reconcile(&fleet(&[100, 300]), &mut hosts, at(1));
        let members = before.reconcile(&fleet(&[100, 300, 200]), &mut hosts, at(100));
        for (second, part) in [(100, 0.1), (103, 0.1), (115, 0.5), (130, 1.0), (500, 1.0)] {
            let shares = shares(&members, &plan(kind).slowly(whole), at(second), 20_000);
            let expected = 200.0 * part / (400.0 + 200.0 * part);
            let off = (shares[2] - expected).abs();
            assert!(off < 0.02, "{kind:?} {second}: {} {expected}", shares[2]);
        }
        let at_once = shares(&members, &plan(kind), at(100), 20_000);
        assert!((at_once[2] - 1.0 / 3.0).abs() < 0.02, "{kind:?}");
    }
}

#[test]
fn where_everybody_is_new_everybody_gets_something() {
    let mut hosts = Default::default();
    let before = Members::default().reconcile(&fleet(&[1, 1]), &mut hosts, at(1));
    let slow = plan(Kind::P2c).slowly(Duration::from_secs(30));
    let mut others = fleet(&[0, 0, 100, 100]);
    others.drain(..2);
    let members = before.reconcile(&others, &mut hosts, at(2));
    let shares = shares(&members, &slow, at(2), 10_000);
    assert!(
        shares.iter().all(|share| (share - 0.5).abs() < 0.05),
        "{shares:?}"
    );
}

#[test]
fn a_service_is_out_only_when_nobody_is_in_rotation() {
    let members = members(&fleet(&[100; 4]));
    let candidates = Candidates::new(&members, &BTreeMap::new(), &plan(Kind::P2c));
    let mut balancer = Balancer::new(&candidates, &mut SmallRng::seed_from_u64(1));
    eject(&members, 0..3);
    assert!(!balancer.is_out(&candidates, &members, at(2)));
    members.list()[3].host.eject(at(2), Duration::from_secs(30));
    members.changed();
    assert!(balancer.is_out(&candidates, &members, at(3)));
    assert_eq!(
        candidates.stand(&members, at(3)),
        Stand {
            panic: true,
            nobody: true,
            stays: None
        }
    );
}

proptest! {
    /// Whatever is out: requests go to the zone as [`zone::stays`] says, and to those in rotation only.
    #[test]
    fn what_the_zone_keeps_is_what_its_health_says(
        here in prop::collection::vec((1..5_u32, any::<bool>()), 1..8),
        elsewhere in prop::collection::vec((1..5_u32, any::<bool>()), 1..8),
        spill_below in 1.0..100.0_f64,
        kind in prop::sample::select(KINDS.to_vec()),
    ) {
        let weights = |side: &[(u32, bool)]| side.iter().map(|(weight, _)| *weight).collect::<Vec<_>>();
        let members = members(&zones(&weights(&here), &weights(&elsewhere)));
        let all: Vec<_> = here.iter().chain(&elsewhere).collect();
        for (index, (_, out)) in all.iter().enumerate() {
            eject(&members, if *out { index..index + 1 } else { 0..0 });
        }
        let left = all.iter().filter(|(_, out)| !out).count();
        prop_assume!(left > 0 && left * 2 >= all.len());
        let health = |side: &[(u32, bool)]| zone::Health {
            whole: side.iter().map(|(weight, _)| f64::from(*weight)).sum(),
            healthy: side.iter().filter(|(_, out)| !out).map(|(weight, _)| f64::from(*weight)).sum(),
        };
        let expected = zone::stays(health(&here), health(&elsewhere), spill_below);
        let shares = shares(&members, &plan(kind).near("a", spill_below), at(2), 2_000);
        let found: f64 = shares[..here.len()].iter().sum();
        // Five and a half standard deviations of 2,000 draws.
        prop_assert!((found - expected).abs() < 0.062, "{} for {}", found, expected);
        for (share, (_, out)) in shares.iter().zip(&all) {
            prop_assert!(!out || *share == 0.0);
        }
    }
}
