//! Who may speak with whom, and what every refusal is called.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::http::{Client, get};
use crate::support::pki::Ca;
use crate::support::sections::endpoint;
use crate::support::stage::Stage;
use crate::support::tls::{Impostor, call};
use crate::support::until;

#[test]
fn a_caller_with_a_certificate_of_another_ca_is_refused_and_both_sides_say_so() {
    let mut stage = Stage::new();
    let stranger = Ca::new("somebody else");
    stage
        .near_agent
        .identity("shop/web", &stranger.leaf("shop/web"));
    let answer = stage.get("/");
    assert_eq!(answer.reason().map(|_| answer.status), Some(502));
    assert!(
        stage
            .far
            .metric("weft_tls_failures_total", &["inbound", "unknown_ca"])
            >= 1.0
    );
    assert!(
        stage
            .near
            .metric("weft_tls_failures_total", &["outbound", "refused_by_peer"])
            >= 1.0
    );
    assert_eq!(stage.app.count(), 0);
}

#[test]
fn an_instance_with_a_certificate_of_another_ca_gets_no_request() {
    let mut stage = Stage::new();
    let mut once = crate::support::sections::service();
    once.traffic.retry.max = 0;
    stage.near_service(once);
    let stranger = Ca::new("somebody else");
    stage
        .far_agent
        .identity("shop/api", &stranger.leaf("shop/api"));
    let answer = stage.get("/");
    assert_eq!((answer.status, answer.reason()), (502, Some("tls_failed")));
    stage
        .near
        .counts(1, "weft_tls_failures_total", &["outbound", "unknown_ca"]);
    assert_eq!(stage.app.count(), 0);
}

#[test]
fn an_address_where_another_service_answers_gets_no_request() {
    let mut stage = Stage::new();
    for (name, reason) in [
        ("shop/other", "wrong_service"),
        ("spiffe://test.weft/host/vm-1", "not_a_service"),
        ("gateway:edge", "not_a_service"),
        (
            "spiffe://elsewhere/ns/shop/dc/local/svc/api",
            "wrong_trust_domain",
        ),
        ("spiffe://test.weft/ns/shop/dc/far/svc/api", "wrong_service"),
    ] {
        let before = stage
            .near
            .metric("weft_tls_failures_total", &["outbound", reason]);
        let impostor = Impostor::start(&stage.ca.leaf(name));
        stage.near_endpoints(vec![endpoint("far", "api-1", impostor.address, 1)]);
        let answer = stage.get("/");
        assert_eq!(answer.status, 502, "{name}: {}", answer.text());
        assert!(
            stage
                .near
                .metric("weft_tls_failures_total", &["outbound", reason])
                > before,
            "{name}"
        );
        assert!(!impostor.got_bytes.load(Ordering::Relaxed), "{name}");
    }
}

#[test]
fn the_inbound_port_refuses_every_wrong_caller_by_a_reason_of_its_own() {
    let stage = Stage::new();
    let name = "api-1.api.shop.test.weft";
    let good = stage.ca.leaf("shop/web");
    let expired = stage.ca.leaf_for("shop/web", Duration::from_secs(0));
    let stranger = Ca::new("somebody else");
    for (leaf, asked, alpn, reason) in [
        (
            Some(&stage.ca.leaf("spiffe://test.weft/host/vm-1")),
            name,
            "http/1.1",
            "not_a_service",
        ),
        (
            Some(&stage.ca.leaf("spiffe://test.weft/controller/c")),
            name,
            "http/1.1",
            "not_a_service",
        ),
        (
            Some(&stage.ca.leaf("spiffe://elsewhere/ns/a/dc/b/svc/c")),
            name,
            "http/1.1",
            "wrong_trust_domain",
        ),
        (
            Some(&stage.ca.public(&["web.example.com"])),
            name,
            "http/1.1",
            "no_spiffe_id",
        ),
        (
            Some(&stranger.leaf("shop/web")),
            name,
            "http/1.1",
            "unknown_ca",
        ),
        (Some(&expired), name, "http/1.1", "expired"),
        (None, name, "http/1.1", "no_certificate"),
        (
            Some(&good),
            "api-9.api.shop.test.weft",
            "http/1.1",
            "wrong_instance",
        ),
        (
            Some(&good),
            "api-1.web.shop.test.weft",
            "http/1.1",
            "wrong_service",
        ),
        (
            Some(&good),
            "api-1.api.shop.elsewhere",
            "http/1.1",
            "wrong_trust_domain",
        ),
        (Some(&good), name, "weft-tcp", "wrong_alpn"),
    ] {
        let labels = ["inbound", &format!("reason=\"{reason}\"")];
        let before = stage.far.metric("weft_tls_failures_total", &labels);
        assert!(call(stage.inbound, leaf, asked, alpn).is_err(), "{reason}");
        let counted = || stage.far.metric("weft_tls_failures_total", &labels) == before + 1.0;
        until(reason, counted);
    }
    assert_eq!(
        call(stage.inbound, Some(&good), name, "http/1.1").expect("served"),
        200
    );
}

