//! How long connections and sessions live: never longer than what vouches for them.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::HandshakeKind::{Full, FullWithHelloRetryRequest, Resumed};

use crate::support::http::Client;
use crate::support::stage::Stage;
use crate::support::tls::{ask, caller, connect};

const NAME: &str = "api-1.api.shop.test.weft";
const HTTP1: &[&str] = &["http/1.1"];
const GET: &str = "GET / HTTP/1.1\r\nHost: api\r\n\r\n";

/// What is promised of changes, with some room for a busy machine.
const PROMISE: Duration = Duration::from_secs(1);

#[test]
fn an_idle_connection_ends_before_the_callers_certificate() {
    let stage = Stage::new();
    let life = Duration::from_secs(3);
    let leaf = stage.ca.leaf_for("shop/web", life);
    let begun = Instant::now();
    let config = Arc::new(caller(Some(&leaf), rustls::ALL_VERSIONS, HTTP1));
    let mut client = connect(stage.inbound, &config, NAME).expect("connected");
    assert_eq!(client.ask(GET).status, 200);
    assert!(client.is_closed());
    assert!(begun.elapsed() < life, "{:?}", begun.elapsed());
    assert!(
        begun.elapsed() > Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_connection_ends_before_the_called_ones_certificate_whatever_is_under_way() {
    let mut stage = Stage::new();
    let life = Duration::from_secs(3);
    stage
        .far_agent
        .identity("shop/api", &stage.ca.leaf_for("shop/api", life));
    let begun = Instant::now();
    let leaf = stage.ca.leaf("shop/web");
    let config = Arc::new(caller(Some(&leaf), rustls::ALL_VERSIONS, HTTP1));
    let mut client = connect(stage.inbound, &config, NAME).expect("connected");
    client.send(b"GET /drip HTTP/1.1\r\nHost: api\r\n\r\n");
    assert_eq!(client.head().expect("a head").status, 200);
    let mut dripped = Vec::new();
    // However it ends: a body that never does is cut off.
    let _ = client.stream.read_to_end(&mut dripped);
    assert!(begun.elapsed() < life, "{:?}", begun.elapsed());
    assert!(
        begun.elapsed() > Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn the_callers_engine_cuts_off_what_outlives_the_certificates_too() {
    let mut stage = Stage::new();
    let life = Duration::from_secs(3);
    stage
        .near_agent
        .identity("shop/web", &stage.ca.leaf_for("shop/web", life));
    let begun = Instant::now();
    let mut client = stage.client();
    client.send(b"GET /drip HTTP/1.1\r\nHost: api\r\n\r\n");
    assert_eq!(client.head().expect("a head").status, 200);
    let _ = client.stream.read_to_end(&mut Vec::new());
    assert!(begun.elapsed() < life, "{:?}", begun.elapsed());
    assert!(
        begun.elapsed() > Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_session_is_resumed_and_not_after_trust_or_identity_changed() {
    let mut stage = Stage::new();
    let leaf = stage.ca.leaf("shop/web");
    let config = Arc::new(caller(Some(&leaf), rustls::ALL_VERSIONS, HTTP1));
    let handshake = |stage: &Stage| ask(stage.inbound, &config, NAME).expect("served").1;
    assert_ne!(handshake(&stage), Some(Resumed));
    assert_eq!(handshake(&stage), Some(Resumed));
    stage.far_agent.trust(&[&stage.ca], &[1]);
    assert!(matches!(
        handshake(&stage),
        Some(Full | FullWithHelloRetryRequest)
    ));
    assert_eq!(handshake(&stage), Some(Resumed));
    stage
        .far_agent
        .identity("shop/api", &stage.ca.leaf("shop/api"));
    assert!(matches!(
        handshake(&stage),
        Some(Full | FullWithHelloRetryRequest)
    ));
    assert_eq!(handshake(&stage), Some(Resumed));
    stage.far_agent.trust(&[&stage.ca], &[leaf.serial]);
    assert!(ask(stage.inbound, &config, NAME).is_err());
}

#[test]
fn an_idle_connection_of_a_caller_that_is_revoked_ends_within_a_second() {
    let mut stage = Stage::new();
    let leaf = stage.ca.leaf("shop/web");
    let config = Arc::new(caller(Some(&leaf), rustls::ALL_VERSIONS, HTTP1));
    let mut client = connect(stage.inbound, &config, NAME).expect("connected");
    assert_eq!(client.ask(GET).status, 200);
    let begun = Instant::now();
    stage.far_agent.trust(&[&stage.ca], &[leaf.serial]);
    assert!(client.is_closed());
    assert!(begun.elapsed() < PROMISE, "{:?}", begun.elapsed());
}

#[test]
fn an_instance_that_is_revoked_gets_no_further_request_over_an_old_connection() {
    let mut stage = Stage::new();
    let leaf = stage.ca.leaf("shop/api");
    stage.far_agent.identity("shop/api", &leaf);
    let mut client: Client<_> = stage.client();
    assert_eq!(client.get("/").status, 200);
    let seen = stage.app.count();
    stage.near_agent.trust(&[&stage.ca], &[leaf.serial]);
    assert_eq!(client.get("/").status, 502);
    assert_eq!(stage.app.count(), seen);
    stage
        .near
        .counts(2, "weft_tls_failures_total", &["outbound", "revoked"]);
    stage
        .far_agent
        .identity("shop/api", &stage.ca.leaf("shop/api"));
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_tunnel_to_an_instance_that_is_revoked_ends_within_a_second() {
    let mut stage = Stage::new();
    let leaf = stage.ca.leaf("shop/api");
    stage.far_agent.identity("shop/api", &leaf);
    let mut client = stage.client();
    client
        .send(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.head().expect("a head").status, 101);
    let mut hello = [0; 5];
    client.stream.read_exact(&mut hello).expect("open");
    stage.near_agent.trust(&[&stage.ca], &[1]);
    client.send(b"still");
    client.stream.read_exact(&mut hello).expect("open");
    let begun = Instant::now();
    stage.near_agent.trust(&[&stage.ca], &[leaf.serial]);
    assert!(client.is_closed());
    assert!(begun.elapsed() < PROMISE, "{:?}", begun.elapsed());
}
