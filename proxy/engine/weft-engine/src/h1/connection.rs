//! One downstream connection: requests one after another, small while it is idle.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use weft_http1::{Limits, RequestDecoder};

use crate::exchange::exchange;
use crate::io::{Deadline, Input, Stream};
use crate::observe::{Direction, Series};
use crate::worker::{Peer, Worker};

/// A client of the world may be silent between requests for this long.
const PUBLIC_IDLE: Duration = Duration::from_secs(75);

/// An application or a peer engine may be silent for this long: longer than any pool keeps a connection.
const MESH_IDLE: Duration = Duration::from_secs(2 * 3600);

/// After an answer that ended the connection, so much is still read, so that a reset does not eat the answer.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) input: Input,
    pub(crate) decoder: RequestDecoder,
    pub(crate) deadline: Deadline,
    /// Which listener accepted it.
    pub(crate) address: SocketAddr,
    /// Where the client is.
    pub(crate) ip: IpAddr,
    /// Who it is, on the inbound listener.
    pub(crate) peer: Option<Box<Peer>>,
    pub(crate) direction: Direction,
    /// The metric that counted its last request.
    pub(crate) last: Option<Series>,
}

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It takes the next one.
    Reuse,
    /// It ends in order: the client may still read its answer.
    Close,
    /// It ends at once.
    Abort,
}

/// Serves it to its end.
pub(crate) async fn serve(mut connection: Connection, worker: Rc<Worker>) {
    while connection.wait(&worker).await {
        match Box::pin(exchange(&mut connection, &worker)).await {
            Fate::Reuse => {}
            Fate::Close => return connection.linger().await,
            Fate::Abort => return,
        }
    }
}

// === impl Connection ===

impl Connection {
    /// A connection before its first request.
    pub(crate) fn new(
        stream: Stream,
        address: SocketAddr,
        ip: IpAddr,
        direction: Direction,
        peer: Option<Box<Peer>>,
    ) -> Self {
        let mut deadline = Deadline::never();
        deadline.bound(peer.as_ref().map(|peer| peer.life.end));
        Self {
            stream,
            input: Input::default(),
            decoder: RequestDecoder::new(match direction {
                Direction::Inbound => Limits::MESH,
                Direction::Outbound | Direction::Gateway => Limits::REQUEST,
            }),
            deadline,
            address,
            ip,
            peer,
            direction,
            last: None,
        }
    }

    /// Nothing goes on for longer than this connection lives, nor than the one to an upstream, while there is one.
    pub(crate) fn bound(&mut self, upstream: Option<Instant>) {
        self.deadline.bound(self.end_with(upstream));
    }

    /// When this connection and the one to an upstream are over, whichever is first.
    pub(crate) fn end_with(&self, upstream: Option<Instant>) -> Option<Instant> {
        let own = self.peer.as_ref().map(|peer| peer.life.end);
        own.into_iter().chain(upstream).min()
    }

    /// Waits for the first byte of a request; `false`: there will be none.
    async fn wait(&mut self, worker: &Worker) -> bool {
        self.input.release();
        if !self.input.unread().is_empty() {
            return true;
        }
        let idle = match self.direction {
            Direction::Gateway => PUBLIC_IDLE,
            Direction::Outbound | Direction::Inbound => MESH_IDLE,
        };
        let mut until = Instant::now() + idle;
        if let Some(peer) = &self.peer {
            until = until.min(peer.life.last);
        }
        self.deadline.set(until);
        loop {
            let mut changed = pin!(worker.changed.notified());
            changed.as_mut().enable();
            if !worker.still_serves(self) {
                return false;
            }
            let woken = poll_fn(|cx| {
                if let Poll::Ready(read) = self.input.poll_fill(&mut self.stream, cx) {
                    return Poll::Ready(Some(matches!(read, Ok(1..))));
                }
                if self.deadline.poll(cx).is_ready() {
                    return Poll::Ready(Some(false));
                }
                changed.as_mut().poll(cx).map(|()| None)
            });
            if let Some(more) = woken.await {
                return more;
            }
        }
    }

    /// Ends in order: no more is written, a little is still read.
    async fn linger(&mut self) {
        self.deadline.set(Instant::now() + LINGER_TIME);
        let mut left = LINGER_BYTES;
        let mut shut = false;
        poll_fn(|cx| {
            if self.deadline.poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if !shut {
                match self.stream.poll_shutdown(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(())) => shut = true,
                }
            }
            loop {
                let unread = self.input.unread().len();
                self.input.consume(unread);
                match self.input.poll_fill(&mut self.stream, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(count)) if count > 0 && count < left => left -= count,
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}
