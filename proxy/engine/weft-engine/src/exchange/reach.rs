//! A connection for one try.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_core::endpoint::Member;
use weft_core::reason::{Error, Reason};

use super::decide::{Forward, Way};
use super::failed::Failed;
use crate::observe::{Direction, Event};
use crate::tls::Configs;
use crate::upstream::{self, ConnectError, Key, Secure, connect};
use crate::worker::Worker;

/// A connection to a member: one that is idle, unless a `fresh` one is wanted, or a new one.
pub(super) async fn reach(
    worker: &Worker,
    plan: &Forward,
    member: &Member,
    place: usize,
    fresh: bool,
    most: Duration,
) -> Result<Box<upstream::Connection>, Failed> {
    let now = Instant::now();
    let cluster = &plan.cluster;
    let (address, identity) = match &plan.way {
        Way::Here { .. } => (
            (std::net::Ipv4Addr::LOCALHOST, member.endpoint.port).into(),
            None,
        ),
        Way::Outside { .. } => (member.endpoint.address, None),
        Way::Mesh { identity, .. } => {
            let identity = identity
                .as_ref()
                .ok_or_else(|| no_identity(&cluster.name))?;
            (member.endpoint.address, Some(identity))
        }
    };
    let key = Key::new(
        &member.state,
        address,
        identity.map_or(0, |identity| identity.id),
    );
    if !fresh && let Some(known) = worker.pool.take(key, now) {
        worker.counters.event(Event::Reused);
        return Ok(known);
    }
    let full = |what| {
        Failed::local(Error::new(
            Reason::Overloaded,
            format!("{} has too many {what}", cluster.name),
        ))
    };
    let permit = cluster
        .capacity
        .connections
        .acquire()
        .ok_or_else(|| full("connections"))?;
    let _waiting = cluster
        .capacity
        .pending
        .acquire()
        .ok_or_else(|| full("requests waiting for a connection"))?;
    let _pending = member.state.wait();
    let secure = match identity {
        None => None,
        Some(identity) => {
            let Configs::Mesh { client, .. } = &identity.configs else {
                return Err(no_identity(&cluster.name));
            };
            let name = cluster
                .server_name(place)
                .ok_or_else(|| no_identity(&cluster.name))?;
            Some(Secure {
                config: Arc::clone(client),
                name: name.clone(),
                own: identity.facts.clone(),
            })
        }
    };
    let within = cluster.traffic.connect_timeout.min(most);
    let (stream, life) = connect(address, secure, within)
        .await
        .map_err(|error| unconnected(worker, plan, error, member, address))?;
    worker.counters.event(Event::Connected);
    let state = Arc::clone(&member.state);
    Ok(Box::new(upstream::Connection::new(
        stream, key, life, state, permit,
    )))
}

fn unconnected(
    worker: &Worker,
    plan: &Forward,
    error: ConnectError,
    member: &Member,
    address: std::net::SocketAddr,
) -> Failed {
    if let ConnectError::Tls(reason) = error {
        worker.counters.tls(Direction::Outbound, reason);
    }
    if error.is_ours() {
        return Failed::local(error.explain(&member.endpoint.instance, address));
    }
    let mesh = matches!(plan.way, Way::Mesh { .. });
    Failed {
        host_unreachable: mesh && error.is_of_the_host(),
        ..Failed::undelivered(error.explain(&member.endpoint.instance, address))
    }
}

fn no_identity(service: &str) -> Failed {
    Failed::local(Error::new(
        Reason::TlsFailed,
        format!("there is no certificate to call {service} with"),
    ))
}
