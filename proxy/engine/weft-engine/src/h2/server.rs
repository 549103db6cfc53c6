//! One client's connection: streams side by side, each served as a request of its own.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::{Builder, Connection as Streams, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request, Uri};
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};
use weft_model::section::Decision;

use super::meter::Rates;
use super::wire::{Waits, Wire};
use super::{Call, head, limits};
use crate::bounds::{Bounds, Http2};
use crate::exchange::exchange_call;
use crate::h1::{Connection, MESH_IDLE, Scratch};
use crate::io::{Deadline, Input, Stream};
use crate::observe::{self, Direction, Event, Opened};
use crate::worker::{Peer, Worker};
use crate::world::Service;

/// Who is at the other end, and where it came in.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) ip: IpAddr,
    pub(crate) peer: Option<Rc<Peer>>,
    pub(crate) direction: Direction,
    /// The version of TLS that it speaks, if any.
    pub(crate) tls: &'static str,
}

/// What is under way on one connection.
#[derive(Debug, Default)]
struct Under {
    streams: Cell<usize>,
    /// Bytes of the heads of their requests.
    heads: Cell<usize>,
}

/// A request under way.
struct Open {
    under: Rc<Under>,
    head: usize,
    _counted: Opened,
}

/// What happened on a connection.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
enum Happened {
    Came(Request<RecvStream>, SendResponse<Bytes>),
    Ended,
    Changed,
    Due,
}

/// Serves a connection to its end; `first` is what was read of it already.
pub(crate) async fn serve(stream: Stream, first: Input, client: Client, worker: Rc<Worker>) {
    let bounds = &worker.bounds;
    let http2 = &bounds.http2;
    let factor = Http2::factor(client.direction);
    let window = match client.direction {
        Direction::Inbound => http2.shared_window(),
        Direction::Outbound | Direction::Gateway => http2.connection_window.window(),
    };
    let wire = Wire::metered(stream, first, Rates::new(http2, factor));
    let waits = wire.waits();
    let streams = Builder::new()
        .max_concurrent_streams(http2.max_concurrent_streams)
        .initial_window_size(http2.stream_window.window())
        .initial_connection_window_size(window)
        .max_header_list_size(header_list(bounds, client.direction))
        .max_concurrent_reset_streams(limits::RESET_STREAMS)
        .max_pending_accept_reset_streams(limits::PENDING_RESETS * factor as usize)
        .max_local_error_reset_streams(Some(limits::ERROR_RESETS))
        .max_send_buffer_size(limits::SEND_BUFFER)
        .data_frame_budget(limits::SMALL_FRAMES)
        .handshake(wire);
    match timeout(bounds.header_timeout.0, streams).await {
        Ok(Ok(streams)) => run(streams, &waits, &client, &worker).await,
        Ok(Err(error)) => tracing::debug!(%error, ip = %client.ip, "no HTTP/2 came about"),
        Err(_) => tracing::debug!(ip = %client.ip, "no HTTP/2 came about in time"),
    }
}

/// What the fields of a request may come to, as RFC 9113 section 6.5.2 counts them.
fn header_list(bounds: &Bounds, direction: Direction) -> u32 {
    // A peer engine's client may send as much, and that engine adds to it.
    let size = bounds.header_bytes.window();
    match direction {
        Direction::Inbound => size * 2,
        Direction::Outbound | Direction::Gateway => size,
    }
}

