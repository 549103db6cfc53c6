use super::*;
use crate::endpoint::Standing;
use crate::endpoint::tests::{at, endpoint, members};

const POLICY: Policy = Policy {
    consecutive: 3,
    success_below: 80.0,
    latency_factor: 3.0,
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

/// For at least so many seconds, and a quarter more at most.
fn is_host_ejected(change: Option<Change>, seconds: u64) -> bool {
    let least = Duration::from_secs(seconds);
    matches!(change, Some(Change::HostEjected(length)) if (least..=least * 5 / 4).contains(&length))
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
        Some(Change::Ejected(Duration::from_secs(30), Cause::Consecutive))
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
    assert_eq!(
        again,
        Some(Change::Ejected(Duration::from_secs(60), Cause::Probe))
    );
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
    assert!(is_host_ejected(change, 30), "{change:?}");
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
        fleet.list()[1].claim(at(40)),
        "one request for the whole host"
    );
    assert!(!fleet.list()[2].claim(at(40)));
    assert_eq!(
        report(&fleet, 1, Why::Probe, Outcome::Success, 41),
        Some(Change::HostReturned)
    );
    assert_eq!(standing(41), [Standing::In; 4]);
}

#[test]
fn a_host_that_is_still_unreachable_stays_out_longer() {
    let fleet = fleet(2);
    report(&fleet, 0, Why::Rotation, Outcome::HostUnreachable, 1);
    assert_eq!(claim_hosts(&fleet, at(60)).count(), 1);
    let again = report(&fleet, 0, Why::LastResort, Outcome::HostUnreachable, 32);
    assert_eq!(again, None, "it is out already");
    let still = POLICY.probed(&fleet, 0, false, at(61));
    assert!(
        is_host_ejected(still.map(|event| event.change), 60),
        "{still:?}"
    );
}

#[test]
fn a_suspect_is_ejected_at_its_first_failure_and_given_up_after_three_failed_probes() {
    let mut suspect = endpoint("a", "1");
    suspect.suspect = true;
    let fleet = members(&[suspect, endpoint("b", "1")]);
    let first = fail(&fleet, 0, 1, 1);
    assert!(
        matches!(first, Some(Change::Ejected(_, Cause::Suspect))),
        "{first:?}"
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
        at(1),
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

/// One second in which each took so many milliseconds for each of ten requests.
fn second(members: &Members, millis: &[u64]) {
    for (index, millis) in millis.iter().enumerate() {
        for _ in 0..10 {
            POLICY.took(members, index, Duration::from_millis(*millis));
            report(members, index, Why::Rotation, Outcome::Success, 1);
        }
    }
}

#[test]
fn who_is_so_many_times_slower_than_its_peers_is_ejected() {
    for (millis, slow) in [
        (&[10, 11, 9, 100][..], &[3][..]),
        (&[10, 11, 9, 28], &[]),
        (&[1, 1, 1, 5], &[]),
        (&[10, 100], &[]),
        (&[10, 10, 10, 10, 90, 95], &[4, 5]),
        (&[10, 10, 200, 200, 200, 200], &[]),
    ] {
        let fleet = fleet(millis.len());
        second(&fleet, millis);
        let events = POLICY.roll(&fleet, at(1));
        let mut ejected: Vec<usize> = events.iter().map(|event| event.member).collect();
        ejected.sort_unstable();
        assert_eq!(ejected, slow, "{millis:?}");
        assert!(
            events
                .iter()
                .all(|event| event.change
                    == Change::Ejected(Duration::from_secs(30), Cause::Latency))
        );
        assert_eq!(POLICY.roll(&fleet, at(2)), [], "once");
    }
}

#[test]
fn latency_is_not_looked_at_unless_asked_for() {
    let fleet = fleet(4);
    let never = Policy {
        latency_factor: 0.0,
        ..POLICY
    };
    for _ in 0..10 {
        never.took(&fleet, 0, Duration::from_secs(9));
        (1..4).for_each(|index| never.took(&fleet, index, Duration::from_millis(1)));
    }
    assert_eq!(never.roll(&fleet, at(1)), []);
}

#[test]
fn a_host_is_connected_to_once_and_returns_or_stays_out() {
    let fleet = members(&[endpoint("a", "1"), endpoint("a", "2"), endpoint("b", "1")]);
    report(&fleet, 0, Why::Rotation, Outcome::HostUnreachable, 1);
    assert_eq!(claim_hosts(&fleet, at(2)).count(), 0);
    assert_eq!(claim_hosts(&fleet, at(60)).collect::<Vec<_>>(), [0]);
    assert_eq!(claim_hosts(&fleet, at(60)).count(), 0, "one at a time");
    let still = POLICY.probed(&fleet, 0, false, at(61));
    assert!(
        matches!(still.map(|event| event.change), Some(Change::HostEjected(length)) if length >= Duration::from_secs(60))
    );
    assert_eq!(claim_hosts(&fleet, at(200)).collect::<Vec<_>>(), [0]);
    let back = POLICY.probed(&fleet, 0, true, at(200));
    assert_eq!(back.map(|event| event.change), Some(Change::HostReturned));
    assert_eq!(fleet.list()[1].standing(at(200)), Standing::In);
    assert_eq!(POLICY.probed(&fleet, 0, true, at(200)), None);
}

#[test]
fn suspects_on_a_host_that_was_missed_three_times_are_given_up() {
    let mut suspect = endpoint("a", "1");
    suspect.suspect = true;
    let fleet = members(&[suspect, endpoint("a", "2"), endpoint("b", "1")]);
    let host = Arc::clone(&fleet.list()[0].host);
    let missed = |_: u32| POLICY.missed(&fleet, |other| Arc::ptr_eq(&host, other));
    let gone = Event {
        member: 0,
        change: Change::Gone,
    };
    let events: Vec<Event> = (0..4).flat_map(missed).collect();
    assert_eq!(events, [gone]);
    assert_eq!(fleet.list()[1].standing(at(1)), Standing::In);
}

#[test]
fn a_suspect_that_is_out_for_ten_minutes_is_given_up() {
    let mut suspect = endpoint("a", "1");
    suspect.suspect = true;
    let fleet = members(&[suspect, endpoint("b", "1")]);
    let gone = |second| {
        POLICY
            .roll(&fleet, at(second))
            .iter()
            .any(|event| event.change == Change::Gone)
    };
    assert!(!gone(1) && !gone(2_000), "while it answers it stays");
    fail(&fleet, 0, 1, 2_001);
    assert!(!gone(2_002) && !gone(2_601));
    assert!(gone(2_603) && !gone(2_604));
    assert!(fleet.list()[0].state.rotation.is_gone());
}

#[test]
fn four_workers_eject_once_and_never_more_than_the_bound() {
    for round in 0..20 {
        let fleet = fleet(8);
        let told: usize = std::thread::scope(|scope| {
            let worker = || {
                let events = (0..64).filter_map(|turn| {
                    report(&fleet, turn % 8, Why::Rotation, Outcome::Failure, 1)
                });
                events.count()
            };
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("a count"))
                .sum()
        });
        let out = fleet
            .list()
            .iter()
            .filter(|member| member.state.rotation.is_ejected());
        assert_eq!(
            (told, fleet.ejected(), out.count()),
            (4, 4, 4),
            "round {round}"
        );
    }
}
