//! One try: the request goes out while the response head is awaited.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::Error as TlsError;
use tokio::time::Instant;
use weft_core::retry::Failure;
use weft_http1::{Framing, Reject, Step, Version, encode};

use crate::h1::{Body, Connection, Ends, Relay, RelayError, Scratch};
use crate::tls::TlsReason;
use crate::upstream;

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
    upstream: &mut upstream::Connection,
    scratch: &mut Scratch,
    upload: &mut Upload,
    patience: Patience,
) -> Result<(), Trouble> {
    let offers = scratch.request.is_websocket();
    upstream.decoder.expect(scratch.request.method(), offers);
    let mut broken = false;
    let mut armed = upload.done;
    connection.bound(upstream.ends);
    connection.deadline.set(
        Instant::now()
            + if armed.is_some() {
                patience.head
            } else {
                patience.stream
            },
    );
    let outcome = poll_fn(|cx| {
        if !scratch.down.is_empty()
            && let Poll::Ready(Err(error)) = scratch.down.poll_flush(&mut connection.stream, cx)
        {
            return Poll::Ready(Err(Trouble::Downstream(RelayError::Sink(error))));
        }
        if !broken && (upload.done.is_none() || !scratch.up.is_empty()) {
            match poll_upload(cx, connection, upstream, scratch, upload) {
                Poll::Ready(Ok(())) => upload.done = upload.done.or_else(|| Some(Instant::now())),
                // The answer may be there all the same: why the upstream took no more of the request.
                Poll::Ready(Err(RelayError::Sink(error))) => match tls_reason(&error) {
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
    upstream: &mut upstream::Connection,
    scratch: &mut Scratch,
    upload: &mut Upload,
) -> Poll<Result<(), RelayError>> {
    let ends = Ends {
        from: &mut connection.stream,
        input: &mut connection.input,
        to: &mut upstream.stream,
        output: &mut scratch.up,
    };
    let mut body = Body::Request(&mut connection.decoder, &mut scratch.request);
    upload
        .relay
        .poll(cx, ends, &mut body, Some(&mut scratch.replay))
}

/// Reads up to the final head; informational ones go on at once.
fn poll_head(
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
                if scratch.request.version() == Version::Http11 {
                    encode::response(
                        &mut scratch.down.staged,
                        &scratch.response,
                        Framing::None,
                        [],
                    );
                    if let Poll::Ready(Err(error)) =
                        scratch.down.poll_flush(&mut connection.stream, cx)
                    {
                        return Poll::Ready(Err(Trouble::Downstream(RelayError::Sink(error))));
                    }
                }
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
                return Poll::Ready(Err(tls_reason(&error).map_or(reset, Trouble::Tls)));
            }
        }
    }
}

/// What TLS said, if it was TLS that said something. In TLS 1.3 a server's refusal of our certificate comes only now. A
/// missing close_notify is a reset like any other.
fn tls_reason(error: &io::Error) -> Option<TlsReason> {
    let error = error.get_ref()?.downcast_ref::<TlsError>()?;
    Some(TlsReason::of(error))
}
