//! Sections of a snapshot, each by itself.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use weft_core::access;
use weft_core::balance::{Ask, Balancer, Candidates, Latencies, Plan};
use weft_core::caller::{Local, SpiffeId};
use weft_core::endpoint::{Hosts, Members};
use weft_core::retry::{Attempt, Failure, Policy};
use weft_core::route::{self, Routes};
use weft_core::time::Moment;
use weft_model::parse::{self, Section};
use weft_model::section::{Access, Balance, Endpoints, Host, Listener, Retry, Route};

const NAMES: [&str; 5] = [
    "host",
    "listener/outbound",
    "service/shop/api",
    "endpoints/shop/api",
    "gateway/edge",
];

/// A section that is read reads the same once it is written, and the engine can act on it.
pub fn check(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else {
        return;
    };
    let name = NAMES[usize::from(*first) % NAMES.len()];
    let Ok((_, section)) = parse::section(name, bytes) else {
        return;
    };
    let written = parse::encode(&section);
    let (_, again) = parse::section(name, &written).expect("it was read before");
    assert_eq!(again, section);
    assert_eq!(parse::encode(&again), written);
    match section {
        Section::Host(host) => named(&host),
        Section::Service(service) => {
            routed(&service.routes);
            judged(&service.access);
            retried(&service.traffic.retry);
        }
        Section::Endpoints(endpoints) => balanced(&endpoints),
        Section::Gateway(gateway) => routed(&gateway.routes),
        Section::Listener(listener) => bound(&listener),
    }
}

pub(crate) fn local() -> Local {
    Local::of(&Host {
        name: "vm-1".to_owned(),
        zone: String::new(),
        trust_domain: "corp".to_owned(),
        datacenter: "ams1".to_owned(),
    })
}

/// Every service has an identity there.
fn named(host: &Host) {
    let local = Local::of(host);
    assert_eq!(local.trust_domain(), host.trust_domain);
    assert!(local.service("shop/api").is_ok() && local.gateway("edge").is_ok());
}

/// What is plain and names a caller by its port alone is on loopback.
fn bound(listener: &Listener) {
    let own = matches!(listener, Listener::Outbound { .. } | Listener::Open { .. });
    assert!(!own || listener.address().ip().is_loopback());
}

/// A request without fields.
pub(crate) struct Nothing;

impl route::Fields for Nothing {
    fn field(&self, _name: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
        None
    }
}

fn routed(routes: &[Route]) {
    // An expression may be too large to be made.
    let Ok(table) = Routes::new(routes, &local()) else {
        return;
    };
    let caller = SpiffeId::parse("spiffe://corp/ns/shop/dc/ams1/svc/web").expect("an ID");
    for path in ["/", "/a", "/a/b/c"] {
        let request = route::Request {
            host: "api.test",
            method: "GET",
            path,
            caller: Some(&caller),
        };
        if let Some(chosen) = table.choose(request, &Nothing) {
            let part = chosen.part;
            assert!(chosen.route < routes.len());
            assert!(part.rewrite(path, "/x").starts_with('/'), "{part:?}");
        }
    }
    for route in routes {
        retried(&route.retry);
    }
}

fn judged(access: &Access) {
    if let Ok(rules) = access::Rules::new(access, &local()) {
        let call = access::Call {
            caller: None,
            method: "GET",
            path: "/",
        };
        let _ = rules.judge(call);
        let _ = rules.judge_connection(None);
    }
}

/// Pauses and times are what is left at most, whatever the section says.
fn retried(retry: &Retry) {
    let policy = Policy::new(retry);
    let mut rng = SmallRng::seed_from_u64(1);
    let whole = Duration::from_secs(15);
    for retries in [0, 1, 2, retry.max] {
        assert!(policy.try_timeout("GET", retries, whole) <= whole);
        let pause = policy.backoff(retries.saturating_add(1), &mut rng);
        assert!(pause <= Duration::from_millis(retry.backoff_max_ms));
        let _ = policy.judge("GET", Attempt::default(), Failure::Reset, retries);
    }
}

/// Somebody is picked exactly if somebody may be.
fn balanced(endpoints: &Endpoints) {
    let now = Moment::from_origin(Duration::from_secs(1));
    let members = Members::default().reconcile(&endpoints.endpoints, &mut Hosts::default(), now);
    assert_eq!(members.list().len(), endpoints.endpoints.len());
    let mut rng = SmallRng::seed_from_u64(1);
    for kind in [Balance::P2c, Balance::RoundRobin, Balance::Random] {
        let candidates = Candidates::new(&members, &Default::default(), &Plan::plain(kind));
        let mut balancer = Balancer::new(&candidates, &mut rng);
        for _ in 0..4 {
            let ask = Ask {
                key: None,
                failed: &[],
                now,
            };
            let picked = balancer.pick(&candidates, &members, &Latencies::default(), ask, &mut rng);
            assert_eq!(picked.is_none(), candidates.is_empty());
            assert!(picked.is_none_or(|pick| members.list()[pick.member].is_usable()));
        }
    }
}
