//! HTTP/2 in every combination with HTTP/1.1: from the application, between the engines, to the application.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use weft_model::frame::{FromEngine, ToEngine};
use weft_model::section::{Decision, Protocol, Service};

use crate::support::http2::{App2, Whole, ask, connect, finish, read_all, run, send_all};
use crate::support::sections::service;
use crate::support::stage::Stage;
use crate::support::until;

fn speaking(protocol: Protocol) -> Service {
    Service {
        protocol,
        ..service()
    }
}

/// An application that speaks HTTP/2, and the way to it.
fn stage(protocol: Protocol) -> (Stage, App2) {
    in_front_of(App2::start(), protocol)
}

fn in_front_of(app: App2, protocol: Protocol) -> (Stage, App2) {
    let stage = Stage::in_front_of(speaking(protocol), Some(app.address.port()));
    (stage, app)
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("http://api{path}"))
        .body(())
        .expect("a request")
}

fn grpc(path: &str) -> Request<()> {
    let mut request = request("POST", path);
    for (name, value) in [
        ("content-type", "application/grpc+proto"),
        ("te", "trailers"),
    ] {
        request
            .headers_mut()
            .insert(name, value.parse().expect("a value"));
    }
    request
}

fn whole(stage: &Stage, request: Request<()>, body: &[u8]) -> Whole {
    run(ask(stage.outbound, request, body, None)).expect("an answer")
}

#[test]
fn a_call_in_http2_goes_through_both_engines_as_http2() {
    let (stage, app) = stage(Protocol::Grpc);
    let answer = whole(&stage, grpc("/shop.Api/Get?x=1"), b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = answer.text();
    assert!(
        seen.starts_with("POST http://api/shop.Api/Get?x=1\n"),
        "{seen}"
    );
    for line in [
        "te: trailers\n",
        "content-type: application/grpc+proto\n",
        "x-weft-caller: spiffe://test.weft/ns/shop/dc/local/svc/web\n",
    ] {
        assert!(seen.contains(line), "{seen}");
    }
    assert_eq!(seen.matches("via: 2 weft\n").count(), 2, "{seen}");
    assert_eq!(seen.matches("traceparent: 00-").count(), 1, "{seen}");
    assert!(!seen.contains("x-weft-timeout-ms"), "{seen}");
    assert_eq!(app.count(), 1);
    for engine in [&stage.near, &stage.far] {
        engine.counts(
            1,
            "weft_requests_total",
            &["destination=\"shop/api\"", "code=\"200\""],
        );
    }
}

#[test]
fn bodies_and_trailers_go_both_ways_through_http2() {
    let (stage, _app) = stage(Protocol::Http2);
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "yes".parse().expect("a value"));
    let answer = run(ask(
        stage.outbound,
        request("POST", "/echo"),
        &body,
        Some(trailers),
    ));
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    assert!(answer.body == body);
    assert_eq!(
        (answer.trailer("x-end"), answer.trailer("x-sum")),
        (Some("yes"), Some("done"))
    );
}

#[test]
fn http2_comes_in_and_http1_goes_out() {
    let stage = Stage::new();
    let mut asked = request("GET", "/a?b");
    for crumb in ["a=1", "b=2"] {
        asked
            .headers_mut()
            .append("cookie", crumb.parse().expect("a value"));
    }
    let answer = whole(&stage, asked, b"");
    assert_eq!(
        (answer.status, answer.field("x-instance")),
        (200, Some("api-1"))
    );
    let seen = answer.text();
    assert!(
        seen.contains("\nGET /a?b HTTP/1.1\r\nhost: api\r\n"),
        "{seen}"
    );
    assert!(seen.contains("cookie: a=1; b=2\r\n"), "{seen}");
    for length in [1, 5_000, 100_000, 2_000_000] {
        let body = vec![b'x'; length];
        assert!(
            whole(&stage, request("POST", "/echo"), &body).body == body,
            "{length}"
        );
        let chunked = whole(&stage, request("POST", "/chunked"), &body);
        assert!(chunked.body == body, "{length}");
        assert_eq!(chunked.trailer("x-sum"), Some("done"));
    }
    assert_eq!(whole(&stage, request("HEAD", "/"), b"").status, 200);
    assert_eq!(
        whole(&stage, request("GET", "/status/204"), b"").status,
        204
    );
}

