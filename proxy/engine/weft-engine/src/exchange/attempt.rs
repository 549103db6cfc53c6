//! One try: the request goes out while the response head is awaited.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;
use weft_core::retry::Failure;
use weft_http1::{Framing, Reject, Step, Version, encode};

use crate::h1::{Connection, Scratch, Wire};
use crate::h2::Answered;
use crate::relay::{Relay, RelayError};
use crate::tls::TlsReason;
use crate::upstream::{self, Upstream};

/// A request on its way, over all of its tries.
#[derive(Debug)]
pub(super) struct Upload {
    /// How far its body has come.
    pub(super) relay: Relay,
    /// When its last byte was written; the time-outs begin then.
    pub(super) done: Option<Instant>,
}

/// How long is waited in a try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the head, from the end of the request.
    pub(super) head: Duration,
    /// Between two moves of the body.
    pub(super) stream: Duration,
    /// No longer than to that moment.
    pub(super) until: Option<Instant>,
}

/// Why there is no response head.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The upstream is to blame.
    Upstream(Failure),
    /// It sent what is refused.
    Refused(Reject),
    /// It did not believe us, or TLS broke.
    Tls(TlsReason),
    /// The client is to blame, or has left.
    Downstream(RelayError),
}

/// Sends and waits. The upload may be unfinished when the head is there.
pub(super) async fn attempt(
    connection: &mut Connection,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
    upload: &mut Upload,
    patience: Patience,
) -> Result<(), Trouble> {
    if let Upstream::H1(upstream) = upstream {
        let offers = scratch.request.is_websocket() && !connection.wire.is_http2();
        upstream.decoder.expect(scratch.request.method(), offers);
    }
    let mut broken = false;
    let mut armed = upload.done;
    let ends = upstream.ends().into_iter().chain(patience.until).min();
    connection.bound(ends);
    connection.deadline.set(
        connection.now
            + if armed.is_some() {
                patience.head
            } else {
                patience.stream
            },
    );
    let outcome = poll_fn(|cx| {
        if !scratch.down.is_empty()
            && let Wire::H1(plain) = &mut connection.wire
            && let Poll::Ready(Err(error)) = scratch.down.poll_flush(&mut plain.stream, cx)
        {
            return Poll::Ready(Err(Trouble::Downstream(RelayError::Sink(error))));
        }
        if connection.wire.poll_left(cx).is_ready() {
            return Poll::Ready(Err(Trouble::Downstream(RelayError::Source)));
        }
        if !broken && (upload.done.is_none() || upstream.owes(&scratch.up)) {
            match poll_upload(cx, connection, upstream, scratch, upload) {
                Poll::Ready(Ok(())) => upload.done = upload.done.or_else(|| Some(Instant::now())),
                // The answer may be there all the same: why the upstream took no more of the request.
                Poll::Ready(Err(RelayError::Sink(error))) => match TlsReason::within(&error) {
                    Some(reason) => return Poll::Ready(Err(Trouble::Tls(reason))),
                    None => broken = true,
                },
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Trouble::Downstream(error))),
                Poll::Pending if upload.relay.take_progress() => {
                    connection.deadline.set(Instant::now() + patience.stream);
                }
                Poll::Pending => {}
            }
        }
        if armed.is_none()
            && let Some(done) = upload.done
        {
            armed = Some(done);
            connection.deadline.set(done + patience.head);
        }
        if let Poll::Ready(head) = poll_head(cx, connection, upstream, scratch) {
            return Poll::Ready(head);
        }
        connection
            .deadline
            .poll(cx)
            .map(|()| Err(Trouble::Upstream(Failure::TryTimeout)))
    })
    .await;
    connection.bound(None);
    outcome
}

/// Moves the request on.
pub(super) fn poll_upload(
    cx: &mut Context<'_>,
    connection: &mut Connection,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
    upload: &mut Upload,
) -> Poll<Result<(), RelayError>> {
    let source = connection.wire.source(&mut scratch.request);
    let Some(sink) = upstream.sink(&mut scratch.up) else {
        return Poll::Pending;
    };
    upload
        .relay
        .poll(cx, source, sink, Some(&mut scratch.replay))
}

/// Reads up to the final head; informational ones go on at once.
fn poll_head(
    cx: &mut Context<'_>,
    connection: &mut Connection,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
) -> Poll<Result<(), Trouble>> {
    match upstream {
        Upstream::H1(upstream) => poll_head_h1(cx, connection, upstream, scratch),
        Upstream::H2(sender) => loop {
            let method = scratch.request.method();
            let answered = ready!(sender.poll_head(cx, method, &mut scratch.response));
            return Poll::Ready(match answered {
                Answered::Informational => {
                    inform(cx, connection, scratch)?;
                    continue;
                }
                Answered::Head => Ok(()),
                Answered::Failed(failure) => Err(Trouble::Upstream(failure)),
                Answered::Refused(reject) => Err(Trouble::Refused(reject)),
                Answered::Tls(reason) => Err(Trouble::Tls(reason)),
            });
        },
    }
}

/// Passes an informational head on.
fn inform(
    cx: &mut Context<'_>,
    connection: &mut Connection,
    scratch: &mut Scratch,
) -> Result<(), Trouble> {
    let head = &scratch.response;
    match &mut connection.wire {
        Wire::H2(call) => call.informational(head.status(), head.fields().forwarded()),
        Wire::H1(plain) if scratch.request.version() == Version::Http11 => {
            encode::response(&mut scratch.down.staged, head, Framing::None, []);
            if let Poll::Ready(Err(error)) = scratch.down.poll_flush(&mut plain.stream, cx) {
                return Err(Trouble::Downstream(RelayError::Sink(error)));
            }
        }
        Wire::H1(_) => {}
    }
    Ok(())
}

fn poll_head_h1(
    cx: &mut Context<'_>,
    connection: &mut Connection,
    upstream: &mut upstream::Connection,
    scratch: &mut Scratch,
) -> Poll<Result<(), Trouble>> {
    loop {
        let (taken, step) = upstream
            .decoder
            .feed(upstream.input.unread(), &mut scratch.response);
        upstream.input.consume(taken);
        match step {
            Step::Head if scratch.response.is_informational() => {
                inform(cx, connection, scratch)?;
                continue;
            }
            Step::Head => return Poll::Ready(Ok(())),
            Step::Bad(reject) => return Poll::Ready(Err(Trouble::Refused(reject))),
            _ => {}
        }
        match upstream.input.poll_fill(&mut upstream.stream, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(count)) if count > 0 => {}
            Poll::Ready(Ok(_)) => return Poll::Ready(Err(Trouble::Upstream(Failure::Reset))),
            Poll::Ready(Err(error)) => {
                let reset = Trouble::Upstream(Failure::Reset);
                return Poll::Ready(Err(TlsReason::within(&error).map_or(reset, Trouble::Tls)));
            }
        }
    }
}
