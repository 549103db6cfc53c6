use super::*;
use crate::endpoint::tests::{at, endpoint, members};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use weft_model::section::{Balance, Endpoint, EndpointState};

mod crowds;
mod keyed;
mod zones;

const KINDS: [Kind; 4] = [
    Kind::P2c,
    Kind::LeastRequest,
    Kind::RoundRobin,
    Kind::Random,
];

fn plan(kind: Kind) -> Plan {
    Plan::test(match kind {
        Kind::P2c => Balance::P2c,
        Kind::LeastRequest => Balance::LeastRequest,
        Kind::RoundRobin => Balance::RoundRobin,
        Kind::Random => Balance::Random,
    })
}

fn ask(failed: &[usize], now: Moment) -> Ask<'_> {
    Ask {
        key: None,
        failed,
        now,
    }
}

fn fleet(weights: &[u32]) -> Vec<Endpoint> {
    let of = |(index, weight): (usize, &u32)| Endpoint {
        weight: *weight,
        ..endpoint(&format!("h{index}"), "i")
    };
    weights.iter().enumerate().map(of).collect()
}

/// Picks so many times, each request ended before the next, and counts.
fn count(kind: Kind, members: &Members, failed: &[usize], picks: usize) -> Vec<usize> {
    let mut rng = SmallRng::seed_from_u64(7);
    let candidates = Candidates::new(members, &BTreeMap::new(), &plan(kind));
    let mut balancer = Balancer::new(&candidates, &mut rng);
    let latencies = Latencies::default().carry(&Members::default(), members);
    let mut counts = vec![0; members.list().len()];
    for _ in 0..picks {
        let pick = balancer
            .pick(
                &candidates,
                members,
                &latencies,
                ask(failed, at(1)),
                &mut rng,
            )
            .expect("somebody");
        counts[pick.member] += 1;
    }
    counts
}

#[test]
fn idle_endpoints_get_their_weight_by_every_balancer() {
    let members = members(&fleet(&[100, 300, 0, 100]));
    for kind in KINDS {
        let counts = count(kind, &members, &[], 10_000);
        assert_eq!(counts[2], 0, "{kind:?}");
        for (index, expected) in [(0, 2_000), (1, 6_000), (3, 2_000)] {
            assert!(
                counts[index].abs_diff(expected) < 250,
                "{kind:?} {counts:?}"
            );
        }
    }
}

#[test]
fn turns_are_smooth() {
    let members = members(&fleet(&[1, 1, 1]));
    assert_eq!(count(Kind::RoundRobin, &members, &[], 3), [1, 1, 1]);
    assert_eq!(count(Kind::RoundRobin, &members, &[], 300), [100, 100, 100]);
}

#[test]
fn the_one_that_failed_gets_it_again_only_if_there_is_nobody_else() {
    for kind in KINDS {
        let three = members(&fleet(&[1, 1, 1]));
        assert_eq!(count(kind, &three, &[1], 300)[1], 0, "{kind:?}");
        assert_eq!(count(kind, &three, &[0, 2], 300), [0, 300, 0], "{kind:?}");
        assert_eq!(
            count(kind, &members(&fleet(&[1])), &[0], 3),
            [3],
            "{kind:?}"
        );
    }
}

#[test]
fn the_busier_of_two_is_passed_over() {
    let members = members(&fleet(&[1, 1]));
    let _busy: Vec<_> = (0..10).map(|_| members.list()[0].state.begin()).collect();
    for kind in [Kind::P2c, Kind::LeastRequest] {
        let counts = count(kind, &members, &[], 1_000);
        assert!(counts[0] < 50, "{kind:?} {counts:?}");
    }
}

#[test]
fn the_slower_of_two_is_passed_over_until_that_is_forgotten() {
    let members = members(&fleet(&[1, 1]));
    let mut rng = SmallRng::seed_from_u64(7);
    let candidates = Candidates::new(&members, &BTreeMap::new(), &plan(Kind::P2c));
    let mut balancer = Balancer::new(&candidates, &mut rng);
    let mut latencies = Latencies::default().carry(&Members::default(), &members);
    latencies.observe(0, Seen::Answer(Duration::from_secs(1)), at(1));
    latencies.observe(1, Seen::Answer(Duration::from_millis(1)), at(1));
    let slow = |balancer: &mut Balancer, latencies: &Latencies, now, rng: &mut SmallRng| {
        let mut pick = || {
            balancer
                .pick(&candidates, &members, latencies, ask(&[], now), rng)
                .expect("somebody")
                .member
        };
        (0..1_000).filter(|_| pick() == 0).count()
    };
    assert!(slow(&mut balancer, &latencies, at(1), &mut rng) < 50);
    latencies.observe(1, Seen::Answer(Duration::from_millis(1)), at(100));
    assert!(slow(&mut balancer, &latencies, at(100), &mut rng) > 900);
}

