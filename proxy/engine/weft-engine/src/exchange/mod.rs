//! One request: decide, try, pump, record.

mod attempt;
mod deadline;
mod decide;
mod failed;
mod fields;
mod follow;
mod forward;
mod mirror;
mod reach;
mod record;
mod request;
mod respond;
mod restrain;
mod tell;
mod trace;

pub(crate) use self::record::Trail;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use weft_core::reason::{Error, Reason};
use weft_http1::{Framing, Method, Reject, Side, Step, Version};

pub(crate) use self::decide::{Ask, Asker, Decision, Forward, Plan, Way, decide, named};
pub(crate) use self::fields::Seen;
pub(crate) use self::follow::text;
use self::forward::forward;
pub(crate) use self::mirror::{Mirrored, play as play_mirrored};
use self::record::{Named, record};
pub(crate) use self::restrain::Restraining;
pub(crate) use self::restrain::unix_millis;
use self::restrain::{Restraint, wait};
pub(crate) use self::trace::new_trace;
use crate::h1::{Answer, Connection, Fate, Plain, Scratch, Then, Wire};
use crate::h2::is_grpc;
use crate::io::Deadline;
use crate::observe::Label;
use crate::worker::Worker;

/// A client takes an answer of the engine's own within that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How a request ended, for whoever counts.
#[derive(Clone, Copy, Debug)]
struct End {
    code: u16,
    reason: Option<Reason>,
    fate: Fate,
}

/// A client that left before its answer was complete; nginx's number for it.
const CLIENT_LEFT: u16 = 499;

/// Serves one request whose first byte is there.
pub(crate) async fn exchange(connection: &mut Connection, worker: &Worker) -> Fate {
    let mut scratch = Scratch::take();
    let fate = one(connection, worker, &mut scratch).await;
    scratch.give();
    fate
}

/// Serves the request of a stream, whose head was `read`.
pub(crate) async fn exchange_call(
    connection: &mut Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    read: Result<(), Reject>,
) {
    match read {
        Ok(()) => drop(serve(connection, worker, scratch).await),
        Err(reject) => drop(refuse(connection, worker, scratch, Refused::Codec(reject)).await),
    }
}

async fn one(connection: &mut Connection, worker: &Worker, scratch: &mut Scratch) -> Fate {
    let Connection { wire, deadline, .. } = connection;
    let Wire::H1(plain) = wire else {
        return Fate::Abort;
    };
    match read_head(plain, deadline, scratch, worker.bounds.header_timeout.0).await {
        Ok(()) => serve(connection, worker, scratch).await,
        Err(None) => Fate::Abort,
        Err(Some(refused)) => Box::pin(refuse(connection, worker, scratch, refused)).await,
    }
}

/// Serves a request whose head is there.
async fn serve(connection: &mut Connection, worker: &Worker, scratch: &mut Scratch) -> Fate {
    let started = connection.tick();
    let Decision {
        source,
        mut destination,
        route,
        plan,
        delay,
    } = {
        let world = worker.world();
        let ask = Ask {
            address: connection.address,
            peer: connection.peer.as_deref().map(Asker::from),
            world: &world,
            rng: &worker.rng,
            counters: &worker.counters,
            restraint: Restraining::Live(Restraint {
                now: started,
                ip: connection.ip,
                worker,
            }),
        };
        decide(&ask, &mut scratch.request)
    };
    scratch.trail.source = source;
    let method = scratch.request.method();
    let stays = delay.is_zero() || Box::pin(wait(connection, delay)).await;
    if !delay.is_zero() {
        connection.tick();
    }
    let mut forwarded = None;
    let end = match plan {
        _ if !stays => End {
            code: CLIENT_LEFT,
            reason: None,
            fate: Fate::Abort,
        },
        Ok(Plan::Forward(mut plan)) => {
            let end = forward(connection, worker, scratch, &mut plan, started).await;
            destination = plan.cluster.label;
            forwarded = Some(plan);
            end
        }
        Ok(Plan::Answer(said)) => refuse_unread(connection, worker, scratch, &said).await,
        Err(error) => {
            scratch.trail.detail.clone_from(&error.detail);
            refuse_unread(connection, worker, scratch, &Answer::from(&error)).await
        }
    };
    let named = Named {
        source,
        destination,
        route,
        method,
        plan: forwarded.as_ref(),
    };
    record(connection, worker, scratch, &named, end, started);
    end.fate
}

