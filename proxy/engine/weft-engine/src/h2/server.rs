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
use http::Request;
use http::request::Parts;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};
use weft_http1::Limits;
use weft_model::section::Decision;

use super::wire::Wire;
use super::{Call, head, limits};
use crate::exchange::exchange_call;
use crate::h1::{Connection, MESH_IDLE, PUBLIC_IDLE, Scratch};
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
    /// Whether it speaks TLS.
    pub(crate) secure: bool,
}

/// Requests under way on one connection.
struct Open(
    Rc<Cell<usize>>,
    #[expect(dead_code, reason = "held")] Opened,
);

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
    let mesh = client.direction == Direction::Inbound;
    let streams = Builder::new()
        .max_concurrent_streams(limits::STREAMS)
        .initial_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .max_header_list_size(if mesh {
            limits::MESH_HEADER_LIST
        } else {
            limits::HEADER_LIST
        })
        .max_concurrent_reset_streams(limits::RESET_STREAMS)
        .max_pending_accept_reset_streams(limits::PENDING_RESETS)
        .max_local_error_reset_streams(Some(limits::ERROR_RESETS))
        .max_send_buffer_size(limits::SEND_BUFFER)
        .handshake(Wire::metered(stream, first));
    match timeout(limits::PREFACE_TIMEOUT, streams).await {
        Ok(Ok(streams)) => run(streams, &client, &worker).await,
        Ok(Err(error)) => tracing::debug!(%error, ip = %client.ip, "no HTTP/2 came about"),
        Err(_) => tracing::debug!(ip = %client.ip, "no HTTP/2 came about in time"),
    }
}

async fn run(mut streams: Streams<Wire, Bytes>, client: &Client, worker: &Rc<Worker>) {
    let open = Rc::new(Cell::new(0));
    let mut deadline = Deadline::never();
    let mut leaving = false;
    let idle = match client.direction {
        Direction::Gateway => PUBLIC_IDLE,
        Direction::Outbound | Direction::Inbound => MESH_IDLE,
    };
    let mut idle_until = Instant::now() + idle;
    loop {
        let mut changed = pin!(worker.changed.notified());
        changed.as_mut().enable();
        if !client.is_believed(worker) {
            streams.abrupt_shutdown(Reason::NO_ERROR);
        } else if !leaving && !worker.still_serves(client.address, client.peer.as_deref()) {
            leaving = true;
            streams.graceful_shutdown();
        }
        deadline.set(client.due(idle_until, leaving));
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
            Happened::Due if leaving && open.get() == 0 => return,
            Happened::Due if open.get() > 0 && Instant::now() >= idle_until => {
                idle_until = Instant::now() + idle;
            }
            Happened::Due => {
                leaving = true;
                idle_until = Instant::now() + limits::PREFACE_TIMEOUT;
                streams.graceful_shutdown();
            }
        }
    }
}

/// Whether a stream's caller is still believed and still allowed.
fn may_go_on(peer: Option<&Peer>, head: &Parts, worker: &Worker) -> bool {
    let Some(peer) = peer else {
        return true;
    };
    let world = worker.world();
    let call = weft_core::access::Call {
        caller: Some(&peer.caller),
        method: head.method.as_str(),
        path: head.uri.path(),
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
    respond: SendResponse<Bytes>,
    client: Client,
    worker: Rc<Worker>,
    _open: Open,
) {
    let mut scratch = Scratch::take();
    let limits = match client.direction {
        Direction::Inbound => Limits::MESH,
        Direction::Outbound | Direction::Gateway => Limits::REQUEST,
    };
    let read = head::read_request(&request, &limits, &mut scratch.request);
    let (head, body) = request.into_parts();
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
    fn new(count: &Rc<Cell<usize>>, opened: Opened) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count), opened)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
