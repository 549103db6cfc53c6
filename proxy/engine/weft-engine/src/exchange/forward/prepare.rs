//! What is settled before the first try.

use weft_http1::Framing;
use weft_model::section::Protocol;

use crate::exchange::decide::{Forward, Way};
use crate::exchange::request::{Public, prepare};
use crate::h1::{Connection, Scratch};
use crate::observe::Direction;
use crate::worker::Worker;
use crate::world::Place;

pub(super) fn prepare_request(
    connection: &Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    plan: &Forward,
) {
    let world = worker.world();
    let place = (connection.direction == Direction::Gateway)
        .then(|| world.places.get(&connection.address))
        .flatten();
    let public = match place.map(|place| &**place) {
        Some(Place::Gateway { gateway, .. }) => Some(Public {
            gateway,
            scheme: if connection.tls.is_empty() {
                "http"
            } else {
                "https"
            },
            ip: connection.ip,
        }),
        _ => None,
    };
    prepare(
        scratch,
        connection,
        public.as_ref(),
        worker.watcher.ratio(),
        &mut *worker.rng.borrow_mut(),
    );
    // A connection that many share may end at any moment, whatever the rule says about trying again.
    let needs = plan.rule.retry.may_need_body() || speaks_http2(connection, plan);
    let budget = match scratch.request.framing() {
        Framing::None => None,
        _ if needs => Some(&worker.replay),
        _ if plan.mirror.is_some() => Some(&worker.copies),
        _ => None,
    };
    scratch.replay.start(budget.map(std::rc::Rc::clone));
}

/// Whether a request goes on in HTTP/2: what its service speaks, between engines also what its client does.
pub(super) fn speaks_http2(connection: &Connection, plan: &Forward) -> bool {
    match plan.cluster.protocol {
        Protocol::Http2 | Protocol::Grpc => true,
        Protocol::Http | Protocol::Tcp => {
            matches!(plan.way, Way::Mesh { .. }) && connection.wire.is_http2()
        }
    }
}