/// Reads a head; the error is what to refuse it with, or nothing where the client has left.
async fn read_head(
    connection: &mut Plain,
    deadline: &mut Deadline,
    scratch: &mut Scratch,
    patience: Duration,
) -> Result<(), Option<Refused>> {
    // Most heads are there at once, and need neither a clock nor an alarm.
    let mut armed = false;
    poll_fn(|cx| {
        loop {
            let (taken, step) = connection
                .decoder
                .feed(connection.input.unread(), &mut scratch.request);
            connection.input.consume(taken);
            match step {
                Step::Head => return Poll::Ready(Ok(())),
                // Of the request before, which had no body that anybody had to look at.
                Step::End => continue,
                Step::Bad(reject) => return Poll::Ready(Err(Some(Refused::Codec(reject)))),
                _ => {}
            }
            match connection.input.poll_fill(&mut connection.stream, cx) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Err(None)),
                Poll::Pending => {
                    if !armed {
                        armed = true;
                        deadline.set(Instant::now() + patience);
                    }
                    return deadline.poll(cx).map(|()| Err(Some(Refused::TooSlow)));
                }
            }
        }
    })
    .await
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug)]
enum Refused {
    Codec(Reject),
    TooSlow,
}

impl Refused {
    fn error(self) -> Error {
        match self {
            Self::TooSlow => {
                Error::new(Reason::BadRequest, "the head took too long").with_status(408)
            }
            Self::Codec(reject) => refused(reject),
        }
    }
}

/// What the codec's refusal of a request is answered with.
pub(crate) fn refused(reject: Reject) -> Error {
    let status = reject.status(Side::Request);
    let reason = if matches!(status, 413 | 431) {
        Reason::TooLarge
    } else {
        Reason::BadRequest
    };
    Error::new(reason, reject.text()).with_status(status)
}

async fn refuse(
    connection: &mut Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    refused: Refused,
) -> Fate {
    let started = connection.tick();
    if let Refused::Codec(reject) = refused {
        worker.counters.reject(reject, false);
    }
    let error = refused.error();
    let said = Answer::from(&error);
    scratch.trail.detail = error.detail;
    let end = match &mut connection.wire {
        Wire::H1(_) => {
            scratch.down.clear();
            said.encode(&mut scratch.down.staged, false, Then::Close);
            send(connection, scratch, said.status, said.reason, Fate::Close).await
        }
        Wire::H2(_) => tell(connection, scratch, &said).await,
    };
    let named = Named {
        source: Label::NONE,
        destination: Label::NONE,
        route: Label::NONE,
        method: Method::Other,
        plan: None,
    };
    record(connection, worker, scratch, &named, end, started);
    end.fate
}

/// Answers on a stream; to a caller of gRPC in its own terms.
async fn tell(connection: &mut Connection, scratch: &Scratch, said: &Answer) -> End {
    let head_only = scratch.request.method() == Method::Head;
    let grpc = is_grpc(&scratch.request);
    let Connection { wire, deadline, .. } = connection;
    let mut fate = Fate::Abort;
    if let Wire::H2(call) = wire {
        deadline.set(Instant::now() + ANSWER_TIMEOUT);
        let mut told = pin!(call.answer(said, head_only, grpc));
        let told = poll_fn(|cx| match told.as_mut().poll(cx) {
            Poll::Ready(told) => Poll::Ready(told.is_ok()),
            Poll::Pending => deadline.poll(cx).map(|()| false),
        });
        if told.await {
            fate = Fate::Close;
        }
    }
    End {
        code: said.status,
        reason: said.reason,
        fate,
    }
}

