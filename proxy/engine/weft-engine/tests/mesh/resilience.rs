//! What happens when instances, connections or engines fail.

use std::time::{Duration, Instant};

use crate::support::app::App;
use crate::support::free;
use crate::support::http::Client;
use crate::support::sections::{endpoint, endpoints, service};
use crate::support::stage::Stage;

const POST: &str = "POST /echo HTTP/1.1\r\nHost: api\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_refused_connection_is_tried_on_another_endpoint_whatever_the_method() {
    let mut stage = Stage::new();
    let dead = endpoint("gone", "api-9", free(), 1);
    stage.near_endpoints(vec![stage.api(), dead]);
    for _ in 0..20 {
        assert_eq!(stage.get("/").status, 200);
        let answer = stage.client().ask(POST);
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
    stage.near.counts(1, "weft_ejections_total", &["ejected"]);
    assert_eq!(
        stage.near.metric("weft_retries_total", &["tried"]),
        1.0,
        "then its host is out of rotation"
    );
}

#[test]
fn an_instance_whose_application_died_is_told_by_its_engine_and_another_one_answers() {
    let mut stage = Stage::new();
    let dead = endpoint("far", "api-2", stage.inbound, free().port());
    let both = vec![stage.api(), dead];
    stage
        .far_agent
        .apply(&[("endpoints/shop/api", endpoints(both.clone()))]);
    stage.near_endpoints(both);
    for _ in 0..30 {
        let answer = stage.client().ask(POST);
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
    assert!(
        stage
            .far
            .metric("weft_requests_total", &["connect_failed", "code=\"503\""])
            >= 1.0
    );
}

#[test]
fn without_another_endpoint_the_reason_is_told() {
    let mut stage = Stage::new();
    stage.near_endpoints(vec![endpoint("gone", "api-9", free(), 1)]);
    let answer = stage.get("/");
    assert_eq!(
        (answer.status, answer.reason()),
        (502, Some("retry_exhausted"))
    );
    let mut once = service();
    once.traffic.retry.max = 0;
    stage.near_service(once);
    let answer = stage.get("/");
    assert_eq!(
        (answer.status, answer.reason()),
        (503, Some("connect_failed"))
    );
}

#[test]
fn a_reset_is_tried_again_for_a_get_and_never_for_a_post() {
    let stage = Stage::new();
    let answer = stage.get("/close");
    assert_eq!(
        (answer.status, answer.reason()),
        (502, Some("retry_exhausted"))
    );
    let before = stage.app.count();
    assert_eq!(before, 2, "the first try and one more");
    let answer = stage
        .client()
        .ask("POST /close HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((answer.status, answer.reason()), (502, Some("reset")));
    assert_eq!(stage.app.count(), before + 1);
}

#[test]
fn a_status_that_the_rule_names_is_tried_again_and_the_last_answer_is_forwarded() {
    let mut api = service();
    api.traffic.retry.statuses = vec![503];
    api.traffic.retry.max = 2;
    let stage = Stage::with(api);
    let answer = stage.get("/status/503");
    assert_eq!(
        (answer.status, answer.reason(), stage.app.count()),
        (503, None, 3)
    );
    assert_eq!(stage.get("/status/500").status, 500);
    assert_eq!(stage.app.count(), 4);
}

#[test]
fn a_body_is_sent_again_from_its_first_byte() {
    let mut api = service();
    api.traffic.retry.methods = vec!["POST".to_owned()];
    let mut stage = Stage::with(api);
    // Connections that go stale are what a body is kept for: the far engine is killed between two requests.
    let mut client = stage.client();
    assert_eq!(client.ask(POST).text(), "hello");
    crate::support::until("it is on disk", || has_keys(&stage.far));
    stage.far.crash_and_restart();
    assert_eq!(client.ask(POST).text(), "hello");
}

#[test]
fn time_outs_end_a_request_and_the_caller_is_told_which() {
    let mut api = service();
    api.traffic.timeout_ms = 300;
    api.traffic.retry.max = 0;
    let stage = Stage::with(api);
    let start = Instant::now();
    let answer = stage.get("/hang");
    assert_eq!(
        (answer.status, answer.reason()),
        (504, Some("request_timeout"))
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    stage
        .near
        .counts(1, "weft_requests_total", &["request_timeout"]);
}

#[test]
fn an_endpoint_that_fails_five_times_is_ejected() {
    let mut stage = Stage::new();
    let other = App::start("api-2");
    let both = vec![
        stage.api(),
        endpoint("far", "api-2", stage.inbound, other.port()),
    ];
    stage
        .far_agent
        .apply(&[("endpoints/shop/api", endpoints(both.clone()))]);
    stage.near_endpoints(both);
    for _ in 0..40 {
        stage.get("/status/500");
    }
    stage.near.counts(1, "weft_ejections_total", &["ejected"]);
    let (first, second) = (stage.app.count(), other.count());
    for _ in 0..10 {
        stage.get("/");
    }
    let moved = (stage.app.count() - first, other.count() - second);
    assert!(
        moved == (10, 0) || moved == (0, 10),
        "only one is left in rotation: {moved:?}"
    );
}

#[test]
fn capacity_bounds_requests_under_way() {
    let mut api = service();
    api.traffic.capacity.requests = 1;
    api.traffic.timeout_ms = 2000;
    let stage = Stage::with(api);
    let mut busy = stage.client();
    busy.send(b"GET /hang HTTP/1.1\r\nHost: api\r\n\r\n");
    crate::support::until("the first is under way", || stage.app.count() == 1);
    let answer = stage.get("/");
    assert_eq!((answer.status, answer.reason()), (503, Some("overloaded")));
}

#[test]
fn after_a_crash_an_engine_serves_from_disk_without_an_agent() {
    let mut stage = Stage::new();
    assert_eq!(stage.get("/").status, 200);
    for engine in [&stage.near, &stage.far] {
        crate::support::until("it is on disk", || has_keys(engine));
    }
    stage.near.crash_and_restart();
    stage.far.crash_and_restart();
    assert_eq!(stage.get("/").status, 200);
    assert_eq!(
        crate::support::http::get(stage.near.admin, "/ready").status,
        200
    );
    assert_eq!(stage.near.metric("weft_policy_revision", &[]), 101.0);
    assert_eq!(stage.near.agent().generation, 1);
}

#[test]
fn a_torn_generation_gives_way_to_the_one_before_and_that_is_logged() {
    let mut stage = Stage::new();
    crate::support::until("it is on disk", || has_keys(&stage.near));
    stage.near.kill();
    let state = stage.near.dir.join("state");
    let newest = newest(&state);
    // A later generation whose keys were never finished.
    for part in ["snapshot", "keys", "manifest"] {
        let bytes = std::fs::read(state.join(format!("{part}.{newest:020}"))).expect("saved");
        let cut = if part == "keys" {
            bytes.len() / 2
        } else {
            bytes.len()
        };
        std::fs::write(
            state.join(format!("{part}.{:020}", newest + 1)),
            &bytes[..cut],
        )
        .expect("written");
    }
    stage.near.crash_and_restart();
    assert_eq!(stage.get("/").status, 200);
    assert!(stage.near.log().contains("a generation on disk is torn"));
}

#[test]
fn a_terminated_engine_finishes_what_is_open_and_exits_with_0() {
    let mut stage = Stage::new();
    let mut idle = Client::connect(stage.outbound);
    assert_eq!(idle.get("/").status, 200);
    assert_eq!(stage.near.terminate().code(), Some(0));
    assert!(idle.is_closed());
    assert!(!stage.near.dir.join("socket").exists());
}

fn newest(state: &std::path::Path) -> u64 {
    let names = std::fs::read_dir(state)
        .expect("a directory")
        .flatten()
        .map(|entry| entry.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.strip_prefix("manifest.")?.parse().ok());
    numbers.max().unwrap_or(0)
}

fn has_keys(engine: &crate::support::engine::Engine) -> bool {
    let state = engine.dir.join("state");
    let number = newest(&state);
    std::fs::metadata(state.join(format!("keys.{number:020}"))).is_ok_and(|keys| keys.len() > 200)
}
