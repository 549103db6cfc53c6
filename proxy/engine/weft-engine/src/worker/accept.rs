//! Accepting: what a listener does with each new connection.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_local;
use weft_model::section::GatewayProtocol;

use super::handshake::{inbound, public};
use super::{Worker, announced};
use crate::h1::{Connection, serve};
use crate::h2::{self, Client};
use crate::io::{Input, Stream, tune};
use crate::observe::{Direction, Event, Open, Opened};
use crate::tcp::{self, Call, outbound};
use crate::tls::{ALPN_HTTP2, ALPN_TCP, ALPN_TCP_PROXIED};
use crate::world::Place;

/// After a failed accept (no descriptors left, say) others get a chance to close some.
const PAUSE: Duration = Duration::from_millis(20);

/// An open downstream connection, counted until dropped.
struct Counted {
    worker: Rc<Worker>,
    direction: Direction,
    _opened: Opened,
    _place: OwnedSemaphorePermit,
}

/// Accepts until aborted.
pub(super) async fn accept(listener: Rc<TcpListener>, address: SocketAddr, worker: Rc<Worker>) {
    let room = worker.rooms.behind(address, worker.bounds.connections);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(place) = enter(&room, &worker, address).await else {
                    return;
                };
                let direction = match worker.world().places.get(&address).map(|place| &**place) {
                    Some(Place::Outbound { .. } | Place::Open { .. }) => Direction::Outbound,
                    Some(Place::Inbound) => Direction::Inbound,
                    Some(Place::Gateway { .. }) => Direction::Gateway,
                    None => continue,
                };
                spawn_local(open(
                    stream,
                    peer,
                    address,
                    Counted::new(&worker, direction, place),
                ));
            }
            Err(error) => {
                worker.counters.event(Event::AcceptFailed);
                if !is_of_the_connection(&error) {
                    tracing::warn!(%address, %error, "no connection can be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// A place for one more connection, as soon as there is one: those behind it wait in the listening socket.
async fn enter(
    room: &Arc<Semaphore>,
    worker: &Worker,
    address: SocketAddr,
) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(room).try_acquire_owned() {
        return Some(place);
    }
    worker.counters.event(Event::Crowded);
    let most = worker.bounds.connections;
    tracing::warn!(%address, connections = most, "no more connections are accepted until one ends");
    Arc::clone(room).acquire_owned().await.ok()
}

/// A connection from its first moment on.
///
/// What comes before its first request is in a box that is gone by then: an idle connection keeps nothing of its handshake, nor
/// of the protocols that it does not speak.
fn open(
    stream: TcpStream,
    peer: SocketAddr,
    address: SocketAddr,
    counted: Counted,
) -> impl Future<Output = ()> {
    let worker = Rc::clone(&counted.worker);
    let opened = Box::pin(begin(stream, peer, address, counted));
    async move {
        if let Some((connection, _counted)) = opened.await {
            serve(connection, &worker).await;
        }
    }
}

/// All that comes before the first request of HTTP/1.1, or all there is to a connection of anything else.
async fn begin(
    mut stream: TcpStream,
    peer: SocketAddr,
    address: SocketAddr,
    counted: Counted,
) -> Option<(Connection, Counted)> {
    let Counted {
        worker, direction, ..
    } = &counted;
    tune(&stream).ok()?;
    let call = Call::at(address, &worker.world());
    if let Some(call) = call {
        outbound(Stream::Plain(stream), call, worker).await;
        return None;
    }
    let mut client = None;
    if *direction == Direction::Gateway {
        if announced::is_announced(peer, address, worker) {
            match announced::hear(&mut stream, worker).await {
                Ok(told) => client = told,
                Err(refused) => {
                    worker.counters.event(refused);
                    tracing::debug!(%peer, %address, ?refused, "a connection is not announced as it must be");
                    return None;
                }
            }
        }
        if passes_on(address, worker) {
            let stream = Stream::Plain(stream);
            tcp::passthrough(stream, address, client, worker).await;
            return None;
        }
    }
    let peer = client.map_or(peer, |ends| ends.source);
    let opened = match direction {
        Direction::Outbound => Ok((Stream::Plain(stream), None)),
        Direction::Inbound => Box::pin(inbound(stream, worker))
            .await
            .map(|(stream, peer)| (stream, Some(peer))),
        Direction::Gateway => Box::pin(public(stream, address, worker))
            .await
            .map(|stream| (stream, None)),
    };
    if let Ok((stream, _)) = &opened
        && let Some(resumed) = stream.is_resumed()
    {
        worker.counters.handshake(*direction, resumed);
    }
    match opened {
        Ok((stream, Some(mesh))) if matches!(stream.alpn(), Some(ALPN_TCP | ALPN_TCP_PROXIED)) => {
            Box::pin(tcp::inbound(stream, mesh, worker)).await;
        }
        Ok((stream, mesh)) => {
            let client = Client {
                address,
                ip: peer.ip(),
                peer: mesh,
                direction: *direction,
                tls: stream.tls(),
            };
            if stream.alpn() != Some(ALPN_HTTP2) {
                return Some((Connection::plain(stream, client, worker), counted));
            }
            Box::pin(h2::serve(
                stream,
                Input::default(),
                client,
                Rc::clone(worker),
            ))
            .await;
        }
        Err(reason) => {
            worker.counters.tls(*direction, reason);
            tracing::debug!(%peer, %address, tls_reason = reason.word(), "a handshake failed");
        }
    }
    None
}

/// Whether a gateway's port passes TLS on as it is.
fn passes_on(address: SocketAddr, worker: &Worker) -> bool {
    match worker.world().places.get(&address).map(|place| &**place) {
        Some(Place::Gateway { gateway, listener }) => gateway
            .listeners
            .get(&**listener)
            .is_some_and(|port| port.protocol == GatewayProtocol::Tls),
        _ => false,
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

// === impl Counted ===

impl Counted {
    fn new(worker: &Rc<Worker>, direction: Direction, place: OwnedSemaphorePermit) -> Self {
        Self {
            worker: Rc::clone(worker),
            direction,
            _opened: worker.counters.opened(Open::Connection, direction),
            _place: place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F: Future>(_: fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_keeps_little() {
        let size = size(open);
        assert!(size <= 1300, "{size} bytes");
    }
}