/// Answers a request of which nothing went on. A body that is here already is passed over, so that a refusal costs no
/// connection: under load those would cost more than what is refused.
async fn refuse_unread(
    connection: &mut Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    said: &Answer,
) -> End {
    if let Wire::H1(plain) = &mut connection.wire {
        while !is_read(plain) {
            let unread = plain.input.unread();
            let (taken, step) = plain.decoder.feed(unread, &mut scratch.request);
            plain.input.consume(taken);
            if !matches!(step, Step::Data(_) | Step::Trailers) {
                break;
            }
        }
    }
    answer(connection, worker, scratch, said).await
}

/// Whether nothing of a request is left in its connection: only its end, or not even that.
fn is_read(plain: &Plain) -> bool {
    plain.decoder.is_body_done() || plain.decoder.is_idle()
}

/// Answers a request whose body, if it has one, is not read: then the connection ends.
///
/// Boxed, since it is seldom, and whoever forwards need not carry its size.
fn answer<'a>(
    connection: &'a mut Connection,
    worker: &'a Worker,
    scratch: &'a mut Scratch,
    said: &'a Answer,
) -> Pin<Box<dyn Future<Output = End> + 'a>> {
    Box::pin(say(connection, worker, scratch, said))
}

async fn say(
    connection: &mut Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    said: &Answer,
) -> End {
    let Wire::H1(plain) = &connection.wire else {
        return tell(connection, scratch, said).await;
    };
    let unread = scratch.request.framing() != Framing::None && !is_read(plain);
    let bad = said.reason == Some(Reason::BadRequest);
    let then = then(connection, worker, scratch, unread || bad);
    scratch.down.clear();
    said.encode(
        &mut scratch.down.staged,
        scratch.request.method() == Method::Head,
        then,
    );
    let fate = if then == Then::Close {
        Fate::Close
    } else {
        Fate::Reuse
    };
    // Whoever sent it on may have taken its end already: what comes then is the next request's.
    if fate == Fate::Reuse
        && let Wire::H1(plain) = &mut connection.wire
        && plain.decoder.is_body_done()
    {
        // Nothing but the end of the message is left in the decoder.
        let (taken, step) = plain
            .decoder
            .feed(plain.input.unread(), &mut scratch.request);
        debug_assert!(taken == 0 && matches!(step, Step::End | Step::Need));
    }
    send(connection, scratch, said.status, said.reason, fate).await
}

async fn send(
    connection: &mut Connection,
    scratch: &mut Scratch,
    code: u16,
    reason: Option<Reason>,
    fate: Fate,
) -> End {
    let Connection { wire, deadline, .. } = connection;
    deadline.set(Instant::now() + ANSWER_TIMEOUT);
    let sent = poll_fn(|cx| {
        if let Wire::H1(plain) = wire
            && let Poll::Ready(sent) = scratch.down.poll_flush(&mut plain.stream, cx)
        {
            return Poll::Ready(sent.is_ok());
        }
        deadline.poll(cx).map(|()| false)
    });
    let fate = if sent.await { fate } else { Fate::Abort };
    End { code, reason, fate }
}

/// How the connection goes on after this request.
fn then(connection: &Connection, worker: &Worker, scratch: &Scratch, must_close: bool) -> Then {
    if must_close || !scratch.request.keep_alive() || !connection.is_still_served(worker) {
        Then::Close
    } else if scratch.request.version() == Version::Http10 {
        Then::GoTold
    } else {
        Then::Go
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: fn(&'static mut Connection, &'static Worker) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_under_way_takes_little_memory() {
        let size = size(exchange);
        assert!(size <= 1900, "{size} bytes");
    }
}
