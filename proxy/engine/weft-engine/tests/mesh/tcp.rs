//! Services that are bytes: what goes in comes out, each direction ends alone, and only those who may get in.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use weft_model::frame::{FromEngine, ToEngine};
use weft_model::parse::Section;
use weft_model::section::{Decision, PathMatch, Rule};

use crate::support::bytes::*;
use crate::support::sections::{endpoint, endpoints, forward_to, route, service};
use crate::support::stage::Stage;
use crate::support::{free, until};

const ENDED: &str = "weft_tcp_connections_total";

fn only(caller: &str) -> Vec<Rule> {
    vec![Rule {
        name: "doc/1".to_owned(),
        decision: Decision::Allow,
        shadow: false,
        callers: vec![caller.to_owned()],
        methods: Vec::new(),
        paths: Vec::new(),
    }]
}

/// A connection through which bytes flow.
fn flowing(stage: &Stage) -> std::net::TcpStream {
    let mut client = connect(stage.outbound);
    assert_eq!(read_exactly(&mut client, 10), b"220 ready\n");
    client
}

/// Waits for it to be broken off, a second at most.
fn within_a_second(mut client: std::net::TcpStream) {
    let start = Instant::now();
    assert!(is_reset(&mut client));
    assert!(start.elapsed() < Duration::from_secs(1), "{start:?}");
}

#[test]
fn a_server_that_speaks_first_is_heard_and_everything_comes_back() {
    let server = Server::start(greet_and_echo);
    let stage = stage(&server, tcp());
    let mut client = flowing(&stage);
    client.write_all(b"ping").expect("written");
    assert_eq!(read_exactly(&mut client, 4), b"ping");
    client.shutdown(Shutdown::Write).expect("shut");
    assert_eq!(read_to_end(&mut client), b"221 bye\n");
    let labels = [
        "source=\"shop/web\"",
        "destination=\"shop/api\"",
        "end=\"done\"",
    ];
    for engine in [&stage.near, &stage.far] {
        engine.counts(1, ENDED, &labels);
        engine.counts(4, "weft_tcp_bytes_total", &["way=\"sent\""]);
        engine.counts(22, "weft_tcp_bytes_total", &["way=\"received\""]);
        engine.counts(0, "weft_connections", &[]);
    }
}

#[test]
fn each_direction_ends_alone_whoever_ends_first() {
    let counting = Server::start(count_to_the_end);
    let scene = stage(&counting, tcp());
    let mut client = connect(scene.outbound);
    let bytes = vec![7; 20_000_000];
    client.write_all(&bytes).expect("written");
    client.shutdown(Shutdown::Write).expect("shut");
    assert_eq!(read_to_end(&mut client), b"20000000");

    let ending = Server::start(end_first);
    let scene = stage(&ending, tcp());
    let mut client = connect(scene.outbound);
    assert_eq!(read_to_end(&mut client), b"that is all");
    client.write_all(b"but I go on").expect("written");
    client.shutdown(Shutdown::Write).expect("shut");
    until("it was heard", || HEARD.load(Ordering::SeqCst));
}

#[test]
fn large_streams_pass_both_ways_at_once_unchanged() {
    let server = Server::start(greet_and_echo);
    let stage = stage(&server, tcp());
    let mut client = flowing(&stage);
    let sent: Vec<u8> = (0..30_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut writer, expected) = (client.try_clone().expect("a clone"), sent.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).expect("written");
        writer.shutdown(Shutdown::Write).expect("shut");
    });
    let back = read_to_end(&mut client);
    writing.join().expect("written");
    assert!(back.strip_suffix(b"221 bye\n") == Some(&expected[..]));
}

#[test]
fn a_reader_that_pauses_holds_the_writer_back_and_loses_nothing() {
    let server = Server::start(pause_then_count);
    let stage = stage(&server, tcp());
    let mut client = connect(stage.outbound);
    let (near, far) = (stage.near.resident_kib(), stage.far.resident_kib());
    client.write_all(&vec![1; 40_000_000]).expect("written");
    assert!(stage.near.resident_kib() < near + 8192, "nothing piles up");
    assert!(stage.far.resident_kib() < far + 8192, "nothing piles up");
    client.shutdown(Shutdown::Write).expect("shut");
    assert_eq!(read_to_end(&mut client), b"40000000");
}

#[test]
fn what_breaks_on_one_side_is_broken_off_on_the_other() {
    let server = Server::start(break_off);
    let stage = stage(&server, tcp());
    let mut client = connect(stage.outbound);
    client.write_all(b"x").expect("written");
    assert!(is_reset(&mut client));
    stage.near.counts(1, ENDED, &["end=\"broken\""]);
    stage.far.counts(1, ENDED, &["end=\"broken\""]);
}

