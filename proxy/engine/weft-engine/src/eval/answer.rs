//! A decision, as JSON.

use serde_json::{Value, json};
use weft_core::endpoint::{Member, Standing};
use weft_core::reason::{Error, Reason};
use weft_core::time::Moment;
use weft_http1::RequestHead;
use weft_model::section;

use crate::exchange::{Decision, Forward, Plan, Way};
use crate::h1::Answer;
use crate::world::{Action, Cluster, Subset, World};

/// What was decided, and under which names it would be counted.
pub(super) fn decided(
    decision: &Decision,
    head: &RequestHead,
    (world, now): (&World, Moment),
) -> Value {
    let mut said = match &decision.plan {
        Ok(Plan::Forward(forward)) => forwarded(forward, head, (world, now)),
        Ok(Plan::Answer(Answer {
            status,
            reason: Some(reason),
            body,
            ..
        })) => json!({
            "outcome": "refuse",
            "status": status,
            "reason": reason.as_str(),
            "detail": body.trim_end(),
        }),
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

fn forwarded(forward: &Forward, head: &RequestHead, (world, now): (&World, Moment)) -> Value {
    let cluster = &forward.cluster;
    let in_rotation = match &forward.way {
        Way::Mesh { subset, .. } | Way::Outside { subset } => rotation(cluster, *subset, now),
        Way::Here { member } => vec![instance(cluster, *member)],
    };
    let (way, endpoints) = match &forward.way {
        Way::Mesh { subset, .. } => ("mesh", among(cluster, *subset)),
        Way::Outside { subset } => ("outside", among(cluster, *subset)),
        Way::Here { member } => ("here", vec![endpoint(cluster, *member)]),
    };
    let elsewhere = elsewhere(forward, world, now);
    if in_rotation.is_empty() && elsewhere.is_none() {
        let detail = format!("{} has no instance to ask", cluster.name);
        return refused(&Error::new(Reason::NoEndpoint, detail));
    }
    json!({
        "outcome": "forward",
        "to": &*cluster.name,
        "way": way,
        "endpoints": endpoints,
        "rotation": in_rotation,
        "targets": targets(forward, world),
        "elsewhere": elsewhere,
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

/// Where requests go while none of the service's instances is in rotation.
fn elsewhere(forward: &Forward, world: &World, now: Moment) -> Option<Value> {
    let cluster = &forward.cluster;
    let is_out = |cluster: &Cluster| {
        let all = cluster.subset(Subset::ALL);
        all.is_none_or(|all| all.stand(&cluster.members, now).nobody)
    };
    if matches!(forward.way, Way::Here { .. }) || !is_out(cluster) {
        return None;
    }
    let other = world.elsewhere(cluster, |other| !is_out(other))?;
    Some(json!({
        "to": &*other.name,
        "endpoints": among(other, Subset::ALL),
        "rotation": rotation(other, Subset::ALL, now),
    }))
}

/// Who may be asked now: those in rotation, or in panic all that are up; else those that drain; else anybody.
fn rotation(cluster: &Cluster, subset: Subset, now: Moment) -> Vec<&str> {
    let Some(candidates) = cluster.subset(subset) else {
        return Vec::new();
    };
    let list = cluster.members.list();
    let panic = candidates.stand(&cluster.members, now).panic;
    let of = |fits: &dyn Fn(&Member) -> bool| -> Vec<&str> {
        let places = candidates.members();
        let those = places.filter(|place| fits(&list[*place]));
        those.map(|place| instance(cluster, place)).collect()
    };
    let is = |member: &Member, state| member.endpoint.state == state;
    let up = |member: &Member| {
        is(member, section::EndpointState::Up) && (panic || member.standing(now) == Standing::In)
    };
    let draining = |member: &Member| is(member, section::EndpointState::Drain);
    [of(&up), of(&draining)]
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_else(|| of(&|_| true))
}

fn instance(cluster: &Cluster, member: usize) -> &str {
    &cluster.members.list()[member].endpoint.instance
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
