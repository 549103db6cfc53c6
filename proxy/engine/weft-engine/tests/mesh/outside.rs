//! Services outside the mesh: spoken to in plain, believed nothing.

use std::net::SocketAddr;

use weft_model::parse::Section;
use weft_model::section::*;

use crate::support::app::App;
use crate::support::bytes::{Server, connect, greet_and_echo, read_exactly, read_to_end, tcp};
use crate::support::engine::{Agent, Engine};
use crate::support::free;
use crate::support::http::get;
use crate::support::pki::Ca;
use crate::support::sections::{endpoint, host, service};

/// An engine without any identity, which calls an application on no host of the mesh. The agent's connection keeps it so.
fn scene(at: SocketAddr, speaks: Service) -> (Engine, Agent, SocketAddr) {
    let engine = Engine::start();
    let mut agent = engine.agent();
    let outbound = free();
    let listener = Listener::Outbound {
        address: outbound,
        caller: "shop/web".to_owned(),
        upstream: "shop/bank".to_owned(),
    };
    // Even one that claims to be on the engine's own host is called at its address.
    let instance = endpoint("near", "bank-1", at, 1);
    let instances = Endpoints {
        endpoints: vec![instance],
        outside: true,
    };
    agent.apply(&[
        ("host", Section::Host(host("near"))),
        ("listener/out", Section::Listener(listener)),
        ("service/shop/bank", Section::Service(speaks)),
        ("endpoints/shop/bank", Section::Endpoints(instances)),
    ]);
    (engine, agent, outbound)
}

#[test]
fn a_service_outside_is_called_in_plain_at_its_address_and_without_an_identity() {
    let app = App::start("bank-1");
    let (_engine, _agent, outbound) = scene(app.address, service());
    let answer = get(outbound, "/account");
    assert_eq!(
        (answer.status, answer.field("x-instance")),
        (200, Some("bank-1")),
        "{}",
        answer.text()
    );
    let seen = answer.text();
    assert!(seen.contains("traceparent: 00-"), "{seen}");
    assert!(!seen.contains("x-weft-"), "{seen}");
}

#[test]
fn what_a_service_outside_says_as_an_engine_is_not_believed() {
    let app = App::start("bank-1");
    let (engine, _agent, outbound) = scene(app.address, service());
    let answer = get(outbound, "/poser");
    assert_eq!((answer.status, answer.reason()), (503, None));
    assert_eq!(app.count(), 1, "and nothing is tried again for it");
    let counted = ["destination=\"shop/bank\"", "code=\"503\"", "reason=\"\""];
    engine.counts(1, "weft_requests_total", &counted);
}

#[test]
fn bytes_of_a_service_outside_flow_without_an_identity() {
    let server = Server::start(greet_and_echo);
    let (engine, mut agent, outbound) = scene(server.address, tcp());
    let mut client = connect(outbound);
    assert_eq!(read_exactly(&mut client, 10), b"220 ready\n");
    // Trust is not what it lives by.
    agent.trust(&[&Ca::new("the mesh")], &[]);
    std::io::Write::write_all(&mut client, b"ping").expect("written");
    assert_eq!(read_exactly(&mut client, 4), b"ping");
    client.shutdown(std::net::Shutdown::Write).expect("shut");
    assert_eq!(read_to_end(&mut client), b"221 bye\n");
    let ended = ["destination=\"shop/bank\"", "end=\"done\""];
    engine.counts(1, "weft_tcp_connections_total", &ended);
}
