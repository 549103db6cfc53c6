//! Copies of requests: sent when the original was answered, by nobody who waits, and answered to nobody.
//!
//! A copy never slows or fails its original. So few are under way at once, and wait, that a service that does not answer costs
//! nothing but itself; those beyond are not sent, and counted. A body that cannot be kept is not sent either.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};
use weft_core::balance::{Pick, Seen};
use weft_core::outlier::Outcome;
use weft_http1::{Fields, Framing, Step, encode};
use weft_model::section::Protocol;

use super::decide::{Forward, Way};
use super::reach::{Goal, reach};
use super::request::{Left, MIRROR, encode_try, frame_try};
use crate::h1::Scratch;
use crate::h2::{Answered, Piece, Sender};
use crate::observe::Event;
use crate::upstream::{self, Upstream};
use crate::worker::Worker;

/// A copy that waits to be sent.
#[derive(Debug)]
pub(crate) struct Mirrored {
    plan: Arc<Forward>,
    scratch: Box<Scratch>,
}

/// So many are under way at once, per worker.
const AT_ONCE: usize = 32;

/// No more of an answer is read; its connection ends then.
const MOST_ANSWER: usize = 1024 * 1024;

static NO_TRAILERS: Fields = Fields::new();

/// Hands a copy over, if there is room and it can be made. `whole`: all of the original's body came.
pub(super) fn copy(
    worker: &Worker,
    scratch: &Scratch,
    plan: &Arc<Forward>,
    original: &str,
    whole: bool,
) {
    let Some(kept) = scratch.replay.kept().filter(|_| whole) else {
        return worker.counters.event(Event::MirrorNoBody);
    };
    let Ok(place) = worker.mirrored.try_reserve() else {
        return worker.counters.event(Event::MirrorBusy);
    };
    let mut copy = Scratch::take();
    copy.request.clone_from(&scratch.request);
    copy.lines.extend_from_slice(&scratch.lines);
    encode::field(&mut copy.lines, MIRROR, original.as_bytes());
    copy.replay.start(Some(Rc::clone(&worker.copies)));
    copy.replay.keep(kept);
    if copy.replay.kept().is_none() {
        copy.give();
        return worker.counters.event(Event::MirrorNoBody);
    }
    place.send(Mirrored {
        plan: Arc::clone(plan),
        scratch: copy,
    });
}

/// Sends copies as they come, for ever.
pub(crate) async fn play(worker: Rc<Worker>, mut copies: Receiver<Mirrored>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(Mirrored { plan, mut scratch }) = copies.recv().await {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return; // It is never closed.
        };
        let worker = Rc::clone(&worker);
        spawn_local(async move {
            let answered = timeout(plan.timeout, one(&worker, &plan, &mut scratch)).await;
            worker.counters.event(match answered {
                Ok(Ok(())) => Event::Mirrored,
                Ok(Err(())) | Err(_) => Event::MirrorFailed,
            });
            scratch.give();
            drop(place);
        });
    }
}

/// Sends one copy, and reads its answer away.
async fn one(worker: &Worker, plan: &Forward, scratch: &mut Scratch) -> Result<(), ()> {
    let (Way::Mesh { subset, .. } | Way::Outside { subset }) = plan.way else {
        return Err(());
    };
    let cluster = &plan.cluster;
    let _room = cluster.capacity.requests.acquire().ok_or(())?;
    let began = Instant::now();
    let pick = worker.pick(cluster, subset, (&[], None), began).ok_or(())?;
    let member = &cluster.members.list()[pick.member];
    let _active = member.state.begin();
    let goal = Goal {
        worker,
        plan,
        member,
        place: pick.member,
        http2: matches!(cluster.protocol, Protocol::Http2 | Protocol::Grpc),
    };
    for fresh in [false, true] {
        let upstream = match reach(goal, fresh, plan.timeout, Instant::now()).await {
            Ok(upstream) => upstream,
            Err(failed) => {
                let outcome = match failed.host_unreachable {
                    true => Outcome::HostUnreachable,
                    false => Outcome::Failure,
                };
                if failed.failure.counts() {
                    report(worker, plan, pick, Seen::Failure(plan.timeout), outcome);
                }
                return Err(());
            }
        };
        let reused = upstream.is_reused();
        let answered = match upstream {
            Upstream::H1(connection) => over_h1(worker, plan, scratch, connection).await,
            Upstream::H2(sender) => over_h2(plan, scratch, sender).await,
        };
        match answered {
            // A connection may have ended just before it was used again.
            Err(()) if reused && !fresh => continue,
            Ok(()) if scratch.response.status() < 500 => {
                let seen = Seen::Answer(began.elapsed());
                report(worker, plan, pick, seen, Outcome::Success);
                return Ok(());
            }
            answered => {
                let seen = Seen::Failure(plan.timeout);
                report(worker, plan, pick, seen, Outcome::Failure);
                return answered;
            }
        }
    }
    Err(())
}

