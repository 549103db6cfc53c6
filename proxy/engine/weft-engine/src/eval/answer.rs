//! A decision, as JSON.

use serde_json::{Value, json};
use weft_core::reason::Error;
use weft_http1::RequestHead;
use weft_model::section;

use crate::exchange::{Decision, Forward, Plan, Way};
use crate::world::{Action, Cluster, Subset, World};

/// What was decided, and under which names it would be counted.
pub(super) fn decided(decision: &Decision, head: &RequestHead, world: &World) -> Value {
    let mut said = match &decision.plan {
        Ok(Plan::Forward(forward)) => forwarded(forward, head, world),
        Ok(Plan::Answer(answer)) => json!({
            "outcome": "answer",
            "status": answer.status,
            "location": answer.location,
            "body": answer.body,
        }),
        Err(error) => refused(error),
    };
    said["source"] = json!(decision.source.text());
    said["destination"] = json!(decision.destination.text());
    said["route"] = json!(decision.route.text());
    said
}

/// A refusal.
pub(super) fn refused(error: &Error) -> Value {
    json!({
        "outcome": "refuse",
        "status": error.status,
        "reason": error.reason.as_str(),
        "detail": error.detail,
    })
}

fn forwarded(forward: &Forward, head: &RequestHead, world: &World) -> Value {
    let cluster = &forward.cluster;
    let (way, endpoints) = match &forward.way {
        Way::Mesh { subset, .. } => ("mesh", among(cluster, *subset)),
        Way::Outside { subset } => ("outside", among(cluster, *subset)),
        Way::Here { member } => ("here", vec![endpoint(cluster, *member)]),
    };
    json!({
        "outcome": "forward",
        "to": &*cluster.name,
        "way": way,
        "endpoints": endpoints,
        "targets": targets(forward, world),
        "elsewhere": elsewhere(forward, world),
        "target": String::from_utf8_lossy(head.target()),
        "host": forward.host,
        "timeout_ms": u64::try_from(forward.timeout.as_millis()).unwrap_or(u64::MAX),
        "max_body": forward.max_body,
    })
}

/// Every target of the rule, in its order, with whom it may mean.
fn targets(forward: &Forward, world: &World) -> Vec<Value> {
    let targets = match (&forward.way, &forward.rule.action) {
        (Way::Mesh { .. } | Way::Outside { .. }, Action::Forward { targets, .. }) => &targets[..],
        _ => &[],
    };
    let told = |target: &crate::world::Target| {
        let service = world.services.get(&target.service);
        let endpoints = service.map(|service| among(&service.cluster, target.subset));
        json!({"to": &*target.service, "endpoints": endpoints.unwrap_or_default()})
    };
    targets.iter().map(told).collect()
}

/// Where requests go while the service has nobody that might get them.
fn elsewhere(forward: &Forward, world: &World) -> Option<Value> {
    let cluster = &forward.cluster;
    if matches!(forward.way, Way::Here { .. }) || !cluster.has_nobody() {
        return None;
    }
    let other = world.elsewhere(cluster, |other| !other.has_nobody())?;
    Some(json!({"to": &*other.name, "endpoints": among(other, Subset::ALL)}))
}

fn among(cluster: &Cluster, subset: Subset) -> Vec<Value> {
    let members = cluster.subset(subset).map(|subset| subset.members());
    members
        .into_iter()
        .flatten()
        .map(|member| endpoint(cluster, member))
        .collect()
}

fn endpoint(cluster: &Cluster, member: usize) -> Value {
    let endpoint = &cluster.members.list()[member].endpoint;
    json!({
        "instance": endpoint.instance,
        "host": endpoint.host,
        "address": endpoint.address.to_string(),
        "state": match endpoint.state {
            section::EndpointState::Up => "up",
            section::EndpointState::Drain => "drain",
            section::EndpointState::Down => "down",
        },
        "weight": endpoint.weight,
        "suspect": endpoint.suspect,
    })
}
