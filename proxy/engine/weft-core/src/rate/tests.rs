use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use weft_model::section::{Match, PathMatch};

use super::*;
use crate::caller::local;
use crate::matcher::NoFields;

const SECOND: u64 = 1_000_000_000;

fn limit(rate: u32, burst: u32, concurrency: u32) -> Limit {
    Limit {
        name: "l/1".to_owned(),
        matches: Vec::new(),
        by: LimitBy::Everybody,
        rate,
        window_ms: 1_000,
        burst,
        concurrency,
        scope: LimitScope::Host,
    }
}

fn limits(all: &[Limit]) -> Limits {
    let limits = Limits::new(all, None, &local()).expect("valid");
    limits.enforce(1.0);
    limits
}

fn request<'a>(caller: Option<&'a SpiffeId>, path: &'a str) -> Request<'a> {
    Request {
        host: "",
        method: "GET",
        path,
        caller,
    }
}

fn caller(number: usize) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://corp/ns/shop/dc/ams1/svc/s{number}")).expect("an id")
}

fn at(nanos: u64) -> Moment {
    Moment::from_nanos(10 * SECOND + nanos)
}

fn admits(limits: &Limits, now: Moment) -> bool {
    limits
        .admit(request(None, "/"), &NoFields, None, now)
        .is_ok()
}

#[test]
fn a_burst_passes_at_once_and_then_the_rate() {
    let limits = limits(&[limit(10, 3, 0)]);
    let passed = (0..10).filter(|_| admits(&limits, at(0))).count();
    assert_eq!(passed, 3);
    assert!(!admits(&limits, at(SECOND / 10 - 1)));
    assert!(admits(&limits, at(SECOND / 10)));
    assert!(!admits(&limits, at(SECOND / 10)));
    let refused = limits
        .admit(request(None, "/"), &NoFields, None, at(SECOND / 10))
        .expect_err("full");
    assert_eq!(refused.after, Some(Duration::from_millis(100)));
    assert_eq!(limits.counts().next().expect("one").refused, 10);
}

#[test]
fn one_refusal_in_ten_seconds_is_news() {
    let limits = limits(&[limit(1, 1, 0)]);
    assert!(admits(&limits, at(0)));
    let news = |nanos| {
        let refused = limits.admit(request(None, "/"), &NoFields, None, at(nanos));
        refused.expect_err("full").news
    };
    assert_eq!([news(1), news(2)], [true, false]);
    assert!(admits(&limits, at(11 * SECOND)));
    assert!(news(11 * SECOND));
}

#[test]
fn what_one_rule_refuses_costs_the_others_nothing() {
    let search = Limit {
        name: "l/search".to_owned(),
        matches: vec![Match {
            path: Some(PathMatch::Prefix("/search".to_owned())),
            ..Match::default()
        }],
        ..limit(1, 1, 0)
    };
    let limits = limits(&[limit(10, 10, 10), search]);
    let ask = |path| limits.admit(request(None, path), &NoFields, None, at(0));
    let held = ask("/search").expect("room");
    for _ in 0..100 {
        assert_eq!(ask("/search").expect_err("full").rule, "l/search");
    }
    let others: Vec<_> = (0..20).filter_map(|_| ask("/").ok()).collect();
    assert_eq!(others.len(), 9);
    drop((held, others));
}

#[test]
fn places_are_given_back_when_they_are_left() {
    let limits = limits(&[limit(0, 1, 2)]);
    let held: Vec<_> = (0..5)
        .filter_map(|_| {
            limits
                .admit(request(None, "/"), &NoFields, None, at(0))
                .ok()
        })
        .collect();
    assert_eq!(held.len(), 2);
    let refused = limits.admit(request(None, "/"), &NoFields, None, at(0));
    assert_eq!(refused.expect_err("full").after, None);
    drop(held);
    assert!(admits(&limits, at(0)));
}

#[test]
fn each_caller_has_its_own_and_those_beyond_the_bound_share_one() {
    let by_caller = Limit {
        by: LimitBy::Caller,
        ..limit(1, 1, 0)
    };
    let limits = limits(&[by_caller]);
    let passed = |number: usize| {
        let id = caller(number);
        limits
            .admit(request(Some(&id), "/"), &NoFields, None, at(0))
            .is_ok()
    };
    assert!(passed(1) && passed(2) && !passed(1) && !passed(2));
    let passed = (0..100_000).filter(|number| passed(10 + number)).count();
    assert!((500..=CALLERS + 1).contains(&passed), "{passed}");
    let overflowed = limits.counts().next().expect("one").overflowed;
    assert!(overflowed > 90_000, "{overflowed}");
    // Two seconds later nobody owes anything, so that all buckets are anybody's.
    let late = caller(7_000_000);
    assert!(
        limits
            .admit(request(Some(&late), "/"), &NoFields, None, at(2 * SECOND))
            .is_ok()
    );
    assert_eq!(limits.counts().next().expect("one").overflowed, overflowed);
}