async fn run(
    mut streams: Streams<Wire, Bytes>,
    waits: &Waits,
    client: &Client,
    worker: &Rc<Worker>,
) {
    let patience = worker.bounds.header_timeout.0;
    let open = Rc::new(Under::default());
    let mut deadline = Deadline::never();
    let mut leaving = false;
    let idle = match client.direction {
        Direction::Gateway => worker.bounds.idle_timeout.0,
        Direction::Outbound | Direction::Inbound => MESH_IDLE,
    };
    let mut idle_until = Instant::now() + idle;
    loop {
        let mut changed = pin!(worker.changes.next());
        changed.as_mut().enable();
        if !client.is_believed(worker) {
            streams.abrupt_shutdown(Reason::NO_ERROR);
        } else if !leaving && !worker.still_serves(client.address, client.peer.as_deref()) {
            leaving = true;
            streams.graceful_shutdown();
        }
        let due = client.due(idle_until, leaving);
        let late = || waits.get().map(|since| since + patience);
        let happened = poll_fn(|cx| {
            match streams.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    return Poll::Ready(Happened::Came(request, respond));
                }
                Poll::Ready(Some(Err(error))) => {
                    if error.get_io().is_some_and(is_flood) {
                        worker.counters.event(Event::Flooded);
                    }
                    tracing::debug!(%error, ip = %client.ip, "a connection broke");
                    return Poll::Ready(Happened::Ended);
                }
                Poll::Ready(None) => return Poll::Ready(Happened::Ended),
                Poll::Pending => {}
            }
            if changed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Happened::Changed);
            }
            deadline.set(late().map_or(due, |late| due.min(late)));
            deadline.poll(cx).map(|()| Happened::Due)
        });
        match happened.await {
            Happened::Came(request, respond) => {
                idle_until = Instant::now() + idle;
                let opened = worker
                    .counters
                    .opened(observe::Open::Stream, client.direction);
                let open = Open::new(&open, opened);
                spawn_local(one(
                    request,
                    respond,
                    client.clone(),
                    Rc::clone(worker),
                    open,
                ));
            }
            Happened::Ended => return,
            Happened::Changed => {}
            Happened::Due if client.is_over() => return,
            Happened::Due if late().is_some_and(|late| Instant::now() >= late) => {
                tracing::debug!(ip = %client.ip, "a header block took too long");
                return;
            }
            Happened::Due if leaving && open.streams.get() == 0 => return,
            Happened::Due if open.streams.get() > 0 && Instant::now() >= idle_until => {
                idle_until = Instant::now() + idle;
            }
            Happened::Due => {
                leaving = true;
                idle_until = Instant::now() + limits::GRACE;
                streams.graceful_shutdown();
            }
        }
    }
}

/// Whether a stream's caller is still believed and still allowed.
fn may_go_on(peer: Option<&Peer>, (method, uri): &(Method, Uri), worker: &Worker) -> bool {
    let Some(peer) = peer else {
        return true;
    };
    let world = worker.world();
    let call = weft_core::access::Call {
        caller: Some(&peer.caller),
        method: method.as_str(),
        path: uri.path(),
    };
    let allows =
        |service: &Service| service.rules.access.judge(call).enforced.decision == Decision::Allow;
    peer.is_trusted(&world.tls) && world.services.get(&peer.service).is_some_and(allows)
}

fn is_flood(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::QuotaExceeded
}

/// Serves one stream.
async fn one(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    client: Client,
    worker: Rc<Worker>,
    mut open: Open,
) {
    let most =
        worker.bounds.http2.headers_in_flight.bytes() * Http2::factor(client.direction) as usize;
    if !open.holds(head::size(&request), most) {
        // Nothing was done about it, so that it may be sent again.
        return respond.send_reset(Reason::REFUSED_STREAM);
    }
    let mut scratch = Scratch::take();
    let limits = worker.bounds.request(client.direction);
    let read = head::read_request(&request, &limits, &mut scratch.request);
    let (head, body) = request.into_parts();
    // Its fields are kept once, in the scratch.
    let head = (head.method, head.uri);
    let peer = client.peer.clone();
    let mut connection = Connection::of_call(Call::new(body, respond), client);
    let mut served = Box::pin(exchange_call(&mut connection, &worker, &mut scratch, read));
    loop {
        tokio::select! {
            biased;
            () = &mut served => break,
            // What is dropped in the middle is reset.
            () = worker.rejudge.notified() => {
                if !may_go_on(peer.as_deref(), &head, &worker) {
                    return;
                }
            }
        }
    }
    drop(served);
    scratch.give();
}

// === impl Client ===

impl Client {
    fn is_believed(&self, worker: &Worker) -> bool {
        self.peer
            .as_ref()
            .is_none_or(|peer| peer.is_trusted(&worker.world().tls))
    }

    /// Whether what is under way has to end too.
    fn is_over(&self) -> bool {
        self.peer
            .as_ref()
            .is_some_and(|peer| Instant::now() >= peer.life.end)
    }

    fn due(&self, idle_until: Instant, leaving: bool) -> Instant {
        match &self.peer {
            Some(peer) if leaving => idle_until.min(peer.life.end),
            Some(peer) => idle_until.min(peer.life.last),
            None => idle_until,
        }
    }
}

// === impl Open ===

impl Open {
    fn new(under: &Rc<Under>, counted: Opened) -> Self {
        under.streams.set(under.streams.get() + 1);
        Self {
            under: Rc::clone(under),
            head: 0,
            _counted: counted,
        }
    }

    /// Whether there is room for its head among those of the others. A single one always has it.
    fn holds(&mut self, head: usize, most: usize) -> bool {
        let heads = self.under.heads.get();
        if heads > 0 && heads + head > most {
            return false;
        }
        self.under.heads.set(heads + head);
        self.head = head;
        true
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.under.streams.set(self.under.streams.get() - 1);
        self.under.heads.set(self.under.heads.get() - self.head);
    }
}
