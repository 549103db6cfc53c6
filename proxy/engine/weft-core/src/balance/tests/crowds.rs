//! What a request costs among ten thousand: counted, not timed.

use super::*;
use crate::endpoint::tests::LOOKS;

const CROWD: usize = 10_000;
const PICKS: usize = 3_000;

/// Looks at a member's standing for each pick, everything that is done once for many included; ten thousand requests a
/// second, and every tenth of them somebody leaves or comes back.
fn looks(kind: Kind, plan: Plan, spoil: impl Fn(usize, &Member)) -> f64 {
    let endpoints: Vec<Endpoint> = (0..CROWD)
        .map(|number| Endpoint {
            weight: 1 + (number % 3) as u32,
            zone: if number % 4 == 0 { "a" } else { "b" }.to_owned(),
            ..endpoint(&format!("h{number}"), "i")
        })
        .collect();
    let members = members(&endpoints);
    for (index, member) in members.list().iter().enumerate() {
        spoil(index, member);
    }
    members.recount();
    let mut rng = SmallRng::seed_from_u64(3);
    let candidates = Candidates::new(&members, &BTreeMap::new(), &plan);
    let mut balancer = Balancer::new(&candidates, &mut rng);
    LOOKS.set(0);
    for pick in 0..PICKS {
        if pick % 10 == 0 {
            members.changed();
        }
        let now = at(1).plus(Duration::from_micros(100) * pick as u32);
        let key = Key::of(pick.to_string().as_bytes());
        let ask = Ask {
            key: key.filter(|_| kind == Kind::Random),
            failed: &[],
            now,
        };
        let picked = balancer.pick(&candidates, &members, &Latencies::default(), ask, &mut rng);
        assert!(picked.is_some());
    }
    LOOKS.get() as f64 / PICKS as f64
}

fn eject(member: &Member) {
    member.state.rotation.eject(at(1), Duration::from_secs(300));
}

fn lose(member: &Member) {
    member.host.eject(at(1), Duration::from_secs(300));
}

#[test]
fn a_request_looks_at_a_few_of_ten_thousand_whoever_is_out() {
    for kind in KINDS {
        for zoned in [false, true] {
            let plan = || match zoned {
                true => plan(kind).near("a", 70.0),
                false => plan(kind),
            };
            // Each standing is two looks: the endpoint's and its host's.
            let surveys = if zoned { 25.0 } else { 0.0 };
            let all_in = looks(kind, plan(), |_, _| {});
            assert!(all_in < 6.0 + surveys, "{kind:?} {zoned}: {all_in}");
            let some = looks(kind, plan(), |index, member| {
                if index % 5 < 2 {
                    eject(member);
                }
            });
            assert!(some < 40.0, "{kind:?} {zoned}: {some}");
            let few = looks(kind, plan(), |index, member| {
                if index % 100 > 0 {
                    lose(member);
                }
            });
            assert!(few < 100.0, "{kind:?} {zoned}: {few}");
            let nobody = looks(kind, plan(), |_, member| lose(member));
            assert!(nobody < 100.0, "{kind:?} {zoned}: {nobody}");
        }
    }
}

#[test]
fn a_key_looks_at_a_few_of_ten_thousand_too() {
    for balance in [keyed::ring(), keyed::maglev(65_537)] {
        let all_in = looks(Kind::Random, Plan::test(balance.clone()), |_, _| {});
        assert!(all_in < 2.5, "{balance:?}: {all_in}");
        let few = looks(
            Kind::Random,
            Plan::test(balance.clone()),
            |index, member| {
                if index % 100 > 0 {
                    lose(member);
                }
            },
        );
        assert!(few < 200.0, "{balance:?}: {few}");
    }
}
