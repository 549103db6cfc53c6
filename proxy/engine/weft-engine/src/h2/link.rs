//! A connection to an upstream that many requests share.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::upstream::Slot;
use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, Reason};
use http::Request;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};
use weft_core::endpoint::State;
use weft_core::retry::Failure;
use weft_http1::{Method, Reject, ResponseHead};

use super::head::read_response;
use super::wire::{Said, Wire};
use super::{Incoming, Outgoing, limits};
use crate::bounds::Bounds;
use crate::io::Stream;
use crate::observe::Event;
use crate::tls::TlsReason;
use crate::worker::{Life, Worker};

#[cfg(test)]
mod tests;

/// A connection, alive as long as somebody holds it.
#[derive(Debug)]
pub(crate) struct Link {
    send: SendRequest<Bytes>,
    status: Rc<Status>,
    used: Cell<bool>,
    /// It takes no request any more from then on.
    pub(crate) expires: Instant,
    /// It is gone then, whatever is under way; without certificates, never.
    ends: Option<Instant>,
    bounds: Arc<Bounds>,
    /// Keeps the endpoint's place in memory, and so its key, from meaning another one.
    _state: Arc<State>,
    _slot: Slot,
}

/// What the task that drives a connection and those who use it tell each other.
#[derive(Debug)]
struct Status {
    /// It takes no more requests.
    over: Cell<bool>,
    /// Its peer's host gave no sign of life: what is under way ends too.
    dead: Cell<bool>,
    streams: Cell<usize>,
    /// A stream was refused, and none has ended since.
    full: Cell<bool>,
    idle_since: Cell<Instant>,
    /// Wakes whoever drives it: to ask for a sign of life now, or because its peer's host is dead.
    look: Notify,
    said: Said,
}

/// One request's place on a connection.
#[derive(Debug)]
pub(crate) struct Sender {
    link: Rc<Link>,
    /// Whether the connection had carried others before.
    pub(crate) reused: bool,
    response: Option<ResponseFuture>,
    pub(crate) outgoing: Option<Outgoing>,
    pub(crate) incoming: Option<Incoming>,
}

/// What a stream answers with.
#[derive(Debug)]
pub(crate) enum Answered {
    /// The head is read.
    Head,
    /// Another one follows.
    Informational,
    /// None comes.
    Failed(Failure),
    /// It is refused.
    Refused(Reject),
    /// TLS broke.
    Tls(TlsReason),
}

/// Opens a connection over a stream and drives it from now on; `peer`: an engine is at the other end.
pub(crate) async fn open(
    stream: Stream,
    peer: bool,
    life: Option<Life>,
    state: Arc<State>,
    slot: Slot,
    (worker, address): (&Worker, SocketAddr),
) -> io::Result<Rc<Link>> {
    let bounds = Arc::clone(&worker.bounds);
    let http2 = &bounds.http2;
    let wire = Wire::new(stream);
    let said = wire.said();
    let (send, connection) = Builder::new()
        .enable_push(false)
        .initial_max_send_streams(http2.max_concurrent_streams as usize)
        .initial_window_size(http2.stream_window.window())
        .initial_connection_window_size(http2.shared_window())
        .max_header_list_size(u32::try_from(bounds.response(peer).head).unwrap_or(u32::MAX))
        .max_concurrent_reset_streams(limits::RESET_STREAMS)
        .max_local_error_reset_streams(Some(limits::ERROR_RESETS))
        .max_send_buffer_size(limits::SEND_BUFFER)
        .data_frame_budget(limits::SMALL_FRAMES)
        .handshake(wire)
        .await
        .map_err(io::Error::other)?;
    let status = Rc::new(Status {
        over: Cell::new(false),
        dead: Cell::new(false),
        streams: Cell::new(0),
        full: Cell::new(false),
        look: Notify::new(),
        idle_since: Cell::new(Instant::now()),
        said,
    });
    let alive = peer.then(|| Alive {
        every: http2.ping_interval.0,
        patience: http2.ping_timeout.0,
        worker: worker.me(),
        address,
    });
    spawn_local(drive(connection, Rc::clone(&status), alive));
    let oldest = Instant::now() + bounds.max_age.0;
    Ok(Rc::new(Link {
        send,
        status,
        used: Cell::new(false),
        expires: life.map_or(oldest, |life| life.last.min(oldest)),
        ends: life.map(|life| life.end),
        bounds,
        _state: state,
        _slot: slot,
    }))
}

/// How it is known that a peer engine lives.
struct Alive {
    /// How often it is asked for a sign while something is under way.
    every: Duration,
    /// How long that may take.
    patience: Duration,
    /// Whose other connections to the same host are given up on where it does not come.
    worker: Weak<Worker>,
    address: SocketAddr,
}

