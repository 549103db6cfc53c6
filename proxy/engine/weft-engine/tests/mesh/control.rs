//! The socket: who may say what, and what a bad word costs.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use weft_model::frame::{FromEngine, ToEngine};
use weft_model::parse::Section;
use weft_model::section::*;

use crate::support::engine::Engine;
use crate::support::free;
use crate::support::sections::{host, service};
use crate::support::stage::Stage;

fn outbound(address: std::net::SocketAddr) -> Section {
    Section::Listener(Listener::Outbound {
        address,
        caller: "shop/web".to_owned(),
        upstream: "shop/api".to_owned(),
    })
}

#[test]
fn an_apply_is_all_or_nothing_and_names_what_was_wrong() {
    let mut stage = Stage::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address))
        .expect("its address");
    let refused = stage.near_agent.try_apply(
        &[
            ("listener/more", outbound(free())),
            ("listener/taken", outbound(taken.1)),
        ],
        &["service/shop/api"],
    );
    assert_eq!(
        refused,
        Err(("listener/taken".to_owned(), "bind_failed".to_owned()))
    );
    assert_eq!(stage.get("/").status, 200, "nothing of it is in force");
    let refused = stage
        .near_agent
        .try_apply(&[("nonsense/x", outbound(free()))], &[]);
    assert_eq!(
        refused,
        Err(("nonsense/x".to_owned(), "unknown_section".to_owned()))
    );
    let mut never = service();
    never.traffic.timeout_ms = 0;
    let refused = stage
        .near_agent
        .try_apply(&[("service/shop/api", Section::Service(never))], &[]);
    assert_eq!(
        refused,
        Err(("service/shop/api".to_owned(), "invalid_section".to_owned()))
    );
    assert_eq!(stage.get("/").status, 200);
    stage
        .near_agent
        .apply(&[("service/shop/api", Section::Service(service()))]);
}

#[test]
fn a_wrong_base_is_told_to_rebase() {
    let mut stage = Stage::new();
    stage.near_agent.generation += 5;
    let refused = stage.near_agent.try_apply(&[], &[]);
    assert_eq!(refused, Err((String::new(), "rebase".to_owned())));
}

#[test]
fn two_engines_never_share_a_port() {
    let mut stage = Stage::new();
    let second = Engine::start();
    let refused = second.agent().try_apply(
        &[
            ("host", Section::Host(host("x"))),
            ("listener/a", outbound(stage.outbound)),
        ],
        &[],
    );
    assert_eq!(
        refused,
        Err(("listener/a".to_owned(), "bind_failed".to_owned()))
    );
    assert_eq!(stage.get("/").status, 200);
    stage.near_agent.delete(&["listener/out"]);
    second.agent().apply(&[
        ("host", Section::Host(host("x"))),
        ("listener/a", outbound(stage.outbound)),
    ]);
}

#[test]
fn frames_that_cannot_be_read_end_their_connection_and_nothing_else() {
    let mut stage = Stage::new();
    let mut bad = stage.near.agent();
    bad.send_bytes(b"\x81\xa4type\xa5bogus");
    let said = bad.receive();
    assert!(
        matches!(&said, Some(FromEngine::Nack { code, .. }) if code == "bad_frame"),
        "{said:?}"
    );
    assert_eq!(bad.receive(), None);
    let mut huge = stage.near.agent();
    huge.stream
        .write_all(&u32::MAX.to_be_bytes())
        .expect("sent");
    assert!(matches!(huge.receive(), Some(FromEngine::Nack { code, .. }) if code == "bad_frame"));
    let mut half = stage.near.agent();
    half.stream.write_all(&[0, 0, 1, 0, 1, 2, 3]).expect("sent");
    drop(half);
    assert_eq!(stage.get("/").status, 200);
    let generation = stage.near_agent.generation;
    stage.near_agent = stage.near.agent();
    assert_eq!(stage.near_agent.generation, generation);
}

#[test]
fn a_newer_agent_takes_over() {
    let mut stage = Stage::new();
    let mut newer = stage.near.agent();
    assert_eq!(stage.near_agent.receive(), None, "the one before is let go");
    newer.apply(&[("service/shop/api", Section::Service(service()))]);
}

#[test]
fn only_those_who_said_hello_may_change_anything() {
    let stage = Stage::new();
    let mut agent = stage.near.agent();
    agent.stream =
        std::os::unix::net::UnixStream::connect(stage.near.dir.join("socket")).expect("connected");
    agent.send(&ToEngine::Drain { deadline_ms: 1 });
    assert!(matches!(agent.receive(), Some(FromEngine::Nack { code, .. }) if code == "bad_frame"));
    agent.stream =
        std::os::unix::net::UnixStream::connect(stage.near.dir.join("socket")).expect("connected");
    agent.send(&ToEngine::Inspect {});
    let Some(FromEngine::State { json }) = agent.receive() else {
        panic!("no state")
    };
    let state: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(state["generation"], 1);
    assert_eq!(
        state["services"]["shop/api"]["endpoints"][0]["instance"],
        "api-1"
    );
    assert_eq!(
        state["certificates"]["shop/web"]["spiffe_id"],
        "spiffe://test.weft/ns/shop/dc/local/svc/web"
    );
}

#[test]
fn whoever_may_ask_gets_the_snapshot_as_it_was_sent() {
    let stage = Stage::new();
    let mut agent = stage.near.agent();
    agent.stream =
        std::os::unix::net::UnixStream::connect(stage.near.dir.join("socket")).expect("connected");
    agent.send(&ToEngine::Sections {});
    let Some(FromEngine::Sections {
        generation,
        sections,
        ..
    }) = agent.receive()
    else {
        panic!("no sections")
    };
    assert_eq!(generation, 1);
    let sent = rmp_serde::to_vec_named(&host("near")).expect("a section");
    assert!(sections.contains_key("service/shop/api"));
    assert_eq!(sections["host"].as_ref(), sent, "{sections:?}");
}

#[test]
fn socket_and_keys_are_for_their_owner_alone() {
    let stage = Stage::new();
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("there").permissions().mode() & 0o777
    };
    assert_eq!(mode(&stage.near.dir.join("socket")), 0o600);
    let state = stage.near.dir.join("state");
    assert_eq!(mode(&state), 0o700);
    crate::support::until("it is on disk", || {
        std::fs::read_dir(&state).expect("there").count() > 2
    });
    let modes = std::fs::read_dir(&state)
        .expect("there")
        .flatten()
        .map(|entry| mode(&entry.path()));
    assert!(modes.into_iter().all(|mode| mode == 0o600));
}

#[test]
fn an_engine_is_ready_once_it_serves_a_snapshot() {
    let engine = Engine::start();
    let ready = || crate::support::http::get(engine.admin, "/ready").status;
    assert_eq!(ready(), 503);
    engine.agent().apply(&[("host", Section::Host(host("x")))]);
    assert_eq!(ready(), 200);
    assert_eq!(crate::support::http::get(engine.admin, "/else").status, 404);
    assert_eq!(engine.metric("weft_config_generation", &[]), 1.0);
}

#[test]
fn a_drain_lets_idle_connections_go_and_says_when_it_is_over() {
    let mut stage = Stage::new();
    let mut idle = stage.client();
    assert_eq!(idle.get("/").status, 200);
    stage.near_agent.send(&ToEngine::Drain {
        deadline_ms: 10_000,
    });
    assert_eq!(stage.near_agent.receive(), Some(FromEngine::Drained {}));
    assert!(idle.is_closed());
    assert!(std::net::TcpStream::connect(stage.outbound).is_err());
}
