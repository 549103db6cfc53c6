use super::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

const SENT: Attempt = Attempt {
    sent: true,
    seen: false,
    reused: false,
    replayable: true,
};
const UNSENT: Attempt = Attempt {
    sent: false,
    ..SENT
};

fn rule() -> Retry {
    Retry {
        max: 1,
        undelivered: true,
        reset: true,
        statuses: vec![503],
        grpc_statuses: vec![14],
        methods: vec!["PATCH".to_owned()],
        per_try_timeout_ms: 0,
        backoff_base_ms: 25,
        backoff_max_ms: 250,
    }
}

#[test]
fn a_code_of_grpc_that_is_named_is_tried_again_whatever_the_method() {
    let policy = Policy::new(&rule());
    let again = policy.judge("POST", SENT, Failure::Grpc(14), 0);
    assert_eq!(again, Verdict::Again);
    for (failure, attempt, retries, stop) in [
        (Failure::Grpc(5), SENT, 0, Stop::NotNamed),
        (Failure::Status(503), SENT, 0, Stop::NotIdempotent),
        (Failure::Grpc(14), SENT, 1, Stop::Exhausted),
        (
            Failure::Grpc(14),
            Attempt {
                replayable: false,
                ..SENT
            },
            0,
            Stop::NotReplayable,
        ),
    ] {
        let verdict = policy.judge("POST", attempt, failure, retries);
        assert_eq!(verdict, Verdict::Stop(stop), "{failure:?}");
    }
    let counted: Vec<u8> = (1..=16)
        .filter(|code| Failure::Grpc(*code).counts())
        .collect();
    assert_eq!(counted, [2, 4, 13, 14, 15]);
}

#[test]
fn what_was_not_delivered_may_be_tried_again_by_any_method() {
    let policy = Policy::new(&rule());
    for failure in [
        Failure::Connect,
        Failure::RefusedStream,
        Failure::Peer(Reason::ConnectFailed),
        Failure::Peer(Reason::Draining),
        Failure::Peer(Reason::Overloaded),
    ] {
        assert_eq!(
            policy.judge("POST", SENT, failure, 0),
            Verdict::Again,
            "{failure:?}"
        );
    }
    assert_eq!(
        policy.judge("POST", UNSENT, Failure::Reset, 0),
        Verdict::Again
    );
}

#[test]
fn what_may_have_been_delivered_is_repeated_only_where_that_does_no_harm() {
    let policy = Policy::new(&rule());
    for failure in [
        Failure::Reset,
        Failure::TryTimeout,
        Failure::Peer(Reason::Reset),
        Failure::Status(503),
    ] {
        for (method, expected) in [
            ("GET", Verdict::Again),
            ("PUT", Verdict::Again),
            ("PATCH", Verdict::Again),
            ("POST", Verdict::Stop(Stop::NotIdempotent)),
            ("get", Verdict::Stop(Stop::NotIdempotent)),
        ] {
            assert_eq!(
                policy.judge(method, SENT, failure, 0),
                expected,
                "{method} {failure:?}"
            );
        }
    }
}

#[test]
fn after_the_first_forwarded_byte_nothing_is_tried_again() {
    let seen = Attempt {
        seen: true,
        ..UNSENT
    };
    let policy = Policy::new(&rule());
    assert_eq!(
        policy.judge("GET", seen, Failure::Connect, 0),
        Verdict::Stop(Stop::AlreadyAnswering)
    );
}

#[test]
fn a_rule_must_name_the_failure() {
    let policy = Policy::new(&Retry {
        undelivered: false,
        reset: false,
        ..rule()
    });
    for failure in [
        Failure::Connect,
        Failure::Reset,
        Failure::Status(500),
        Failure::Peer(Reason::Denied),
    ] {
        assert_eq!(
            policy.judge("GET", SENT, failure, 0),
            Verdict::Stop(Stop::NotNamed),
            "{failure:?}"
        );
    }
}

#[test]
fn what_this_engine_lacks_is_nobodys_fault_and_is_not_looked_for_elsewhere() {
    let policy = Policy::new(&rule());
    let verdict = policy.judge("GET", Attempt::default(), Failure::Local, 0);
    assert_eq!(verdict, Verdict::Stop(Stop::NotNamed));
    assert!(!Failure::Local.counts());
}