fn report(worker: &Worker, plan: &Forward, pick: Pick, seen: Seen, outcome: Outcome) {
    let now = Instant::now();
    worker.observe(&plan.cluster, pick.member, seen, now);
    worker.report(&plan.cluster, pick, outcome, now);
}

/// A copy has a time of its own, whatever deadline its original had.
fn left(plan: &Forward) -> Left {
    Left {
        head: plan.timeout,
        call: None,
    }
}

async fn over_h1(
    worker: &Worker,
    plan: &Forward,
    scratch: &mut Scratch,
    mut connection: Box<upstream::Connection>,
) -> Result<(), ()> {
    encode_try(scratch, plan, left(plan), Some(&NO_TRAILERS));
    let Scratch {
        request,
        response,
        up,
        ..
    } = scratch;
    connection.decoder.expect(request.method(), false);
    let mut read = 0;
    let whole = poll_fn(|cx| {
        let upstream::Connection {
            stream,
            input,
            decoder,
            ..
        } = &mut *connection;
        if !up.is_empty()
            && let Poll::Ready(Err(_)) = up.poll_flush(stream, cx)
        {
            return Poll::Ready(false);
        }
        loop {
            let (taken, step) = decoder.feed(input.unread(), response);
            input.consume(taken);
            read += taken;
            match step {
                Step::End => return Poll::Ready(true),
                Step::Bad(_) => return Poll::Ready(false),
                // The answer's head is all that anybody wants to know.
                _ if read > MOST_ANSWER => return Poll::Ready(false),
                Step::Head | Step::Data(_) | Step::Trailers => continue,
                Step::Need => {}
            }
            match input.poll_fill(stream, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => {}
                // A body that ends with the connection is whole then, as far as anybody can tell.
                Poll::Ready(_) => {
                    return Poll::Ready(response.framing() == Framing::UntilClose);
                }
            }
        }
    });
    if !whole.await {
        return Err(());
    }
    if response.keep_alive() && connection.input.unread().is_empty() && up.is_empty() {
        let idle = plan.cluster.traffic.idle_timeout;
        worker.give(connection, idle, Instant::now());
    }
    Ok(())
}

async fn over_h2(plan: &Forward, scratch: &mut Scratch, mut sender: Box<Sender>) -> Result<(), ()> {
    let request = frame_try(scratch, plan, left(plan)).ok_or(())?;
    let mut body = Bytes::copy_from_slice(scratch.replay.kept().unwrap_or_default());
    let ended = scratch.request.framing() == Framing::None || body.is_empty();
    sender.start(request, ended, Bytes::new()).map_err(drop)?;
    let method = scratch.request.method();
    let answered = poll_fn(|cx| {
        if let Some(outgoing) = &mut sender.outgoing
            && let Poll::Ready(Err(_)) = outgoing.poll_send(cx, &mut body, true)
        {
            return Poll::Ready(false);
        }
        loop {
            match sender.poll_head(cx, method, &mut scratch.response) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Answered::Informational) => {}
                Poll::Ready(answered) => {
                    return Poll::Ready(matches!(answered, Answered::Head));
                }
            }
        }
    });
    if !answered.await {
        return Err(());
    }
    let Some(incoming) = &mut sender.incoming else {
        return Ok(());
    };
    let mut read = 0;
    while read <= MOST_ANSWER {
        match poll_fn(|cx| incoming.poll_piece(cx)).await {
            Ok(Piece::Data(data)) => {
                read += data.len();
                incoming.release();
            }
            Ok(Piece::Trailers) => {}
            Ok(Piece::End) => return Ok(()),
            Err(_) => return Err(()),
        }
    }
    Ok(())
}
