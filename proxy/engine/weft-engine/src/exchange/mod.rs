//! One request: decide, try, pump, record.

mod attempt;
mod decide;
mod failed;
mod fields;
mod follow;
mod forward;
mod reach;
mod request;
mod respond;
mod trace;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use weft_core::reason::{Error, Reason};
use weft_http1::{Framing, Method, Reject, Side, Step, Version};

use self::decide::{Decision, Plan, decide};
use self::forward::forward;
use crate::h1::{Answer, Connection, Fate, Scratch, Then};
use crate::observe::{Label, RequestKey};
use crate::worker::Worker;

/// From the first byte of a head to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

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

async fn one(connection: &mut Connection, worker: &Worker, scratch: &mut Scratch) -> Fate {
    match read_head(connection, scratch).await {
        Ok(()) => {}
        Err(None) => return Fate::Abort,
        Err(Some(refused)) => {
            let end = refuse(connection, worker, scratch, refused).await;
            let started = Instant::now();
            count(
                connection,
                worker,
                (Label::NONE, Label::NONE, Label::NONE),
                Method::Other,
                end,
                started,
            );
            return end.fate;
        }
    }
    let started = Instant::now();
    let Decision {
        source,
        destination,
        route,
        plan,
    } = decide(connection, &mut scratch.request, worker);
    let method = scratch.request.method();
    let end = match plan {
        Ok(Plan::Forward(plan)) => forward(connection, worker, scratch, plan, started).await,
        Ok(Plan::Answer(said)) => answer(connection, worker, scratch, &said).await,
        Err(error) => answer(connection, worker, scratch, &Answer::from(&error)).await,
    };
    count(
        connection,
        worker,
        (source, destination, route),
        method,
        end,
        started,
    );
    end.fate
}

/// Reads a head; the error is what to refuse it with, or nothing where the client has left.
async fn read_head(
    connection: &mut Connection,
    scratch: &mut Scratch,
) -> Result<(), Option<Refused>> {
    connection.deadline.set(Instant::now() + HEAD_TIMEOUT);
    poll_fn(|cx| {
        loop {
            let (taken, step) = connection
                .decoder
                .feed(connection.input.unread(), &mut scratch.request);
            connection.input.consume(taken);
            match step {
                Step::Head => return Poll::Ready(Ok(())),
                Step::Bad(reject) => return Poll::Ready(Err(Some(Refused::Codec(reject)))),
                _ => {}
            }
            match connection.input.poll_fill(&mut connection.stream, cx) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Err(None)),
                Poll::Pending if connection.deadline.poll(cx).is_ready() => {
                    return Poll::Ready(Err(Some(Refused::TooSlow)));
                }
                Poll::Pending => return Poll::Pending,
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
            Self::Codec(reject) => {
                let status = reject.status(Side::Request);
                let reason = if matches!(status, 413 | 431) {
                    Reason::TooLarge
                } else {
                    Reason::BadRequest
                };
                Error::new(reason, reject.text()).with_status(status)
            }
        }
    }
}

async fn refuse(
    connection: &mut Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    refused: Refused,
) -> End {
    if let Refused::Codec(reject) = refused {
        worker.counters.reject(reject, false);
    }
    let said = Answer::from(&refused.error());
    scratch.down.clear();
    said.encode(&mut scratch.down.staged, false, Then::Close);
    send(connection, scratch, said.status, said.reason, Fate::Close).await
}

/// Answers a request whose body, if it has one, is not read: then the connection ends.
async fn answer(
    connection: &mut Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    said: &Answer,
) -> End {
    let unread = scratch.request.framing() != Framing::None && !connection.decoder.is_body_done();
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
    if fate == Fate::Reuse {
        // Nothing but the end of the message is left in the decoder.
        let (taken, step) = connection
            .decoder
            .feed(connection.input.unread(), &mut scratch.request);
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
    connection.deadline.set(Instant::now() + HEAD_TIMEOUT);
    let sent = poll_fn(|cx| {
        if let Poll::Ready(sent) = scratch.down.poll_flush(&mut connection.stream, cx) {
            return Poll::Ready(sent.is_ok());
        }
        connection.deadline.poll(cx).map(|()| false)
    });
    let fate = if sent.await { fate } else { Fate::Abort };
    End { code, reason, fate }
}

/// How the connection goes on after this request.
fn then(connection: &mut Connection, worker: &Worker, scratch: &Scratch, must_close: bool) -> Then {
    if must_close || !scratch.request.keep_alive() || !worker.still_serves(connection) {
        Then::Close
    } else if scratch.request.version() == Version::Http10 {
        Then::GoTold
    } else {
        Then::Go
    }
}

fn count(
    connection: &mut Connection,
    worker: &Worker,
    (source, destination, route): (Label, Label, Label),
    method: Method,
    end: End,
    started: Instant,
) {
    let key = RequestKey {
        direction: connection.direction,
        source,
        destination,
        route,
        method,
        code: end.code,
        reason: end.reason,
    };
    worker
        .requests
        .count(key, started.elapsed(), &mut connection.last);
}