#[test]
fn what_every_endpoint_would_refuse_is_not_tried_again_although_its_status_is_named() {
    let policy = Policy::new(&Retry {
        statuses: vec![400, 403, 404, 413, 429],
        ..rule()
    });
    for reason in [
        Reason::Denied,
        Reason::BadRequest,
        Reason::TooLarge,
        Reason::Limited,
    ] {
        let refused = policy.judge("GET", SENT, Failure::Peer(reason), 0);
        assert_eq!(refused, Verdict::Stop(Stop::NotNamed), "{reason}");
        let by_application = policy.judge("GET", SENT, Failure::Status(reason.status()), 0);
        assert_eq!(by_application, Verdict::Again, "{reason}");
    }
    assert_eq!(
        policy.judge("GET", SENT, Failure::Peer(Reason::NoRoute), 0),
        Verdict::Again
    );
}

#[test]
fn a_stale_connection_is_replaced_free_of_budget_where_the_method_may_be_repeated() {
    let reused = Attempt {
        reused: true,
        ..SENT
    };
    let policy = Policy::new(&Retry {
        max: 0,
        reset: false,
        ..rule()
    });
    assert_eq!(
        policy.judge("GET", reused, Failure::Reset, 5),
        Verdict::AgainFree
    );
    assert_eq!(
        policy.judge("POST", reused, Failure::Reset, 0),
        Verdict::Stop(Stop::NotIdempotent)
    );
    let streamed = Attempt {
        replayable: false,
        ..reused
    };
    assert_eq!(
        policy.judge("PUT", streamed, Failure::Reset, 0),
        Verdict::Stop(Stop::NotReplayable)
    );
}

#[test]
fn a_body_that_is_gone_is_only_an_obstacle_once_something_was_sent() {
    let policy = Policy::new(&rule());
    let gone = |attempt: Attempt| Attempt {
        replayable: false,
        ..attempt
    };
    assert_eq!(
        policy.judge("PUT", gone(UNSENT), Failure::Connect, 0),
        Verdict::Again
    );
    assert_eq!(
        policy.judge("PUT", gone(SENT), Failure::Reset, 0),
        Verdict::Stop(Stop::NotReplayable)
    );
    assert_eq!(
        policy.judge("GET", SENT, Failure::Reset, 1),
        Verdict::Stop(Stop::Exhausted)
    );
}

#[test]
fn pauses_double_up_to_their_bound() {
    let policy = Policy::new(&rule());
    let mut rng = SmallRng::seed_from_u64(1);
    for (retry, most) in [(1, 25), (2, 50), (3, 100), (5, 250), (60, 250)] {
        let longest = (0..500)
            .map(|_| policy.backoff(retry, &mut rng))
            .max()
            .expect("some");
        assert!(
            longest <= Duration::from_millis(most)
                && longest >= Duration::from_millis(most) * 4 / 5,
            "{longest:?}"
        );
    }
}

#[test]
fn all_tries_and_pauses_fit_into_what_is_left() {
    let policy = Policy::new(&Retry { max: 3, ..rule() });
    let whole = Duration::from_secs(15);
    let mut left = whole;
    for retries in 0..=3 {
        let one = policy.try_timeout("GET", retries, left);
        assert!(
            one > Duration::from_secs(3) && one <= left,
            "{retries}: {one:?} of {left:?}"
        );
        left = left.saturating_sub(one + Duration::from_millis(25 << retries));
    }
    assert_eq!(
        policy.try_timeout("POST", 0, whole),
        whole,
        "it could not be tried again"
    );
    assert_eq!(policy.try_timeout("GET", 3, whole), whole, "it is the last");
    let told = Policy::new(&Retry {
        per_try_timeout_ms: 900,
        ..rule()
    });
    assert_eq!(
        told.try_timeout("GET", 0, whole),
        Duration::from_millis(900)
    );
    assert_eq!(
        told.try_timeout("GET", 0, Duration::from_millis(300)),
        Duration::from_millis(300)
    );
}

#[test]
fn who_refuses_for_load_is_tried_elsewhere_and_not_blamed() {
    let failure = Failure::Peer(Reason::Overloaded);
    let verdict = Policy::new(&rule()).judge("POST", SENT, failure, 0);
    assert_eq!(verdict, Verdict::Again);
    assert!(failure.is_load() && !failure.counts());
    assert!(!Failure::Status(503).is_load() && Failure::Peer(Reason::Draining).counts());
}
