//! WebSockets: tunnels through all engines on the way, for as long as their callers may have them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use weft_model::section::{Decision, PathMatch, Rule};

use crate::gateway::Edge;
use crate::support::http::Client;
use crate::support::sections::service;
use crate::support::stage::Stage;

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: shop.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// An open tunnel, with the application's word through it.
fn switched(mut client: Client<TcpStream>, early: &[u8]) -> TcpStream {
    client.send(&[ASK.as_bytes(), early].concat());
    let answer = client.answer(false);
    assert_eq!(
        (answer.status, answer.field("upgrade")),
        (101, Some("websocket"))
    );
    let mut hello = vec![0; 5 + early.len()];
    client.stream.read_exact(&mut hello).expect("bytes");
    assert_eq!(hello, [&b"hello"[..], early].concat());
    client.stream.get_ref().try_clone().expect("a clone")
}

fn ended_after(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    start.elapsed()
}

#[test]
fn a_websocket_goes_from_the_world_to_the_application_and_early_bytes_first() {
    let edge = Edge::new(|_| {});
    let mut socket = switched(edge.client(), b"early");
    socket.write_all(b"more").expect("written");
    let mut back = [0; 4];
    socket.read_exact(&mut back).expect("bytes");
    assert_eq!(&back, b"more");
}

#[test]
fn a_websocket_ends_within_a_second_of_losing_its_right() {
    let mut stage = Stage::new();
    let mut socket = switched(stage.client(), b"");
    let mut narrow = service();
    narrow.access.rules = vec![Rule {
        name: "doc/1".to_owned(),
        decision: Decision::Deny,
        shadow: false,
        callers: vec!["shop/web".to_owned()],
        methods: vec!["GET".to_owned()],
        paths: vec![PathMatch::Exact("/ws".to_owned())],
    }];
    stage.far_service(narrow);
    assert!(ended_after(&mut socket) < Duration::from_secs(1));
    assert_eq!(stage.get("/ws").status, 403);
    assert_eq!(stage.get("/else").status, 200);
}

#[test]
fn a_websocket_ends_with_the_trust_in_its_caller_and_before_its_certificate() {
    let mut stage = Stage::new();
    let web = stage.ca.leaf("shop/web");
    stage.near_agent.identity("shop/web", &web);
    let mut socket = switched(stage.client(), b"");
    stage.far_agent.trust(&[&stage.ca], &[web.serial]);
    assert!(ended_after(&mut socket) < Duration::from_secs(1));

    let short = stage.ca.leaf_for("shop/web", Duration::from_secs(3));
    stage.near_agent.identity("shop/web", &short);
    let mut socket = switched(stage.client(), b"");
    assert!(ended_after(&mut socket) < Duration::from_secs(4));
}

#[test]
fn a_websocket_on_which_nothing_moves_ends() {
    let mut impatient = service();
    impatient.traffic.stream_idle_ms = 400;
    let stage = Stage::with(impatient);
    let mut socket = switched(stage.client(), b"");
    let took = ended_after(&mut socket);
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(5),
        "{took:?}"
    );
}