async fn drive(mut connection: Connection<Wire, Bytes>, status: Rc<Status>, alive: Option<Alive>) {
    let pings = alive.zip(connection.ping_pong());
    let dead = async {
        let Some((alive, mut pings)) = pings else {
            return std::future::pending().await;
        };
        loop {
            // Whichever is first; a connection that rested for long is asked as soon as it is used again.
            let _ = timeout(alive.every, status.look.notified()).await;
            if status.dead.get() {
                return alive;
            }
            if status.streams.get() == 0 {
                continue;
            }
            let answered = async {
                pings.send_ping(Ping::opaque())?;
                std::future::poll_fn(|cx| pings.poll_pong(cx)).await
            };
            if !matches!(timeout(alive.patience, answered).await, Ok(Ok(_))) {
                return alive;
            }
        }
    };
    tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to an upstream broke");
            }
        }
        alive = dead => {
            tracing::debug!(address = %alive.address, "a peer engine gave no sign of life");
            status.over.set(true);
            if !status.dead.replace(true)
                && let Some(worker) = alive.worker.upgrade()
            {
                worker.counters.event(Event::PeerDead);
                worker.give_up_on(alive.address);
            }
        }
    }
    status.over.set(true);
}

// === impl Link ===

impl Link {
    /// Whether it can take another request.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        let most = self
            .send
            .current_max_send_streams()
            .min(self.bounds.http2.max_concurrent_streams as usize);
        self.is_good(now) && !self.status.full.get() && self.status.streams.get() < most
    }

    /// Whether it is to be kept.
    pub(crate) fn is_good(&self, now: Instant) -> bool {
        now < self.expires && !self.status.over.get()
    }

    /// Since when nothing was under way on it; `None`: something is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.status.streams.get() == 0).then(|| self.status.idle_since.get())
    }

    /// Ends it, with what is under way on it: its peer's host is dead.
    pub(crate) fn give_up(&self) {
        self.status.over.set(true);
        self.status.dead.set(true);
        self.status.look.notify_one();
    }

    /// A place on it.
    pub(crate) fn sender(self: &Rc<Self>, now: Instant) -> Sender {
        let rest = self.bounds.http2.ping_interval.0;
        if self.idle_since().is_some_and(|since| now >= since + rest) {
            self.status.look.notify_one();
        }
        self.status.streams.set(self.status.streams.get() + 1);
        Sender {
            link: Rc::clone(self),
            reused: self.used.replace(true),
            response: None,
            outgoing: None,
            incoming: None,
        }
    }
}

// === impl Sender ===

impl Sender {
    /// When the connection is gone, whatever is under way.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.link.ends
    }

    /// Sends a request's head; `ended`: it is all. `backlog` is the beginning of its body.
    pub(crate) fn start(
        &mut self,
        request: Request<()>,
        ended: bool,
        backlog: Bytes,
    ) -> Result<(), Failure> {
        let sent = self.link.send.clone().send_request(request, ended);
        let (response, stream) = sent.map_err(|_| {
            // The connection takes no more: whoever asks next gets another one.
            self.link.status.over.set(true);
            Failure::GoAway
        })?;
        self.response = Some(response);
        self.outgoing = Some(Outgoing::new(stream, backlog, ended));
        Ok(())
    }

    /// Waits for the head of the answer.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: Method,
        head: &mut ResponseHead,
    ) -> Poll<Answered> {
        let limits = self.link.bounds.response(self.link.ends.is_some());
        let Some(response) = &mut self.response else {
            return Poll::Ready(Answered::Failed(Failure::Reset));
        };
        if let Poll::Ready(Some(Ok(said))) = response.poll_informational(cx) {
            return Poll::Ready(match read_response(&said, false, method, &limits, head) {
                Ok(()) => Answered::Informational,
                Err(reject) => Answered::Refused(reject),
            });
        }
        Pin::new(response).poll(cx).map(|answer| match answer {
            Ok(answer) => {
                let ended = answer.body().is_end_stream();
                match read_response(&answer, ended, method, &limits, head) {
                    Ok(()) => {
                        self.incoming = Some(Incoming::new(answer.into_body()));
                        Answered::Head
                    }
                    Err(reject) => Answered::Refused(reject),
                }
            }
            Err(error) => self.failed(&error),
        })
    }

    fn failed(&self, error: &h2::Error) -> Answered {
        if let Some(reason) = self.link.status.said.get() {
            return Answered::Tls(reason);
        }
        Answered::Failed(if error.is_go_away() && error.is_remote() {
            self.link.status.over.set(true);
            Failure::GoAway
        } else if error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM) {
            // Whoever asks next, this request again included, gets another connection.
            self.link.status.full.set(true);
            Failure::RefusedStream
        } else {
            Failure::Reset
        })
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let status = &self.link.status;
        status.streams.set(status.streams.get() - 1);
        if self.response.is_some() && self.incoming.is_some() {
            // One that was served makes room.
            status.full.set(false);
        }
        status.idle_since.set(Instant::now());
    }
}