#[test]
fn plain_text_on_the_inbound_port_is_refused_and_counted() {
    let stage = Stage::new();
    let answer = get(stage.inbound, "/");
    assert_eq!(
        (answer.status, answer.reason()),
        (403, Some("tls_required"))
    );
    stage
        .far
        .counts(1, "weft_tls_failures_total", &["inbound", "plain_text"]);
    assert_eq!(stage.app.count(), 0);
}

#[test]
fn a_revoked_certificate_ends_open_connections_too() {
    let mut stage = Stage::new();
    let web = stage.ca.leaf("shop/web");
    stage.near_agent.identity("shop/web", &web);
    assert_eq!(stage.get("/").status, 200);
    stage.far_agent.trust(&[&stage.ca], &[web.serial]);
    assert_eq!(stage.get("/").status, 502);
    assert!(stage.far.metric("weft_tls_failures_total", &["revoked"]) >= 1.0);
    stage
        .near_agent
        .identity("shop/web", &stage.ca.leaf("shop/web"));
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn identities_change_under_requests_and_none_fails() {
    let mut stage = Stage::new();
    let outbound = stage.outbound;
    let (stop, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            std::thread::spawn(move || {
                let mut client = Client::connect(outbound);
                while !stop.load(Ordering::Relaxed) {
                    let answer =
                        client.ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
                    assert_eq!(
                        (answer.status, answer.text().as_str()),
                        (200, "hi"),
                        "{answer:?}"
                    );
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..10 {
        let target = served.load(Ordering::Relaxed) + 20;
        until("requests are served", || {
            served.load(Ordering::Relaxed) > target
        });
        // Lives of seconds, so that connections have to end before their certificates do.
        let life = Duration::from_secs(3 + round % 2);
        stage
            .near_agent
            .identity("shop/web", &stage.ca.leaf_for("shop/web", life));
        stage
            .far_agent
            .identity("shop/api", &stage.ca.leaf_for("shop/api", life));
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no request failed");
    }
}

#[test]
fn an_identity_that_does_not_fit_is_refused_and_the_one_before_stays() {
    use serde_bytes::ByteBuf;
    use weft_model::frame::{FromEngine, ToEngine};
    let mut stage = Stage::new();
    let wrong = stage.ca.leaf("shop/other");
    let good = stage.ca.leaf("shop/web");
    for (chain, key) in [(&wrong.chain, &wrong.key), (&good.chain, &wrong.key)] {
        stage.near_agent.send(&ToEngine::Identity {
            epoch: 77,
            service: "shop/web".to_owned(),
            chain: chain.iter().cloned().map(ByteBuf::from).collect(),
            key: ByteBuf::from(key.clone()),
        });
        assert!(matches!(
            stage.near_agent.receive(),
            Some(FromEngine::EpochNack { epoch: 77, .. })
        ));
    }
    assert_eq!(stage.get("/").status, 200);
}