#[test]
fn an_address_of_ipv6_stands_for_its_network() {
    let by_address = Limit {
        by: LimitBy::Address,
        ..limit(1, 1, 0)
    };
    let limits = limits(&[by_address]);
    let passed = |address: &str| {
        let address = Some(address.parse().expect("an address"));
        limits
            .admit(request(None, "/"), &NoFields, address, at(0))
            .is_ok()
    };
    assert!(passed("2001:db8::1") && !passed("2001:db8::ffff"));
    assert!(passed("2001:db8:0:1::1"));
    assert!(passed("10.0.0.1") && !passed("::ffff:10.0.0.1") && passed("10.0.0.2"));
}

#[test]
fn a_rule_goes_on_where_it_was_whatever_else_changes() {
    let by_caller = Limit {
        name: "l/by".to_owned(),
        by: LimitBy::Caller,
        ..limit(10, 1, 0)
    };
    let before = limits(&[limit(10, 1, 1)]);
    let held = before
        .admit(request(None, "/"), &NoFields, None, at(0))
        .expect("room");
    let after = Limits::new(&[by_caller, limit(10, 1, 1)], Some(&before), &local());
    let after = after.expect("valid");
    after.enforce(1.0);
    assert!(!admits(&after, at(0)));
    drop(held);
    assert!(!admits(&after, at(0)));
    assert!(admits(&after, at(SECOND / 10)));
}

#[test]
fn a_share_of_the_mesh_is_a_share_of_all_of_it() {
    let mesh = Limit {
        scope: LimitScope::Mesh,
        ..limit(100, 10, 0)
    };
    let limits = limits(&[mesh]);
    limits.enforce(0.2);
    let passed = (0..1_000).filter(|_| admits(&limits, at(0))).count();
    assert_eq!(passed, 2);
    assert!(!admits(&limits, at(SECOND / 20 - 1)));
    assert!(admits(&limits, at(SECOND / 20)));
    limits.enforce(0.0);
    assert!(!admits(&limits, at(SECOND / 20)));
}

/// So many workers ask, each some moments after whoever asked before; how many requests pass in a second.
fn hammered(workers: u64) -> u64 {
    const STEP: u64 = 10_000;
    let limits = limits(&[limit(50_000, 50, 0)]);
    let (clock, passed) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let now = clock.fetch_add(STEP, Relaxed);
                    if now >= SECOND {
                        break;
                    }
                    passed.fetch_add(u64::from(admits(&limits, at(now))), Relaxed);
                }
            });
        }
    });
    passed.into_inner()
}

#[test]
fn one_worker_and_four_get_the_rate_and_no_more() {
    for workers in [1, 4] {
        let passed = hammered(workers);
        assert!((45_000..=50_050).contains(&passed), "{workers}: {passed}");
    }
}

proptest! {
    #[test]
    fn in_no_stretch_of_time_passes_more_than_burst_and_rate(
        rate in 1_u32..2_000,
        burst in 1_u32..50,
        gaps in prop::collection::vec(0_u64..20_000_000, 1..200),
    ) {
        let limits = limits(&[limit(rate, burst, 0)]);
        let mut now = 0;
        let mut passed = Vec::new();
        for gap in gaps {
            now += gap;
            if admits(&limits, at(now)) {
                passed.push(now);
            }
        }
        for (first, begin) in passed.iter().enumerate() {
            for (last, end) in passed.iter().enumerate().skip(first) {
                let seconds = (end - begin) as f64 / SECOND as f64;
                let most = f64::from(burst) + f64::from(rate) * seconds * 1.001 + 1e-6;
                prop_assert!((last - first + 1) as f64 <= most.floor() + 1e-9 || (last - first + 1) as f64 <= most);
            }
        }
    }

    #[test]
    fn who_waits_as_long_as_told_passes(rate in 1_u32..1_000, burst in 1_u32..20, taken in 1_usize..50) {
        let limits = limits(&[limit(rate, burst, 0)]);
        let mut after = None;
        for _ in 0..taken {
            if let Err(refused) = limits.admit(request(None, "/"), &NoFields, None, at(0)) {
                after = refused.after;
            }
        }
        if let Some(after) = after {
            prop_assert!(admits(&limits, at(after.as_nanos() as u64)));
        }
    }
}