#[test]
fn access_refuses_by_identity_before_the_application_hears_of_it() {
    let server = Server::start(greet_and_echo);
    let mut stage = stage(&server, tcp());
    let mut guarded = tcp();
    guarded.access.rules = only("shop/cron");
    stage.far_service(guarded.clone());
    assert!(is_reset(&mut connect(stage.outbound)));
    let refused = [
        "end=\"refused\"",
        "reason=\"denied\"",
        "source=\"shop/web\"",
    ];
    stage.near.counts(1, ENDED, &refused);
    stage.far.counts(1, ENDED, &refused);
    guarded.access.rules = only("shop/web");
    stage.far_service(guarded);
    flowing(&stage);
}

#[test]
fn open_connections_end_within_a_second_of_losing_their_right() {
    let server = Server::start(greet_and_echo);
    let mut stage = stage(&server, tcp());
    let client = flowing(&stage);
    let mut guarded = tcp();
    guarded.access.rules = only("shop/web");
    stage.far_service(guarded.clone());
    let mut kept = flowing(&stage);
    guarded.access.rules = only("shop/cron");
    stage.far_service(guarded);
    within_a_second(client);
    assert!(is_reset(&mut kept));
    stage.far.counts(2, ENDED, &["end=\"revoked\""]);

    stage.far_service(tcp());
    let web = stage.ca.leaf("shop/web");
    stage.near_agent.identity("shop/web", &web);
    let client = flowing(&stage);
    stage.far_agent.trust(&[&stage.ca], &[web.serial]);
    within_a_second(client);

    stage.far_agent.trust(&[&stage.ca], &[]);
    let api = stage.ca.leaf("shop/api");
    stage.far_agent.identity("shop/api", &api);
    let client = flowing(&stage);
    stage.near_agent.trust(&[&stage.ca], &[api.serial]);
    within_a_second(client);
    stage.near.counts(1, ENDED, &["end=\"revoked\""]);
}

#[test]
fn a_connection_ends_before_its_certificates_do() {
    let server = Server::start(greet_and_echo);
    let mut stage = stage(&server, tcp());
    let short = stage.ca.leaf_for("shop/web", Duration::from_secs(3));
    stage.near_agent.identity("shop/web", &short);
    let mut client = flowing(&stage);
    assert!(is_reset(&mut client));
    stage.near.counts(1, ENDED, &["end=\"expired\""]);
}

#[test]
fn an_instance_that_cannot_be_reached_costs_nobody_a_connection() {
    let server = Server::start(greet_and_echo);
    let mut stage = stage(&server, tcp());
    let dead = endpoint("gone", "api-0", free(), 1);
    let live = endpoint("far", "api-1", stage.inbound, server.port());
    stage.near_endpoints(vec![dead, live]);
    for _ in 0..20 {
        flowing(&stage);
    }
    stage.near.counts(1, "weft_ejections_total", &["ejected"]);
}

#[test]
fn an_application_that_is_down_costs_nobody_a_connection_while_another_is_up() {
    let server = Server::start(greet_and_echo);
    let mut stage = stage(&server, tcp());
    let instances = vec![
        endpoint("far", "api-0", stage.inbound, free().port()),
        endpoint("far", "api-1", stage.inbound, server.port()),
    ];
    stage.near_endpoints(instances.clone());
    stage
        .far_agent
        .apply(&[("endpoints/shop/api", endpoints(instances))]);
    for _ in 0..30 {
        flowing(&stage);
    }
    assert!(stage.near.metric("weft_retries_total", &["tried"]) >= 1.0);
    let refused = ["inbound", "end=\"refused\"", "reason=\"connect_failed\""];
    assert!(stage.far.metric(ENDED, &refused) >= 1.0);
    stage.near.counts(0, ENDED, &["end=\"refused\""]);
}

#[test]
fn while_nobody_is_left_connections_go_to_the_service_that_stands_in() {
    let server = Server::start(greet_and_echo);
    let mut alone = tcp();
    alone.traffic.failover = vec!["shop/web".to_owned(), "shop/dr".to_owned()];
    let mut stage = stage(&server, alone);
    let there = vec![endpoint("far", "dr-1", stage.inbound, server.port())];
    stage
        .far_agent
        .identity("shop/dr", &stage.ca.leaf("shop/dr"));
    for agent in [&mut stage.far_agent, &mut stage.near_agent] {
        agent.apply(&[
            ("service/shop/dr", Section::Service(tcp())),
            ("endpoints/shop/dr", endpoints(there.clone())),
        ]);
    }
    drop(flowing(&stage));
    stage
        .near
        .counts(1, ENDED, &["destination=\"shop/api\"", "end=\"done\""]);
    let gone = endpoint("gone", "api-9", free(), 1);
    for left in [vec![gone], Vec::new()] {
        stage.near_endpoints(left);
        flowing(&stage);
        flowing(&stage);
    }
    stage
        .near
        .counts(4, ENDED, &["destination=\"shop/dr\"", "end=\"done\""]);
    stage
        .near
        .counts(4, "weft_failovers_total", &["destination=\"shop/api\""]);
    stage.near.counts(0, ENDED, &["end=\"refused\""]);
}

