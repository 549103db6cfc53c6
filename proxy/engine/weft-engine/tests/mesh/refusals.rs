//! Refusals on their way back: what everybody would say goes on as it is, and what was never begun is told.

use weft_model::section::{Access, Decision};

use crate::support::sections::{retry, service};
use crate::support::stage::Stage;

#[test]
fn a_refusal_by_policy_goes_on_as_it_is_although_its_status_is_to_be_tried_again() {
    let mut stage = Stage::new();
    let mut closed = service();
    closed.access = Access {
        default: Decision::Deny,
        rules: Vec::new(),
    };
    stage.far_service(closed);
    let mut eager = service();
    eager.traffic.retry = weft_model::section::Retry {
        max: 3,
        statuses: vec![400, 403, 413, 429],
        ..retry()
    };
    stage.near_service(eager);
    let answer = stage.get("/");
    assert_eq!((answer.status, answer.reason()), (403, Some("denied")));
    assert_eq!(stage.near.metric("weft_retries_total", &[]), 0.0);
    stage
        .far
        .counts(1, "weft_requests_total", &["inbound", "denied"]);
}

#[test]
fn an_answer_that_is_malformed_from_its_first_chunk_on_is_answered_for() {
    let mut stage = Stage::new();
    let mut once = service();
    once.traffic.retry.max = 0;
    stage.near_service(once);
    let mut client = stage.client();
    let answer = client.get("/bad-chunk");
    assert_eq!((answer.status, answer.reason()), (502, Some("reset")));
    stage.far.counts(
        1,
        "weft_requests_total",
        &["inbound", "code=\"502\"", "reset"],
    );
    assert_eq!(client.get("/").status, 200);
}
