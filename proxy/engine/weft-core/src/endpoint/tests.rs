use super::*;

thread_local! {
    /// How often this thread asked where somebody stands.
    pub(crate) static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

pub(crate) fn endpoint(host: &str, instance: &str) -> Endpoint {
    Endpoint {
        instance: instance.to_owned(),
        host: host.to_owned(),
        address: "10.0.0.1:7502".parse().expect("an address"),
        port: 8080,
        weight: 100,
        zone: String::new(),
        labels: Default::default(),
        state: EndpointState::Up,
        suspect: false,
    }
}

pub(crate) fn members(endpoints: &[Endpoint]) -> Members {
    Members::default().reconcile(endpoints, &mut Hosts::default(), at(1))
}

pub(crate) fn at(seconds: u64) -> Moment {
    Moment::from_origin(Duration::from_secs(seconds))
}

#[test]
fn a_state_survives_reconciliation_by_host_and_instance() {
    let mut hosts = Hosts::default();
    let before =
        Members::default().reconcile(&[endpoint("a", "1"), endpoint("b", "1")], &mut hosts, at(1));
    let active = before.list()[1].state.begin();
    before.list()[1]
        .state
        .rotation
        .eject(at(1), Duration::from_secs(30));
    let mut moved = endpoint("b", "1");
    moved.port = 9090;
    let after = before.reconcile(&[moved, endpoint("c", "1")], &mut hosts, at(1));
    assert!(Arc::ptr_eq(&before.list()[1].state, &after.list()[0].state));
    assert_eq!(
        (
            after.list()[0].state.active(),
            after.ejected(),
            after.list()[1].state.active()
        ),
        (1, 1, 0)
    );
    drop(active);
    assert_eq!(after.list()[0].state.active(), 0);
}

#[test]
fn a_host_that_nobody_is_on_is_forgotten() {
    let mut hosts = Hosts::default();
    let members =
        Members::default().reconcile(&[endpoint("a", "1"), endpoint("b", "1")], &mut hosts, at(1));
    let fewer = members.reconcile(&[endpoint("a", "1")], &mut hosts, at(1));
    hosts.sweep();
    assert_eq!(hosts.known.len(), 2, "the list before is still in use");
    drop(members);
    hosts.sweep();
    assert_eq!((hosts.known.len(), fewer.list().len()), (1, 1));
}

#[test]
fn after_an_ejection_one_request_at_a_time_may_probe() {
    let rotation = Rotation::default();
    assert_eq!(rotation.standing(at(1)), Standing::In);
    assert_eq!(
        rotation.eject(at(1), Duration::from_secs(30)),
        Some(Duration::from_secs(30))
    );
    assert_eq!(rotation.eject(at(2), Duration::from_secs(30)), None);
    assert_eq!(rotation.standing(at(30)), Standing::Out);
    assert_eq!(rotation.standing(at(31)), Standing::Due);
    assert!(rotation.claim(at(31)));
    assert!(!rotation.claim(at(31)));
    assert_eq!(rotation.standing(at(32)), Standing::Out);
    assert_eq!(
        rotation.standing(at(51)),
        Standing::Due,
        "a probe that was lost is repeated"
    );
    assert_eq!(
        rotation.eject_again(at(52), Duration::from_secs(30)),
        Some(Duration::from_secs(60))
    );
    assert!(rotation.give_back(at(53)) && !rotation.give_back(at(53)));
    assert_eq!(rotation.standing(at(53)), Standing::In);
}

#[test]
fn no_ejection_lasts_longer_than_five_minutes() {
    let rotation = Rotation::default();
    for _ in 0..20 {
        rotation.eject(at(1), Duration::from_secs(30));
        rotation.give_back(at(1));
    }
    assert_eq!(
        rotation.eject(at(1), Duration::from_secs(30)),
        Some(MAX_EJECTION)
    );
}

#[test]
fn who_is_new_or_back_grows_from_a_tenth_and_nobody_does_at_the_start() {
    let whole = Duration::from_secs(30);
    let mut hosts = Hosts::default();
    let mut down = endpoint("c", "1");
    down.state = EndpointState::Down;
    let first = [endpoint("a", "1"), endpoint("b", "1"), down];
    let before = Members::default().reconcile(&first, &mut hosts, at(100));
    let parts = |members: &Members, now| -> Vec<f64> {
        let part = |member: &Member| (member.part(at(now), whole) * 100.0).round() / 100.0;
        members.list().iter().map(part).collect()
    };
    assert_eq!(parts(&before, 100), [1.0, 1.0, 1.0]);
    let then = ["a", "b", "c", "d"].map(|host| endpoint(host, "1"));
    let after = before.reconcile(&then, &mut hosts, at(200));
    assert_eq!(parts(&after, 200), [1.0, 1.0, 0.1, 0.1]);
    assert_eq!(parts(&after, 215), [1.0, 1.0, 0.5, 0.5]);
    assert_eq!(parts(&after, 231), [1.0; 4]);
    let rotation = &after.list()[0].state.rotation;
    rotation.eject(at(300), whole);
    rotation.give_back(at(340));
    assert_eq!(parts(&after, 355), [0.5, 1.0, 1.0, 1.0]);
    after.list()[1].host.eject(at(400), whole);
    after.list()[1].host.give_back(at(440));
    assert_eq!(parts(&after, 455), [1.0, 0.5, 1.0, 1.0]);
}
