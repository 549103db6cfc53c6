//! What both versions of HTTP say, and what only gRPC does: informational answers, deadlines, codes that are tried again.

use std::time::{Duration, Instant};

use http::{HeaderValue, Request};
use weft_model::parse::Section;
use weft_model::section::{Listener, Protocol, Service};

use crate::support::free;
use crate::support::http2::{App2, Whole, ask, connect, read_all, run, send_all};
use crate::support::sections::service;
use crate::support::stage::Stage;

/// Longer than any deadline here, and shorter than any time-out that it is to come before.
const SOON: Duration = Duration::from_secs(4);

fn speaking(protocol: Protocol) -> Service {
    Service {
        protocol,
        ..service()
    }
}

fn stage(service: Service) -> (Stage, App2) {
    let app = App2::start();
    (Stage::in_front_of(service, Some(app.address.port())), app)
}

fn request(method: &str, path: &str, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://api{path}"))
        .body(())
        .expect("a request");
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).expect("a value");
        request.headers_mut().insert(*name, value);
    }
    request
}

fn call(path: &str, further: &[(&'static str, &str)]) -> Request<()> {
    let own = [("content-type", "application/grpc"), ("te", "trailers")];
    request("POST", path, &[&own[..], further].concat())
}

fn whole(stage: &Stage, request: Request<()>, body: &[u8]) -> Whole {
    run(ask(stage.outbound, request, body, None)).expect("an answer")
}

#[test]
fn a_call_is_over_at_its_callers_deadline_and_says_so_in_its_own_terms() {
    let (stage, _app) = stage(speaking(Protocol::Grpc));
    let began = Instant::now();
    let answer = whole(&stage, call("/hang", &[("grpc-timeout", "300m")]), b"");
    assert_eq!(
        (answer.status, answer.field("grpc-status")),
        (200, Some("4"))
    );
    assert_eq!(answer.field("x-weft-reason"), Some("request_timeout"));
    assert!(began.elapsed() < SOON);
    let answer = whole(&stage, call("/any", &[("grpc-timeout", "0S")]), b"");
    assert_eq!(answer.field("grpc-status"), Some("4"), "{answer:?}");
}

#[test]
fn the_rules_own_time_is_the_shorter_one_where_the_callers_is_longer() {
    let mut api = speaking(Protocol::Grpc);
    api.traffic.timeout_ms = 300;
    let (stage, _app) = stage(api);
    let began = Instant::now();
    let answer = whole(&stage, call("/hang", &[("grpc-timeout", "1H")]), b"");
    assert_eq!(answer.field("grpc-status"), Some("4"), "{answer:?}");
    assert!(began.elapsed() < SOON);
}

#[test]
fn what_is_left_of_a_deadline_travels_on() {
    let (stage, _app) = stage(speaking(Protocol::Grpc));
    let seen = whole(
        &stage,
        call("/shop.Api/Get", &[("grpc-timeout", "9S")]),
        b"",
    )
    .text();
    let said = seen
        .lines()
        .filter_map(|line| line.strip_prefix("grpc-timeout: "));
    let said: Vec<&str> = said.collect();
    let left: u64 = match said[..] {
        [one] => one
            .strip_suffix('m')
            .expect("in milliseconds")
            .parse()
            .expect("a number"),
        _ => panic!("{seen}"),
    };
    assert!((5_000..9_000).contains(&left), "{seen}");
    for (name, fields) in [
        ("not of gRPC", &[("grpc-timeout", "9S")][..]),
        (
            "no timeout",
            &[
                ("grpc-timeout", "9 s"),
                ("content-type", "application/grpc"),
            ][..],
        ),
    ] {
        let seen = whole(&stage, request("POST", "/any", fields), b"").text();
        let value = fields[0].1;
        assert!(
            seen.contains(&format!("grpc-timeout: {value}\n")),
            "{name}: {seen}"
        );
    }
}

#[test]
fn an_application_may_say_how_long_it_waits() {
    let stage = Stage::new();
    let mut client = stage.client();
    let began = Instant::now();
    let answer = client.ask("GET /hang HTTP/1.1\r\nHost: api\r\nX-Weft-Timeout-Ms: 300\r\n\r\n");
    assert_eq!(
        (answer.status, answer.reason()),
        (504, Some("request_timeout"))
    );
    assert!(began.elapsed() < SOON);
}

#[test]
fn a_code_of_grpc_that_the_rule_names_is_tried_again() {
    for (codes, count, status) in [(vec![14], 2, None), (vec![8], 1, Some("14"))] {
        let mut api = speaking(Protocol::Grpc);
        api.traffic.retry.grpc_statuses = codes;
        let (stage, app) = stage(api);
        let answer = whole(&stage, call("/unavailable", &[]), b"a message");
        assert_eq!((answer.status, answer.field("grpc-status")), (200, status));
        assert_eq!(app.count(), count);
    }
}

#[test]
fn informational_answers_arrive_in_every_version() {
    let (stage, _app) = stage(speaking(Protocol::Http2));
    let mut client = stage.client();
    client.send(b"GET /hints HTTP/1.1\r\nHost: a\r\n\r\n");
    for link in ["</a>", "</b>"] {
        let hints = client.head().expect("a head");
        assert_eq!((hints.status, hints.field("link")), (103, Some(link)));
    }
    assert_eq!(client.answer(false).text(), "hinted");
    // And where both sides speak HTTP/2, or only the client does.
    for (stage, links) in [(stage, vec!["</a>", "</b>"]), (Stage::new(), vec!["</a>"])] {
        run(async {
            let mut client = connect(stage.outbound).await.expect("a connection");
            let sent = client.send_request(request("GET", "/hints", &[]), true);
            let (mut response, _) = sent.expect("a stream");
            for link in links {
                let hints = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
                let hints = hints.expect("one").expect("good");
                assert_eq!(
                    (hints.status().as_u16(), &hints.headers()["link"]),
                    (103, &HeaderValue::from_static(link))
                );
            }
            assert_eq!(response.await.expect("an answer").status(), 200);
        });
    }
}

#[test]
fn a_client_that_waits_for_100_sends_its_body_in_every_version() {
    let body = b"hello";
    let (to_http2, _app) = stage(speaking(Protocol::Http2));
    let mut client = to_http2.client();
    client.send(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.head().expect("a head").status, 100);
    client.send(body);
    assert_eq!(client.answer(false).text(), "hello");
    for (stage, path) in [(to_http2, "/echo"), (Stage::new(), "/continue")] {
        run(async {
            let mut client = connect(stage.outbound).await.expect("a connection");
            let head = request(
                "POST",
                path,
                &[("expect", "100-continue"), ("content-length", "5")],
            );
            let (mut response, mut sender) = client.send_request(head, false).expect("a stream");
            let said = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
            assert_eq!(said.expect("one").expect("good").status(), 100);
            send_all(&mut sender, (&body[..]).into(), true)
                .await
                .expect("sent");
            let answer = response.await.expect("an answer");
            assert_eq!(answer.status(), 200, "{path}");
            let (come, _) = read_all(answer.into_body()).await.expect("whole");
            assert!(come.ends_with(body), "{path}");
        });
    }
}

#[test]
fn the_open_port_speaks_http2_too() {
    let (mut stage, _app) = stage(speaking(Protocol::Grpc));
    let address = free();
    let caller = "shop/web".to_owned();
    let listener = Listener::Open { address, caller };
    stage
        .near_agent
        .apply(&[("listener/open", Section::Listener(listener))]);
    for host in ["api", "api.shop.weft"] {
        let mut asked = call("/shop.Api/Get", &[]);
        *asked.uri_mut() = format!("http://{host}/shop.Api/Get")
            .parse()
            .expect("a URI");
        let answer = run(ask(address, asked, b"", None)).expect("an answer");
        assert!(answer.text().contains("svc/web\n"), "{host}: {answer:?}");
    }
    let mut asked = call("/shop.Api/Get", &[]);
    *asked.uri_mut() = "http://nobody/shop.Api/Get".parse().expect("a URI");
    let answer = run(ask(address, asked, b"", None)).expect("an answer");
    assert_eq!(
        (answer.field("grpc-status"), answer.field("x-weft-reason")),
        (Some("12"), Some("no_route"))
    );
}
