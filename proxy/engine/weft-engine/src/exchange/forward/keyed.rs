//! What a request has in common with others that go to the same instance.

use weft_core::balance::Key;
use weft_http1::FieldId;
use weft_model::section::HashOn;

use crate::exchange::decide::Forward;
use crate::h1::{Connection, Scratch};
use crate::observe::Direction;
use crate::worker::Worker;
use crate::world::Place;

/// The key of a request, where its service is balanced by one and the request has it.
pub(super) fn key_of(
    connection: &Connection,
    worker: &Worker,
    scratch: &Scratch,
    plan: &Forward,
) -> Option<Key> {
    let head = &scratch.request;
    match plan.cluster.traffic.hash_on.as_ref()? {
        HashOn::Header(name) => Key::of(&head.fields().joined(name.as_bytes())?),
        HashOn::Cookie(name) => Key::of_cookie(&head.fields().joined(b"cookie")?, name.as_bytes()),
        HashOn::Query(name) => Key::of_parameter(head.query()?, name.as_bytes()),
        HashOn::SourceAddress(_) => source(connection, worker, scratch),
    }
}

/// At a gateway the client, as far as whoever forwarded for it is believed; elsewhere this host, for on loopback every
/// caller has the same address.
fn source(connection: &Connection, worker: &Worker, scratch: &Scratch) -> Option<Key> {
    if connection.direction != Direction::Gateway {
        return worker.host_key();
    }
    let world = worker.world();
    let believed = match world.places.get(&connection.address).map(|place| &**place) {
        Some(Place::Gateway { gateway, .. }) => gateway.trusted.believes(connection.ip),
        _ => false,
    };
    let told = scratch.request.get(FieldId::XForwardedFor);
    let told = told.filter(|_| believed).and_then(|told| {
        let last = told.rsplit(|byte| *byte == b',').next()?;
        Key::of(last.trim_ascii())
    });
    told.or_else(|| Key::of(connection.ip.to_string().as_bytes()))
}
