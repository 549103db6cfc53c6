//! Requests from one application to another, through two engines.

use std::collections::BTreeMap;

use weft_model::parse::Section;
use weft_model::section::*;

use crate::support::sections::{forward_to, prefix, route, service};
use crate::support::stage::Stage;

#[test]
fn a_request_goes_through_two_engines_and_arrives_with_its_callers_identity() {
    let stage = Stage::new();
    let answer = stage.get("/a?b=c");
    assert_eq!(
        (answer.status, answer.field("x-instance")),
        (200, Some("api-1")),
        "{}",
        answer.text()
    );
    let seen = answer.text();
    assert!(seen.contains("\nGET /a?b=c HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("x-weft-caller: spiffe://test.weft/ns/shop/dc/local/svc/web\r\n"),
        "{seen}"
    );
    assert_eq!(seen.matches("via: 1.1 weft\r\n").count(), 2, "{seen}");
    assert_eq!(seen.matches("traceparent: 00-").count(), 1, "{seen}");
    assert_eq!(seen.matches("x-request-id: ").count(), 1, "{seen}");
    assert!(!seen.contains("x-weft-timeout-ms"), "{seen}");
    let counted = [
        "source=\"shop/web\"",
        "destination=\"shop/api\"",
        "code=\"200\"",
        "reason=\"\"",
    ];
    stage.near.counts(1, "weft_requests_total", &counted);
    stage.far.counts(1, "weft_requests_total", &counted);
    stage.far.counts(
        1,
        "weft_request_duration_seconds_count",
        &["inbound", "2xx"],
    );
}

#[test]
fn trace_and_request_id_of_the_application_go_on_and_identity_does_not() {
    let stage = Stage::new();
    let seen = stage
        .client()
        .ask(
            "GET / HTTP/1.1\r\nHost: api\r\nX-Request-Id: mine\r\nX-Weft-Caller: root\r\nX-Weft-Else: x\r\n\
             Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\nTracestate: a=b\r\n\r\n",
        )
        .text();
    assert!(
        seen.contains("mine\r\n") && seen.contains("a=b\r\n"),
        "{seen}"
    );
    assert!(
        seen.contains("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{seen}"
    );
    assert!(
        !seen.contains("00f067aa0ba902b7")
            && !seen.contains("root")
            && !seen.to_lowercase().contains("x-weft-else"),
        "{seen}"
    );
}

#[test]
fn one_connection_carries_many_requests_and_so_do_the_engines_between() {
    let stage = Stage::new();
    let mut client = stage.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(stage.app.count(), 50);
    stage
        .near
        .counts(1, "weft_upstream_connections_total", &["opened"]);
    stage
        .near
        .counts(49, "weft_upstream_connections_total", &["reused"]);
}

#[test]
fn access_refuses_by_identity_and_the_reason_reaches_the_caller() {
    let mut stage = Stage::new();
    let mut guarded = service();
    guarded.access.rules.push(Rule {
        name: "readers/reports".to_owned(),
        decision: Decision::Allow,
        shadow: false,
        callers: vec!["shop/reports".to_owned()],
        methods: Vec::new(),
        paths: Vec::new(),
    });
    stage.far_service(guarded.clone());
    let answer = stage.get("/");
    assert_eq!((answer.status, answer.reason()), (403, Some("denied")));
    assert_eq!(stage.app.count(), 0);
    stage
        .far
        .counts(1, "weft_requests_total", &["denied", "code=\"403\""]);
    guarded.access.rules[0].callers.push("shop/web".to_owned());
    stage.far_service(guarded);
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn routes_choose_by_path_method_field_and_label_and_edit_fields() {
    let mut stage = Stage::new();
    let mut api = service();
    let mut canary = route("canary/rule", forward_to(&[("shop/api", 1)]));
    canary.matches = vec![Match {
        headers: BTreeMap::from([("x-canary".to_owned(), ValueMatch::Exact("yes".to_owned()))]),
        ..prefix("/v2")
    }];
    canary
        .request_headers
        .set
        .insert("x-edit".to_owned(), "set".to_owned());
    canary.request_headers.remove.push("x-drop".to_owned());
    canary
        .response_headers
        .set
        .insert("x-route".to_owned(), "canary".to_owned());
    let Action::Forward { rewrite, .. } = &mut canary.action else {
        unreachable!()
    };
    rewrite.path_prefix = Some("/new".to_owned());
    let mut teapot = route(
        "teapot/rule",
        Action::Respond {
            code: 418,
            body: "short and stout".to_owned(),
        },
    );
    teapot.matches = vec![Match {
        methods: vec!["DELETE".to_owned()],
        ..Match::default()
    }];
    let mut moved = route(
        "moved/rule",
        Action::Redirect {
            scheme: None,
            host: None,
            path: Some("/there".to_owned()),
            code: 307,
        },
    );
    moved.matches = vec![prefix("/here")];
    api.routes = vec![canary, teapot, moved];
    stage.near_service(api);
    let answer = stage
        .client()
        .ask("GET /v2/x?q=1 HTTP/1.1\r\nHost: api\r\nX-Canary: yes\r\nX-Drop: 1\r\n\r\n");
    assert_eq!(answer.field("x-route"), Some("canary"));
    let seen = answer.text();
    assert!(
        seen.contains("GET /new/x?q=1 ")
            && seen.contains("x-edit: set")
            && !seen.contains("X-Drop"),
        "{seen}"
    );
    assert_eq!(stage.get("/v2/x").field("x-route"), None);
    let answer = stage.client().ask("DELETE / HTTP/1.1\r\nHost: api\r\n\r\n");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (418, "short and stout")
    );
    let answer = stage.get("/here");
    assert_eq!(
        (answer.status, answer.field("location")),
        (307, Some("http://api/there"))
    );
    stage
        .near
        .counts(1, "weft_requests_total", &["canary/rule"]);
}

#[test]
fn a_target_without_endpoints_spills_or_fails_as_the_rule_says() {
    let mut stage = Stage::new();
    let mut api = service();
    let v9 = BTreeMap::from([("version".to_owned(), "v9".to_owned())]);
    let targets = |on_empty| Action::Forward {
        to: vec![
            Target {
                service: "shop/api".to_owned(),
                labels: v9.clone(),
                weight: 1000,
            },
            Target {
                service: "shop/api".to_owned(),
                labels: BTreeMap::new(),
                weight: 1,
            },
        ],
        on_empty,
        rewrite: Rewrite::default(),
        mirror: None,
    };
    api.routes = vec![route("r/1", targets(OnEmpty::Spill))];
    stage.near_service(api.clone());
    assert!((0..10).all(|_| stage.get("/").status == 200));
    api.routes = vec![route("r/1", targets(OnEmpty::Fail))];
    stage.near_service(api);
    let answers: Vec<_> = (0..10).map(|_| stage.get("/")).collect();
    assert!(
        answers
            .iter()
            .any(|answer| (answer.status, answer.reason()) == (503, Some("no_endpoint")))
    );
}

#[test]
fn a_service_that_nobody_knows_is_no_route_and_one_without_instances_no_endpoint() {
    let mut stage = Stage::new();
    stage.near_endpoints(Vec::new());
    let answer = stage.get("/");
    assert_eq!((answer.status, answer.reason()), (503, Some("no_endpoint")));
    stage.near_agent.delete(&["service/shop/api"]);
    let answer = stage.get("/");
    assert_eq!((answer.status, answer.reason()), (404, Some("no_route")));
}

#[test]
fn an_application_cannot_pose_as_an_engine() {
    let stage = Stage::new();
    let answer = stage.get("/poser");
    assert_eq!(
        (
            answer.status,
            answer.reason(),
            answer.field("x-weft-caller")
        ),
        (503, None, None)
    );
    assert_eq!(
        stage.app.count(),
        1,
        "what an application says is no reason to try again"
    );
}

#[test]
fn ambiguous_paths_are_refused_where_a_rule_looks_at_paths_and_pass_where_none_does() {
    let mut stage = Stage::new();
    assert_eq!(stage.get("/a/../b").status, 200);
    let mut api = service();
    let mut one = route("r/1", forward_to(&[("shop/api", 1)]));
    one.matches = vec![prefix("/a")];
    api.routes = vec![one];
    stage.near_service(api);
    for path in ["/a/../b", "/a//b", "/a/%2e%2e/b", "/a/x%2fy"] {
        let answer = stage.get(path);
        assert_eq!(
            (answer.status, answer.reason()),
            (400, Some("bad_request")),
            "{path}"
        );
    }
}

#[test]
fn an_apply_leaves_open_connections_and_unchanged_listeners_alone() {
    let mut stage = Stage::new();
    let mut client = stage.client();
    assert_eq!(client.get("/").status, 200);
    for n in 0..30 {
        let mut api = service();
        api.traffic.timeout_ms = 10_000 + n;
        stage.near_service(api);
        assert_eq!(client.get("/").status, 200);
    }
    stage.near_agent.delete(&["listener/out"]);
    assert!(
        client.is_closed(),
        "a listener that is gone lets its idle connections go"
    );
    assert!(std::net::TcpStream::connect(stage.outbound).is_err());
    let listener = Listener::Outbound {
        address: stage.outbound,
        caller: "shop/web".to_owned(),
        upstream: "shop/api".to_owned(),
    };
    stage
        .near_agent
        .apply(&[("listener/out", Section::Listener(listener))]);
    assert_eq!(stage.get("/").status, 200);
}
