//! The engine is replaced while it is used: nobody notices.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::spawn;
use std::time::{Duration, Instant};

use weft_model::frame::{FromEngine, ToEngine};
use weft_model::parse::Section;
use weft_model::section::Decision;

use crate::support::free;
use crate::support::http::Client;
use crate::support::load::{Load, long_form};
use crate::support::sections::{endpoint, endpoints, service};
use crate::support::stage::Stage;
use crate::support::until;

fn websocket(at: SocketAddr) -> TcpStream {
    let mut client = Client::connect(at);
    client.send(
        b"GET /ws HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.answer(false).status, 101);
    client.stream.read_exact(&mut [0; 5]).expect("hello");
    client.stream.get_ref().try_clone().expect("a clone")
}

fn echoes(socket: &mut TcpStream) -> bool {
    let mut back = [0; 4];
    socket.write_all(b"ping").is_ok() && socket.read_exact(&mut back).is_ok() && &back == b"ping"
}

fn ended_after(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
    start.elapsed()
}

fn replacements() -> usize {
    if long_form() { 10 } else { 3 }
}

#[test]
fn replacing_both_engines_under_load_loses_nothing() {
    let mut stage = Stage::new();
    let load = Load::start(stage.outbound);
    let mut socket = websocket(stage.outbound);
    let outbound = stage.outbound;
    let pieces = 100 * replacements();
    let download = spawn(move || Client::connect(outbound).get(&format!("/drip?{pieces}")));
    for _ in 0..replacements() {
        stage.near.replace();
        assert!(echoes(&mut socket), "the first engine carries it on");
        stage.far.replace();
        assert!(echoes(&mut socket));
        std::thread::sleep(Duration::from_millis(300));
    }
    let downloaded = download.join().expect("a thread that ends");
    assert_eq!((downloaded.status, downloaded.body.len()), (200, pieces));
    assert!(load.end() > 200);
    assert!(
        stage.near.draining() > 0,
        "the WebSocket keeps the first one"
    );
    drop(socket);
    until("the engines before have ended", || {
        stage.near.draining() + stage.far.draining() == 0
    });
    let counted = stage.near.metric("weft_config_generation", &[]);
    assert!(counted > 0.0, "the successor serves what was served");
}

#[test]
fn a_successor_serves_what_was_served_and_its_agent_goes_on() {
    let mut stage = Stage::new();
    let before = stage.near.inspect().expect("a state");
    stage.near.replace();
    let after = stage.near.inspect().expect("a state");
    for part in ["generation", "listeners", "certificates"] {
        assert_eq!(before[part], after[part], "{part}");
    }
    assert_eq!(stage.near_agent.receive(), None, "its connection ends");
    stage.near_agent = stage.near.agent();
    assert_eq!(stage.near_agent.generation, before["generation"]);
    stage.near_service(service());
    assert_eq!(stage.get("/").status, 200);
    until("what is acked is on disk", || {
        std::fs::read_dir(stage.near.dir.join("state")).is_ok_and(|entries| entries.count() > 3)
    });
    stage.near.crash_and_restart();
    assert_eq!(stage.get("/").status, 200, "it is the directory's writer");
}

#[test]
fn another_number_of_workers_serves_every_listener() {
    let mut stage = Stage::new();
    for workers in [1, 4] {
        let path = stage.near.dir.join("config.toml");
        let text = std::fs::read_to_string(&path).expect("a configuration");
        let line = text
            .lines()
            .find(|line| line.starts_with("workers"))
            .expect("a number");
        let text = text.replace(line, &format!("workers = {workers}"));
        std::fs::write(&path, text).expect("written");
        stage.near.replace();
        for _ in 0..40 {
            assert_eq!(stage.get("/").status, 200);
        }
    }
}

#[test]
fn ejections_move() {
    let mut stage = Stage::new();
    let dead = endpoint("gone", "api-9", free(), 1);
    stage.near_endpoints(vec![stage.api(), dead]);
    until("the dead one is out", || {
        stage.get("/");
        stage.near.metric("weft_ejections_total", &["ejected"]) > 0.0
    });
    stage.near.replace();
    let state = stage.near.inspect().expect("a state");
    let members = &state["services"]["shop/api"]["endpoints"];
    assert_eq!(members[1]["host_ejected"], true, "{members}");
    assert_eq!(members[0]["host_ejected"], false, "{members}");
}

#[test]
fn tunnels_end_at_the_deadline() {
    let mut stage = Stage::new();
    stage.near.configure("drain_seconds = 1");
    stage.near.replace();
    let mut socket = websocket(stage.outbound);
    stage.near.replace();
    assert!(echoes(&mut socket));
    let took = ended_after(&mut socket);
    assert!(
        took > Duration::from_millis(500) && took < Duration::from_secs(3),
        "{took:?}"
    );
}

#[test]
fn rights_that_are_lost_end_tunnels_of_the_engine_before_too() {
    let mut stage = Stage::new();
    let mut socket = websocket(stage.outbound);
    stage.far.replace();
    stage.far_agent = stage.far.agent();
    assert!(echoes(&mut socket));
    let mut nobody = service();
    nobody.access.default = Decision::Deny;
    stage.far_service(nobody);
    assert!(ended_after(&mut socket) < Duration::from_secs(1));
}

#[test]
fn a_successor_that_dies_before_it_serves_changes_nothing() {
    let mut stage = Stage::new();
    let mut agent = stage.near.agent();
    agent.stream =
        std::os::unix::net::UnixStream::connect(stage.near.dir.join("socket")).expect("connected");
    agent.send(&ToEngine::Handover { format: 1 });
    let said = agent.receive();
    assert!(matches!(said, Some(FromEngine::Handing { .. })), "{said:?}");
    drop(agent);
    stage.near_agent = stage.near.agent();
    stage.near_agent.apply(&[
        ("endpoints/shop/api", endpoints(vec![stage.api()])),
        ("service/shop/api", Section::Service(service())),
    ]);
    assert_eq!(stage.get("/").status, 200);
    stage.near.replace();
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn an_unknown_way_of_handing_over_is_refused_by_name() {
    let stage = Stage::new();
    let mut agent = stage.near.agent();
    agent.send(&ToEngine::Handover { format: 99 });
    let said = agent.receive();
    assert!(
        matches!(&said, Some(FromEngine::Nack { code, message, .. }) if code == "handover_failed" && message.contains("99")),
        "{said:?}"
    );
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn a_hangup_makes_an_engine_start_its_successor() {
    let mut stage = Stage::new();
    let pid = stage.near.inspect().expect("a state")["pid"].clone();
    stage.near.signal("HUP");
    until("another one serves", || {
        stage
            .near
            .inspect()
            .is_some_and(|state| state["pid"] != pid)
    });
    assert_eq!(stage.get("/").status, 200);
    assert!(stage.near.wait().success(), "and the one before ends");
    let successor = stage.near.inspect().expect("a state")["pid"].to_string();
    let killed = std::process::Command::new("kill").arg(successor).status();
    assert!(killed.expect("kill runs").success());
}

#[test]
fn a_signal_drains_and_a_second_one_ends() {
    let mut stage = Stage::new();
    let mut socket = websocket(stage.outbound);
    stage.near.signal("TERM");
    until("it accepts no more", || {
        TcpStream::connect(stage.outbound).is_err()
    });
    assert!(echoes(&mut socket), "what is open goes on");
    stage.near.signal("TERM");
    assert!(stage.near.wait().success());
    assert!(ended_after(&mut socket) < Duration::from_secs(1));
}
