//! Peers that are no peers, live: each is refused by its own reason, and nothing is said to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};

use crate::support::sections::endpoint;
use crate::support::stage::Stage;
use crate::support::tls::{Impostor, ask, caller};
use crate::support::until;

const NAME: &str = "api-1.api.shop.test.weft";

#[test]
fn an_address_where_no_engine_answers_gets_no_request() {
    let mut stage = Stage::new();
    let good = stage.ca.leaf("shop/api");
    let ended = stage.ca.leaf_for("shop/api", Duration::ZERO);
    let twelve: &[_] = &[&TLS12];
    let http1: &[&[u8]] = &[b"http/1.1"];
    let plain = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let impostors = [
        (
            "wrong_alpn",
            Impostor::with(&good, rustls::ALL_VERSIONS, &[]),
        ),
        (
            "wrong_alpn",
            Impostor::with(&good, rustls::ALL_VERSIONS, &[b"weft-tcp"]),
        ),
        ("old_version", Impostor::with(&good, twelve, http1)),
        ("expired", Impostor::start(&ended)),
        (
            "no_spiffe_id",
            Impostor::start(&stage.ca.public(&["api.test"])),
        ),
        ("ca_certificate", Impostor::start(&stage.ca.as_leaf())),
        ("plain_text", Impostor::plain(plain)),
    ];
    for (reason, impostor) in impostors {
        let labels = ["outbound", &format!("reason=\"{reason}\"")];
        let before = stage.near.metric("weft_tls_failures_total", &labels);
        stage.near_endpoints(vec![endpoint("far", "api-1", impostor.address, 1)]);
        let answer = stage.get("/");
        assert_eq!(answer.status, 502, "{reason}: {}", answer.text());
        assert!(
            stage.near.metric("weft_tls_failures_total", &labels) > before,
            "{reason}"
        );
        assert!(!impostor.got_bytes.load(Ordering::Relaxed), "{reason}");
    }
}

#[test]
fn the_inbound_port_names_what_is_wrong_with_a_handshake() {
    let stage = Stage::new();
    let web = stage.ca.leaf("shop/web");
    let all = rustls::ALL_VERSIONS;
    let mut silent = caller(Some(&web), all, &["http/1.1"]);
    silent.enable_sni = false;
    let good = || caller(Some(&web), all, &["http/1.1"]);
    let ca = stage.ca.as_leaf();
    for (config, name, reason) in [
        (silent, NAME, "no_server_name"),
        (good(), "api.shop.test.weft", "no_server_name"),
        (good(), "api-1.nobody.shop.test.weft", "wrong_service"),
        (good(), "api-1.api.bank.test.weft", "wrong_service"),
        (
            caller(Some(&web), &[&TLS12], &["http/1.1"]),
            NAME,
            "old_version",
        ),
        (caller(Some(&web), &[&TLS13], &[]), NAME, "wrong_alpn"),
        (caller(Some(&web), all, &["weft-tcp"]), NAME, "wrong_alpn"),
        (
            caller(Some(&ca), all, &["http/1.1"]),
            NAME,
            "ca_certificate",
        ),
    ] {
        refused(&stage, stage.inbound, config, name, reason);
    }
    assert_eq!(stage.app.count(), 0);
    let (status, _) = ask(stage.inbound, &Arc::new(good()), NAME).expect("served");
    assert_eq!(status, 200);
}

fn refused(
    stage: &Stage,
    address: SocketAddr,
    config: rustls::ClientConfig,
    name: &str,
    reason: &str,
) {
    let labels = ["inbound", &format!("reason=\"{reason}\"")];
    let before = stage.far.metric("weft_tls_failures_total", &labels);
    assert!(ask(address, &Arc::new(config), name).is_err(), "{reason}");
    until(reason, || {
        stage.far.metric("weft_tls_failures_total", &labels) == before + 1.0
    });
}