#[test]
fn nobody_to_ask_is_a_refusal_with_its_reason() {
    let server = Server::start(greet_and_echo);
    let mut stage = stage(&server, tcp());
    stage.near_endpoints(Vec::new());
    assert!(is_reset(&mut connect(stage.outbound)));
    stage.near.counts(1, ENDED, &["reason=\"no_endpoint\""]);
}

#[test]
fn connections_beyond_the_capacity_are_refused_until_one_ends() {
    let server = Server::start(greet_and_echo);
    let mut narrow = tcp();
    narrow.traffic.capacity.connections = 1;
    let stage = stage(&server, narrow);
    let mut first = flowing(&stage);
    assert!(is_reset(&mut connect(stage.outbound)));
    stage.near.counts(1, ENDED, &["reason=\"overloaded\""]);
    first.shutdown(Shutdown::Write).expect("shut");
    assert_eq!(read_to_end(&mut first), b"221 bye\n");
    stage.near.counts(1, ENDED, &["end=\"done\""]);
    flowing(&stage);
}

#[test]
fn a_connection_on_which_nothing_moves_ends_and_one_on_which_something_does_goes_on() {
    let server = Server::start(greet_and_echo);
    let mut impatient = tcp();
    impatient.traffic.idle_timeout_ms = 500;
    let stage = stage(&server, impatient);
    let mut busy = flowing(&stage);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1200) {
        busy.write_all(b"x").expect("written");
        read_exactly(&mut busy, 1);
        std::thread::sleep(Duration::from_millis(100));
    }
    let start = Instant::now();
    assert!(is_reset(&mut busy));
    assert!(start.elapsed() >= Duration::from_millis(400));
}

#[test]
fn a_drain_accepts_no_more_and_lets_open_connections_finish() {
    let server = Server::start(greet_and_echo);
    let mut stage = stage(&server, tcp());
    let mut client = flowing(&stage);
    stage.near_agent.send(&ToEngine::Drain {
        deadline_ms: 20_000,
    });
    until("it accepts no more", || {
        std::net::TcpStream::connect(stage.outbound).is_err()
    });
    client.write_all(b"still here").expect("written");
    assert_eq!(read_exactly(&mut client, 10), b"still here");
    client.shutdown(Shutdown::Write).expect("shut");
    assert_eq!(read_to_end(&mut client), b"221 bye\n");
    assert_eq!(stage.near_agent.receive(), Some(FromEngine::Drained {}));
}

#[test]
fn services_of_bytes_and_of_requests_never_meet() {
    let server = Server::start(greet_and_echo);
    let mut stage = stage(&server, tcp());
    stage.far_service(service());
    assert!(is_reset(&mut connect(stage.outbound)));
    stage
        .far
        .counts(2, "weft_tls_failures_total", &["inbound", "wrong_alpn"]);
    stage.near_service(service());
    stage.far_service(tcp());
    assert_eq!(stage.get("/").status, 502);
    assert!(stage.far.metric("weft_tls_failures_total", &["wrong_alpn"]) > 2.0);
}

#[test]
fn rules_that_look_at_requests_are_refused_where_there_are_none() {
    let server = Server::start(greet_and_echo);
    let mut stage = stage(&server, tcp());
    let mut by_method = tcp();
    by_method.access.rules = only("shop/web");
    by_method.access.rules[0].methods = vec!["GET".to_owned()];
    let mut by_path = tcp();
    by_path.access.rules = only("shop/web");
    by_path.access.rules[0].paths = vec![PathMatch::Prefix("/".to_owned())];
    let mut routed = tcp();
    routed.routes = vec![route("doc/1", forward_to(&[("shop/api", 1)]))];
    for wrong in [by_method, by_path, routed] {
        let name = "service/shop/api";
        let refused = stage
            .far_agent
            .try_apply(&[(name, Section::Service(wrong))], &[]);
        assert_eq!(
            refused,
            Err((name.to_owned(), "invalid_section".to_owned()))
        );
    }
    let mut client = flowing(&stage);
    client.write_all(b"x").expect("written");
    assert_eq!(client.read(&mut [0; 8]).expect("bytes"), 1);
}