#[test]
fn http1_comes_in_and_http2_goes_out() {
    let (stage, app) = stage(Protocol::Http2);
    let mut client = stage.client();
    for _ in 0..3 {
        let answer = client.get("/a");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            answer.text().starts_with("GET http://api/a\n"),
            "{}",
            answer.text()
        );
    }
    for length in [1, 5_000, 100_000] {
        let body = "y".repeat(length);
        let answer = client.ask(&format!(
            "POST /echo HTTP/1.1\r\nhost: api\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        assert!(answer.text() == body, "{length}");
    }
    assert_eq!(app.count(), 6);
}

#[test]
fn many_streams_share_one_connection_between_the_engines() {
    let (stage, _app) = stage(Protocol::Http2);
    run(async {
        let client = connect(stage.outbound).await.expect("a connection");
        let calls = (0..50).map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { finish(&mut client, request("GET", "/"), b"", None).await })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(
                call.await.expect("no panic").expect("an answer").status,
                200
            );
        }
    });
    stage
        .near
        .counts(1, "weft_upstream_connections_total", &["opened"]);
    stage
        .far
        .counts(1, "weft_upstream_connections_total", &["opened"]);
}

#[test]
fn a_refused_stream_and_one_above_goaway_are_tried_again_whatever_the_method() {
    for (app, path, count) in [
        (App2::start(), "/refuse", 2),
        (App2::leaving(), "/leave", 1),
    ] {
        let (stage, app) = in_front_of(app, Protocol::Http2);
        let answer = whole(&stage, request("POST", path), b"with a body");
        assert_eq!(answer.status, 200, "{path} {answer:?}");
        assert_eq!(app.count(), count, "{path}");
    }
}

#[test]
fn an_answer_that_breaks_is_a_reset_and_never_an_end() {
    let (stage, _app) = stage(Protocol::Http2);
    let broken = run(ask(stage.outbound, request("GET", "/break"), b"", None));
    assert!(broken.expect_err("no answer").is_reset());
    stage
        .near
        .counts(1, "weft_requests_total", &["reason=\"reset\""]);
}

#[test]
fn an_answer_without_body_ends_with_its_head() {
    let (stage, _app) = stage(Protocol::Grpc);
    let answer = whole(&stage, grpc("/bare"), b"");
    assert_eq!(
        (answer.status, answer.field("grpc-status")),
        (200, Some("5"))
    );
    assert_eq!(answer.field("content-length"), None);
    assert!(answer.trailers.is_none());
}

#[test]
fn a_caller_of_grpc_is_refused_in_its_own_terms_and_others_in_theirs() {
    let (mut stage, _app) = stage(Protocol::Grpc);
    stage.near_endpoints(Vec::new());
    let answer = whole(&stage, grpc("/shop.Api/Get"), b"");
    assert_eq!(
        (answer.status, answer.field("grpc-status")),
        (200, Some("14"))
    );
    assert_eq!(answer.field("x-weft-reason"), Some("no_endpoint"));
    assert!(
        answer
            .field("grpc-message")
            .is_some_and(|text| text.starts_with("no_endpoint: "))
    );
    let answer = whole(&stage, request("GET", "/"), b"");
    assert_eq!(
        (answer.status, answer.field("x-weft-reason")),
        (503, Some("no_endpoint"))
    );
    assert!(answer.text().starts_with("no_endpoint: "), "{answer:?}");
}

