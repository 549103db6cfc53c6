//! From an application here, or from the world, to one instance of a service.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::UnixTime;
use weft_core::announce::Ends;
use weft_core::reason::Error;
use weft_model::section::{Protocol, ProxyProtocol};

use super::announce;
use super::carry::{Carried, carry};
use super::reach::{Reached, reach};
use super::story::Story;
use crate::io::{Bounds, Input, Stream, Whose};
use crate::observe::{Direction, Label, Open, TunnelKey};
use crate::tls::{ALPN_TCP_PROXIED, Role};
use crate::worker::Worker;
use crate::world::{Caller, Place, Rule, Subset, World};

/// Who calls whom.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(super) direction: Direction,
    pub(super) caller: Arc<Caller>,
    /// `ns/service`
    pub(super) service: Arc<str>,
    /// Which of its instances.
    pub(super) subset: Subset,
    /// When to try again; where none says so, the service's own Traffic does.
    pub(super) rule: Option<Arc<Rule>>,
    /// Whose connection it is, where that was told; else its own ends say so.
    pub(super) client: Option<Ends>,
}

// === impl Call ===

impl Call {
    /// What a connection accepted at that address is, if its bytes are only carried.
    pub(crate) fn at(address: SocketAddr, world: &World) -> Option<Self> {
        match &**world.places.get(&address)? {
            Place::Outbound { caller, upstream } => {
                let service = world.services.get(upstream)?;
                (service.rules.protocol() == Protocol::Tcp).then(|| Self {
                    direction: Direction::Outbound,
                    caller: Arc::clone(caller),
                    service: Arc::clone(upstream),
                    subset: Subset::ALL,
                    rule: None,
                    client: None,
                })
            }
            Place::Open { .. } | Place::Inbound | Place::Gateway { .. } => None,
        }
    }

    /// The same in metrics, and where it went.
    pub(super) fn key(&self, destination: Label) -> TunnelKey {
        TunnelKey {
            direction: self.direction,
            source: self.caller.label,
            destination,
        }
    }
}

/// Serves a connection to its end.
pub(crate) async fn outbound(down: Stream, call: Call, worker: &Worker) {
    let key = call.key(Label::of(&call.service));
    let mut story = Story::new(key, &down, call.client);
    let carried = match reach(&call, worker, &mut story).await {
        Ok(reached) => through(down, Input::default(), reached, &call, worker, &mut story).await,
        Err(error) => {
            refused(&call, &error);
            down.reset();
            story.refused(&error)
        }
    };
    story.ended(worker, carried);
}

pub(super) fn refused(call: &Call, error: &Error) {
    tracing::debug!(service = %call.service, source = %call.caller.name, %error, "a connection failed");
}

/// Carries bytes; `early` was read from `down` before.
pub(super) async fn through(
    down: Stream,
    early: Input,
    reached: Reached,
    call: &Call,
    worker: &Worker,
    story: &mut Story,
) -> Carried {
    let bounds = Bounds {
        idle: reached.cluster.traffic.idle_timeout,
        expires: reached.expires,
    };
    let outside = reached.cluster.outside;
    // Nobody is there to say it to the application but this engine, or it was agreed on to say it to the called one.
    let version = match (outside, reached.up.alpn()) {
        (true, _) => reached.cluster.traffic.proxy_protocol,
        (false, Some(ALPN_TCP_PROXIED)) => Some(ProxyProtocol::V2),
        (false, _) => None,
    };
    let Reached { mut up, held, .. } = reached;
    if let Some(version) = version {
        let ends = call.client.unwrap_or_else(|| announce::ends(&down));
        if let Err(error) = announce::say(&mut up, version, ends).await {
            tracing::debug!(service = %call.service, %error, "a connection broke at its beginning");
            down.reset();
            return Carried::Broken(Whose::Up, error.kind());
        }
    }
    let mut epoch = worker.world().tls.trust_epoch;
    let believed = |up: &Stream| {
        let tls = &worker.world().tls;
        let chain = up.peer_certificates().unwrap_or_default();
        let believed = epoch == tls.trust_epoch
            || outside
            || tls
                .trust
                .judge(chain, Role::Server, &tls.local, UnixTime::now())
                .is_ok();
        epoch = tls.trust_epoch;
        believed
    };
    story.opened(worker);
    let meter = worker.tunnels.meter(story.key);
    let _open = worker.counters.opened(Open::Tunnel, call.direction);
    let (carried, moved) = carry(down, early, up, bounds, worker, &meter, believed).await;
    story.moved = moved;
    drop(held);
    carried
}
