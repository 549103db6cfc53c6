//! How long a large snapshot takes: `cargo run --release -p weft-core --example reconcile`.
//!
//! 10,000 routes in 100 services and 50,000 endpoints in 500: parsed and checked, made into tables, reconciled, and one
//! changed section of each kind.

use std::collections::BTreeMap;
use std::time::Instant;

use weft_core::caller::Local;
use weft_core::endpoint::{Hosts, Members};
use weft_core::route::Routes;
use weft_core::time::Moment;
use weft_model::Snapshot;
use weft_model::parse::{Section, encode, section};
use weft_model::section::{Endpoints, PathMatch, Service};

const GOLDEN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../tests/golden/sections"
);

fn golden(name: &str) -> Section {
    let bytes =
        std::fs::read(format!("{GOLDEN}/{name}.msgpack")).expect("the golden sections are there");
    section(name, &bytes).expect("a golden section is valid").1
}

fn service(number: usize, routes: usize) -> Service {
    let Section::Service(mut service) = golden("service/shop/api") else {
        unreachable!("it is a service")
    };
    let last = service.routes.pop().expect("it has routes");
    service.routes = (0..routes)
        .map(|index| {
            let mut route = last.clone();
            route.name = format!("s{number}/r{index}");
            route.rank = index as u32;
            route.matches = vec![Default::default()];
            route.matches[0].path = Some(PathMatch::Prefix(format!("/v{}/part{index}", index % 7)));
            route
        })
        .collect();
    service
}

fn endpoints(number: usize, size: usize) -> Endpoints {
    let Section::Endpoints(mut section) = golden("endpoints/shop/api") else {
        unreachable!("they are endpoints")
    };
    let first = section.endpoints.swap_remove(0);
    section.endpoints = (0..size)
        .map(|index| {
            let mut endpoint = first.clone();
            endpoint.instance = format!("i{number}-{index}");
            endpoint.host = format!("vm-{}", (number * 31 + index) % 1_000);
            endpoint
        })
        .collect();
    section
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what:<48} {:>9.2} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn main() {
    let mut set: BTreeMap<String, Vec<u8>> =
        BTreeMap::from([("host".to_owned(), encode(&golden("host")))]);
    for number in 0..100 {
        set.insert(
            format!("service/shop/s{number}"),
            encode(&Section::Service(service(number, 100))),
        );
    }
    for number in 0..500 {
        set.insert(
            format!("endpoints/shop/e{number}"),
            encode(&Section::Endpoints(endpoints(number, 100))),
        );
    }
    let first = timed("parse and check everything", || {
        Snapshot::default().apply(true, &set, &[])
    })
    .expect("valid");
    timed("the same again after a reset, nothing changed", || {
        first.apply(true, &set, &[])
    })
    .expect("valid");
    for name in ["service/shop/s7", "endpoints/shop/e7"] {
        let other = if name.starts_with("service") {
            Section::Service(service(7, 101))
        } else {
            Section::Endpoints(endpoints(7, 101))
        };
        let change = BTreeMap::from([(name.to_owned(), encode(&other))]);
        timed(&format!("one changed section, {name}"), || {
            first.apply(false, &change, &[])
        })
        .expect("valid");
    }
    let local = Local::of(first.host.as_deref().expect("a host"));
    timed("tables of 10,000 routes", || {
        first
            .services
            .values()
            .map(|service| Routes::new(&service.routes, &local).expect("routes"))
            .collect::<Vec<_>>()
    });
    let mut hosts = Hosts::default();
    let now = Moment::from_nanos(1);
    let all: Vec<Members> = timed("members of 50,000 endpoints, new", || {
        first
            .endpoints
            .values()
            .map(|list| Members::default().reconcile(&list.endpoints, &mut hosts, now))
            .collect()
    });
    timed("members of 50,000 endpoints, known", || {
        let pairs = all.iter().zip(first.endpoints.values());
        pairs
            .map(|(known, list)| known.reconcile(&list.endpoints, &mut hosts, now))
            .collect::<Vec<_>>()
    });
}
