//! One downstream connection: requests one after another, small while it is idle.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::time::Instant;
use weft_http1::{Fields, Limits, RequestDecoder, RequestHead};

use crate::exchange::exchange;
use crate::h2::{self, Call, Client};
use crate::io::{Deadline, Input, Output, Stream};
use crate::observe::{Direction, Series};
use crate::relay::{Body, Sink, Source};
use crate::worker::{Peer, SeenChanges, Worker};

/// An application or a peer engine may be silent for this long: longer than any pool keeps a connection.
pub(crate) const MESH_IDLE: Duration = Duration::from_secs(2 * 3600);

/// After an answer that ended the connection, so much is still read, so that a reset does not eat the answer.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// Where the requests of a client come from.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a connection lives in its task, and is not moved between requests"
)]
pub(crate) enum Wire {
    /// One after another over a connection.
    H1(Plain),
    /// The one of a stream.
    H2(Box<Call>),
}

/// A connection of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) stream: Stream,
    pub(crate) input: Input,
    pub(crate) decoder: RequestDecoder,
}

/// A client's connection, or one stream of it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    pub(crate) deadline: Deadline,
    /// Which listener accepted it.
    pub(crate) address: SocketAddr,
    /// Where the client is.
    pub(crate) ip: IpAddr,
    /// Who it is, on the inbound listener.
    pub(crate) peer: Option<Rc<Peer>>,
    pub(crate) direction: Direction,
    /// The version of TLS that it speaks, if any.
    pub(crate) tls: &'static str,
    /// The metric that counted its last request.
    pub(crate) last: Option<Series>,
    /// The clock as it was read last.
    pub(crate) now: Instant,
    /// Up to which change it is known to be served.
    seen: SeenChanges,
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

/// What HTTP/2 begins with, as far as no method does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Serves a connection to its end; in HTTP/2, if an application here begins with that.
///
/// What an `async fn` is given it keeps twice: as it was given, and as it uses it. This keeps a connection once.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub(crate) fn serve(mut connection: Connection, worker: &Rc<Worker>) -> impl Future<Output = ()> {
    async move {
        let may_change = connection.direction == Direction::Outbound;
        let mut change = pin!(worker.changes.next());
        if !connection.wait(worker, change.as_mut()).await {
            return;
        }
        if may_change
            && connection
                .begins_http2(worker.bounds.header_timeout.0)
                .await
        {
            return Box::pin(connection.into_http2(worker)).await;
        }
        loop {
            match Box::pin(exchange(&mut connection, worker)).await {
                Fate::Reuse => {}
                Fate::Close => return connection.linger().await,
                Fate::Abort => return,
            }
            if !connection.wait(worker, change.as_mut()).await {
                return;
            }
        }
    }
}

// === impl Plain ===

impl Plain {
    fn new(stream: Stream, limits: Limits) -> Self {
        Self {
            stream,
            input: Input::default(),
            decoder: RequestDecoder::new(limits),
        }
    }
}

// === impl Wire ===

impl Wire {
    /// The request's body.
    pub(crate) fn source<'a>(&'a mut self, head: &'a mut RequestHead) -> Source<'a> {
        match self {
            Self::H1(plain) => Source::H1 {
                stream: &mut plain.stream,
                input: &mut plain.input,
                body: Body::Request(&mut plain.decoder, head),
            },
            Self::H2(call) => Source::H2(&mut call.incoming),
        }
    }

    /// Where the answer's body goes. `None`: its head was not sent yet.
    pub(crate) fn sink<'a>(&'a mut self, output: &'a mut Output) -> Option<Sink<'a>> {
        match self {
            Self::H1(plain) => Some(Sink::H1 {
                stream: &mut plain.stream,
                output,
            }),
            Self::H2(call) => call.outgoing.as_mut().map(Sink::H2),
        }
    }

    /// What followed the request's body.
    pub(crate) fn trailers(&self) -> &Fields {
        match self {
            Self::H1(plain) => plain.decoder.trailers(),
            Self::H2(call) => call.trailers(),
        }
    }

    /// Whether it is a stream of HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// Ready when a client has reset its stream. One of HTTP/1.1 that ends its side after its request only waits.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H1(_) => Poll::Pending,
            Self::H2(call) => call.poll_left(cx),
        }
    }
}

// === impl Connection ===

