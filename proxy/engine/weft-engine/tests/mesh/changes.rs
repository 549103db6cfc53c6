//! What an engine serves is changed again and again while it is used.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weft_model::parse::Section;
use weft_model::section::*;

use crate::support::free;
use crate::support::http::get;
use crate::support::load::{Load, long_form};
use crate::support::sections::{endpoint, endpoints, forward_to, prefix, route, service};
use crate::support::stage::Stage;

const EVERY: Duration = Duration::from_millis(50);

/// How long requests are watched without changes, and then with them.
const CALM: Duration = Duration::from_secs(10);

/// Rules, instances, listeners and identities in turn; all of it leaves the requests under way alone.
fn change(stage: &mut Stage, number: usize) {
    let mut api = service();
    api.traffic.timeout_ms = 10_000 + number as u64;
    match number % 5 {
        0 => stage.near_service(api),
        1 => {
            api.routes = vec![Route {
                matches: vec![prefix(&format!("/{number}"))],
                ..route(&format!("doc/{number}"), forward_to(&[("shop/api", 1)]))
            }];
            stage.near_service(api.clone());
            stage.far_service(api);
        }
        2 => {
            let mut one = stage.api();
            one.labels = BTreeMap::from([("change".to_owned(), number.to_string())]);
            one.weight = 1 + u32::try_from(number % 100).expect("small");
            let spare = Endpoint {
                state: EndpointState::Down,
                ..endpoint("gone", "api-9", free(), 1)
            };
            stage.near_endpoints(vec![one, spare]);
        }
        3 => {
            let listener = Listener::Outbound {
                address: free(),
                caller: "shop/web".to_owned(),
                upstream: "shop/api".to_owned(),
            };
            stage
                .near_agent
                .apply(&[("listener/more", Section::Listener(listener))]);
        }
        _ => {
            let leaf = stage.ca.leaf("shop/web");
            stage.near_agent.identity("shop/web", &leaf);
            let leaf = stage.ca.leaf("shop/api");
            stage.far_agent.identity("shop/api", &leaf);
        }
    }
}

#[test]
fn changes_at_twenty_a_second_under_load_lose_nothing_and_memory_returns() {
    let mut stage = Stage::new();
    let load = Load::start(stage.outbound);
    let changes = if long_form() { 1_000 } else { 100 };
    let mut resident = 0;
    let start = Instant::now();
    for number in 0..changes {
        change(&mut stage, number);
        if number == changes / 4 {
            resident = stage.near.resident_kib();
        }
        std::thread::sleep(
            (EVERY * u32::try_from(number + 1).expect("few")).saturating_sub(start.elapsed()),
        );
    }
    let seconds = start.elapsed().as_secs_f64();
    let answered = load.end() as f64;
    let least = if long_form() { 1_000.0 } else { 80.0 };
    assert!(
        answered > least * seconds,
        "{answered} answers in {seconds} s"
    );
    let now = stage.near.resident_kib();
    assert!(
        now < resident + resident / 4 + 4_096,
        "{resident} KiB, then {now}"
    );
}

#[test]
fn a_change_of_one_service_among_thousands_is_in_force_at_once() {
    let mut stage = Stage::new();
    // In the long form 10,000 routes and 50,000 endpoints.
    let services = if long_form() { 1_000 } else { 100 };
    let many = |index: usize, host: &str| {
        let mut one = service();
        one.routes = (0..10)
            .map(|number| Route {
                matches: vec![prefix(&format!("/{number}"))],
                ..route(&format!("doc/{number}"), forward_to(&[(host, 1)]))
            })
            .collect();
        let instances = (0..50).map(|number| {
            let address = ([10, (index >> 8) as u8, index as u8, number], 7502).into();
            endpoint(
                &format!("h{number}"),
                &format!("s{index}-{number}"),
                address,
                8080,
            )
        });
        (Section::Service(one), endpoints(instances.collect()))
    };
    let names: Vec<String> = (0..services)
        .map(|index| format!("shop/s{index}"))
        .collect();
    let whole: Vec<(String, Section)> = names
        .iter()
        .enumerate()
        .flat_map(|(index, name)| {
            let (rules, instances) = many(index, name);
            [
                (format!("service/{name}"), rules),
                (format!("endpoints/{name}"), instances),
            ]
        })
        .collect();
    let whole: Vec<(&str, Section)> = whole
        .iter()
        .map(|(name, section)| (name.as_str(), section.clone()))
        .collect();
    stage.near_agent.apply(&whole);
    let mut took: Vec<Duration> = (0..20)
        .map(|number| {
            let took = one_change(&mut stage, number);
            assert_eq!(get(stage.outbound, "/").status, 200);
            took
        })
        .collect();
    took.sort_unstable();
    // A neighbour may slow many of them down; a change that looked at everything would slow all of them.
    assert!(took[5] < Duration::from_millis(50), "{took:?}");
    if !long_form() {
        return;
    }
    let load = Load::start(stage.outbound);
    std::thread::sleep(CALM);
    let calm = load.p99();
    let start = Instant::now();
    while start.elapsed() < CALM {
        one_change(&mut stage, 1);
        std::thread::sleep(EVERY);
    }
    let changing = load.p99();
    load.end();
    println!("changes took {took:?}; p99 {calm:?} without changes, {changing:?} among them");
    assert!(
        changing < calm * 2 + Duration::from_millis(5),
        "p99 {calm:?}, then {changing:?}"
    );
}

/// How long until a change of one service is in force.
fn one_change(stage: &mut Stage, number: u64) -> Duration {
    let mut one = service();
    one.traffic.timeout_ms = 1_000 + number;
    let start = Instant::now();
    stage
        .near_agent
        .apply(&[("service/shop/s7", Section::Service(one))]);
    start.elapsed()
}