#[test]
fn what_was_measured_goes_with_its_endpoint() {
    let mut hosts = Default::default();
    let before = Members::default().reconcile(&fleet(&[1, 1]), &mut hosts, at(1));
    let mut latencies = Latencies::default().carry(&Members::default(), &before);
    latencies.observe(1, Seen::Answer(Duration::from_millis(5)), at(1));
    let after = before.reconcile(&fleet(&[1, 1])[1..], &mut hosts, at(1));
    let carried = latencies.carry(&before, &after);
    assert_eq!(
        (carried.estimate(0, at(1)), carried.estimate(1, at(1))),
        (Some(Duration::from_millis(5)), None)
    );
}

#[test]
fn an_ejected_endpoint_gets_nothing_until_one_probe_is_due() {
    for kind in KINDS {
        let members = members(&fleet(&[1, 1, 1]));
        members.list()[0]
            .state
            .rotation
            .eject(at(1), Duration::from_secs(30));
        members.recount();
        assert_eq!(count(kind, &members, &[], 300)[0], 0, "{kind:?}");
        let mut rng = SmallRng::seed_from_u64(7);
        let candidates = Candidates::new(&members, &BTreeMap::new(), &plan(kind));
        let mut balancer = Balancer::new(&candidates, &mut rng);
        let latencies = Latencies::default();
        let picks: Vec<Pick> = (0..300)
            .map(|_| {
                balancer
                    .pick(
                        &candidates,
                        &members,
                        &latencies,
                        ask(&[], at(40)),
                        &mut rng,
                    )
                    .expect("somebody")
            })
            .filter(|pick| pick.member == 0)
            .collect();
        assert_eq!(
            picks,
            [Pick {
                member: 0,
                why: Why::Probe,
                here: None
            }],
            "{kind:?}"
        );
    }
}

#[test]
fn with_more_than_half_ejected_ejections_are_not_believed() {
    let members = members(&fleet(&[1, 1, 1]));
    for index in [0, 1] {
        members.list()[index]
            .state
            .rotation
            .eject(at(1), Duration::from_secs(30));
    }
    members.recount();
    let counts = count(Kind::Random, &members, &[], 300);
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

#[test]
fn unreachable_hosts_get_nothing_while_anybody_else_is_left() {
    let members = members(&fleet(&[1, 1, 1]));
    for index in [0, 1] {
        members.list()[index]
            .host
            .eject(at(1), Duration::from_secs(30));
    }
    assert_eq!(count(Kind::P2c, &members, &[], 300), [0, 0, 300]);
    members.list()[2].host.eject(at(1), Duration::from_secs(30));
    assert_eq!(
        count(Kind::P2c, &members, &[], 300).iter().sum::<usize>(),
        300,
        "somebody is tried all the same"
    );
}

#[test]
fn what_drains_is_used_where_nothing_else_is_left() {
    let mut endpoints = fleet(&[1, 1]);
    endpoints[1].state = EndpointState::Drain;
    let members = members(&endpoints);
    assert_eq!(count(Kind::P2c, &members, &[], 100), [100, 0]);
    assert_eq!(count(Kind::P2c, &members, &[0], 100), [0, 100]);
    members.list()[0].host.eject(at(1), Duration::from_secs(30));
    assert_eq!(count(Kind::P2c, &members, &[], 100), [0, 100]);
}

#[test]
fn labels_choose_among_the_members() {
    let mut endpoints = fleet(&[1, 1, 1]);
    endpoints[1]
        .labels
        .insert("version".to_owned(), "v2".to_owned());
    endpoints[2].state = EndpointState::Down;
    let members = members(&endpoints);
    let those = |labels: &[(&str, &str)]| {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Candidates::new(&members, &labels.collect(), &plan(Kind::P2c))
    };
    let only = those(&[("version", "v2")]);
    assert_eq!((only.ups(), only.pools[0].member(0)), (1, 1));
    assert!(those(&[("version", "v3")]).is_empty() && !only.is_empty());
    assert_eq!(those(&[]).ups(), 2, "what is down is no candidate");
}

proptest! {
    #[test]
    fn somebody_is_picked_exactly_if_somebody_has_weight(
        weights in prop::collection::vec(0..4_u32, 0..20),
        ejected in prop::collection::vec(any::<bool>(), 20),
        kind in prop::sample::select(KINDS.to_vec()),
        seed in any::<u64>(),
    ) {
        let members = members(&fleet(&weights));
        for (member, _) in members.list().iter().zip(&ejected).filter(|(_, ejected)| **ejected) {
            member.state.rotation.eject(at(1), Duration::from_secs(30));
        }
        members.recount();
        let mut rng = SmallRng::seed_from_u64(seed);
        let candidates = Candidates::new(&members, &BTreeMap::new(), &plan(kind));
        let mut balancer = Balancer::new(&candidates, &mut rng);
        let pick = balancer.pick(&candidates, &members, &Latencies::default(), ask(&[], at(2)), &mut rng);
        prop_assert_eq!(pick.is_some(), weights.iter().any(|weight| *weight > 0));
        if let Some(pick) = pick {
            prop_assert!(weights[pick.member] > 0);
            let out = members.list()[pick.member].state.rotation.is_ejected();
            prop_assert_eq!(out, pick.why != Why::Rotation);
        }
    }
}