#[test]
fn what_http1_would_be_refused_for_http2_is_refused_for() {
    let stage = Stage::new();
    let mut two_hosts = request("GET", "/");
    two_hosts
        .headers_mut()
        .insert("host", "other".parse().expect("a value"));
    let answer = whole(&stage, two_hosts, b"");
    assert_eq!(
        (answer.status, answer.field("x-weft-reason")),
        (400, Some("bad_request"))
    );
    let mut many = request("GET", "/");
    for n in 0..101 {
        many.headers_mut()
            .append("cookie", format!("c{n}=1").parse().expect("a value"));
    }
    assert_eq!(whole(&stage, many, b"").status, 431);
    assert_eq!(stage.app.count(), 0);
}

/// A stream that echoes, opened and answered once.
async fn open(stage: &Stage) -> (SendStream<Bytes>, RecvStream, SendRequest<Bytes>) {
    let mut client = connect(stage.outbound).await.expect("a connection");
    let (response, mut sender) = client
        .send_request(request("POST", "/echo"), false)
        .expect("a stream");
    send_all(&mut sender, Bytes::from_static(b"first"), false)
        .await
        .expect("sent");
    let mut body = response.await.expect("an answer").into_body();
    assert_eq!(body.data().await.expect("a piece").expect("good"), "first");
    (sender, body, client)
}

#[test]
fn a_drain_says_goaway_and_lets_streams_end() {
    let (mut stage, _app) = stage(Protocol::Http2);
    run(async {
        let (mut sender, body, mut client) = open(&stage).await;
        stage.near_agent.send(&ToEngine::Drain {
            deadline_ms: 10_000,
        });
        let refused = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                match finish(&mut client, request("GET", "/"), b"", None).await {
                    Ok(_) => {}
                    Err(error) => return error,
                }
            }
        };
        assert!(refused.await.is_go_away());
        send_all(&mut sender, Bytes::from_static(b"second"), true)
            .await
            .expect("sent");
        let (rest, trailers) = read_all(body).await.expect("the rest");
        assert_eq!(rest, b"second");
        assert!(trailers.is_some_and(|trailers| trailers.contains_key("x-sum")));
    });
    assert_eq!(stage.near_agent.receive(), Some(FromEngine::Drained {}));
}

#[test]
fn a_revoked_certificate_ends_open_streams_too() {
    let (mut stage, _app) = stage(Protocol::Http2);
    let web = stage.ca.leaf("shop/web");
    stage.near_agent.identity("shop/web", &web);
    run(async {
        let (_sender, body, _client) = open(&stage).await;
        stage.far_agent.trust(&[&stage.ca], &[web.serial]);
        assert!(read_all(body).await.is_err());
    });
    assert_eq!(whole(&stage, request("GET", "/"), b"").status, 502);
    stage
        .near_agent
        .identity("shop/web", &stage.ca.leaf("shop/web"));
    assert_eq!(whole(&stage, request("GET", "/"), b"").status, 200);
}

#[test]
fn a_stream_ends_when_its_caller_is_not_allowed_any_more() {
    let (mut stage, _app) = stage(Protocol::Http2);
    run(async {
        let (_sender, body, _client) = open(&stage).await;
        let mut closed = speaking(Protocol::Http2);
        closed.access.default = Decision::Deny;
        stage.far_service(closed);
        assert!(read_all(body).await.is_err());
    });
}

#[test]
fn identities_change_under_streams_and_none_fails() {
    let (mut stage, _app) = stage(Protocol::Http2);
    let (outbound, stop) = (stage.outbound, Arc::new(AtomicBool::new(false)));
    let served = Arc::new(AtomicUsize::new(0));
    let (stopped, count) = (Arc::clone(&stop), Arc::clone(&served));
    let caller = std::thread::spawn(move || {
        run(async {
            let mut client = connect(outbound).await.expect("a connection");
            while !stopped.load(Ordering::Relaxed) {
                let answer = finish(&mut client, request("POST", "/echo"), b"hi", None).await;
                let answer = answer.expect("an answer");
                assert_eq!(
                    (answer.status, answer.body.as_slice()),
                    (200, &b"hi"[..]),
                    "{answer:?}"
                );
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    for round in 0..6 {
        let target = served.load(Ordering::Relaxed) + 20;
        until("streams are served", || {
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
    caller.join().expect("no stream failed");
}
