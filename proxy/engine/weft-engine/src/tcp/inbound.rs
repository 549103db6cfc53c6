//! From the mesh to the instance that was asked for, on this host's loopback.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use weft_core::caller::Kind;
use weft_core::endpoint::Active;
use weft_core::rate::Places;
use weft_core::reason::{Error, Reason};
use weft_model::section::Decision;

use super::carry::{Carried, carry};
use super::restrain::restrain;
use super::story::Story;
use super::{announce, greeting};
use crate::io::{Bounds, Input, Stream, Whose};
use crate::observe::{Direction, Event, Open, TunnelKey};
use crate::tls::ALPN_TCP_PROXIED;
use crate::upstream::connect;
use crate::worker::{Peer, Worker};
use crate::world::Cluster;

/// Serves a connection to its end.
pub(crate) async fn inbound(mut down: Stream, peer: Rc<Peer>, worker: &Worker) {
    let key = TunnelKey {
        direction: Direction::Inbound,
        source: peer.label,
        destination: crate::observe::Label::of(&peer.service),
    };
    let mut story = Story::new(key, &down, None);
    story.instance = peer.instance.to_string();
    story.tries = 1;
    let announced = down.alpn() == Some(ALPN_TCP_PROXIED);
    let carried = match open(&peer, announced, worker).await {
        Ok((mut up, cluster, held)) => {
            let bounds = Bounds {
                idle: cluster.traffic.idle_timeout,
                expires: Some(peer.life.end),
            };
            let carried = match begin(&mut down, &mut up, announced, &cluster).await {
                Ok(early) => {
                    story.opened(worker);
                    let meter = worker.tunnels.meter(key);
                    let _open = worker.counters.opened(Open::Tunnel, key.direction);
                    let may = |_: &Stream| may_go_on(&peer, worker);
                    let (carried, moved) =
                        carry(down, early, up, bounds, worker, &meter, may).await;
                    story.moved = moved;
                    carried
                }
                Err((whose, error)) => {
                    tracing::debug!(service = %peer.service, %error, "a connection broke at its beginning");
                    Carried::Broken(whose, error.kind())
                }
            };
            drop(held);
            carried
        }
        Err(error) => {
            tracing::debug!(service = %peer.service, source = %peer.caller.label(), %error, "a connection was refused");
            // Whoever does not hear why still sees that it ended.
            let _ = say(&mut down, greeting::refusal(error.reason)).await;
            let _ = poll_fn(|cx| down.poll_shutdown(cx)).await;
            story.refused(&error)
        }
    };
    story.ended(worker, carried);
}

/// Lets bytes flow, once the application knows whose they are where it wants to; what was read of them already.
async fn begin(
    down: &mut Stream,
    up: &mut Stream,
    announced: bool,
    cluster: &Cluster,
) -> Result<Input, (Whose, io::Error)> {
    let down_broke = |error| (Whose::Down, error);
    say(down, greeting::GO).await.map_err(down_broke)?;
    let mut early = Input::default();
    let mut told = None;
    if announced {
        let heard = announce::hear(down, &mut early).await;
        told = heard.map_err(down_broke)?;
    }
    if let Some(version) = cluster.traffic.proxy_protocol {
        let ends = told.unwrap_or_else(|| announce::ends(down));
        let said = announce::say(up, version, ends).await;
        said.map_err(|error| (Whose::Up, error))?;
    }
    Ok(early)
}

async fn open(
    peer: &Peer,
    announced: bool,
    worker: &Worker,
) -> Result<(Stream, Arc<Cluster>, (Active, Places)), Error> {
    if announced && !matches!(peer.caller.kind(), Kind::Gateway { .. }) {
        let detail = format!("{} may not speak for others", peer.caller.label());
        return Err(Error::new(Reason::Denied, detail));
    }
    let (cluster, member, places, delay) = decide(peer, worker)?;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let member = &cluster.members.list()[member];
    let active = member.state.begin();
    let address = (Ipv4Addr::LOCALHOST, member.endpoint.port).into();
    let connected = connect(address, None, cluster.traffic.connect_timeout).await;
    let (up, _) = connected.map_err(|error| error.explain(&member.endpoint.instance, address))?;
    worker.counters.connected(up.is_resumed());
    Ok((up, Arc::clone(&cluster), (active, places)))
}

fn decide(peer: &Peer, worker: &Worker) -> Result<(Arc<Cluster>, usize, Places, Duration), Error> {
    let world = worker.world();
    let gone = |what: &str| {
        let detail = format!("{what} does not run here any more");
        Error::new(Reason::Draining, detail)
    };
    let service = world
        .services
        .get(&peer.service)
        .ok_or_else(|| gone(&peer.service))?;
    let verdict = service.rules.access.judge_connection(Some(&peer.caller));
    if let Some(shadow) = verdict.shadow
        && shadow.decision != verdict.enforced.decision
    {
        worker.counters.event(match shadow.decision {
            Decision::Deny => Event::ShadowDenied,
            Decision::Allow => Event::ShadowAllowed,
        });
    }
    if verdict.enforced.decision == Decision::Deny {
        let detail = format!("{} may not call {}", peer.caller.label(), peer.service);
        return Err(Error::new(Reason::Denied, detail));
    }
    let member = service.cluster.here(&peer.instance);
    let member = member.ok_or_else(|| gone(&format!("{} of {}", peer.instance, peer.service)))?;
    let (places, delay) = restrain(service, &peer.caller, worker)?;
    Ok((Arc::clone(&service.cluster), member, places, delay))
}

/// Whether the caller is still believed and still allowed.
fn may_go_on(peer: &Peer, worker: &Worker) -> bool {
    let world = worker.world();
    let allows = |service: &crate::world::Service| {
        let verdict = service.rules.access.judge_connection(Some(&peer.caller));
        verdict.enforced.decision == Decision::Allow
    };
    world.services.get(&peer.service).is_some_and(allows) && peer.is_still_believed(&world.tls)
}

async fn say(down: &mut Stream, byte: u8) -> io::Result<()> {
    poll_fn(|cx| down.poll_write(cx, &[IoSlice::new(&[byte])])).await?;
    poll_fn(|cx| down.poll_flush(cx)).await
}
