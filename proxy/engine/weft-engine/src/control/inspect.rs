//! What the engine serves, for people.

use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use weft_core::endpoint::Member;
use weft_model::frame::{FromEngine, MAX_FRAME};

use super::frames::FrameError;
use crate::world::{Place, World};

/// Room in a frame for what is not sections.
const BESIDES: usize = 1_024;

/// The snapshot that is served, as it was sent; refused where it has no room in a frame.
pub(crate) fn sections(world: &World) -> Result<FromEngine, FrameError> {
    let raw = || world.snapshot.raw();
    let size: usize = raw()
        .map(|(name, bytes)| name.len() + bytes.len() + 10)
        .sum();
    if size > MAX_FRAME - BESIDES {
        let message = format!("a snapshot of {size} bytes; a frame has room for {MAX_FRAME}");
        return Err(FrameError::Refused(message));
    }
    Ok(FromEngine::Sections {
        generation: world.generation,
        policy: world.policy,
        registry: world.registry,
        sections: raw()
            .map(|(name, bytes)| (name.to_owned(), ByteBuf::from(bytes.to_vec())))
            .collect(),
    })
}

/// A JSON document: revisions, listeners, services with their endpoints, certificates.
pub(crate) fn inspect(world: &World) -> String {
    let listeners = world.snapshot.listeners.iter().map(|(name, listener)| {
        let address = listener.address();
        let kind = match world.places.get(&address).map(|place| &**place) {
            Some(Place::Outbound { caller, upstream }) => {
                json!({"caller": &*caller.name, "upstream": &**upstream})
            }
            Some(Place::Open { caller }) => json!({"caller": &*caller.name, "open": true}),
            Some(Place::Inbound) => json!({"inbound": true}),
            Some(Place::Gateway { listener, .. }) => json!({"gateway_listener": &**listener}),
            None => Value::Null,
        };
        (
            name.clone(),
            json!({"address": address.to_string(), "is": kind}),
        )
    });
    let services = world.services.iter().map(|(name, service)| {
        let members = service.cluster.members.list().iter().map(member);
        let value =
            json!({"routes": service.rules.rules.len(), "endpoints": members.collect::<Vec<_>>()});
        (name.to_string(), value)
    });
    let certificates = world.tls.certificates().map(|(name, facts)| {
        let spiffe = facts.spiffe.as_ref().map(|id| id.as_str().to_owned());
        (
            name.to_owned(),
            json!({"spiffe_id": spiffe, "serial": facts.serial, "not_after": facts.not_after}),
        )
    });
    json!({
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "generation": world.generation,
        "policy": world.policy,
        "registry": world.registry,
        "draining": world.draining.is_some(),
        "listeners": listeners.collect::<serde_json::Map<_, _>>(),
        "services": services.collect::<serde_json::Map<_, _>>(),
        "certificates": certificates.collect::<serde_json::Map<_, _>>(),
    })
    .to_string()
}

fn member(member: &Member) -> Value {
    let endpoint = &member.endpoint;
    json!({
        "instance": endpoint.instance,
        "host": endpoint.host,
        "address": endpoint.address.to_string(),
        "state": format!("{:?}", endpoint.state).to_lowercase(),
        "suspect": endpoint.suspect,
        "weight": endpoint.weight,
        "labels": endpoint.labels,
        "active": member.state.active(),
        "consecutive_failures": member.state.consecutive(),
        "ejected": member.state.rotation.is_ejected(),
        "host_ejected": member.host.is_ejected(),
    })
}
