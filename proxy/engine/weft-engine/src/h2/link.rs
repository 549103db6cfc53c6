//! A connection to an upstream that many requests share.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, Reason};
use http::Request;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};
use weft_core::endpoint::State;
use weft_core::limit::Permit;
use weft_core::retry::Failure;
use weft_http1::{Method, Reject, ResponseHead};

use super::head::read_response;
use super::wire::{Said, Wire};
use super::{Incoming, Outgoing, limits};
use crate::bounds::Bounds;
use crate::io::Stream;
use crate::tls::TlsReason;
use crate::worker::Life;

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
    _permit: Permit,
}

/// What the task that drives a connection and those who use it tell each other.
#[derive(Debug)]
struct Status {
    over: Cell<bool>,
    streams: Cell<usize>,
    idle_since: Cell<Instant>,
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
    permit: Permit,
    bounds: Arc<Bounds>,
) -> io::Result<Rc<Link>> {
    let http2 = &bounds.http2;
    let wire = Wire::new(stream);
    let said = wire.said();
    let (send, connection) = Builder::new()
        .enable_push(false)
        .initial_max_send_streams(http2.max_concurrent_streams as usize)
        .initial_window_size(http2.stream_window.window())
        .initial_connection_window_size(http2.shared_window())
        .max_header_list_size(bounds.response_header_bytes.window())
        .max_concurrent_reset_streams(limits::RESET_STREAMS)
        .max_local_error_reset_streams(Some(limits::ERROR_RESETS))
        .max_send_buffer_size(limits::SEND_BUFFER)
        .data_frame_budget(limits::SMALL_FRAMES)
        .handshake(wire)
        .await
        .map_err(io::Error::other)?;
    let status = Rc::new(Status {
        over: Cell::new(false),
        streams: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
        said,
    });
    let alive = peer.then_some((http2.ping_interval.0, http2.ping_timeout.0));
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
        _permit: permit,
    }))
}

/// `pings`: how often a sign of life is asked for while something is under way, and how long it may take.
async fn drive(
    mut connection: Connection<Wire, Bytes>,
    status: Rc<Status>,
    pings: Option<(Duration, Duration)>,
) {
    let pings = pings.zip(connection.ping_pong());
    let alive = async {
        let Some(((every, patience), mut pings)) = pings else {
            return std::future::pending().await;
        };
        loop {
            sleep(every).await;
            if status.streams.get() == 0 {
                continue;
            }
            let answered = async {
                pings.send_ping(Ping::opaque())?;
                std::future::poll_fn(|cx| pings.poll_pong(cx)).await
            };
            if !matches!(timeout(patience, answered).await, Ok(Ok(_))) {
                return;
            }
        }
    };
    tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to an upstream broke");
            }
        }
        () = alive => tracing::debug!("a peer engine gave no sign of life"),
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
        self.is_good(now) && self.status.streams.get() < most
    }

    /// Whether it is to be kept.
    pub(crate) fn is_good(&self, now: Instant) -> bool {
        now < self.expires && !self.status.over.get()
    }

    /// Since when nothing was under way on it; `None`: something is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.status.streams.get() == 0).then(|| self.status.idle_since.get())
    }

    /// A place on it.
    pub(crate) fn sender(self: &Rc<Self>) -> Sender {
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
        let limits = self.link.bounds.response();
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
        status.idle_since.set(Instant::now());
    }
}
