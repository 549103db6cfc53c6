//! A connection for one try.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};
use weft_core::endpoint::Member;
use weft_core::reason::{Error, Reason};

use super::decide::{Forward, Way};
use super::failed::Failed;
use crate::h2;
use crate::io::Stream;
use crate::observe::{Direction, Event};
use crate::tls::{Configs, Identity};
use crate::upstream::{self, ConnectError, Key, Room, Secure, Slot, Upstream, connect};
use crate::worker::{Life, Worker};

/// Whom a try is for.
#[derive(Clone, Copy)]
pub(super) struct Goal<'a> {
    pub(super) worker: &'a Worker,
    pub(super) plan: &'a Forward,
    pub(super) member: &'a Member,
    /// Its place among the members.
    pub(super) place: usize,
    /// Whether HTTP/2 is spoken.
    pub(super) http2: bool,
}

/// A connection to a member: one that is there, unless a `fresh` one is wanted, or a new one.
pub(super) async fn reach(
    goal: Goal<'_>,
    fresh: bool,
    most: Duration,
    now: Instant,
) -> Result<Upstream, Failed> {
    let Goal {
        worker,
        plan,
        member,
        ..
    } = goal;
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
    let within = now + cluster.traffic.connect_timeout.min(most);
    if goal.http2 {
        return Box::pin(share(goal, key, address, identity, within)).await;
    }
    if !fresh && let Some(known) = worker.pool.take(key, now) {
        worker.counters.event(Event::Reused);
        return Ok(Upstream::H1(known));
    }
    let slot = match Box::pin(room(goal, Some(key), within)).await? {
        Room::New(slot) => slot,
        Room::Known(known) => {
            worker.counters.event(Event::Reused);
            return Ok(Upstream::H1(known));
        }
    };
    // Boxed, as is whatever is seldom, so that a request is not as large as a handshake.
    let opened = Box::pin(open(goal, slot, address, identity, within)).await?;
    Ok(Upstream::H1(Box::new(upstream::Connection::new(
        opened.stream,
        key,
        opened.life,
        Arc::clone(&member.state),
        opened.slot,
        &worker.bounds,
    ))))
}

/// A place on a connection that others use too, or on a new one: then those who come meanwhile wait for it.
async fn share(
    goal: Goal<'_>,
    key: Key,
    address: SocketAddr,
    identity: Option<&Arc<Identity>>,
    within: Instant,
) -> Result<Upstream, Failed> {
    let Goal { worker, member, .. } = goal;
    let known = || {
        let sender = worker.links.take(key, Instant::now())?;
        worker.counters.event(Event::Reused);
        Some(Upstream::H2(Box::new(sender)))
    };
    if let Some(known) = known() {
        return Ok(known);
    }
    let late = || {
        let error = ConnectError::Timeout { reached: true };
        unconnected(goal, error, address)
    };
    let opening = worker.links.opening(key);
    let _alone = timeout_at(within, opening.lock())
        .await
        .map_err(|_| late())?;
    if let Some(known) = known() {
        return Ok(known);
    }
    let Room::New(slot) = room(goal, None, within).await? else {
        return Err(late()); // Nothing is handed on where requests share.
    };
    let opened = open(goal, slot, address, identity, within).await?;
    let state = Arc::clone(&member.state);
    let link = h2::open(
        opened.stream,
        identity.is_some(),
        opened.life,
        state,
        opened.slot,
        (worker, address),
    );
    let link = timeout_at(within, link)
        .await
        .map_err(|_| late())?
        .map_err(|error| unconnected(goal, ConnectError::Tcp(error), address))?;
    let idle = goal.plan.cluster.traffic.idle_timeout;
    worker.links.give(key, Rc::clone(&link), idle);
    Ok(Upstream::H2(Box::new(link.sender(Instant::now()))))
}

/// A connection that was just opened.
struct Opened {
    stream: Stream,
    life: Option<Life>,
    slot: Slot,
}

/// Room for a connection, or one that somebody else does not need any more: newest first, as many as may be pending.
async fn room(goal: Goal<'_>, key: Option<Key>, within: Instant) -> Result<Room, Failed> {
    let Goal { worker, plan, .. } = goal;
    let slots = plan.slots();
    if let Some(slot) = slots.take() {
        return Ok(Room::New(slot));
    }
    let waiting = plan.capacity().pending.acquire();
    let _waiting = waiting.ok_or_else(|| full(plan, "requests waiting for a connection"))?;
    let room = slots.wait(&worker.waiters, key, within).await;
    room.ok_or_else(|| full(plan, "connections, and none was free in time"))
}

fn full(plan: &Forward, what: &str) -> Failed {
    let detail = format!("{} has too many {what}", plan.cluster.name);
    Failed::local(Error::new(Reason::Overloaded, detail))
}

async fn open(
    goal: Goal<'_>,
    slot: Slot,
    address: SocketAddr,
    identity: Option<&Arc<Identity>>,
    within: Instant,
) -> Result<Opened, Failed> {
    let Goal {
        worker,
        plan,
        member,
        place,
        http2,
    } = goal;
    let now = Instant::now();
    let cluster = &plan.cluster;
    let capacity = plan.capacity();
    let _waiting = capacity
        .pending
        .acquire()
        .ok_or_else(|| full(plan, "requests waiting for a connection"))?;
    let _pending = member.state.wait();
    let secure = match identity {
        None => None,
        Some(identity) => {
            let config = client(identity, http2).ok_or_else(|| no_identity(&cluster.name))?;
            let name = cluster
                .server_name(place)
                .ok_or_else(|| no_identity(&cluster.name))?;
            Some(Secure {
                config,
                name: name.clone(),
                own: identity.facts.clone(),
            })
        }
    };
    let (stream, life) = connect(address, secure, within.saturating_duration_since(now))
        .await
        .map_err(|error| unconnected(goal, error, address))?;
    worker.counters.connected(stream.is_resumed());
    Ok(Opened { stream, life, slot })
}

/// How an identity is shown to an engine that is spoken to in that version.
fn client(identity: &Identity, http2: bool) -> Option<Arc<ClientConfig>> {
    match &identity.configs {
        Configs::Mesh { client_http2, .. } if http2 => Some(Arc::clone(client_http2)),
        Configs::Mesh { client, .. } => Some(Arc::clone(client)),
        Configs::Public { .. } => None,
    }
}

fn unconnected(goal: Goal<'_>, error: ConnectError, address: SocketAddr) -> Failed {
    let Goal {
        worker,
        plan,
        member,
        ..
    } = goal;
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
