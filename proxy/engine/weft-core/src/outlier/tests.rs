use super::*;
use crate::endpoint::Standing;
use crate::endpoint::tests::{at, endpoint, members};

const POLICY: Policy = Policy {
    consecutive: 3,
    success_below: 80.0,
    eject: Duration::from_secs(30),
    max_ejected: 50.0,
};

fn fleet(size: usize) -> Members {
    let endpoints: Vec<_> = (0..size).map(|n| endpoint(&format!("h{n}"), "i")).collect();
    members(&endpoints)
}

fn report(
    members: &Members,
    index: usize,
    why: Why,
    outcome: Outcome,
    second: u64,
) -> Option<Change> {
    POLICY
        .report(members, index, why, outcome, at(second))
        .map(|event| event.change)
}

fn fail(members: &Members, index: usize, times: usize, second: u64) -> Option<Change> {
    let once = || report(members, index, Why::Rotation, Outcome::Failure, second);
    (0..times).fold(None, |change, _| once().or(change))
}

#[test]
fn so_many_failures_in_a_row_eject() {
    let fleet = fleet(4);
    assert_eq!(fail(&fleet, 0, 2, 1), None);
    assert_eq!(report(&fleet, 0, Why::Rotation, Outcome::Success, 1), None);
    assert_eq!(
        fail(&fleet, 0, 2, 1),
        None,
        "a success in between starts the count again"
    );
    assert_eq!(
        fail(&fleet, 0, 1, 1),
        Some(Change::Ejected(Duration::from_secs(30)))
    );
    assert_eq!(
        (fleet.ejected(), fleet.list()[0].standing(at(30))),
        (1, Standing::Out)
    );
    assert_eq!(
        fail(&fleet, 0, 9, 2),
        None,
        "requests that were under way do not lengthen it"
    );
}

#[test]
fn an_ejected_endpoint_returns_after_one_good_probe() {
    let fleet = fleet(4);
    fail(&fleet, 0, 3, 1);
    assert_eq!(
        report(&fleet, 0, Why::Rotation, Outcome::Success, 2),
        None,
        "an old request is no probe"
    );
    assert_eq!(fleet.list()[0].standing(at(31)), Standing::Due);
    assert!(fleet.list()[0].claim(at(31)) && !fleet.list()[0].claim(at(31)));
    assert_eq!(
        report(&fleet, 0, Why::Probe, Outcome::Success, 32),
        Some(Change::Returned)
    );
    assert_eq!(
        (fleet.ejected(), fleet.list()[0].standing(at(32))),
        (0, Standing::In)
    );
}

#[test]
fn a_failed_probe_ejects_again_and_longer() {
    let fleet = fleet(4);
    fail(&fleet, 0, 3, 1);
    assert!(fleet.list()[0].claim(at(31)));
    let again = report(&fleet, 0, Why::Probe, Outcome::Failure, 32);
    assert_eq!(again, Some(Change::Ejected(Duration::from_secs(60))));
    assert_eq!(
        (fleet.ejected(), fleet.list()[0].standing(at(91))),
        (1, Standing::Out)
    );
    assert_eq!(fleet.list()[0].standing(at(92)), Standing::Due);
}

#[test]
fn never_more_than_the_bound_is_ejected() {
    for (size, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let fleet = fleet(size);
        for index in 0..size {
            fail(&fleet, index, 3, 1);
        }
        assert_eq!(fleet.ejected(), most, "of {size}");
    }
}

#[test]
fn too_few_successes_within_ten_seconds_eject() {
    let fleet = fleet(4);
    let mut second = 1;
    for (index, successes, failures) in [(0, 7, 3), (1, 8, 2), (2, 1, 3)] {
        for _ in 0..failures {
            report(&fleet, index, Why::Rotation, Outcome::Failure, second);
            fleet.list()[index].state.consecutive.store(0, Relaxed);
        }
        for _ in 0..successes {
            report(&fleet, index, Why::Rotation, Outcome::Success, second);
        }
    }
    let ejected: Vec<usize> = POLICY
        .roll(&fleet, at(second))
        .into_iter()
        .map(|event| event.member)
        .collect();
    assert_eq!(
        ejected,
        [0],
        "80 % is enough, and four requests say nothing"
    );
    for _ in 0..WINDOW {
        second += 1;
        assert_eq!(POLICY.roll(&fleet, at(second)), []);
    }
}

#[test]
fn one_failed_connect_ejects_all_endpoints_of_a_host_outside_the_bound() {
    let fleet = members(&[
        endpoint("a", "1"),
        endpoint("a", "2"),
        endpoint("a", "3"),
        endpoint("b", "1"),
    ]);
    let change = report(&fleet, 0, Why::Rotation, Outcome::HostUnreachable, 1);
    assert_eq!(change, Some(Change::HostEjected(Duration::from_secs(30))));
    let standing = |second| {
        fleet
            .list()
            .iter()
            .map(|member| member.standing(at(second)))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        standing(2),
        [Standing::Out, Standing::Out, Standing::Out, Standing::In]
    );
    assert_eq!(fleet.ejected(), 0);
    assert!(
        fleet.list()[1].claim(at(31)),
        "one request for the whole host"
    );
    assert!(!fleet.list()[2].claim(at(31)));
    assert_eq!(
        report(&fleet, 1, Why::Probe, Outcome::Success, 32),
        Some(Change::HostReturned)
    );
    assert_eq!(standing(32), [Standing::In; 4]);
}

#[test]
fn a_host_that_is_still_unreachable_stays_out_longer() {
    let fleet = fleet(2);
    report(&fleet, 0, Why::Rotation, Outcome::HostUnreachable, 1);
    assert!(fleet.list()[0].claim(at(31)));
    let again = report(&fleet, 0, Why::Probe, Outcome::HostUnreachable, 32);
    assert_eq!(again, Some(Change::HostEjected(Duration::from_secs(60))));
}

#[test]
fn a_suspect_is_ejected_at_its_first_failure_and_given_up_after_three_failed_probes() {
    let mut suspect = endpoint("a", "1");
    suspect.suspect = true;
    let fleet = members(&[suspect, endpoint("b", "1")]);
    assert_eq!(
        fail(&fleet, 0, 1, 1),
        Some(Change::Ejected(Duration::from_secs(30)))
    );
    let mut last = None;
    for second in [1_000, 2_000, 3_000] {
        assert!(fleet.list()[0].claim(at(second)));
        last = report(&fleet, 0, Why::Probe, Outcome::Failure, second);
    }
    assert_eq!(last, Some(Change::Gone));
    assert_eq!(fleet.list()[0].standing(at(1_000_000)), Standing::Out);
    let confirmed = fleet.reconcile(
        &[endpoint("a", "1"), endpoint("b", "1")],
        &mut Default::default(),
    );
    assert_eq!(
        confirmed.list()[0].standing(at(1_000_000)),
        Standing::In,
        "confirmed, it starts anew"
    );
}

#[test]
fn half_a_minute_without_failure_forgives_one_ejection() {
    let fleet = fleet(4);
    fail(&fleet, 0, 3, 1);
    assert!(fleet.list()[0].claim(at(31)));
    report(&fleet, 0, Why::Probe, Outcome::Success, 32);
    assert_eq!(fleet.list()[0].state.rotation.times(), 1);
    (0..60).for_each(|second| drop(POLICY.roll(&fleet, at(32 + second))));
    assert_eq!(fleet.list()[0].state.rotation.times(), 0);
}