impl Connection {
    /// A connection before its first request.
    fn new(wire: Wire, client: Client) -> Self {
        let mut deadline = Deadline::never();
        deadline.bound(client.peer.as_ref().map(|peer| peer.life.end));
        Self {
            wire,
            deadline,
            address: client.address,
            ip: client.ip,
            peer: client.peer,
            direction: client.direction,
            tls: client.tls,
            last: None,
            now: Instant::now(),
            seen: SeenChanges::default(),
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

    /// One stream of a connection.
    pub(crate) fn of_call(call: Call, client: Client) -> Self {
        Self::new(Wire::H2(Box::new(call)), client)
    }

    /// One of HTTP/1.1, as long as nothing else is known.
    pub(crate) fn plain(stream: Stream, client: Client, worker: &Worker) -> Self {
        let plain = Plain::new(stream, worker.bounds.request(client.direction));
        Self::new(Wire::H1(plain), client)
    }

    /// Serves it on in the other version.
    async fn into_http2(self, worker: &Rc<Worker>) {
        let client = Client {
            address: self.address,
            ip: self.ip,
            peer: self.peer,
            direction: self.direction,
            tls: self.tls,
        };
        if let Wire::H1(plain) = self.wire {
            h2::serve(plain.stream, plain.input, client, Rc::clone(worker)).await;
        }
    }

    /// Whether what comes is HTTP/2, told by as many bytes as it takes.
    async fn begins_http2(&mut self, within: Duration) -> bool {
        let Wire::H1(plain) = &mut self.wire else {
            return true;
        };
        self.deadline.set(Instant::now() + within);
        poll_fn(|cx| {
            loop {
                let unread = plain.input.unread();
                let count = unread.len().min(PREFACE.len());
                if unread[..count] != PREFACE[..count] || count == PREFACE.len() {
                    return Poll::Ready(count == PREFACE.len() && unread[..count] == *PREFACE);
                }
                match plain.input.poll_fill(&mut plain.stream, cx) {
                    Poll::Ready(Ok(1..)) => {}
                    // The decoder sees the same.
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => return self.deadline.poll(cx).map(|()| false),
                }
            }
        })
        .await
    }

    /// Waits for the first byte of a request; `false`: there will be none.
    async fn wait<'w>(&mut self, worker: &'w Worker, mut change: Pin<&mut Notified<'w>>) -> bool {
        let Wire::H1(plain) = &mut self.wire else {
            return false;
        };
        plain.input.release();
        if !plain.input.unread().is_empty() {
            return true;
        }
        let idle = match self.direction {
            Direction::Gateway => worker.bounds.idle_timeout.0,
            Direction::Outbound | Direction::Inbound => MESH_IDLE,
        };
        let since = self.now;
        let mut until = since + idle;
        if let Some(peer) = &self.peer {
            until = until.min(peer.life.last);
        }
        self.deadline.set(until);
        poll_fn(|cx| {
            let seen = worker.changes.seen();
            if self.seen != seen {
                worker.changes.wake_at_next(change.as_mut(), cx);
                if !worker.may_ask(self.address, self.peer.as_deref()) {
                    return Poll::Ready(false);
                }
                match worker.draining() {
                    Some(quiet) => self.deadline.set(until.min(since + quiet)),
                    None => self.seen = seen,
                }
            }
            if let Poll::Ready(read) = plain.input.poll_fill(&mut plain.stream, cx) {
                return Poll::Ready(matches!(read, Ok(1..)));
            }
            self.deadline.poll(cx).map(|()| false)
        })
        .await
    }

    /// Reads the clock.
    pub(crate) fn tick(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    /// Whether it may take another request. The clock was read a moment ago.
    pub(crate) fn is_still_served(&self, worker: &Worker) -> bool {
        if self.seen != worker.changes.seen() {
            return worker.still_serves(self.address, self.peer.as_deref());
        }
        let own = self.peer.as_ref();
        own.is_none_or(|peer| peer.life.last > self.now)
    }

    /// Ends in order: no more is written, a little is still read.
    async fn linger(&mut self) {
        let Wire::H1(plain) = &mut self.wire else {
            return;
        };
        self.deadline.set(Instant::now() + LINGER_TIME);
        let mut left = LINGER_BYTES;
        let mut shut = false;
        poll_fn(|cx| {
            if self.deadline.poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if !shut {
                match plain.stream.poll_shutdown(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(())) => shut = true,
                }
            }
            loop {
                let unread = plain.input.unread().len();
                plain.input.consume(unread);
                match plain.input.poll_fill(&mut plain.stream, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(count)) if count > 0 && count < left => left -= count,
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}
