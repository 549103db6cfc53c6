//! The answer as it goes on, while the rest of the request may still be coming.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use rustls_pki_types::UnixTime;
use socket2::SockRef;
use tokio::time::Instant;
use weft_core::access::Call;
use weft_core::reason::{Error, Reason};
use weft_http1::{Field, FieldId, Framing, Reject, ResponseHead, Version, encode};
use weft_model::section::Decision;

use super::attempt::{Upload, poll_upload};
use super::decide::{Forward, Way};
use super::failed::refused_response;
use super::record::record_opened;
use super::restrain::FAULT;
use super::{CLIENT_LEFT, End, answer, then};
use crate::h1::{Answer, Connection, Fate, Scratch, Then, Wire};
use crate::h2::{append, append_fields, append_lines};
use crate::io::{Bounds, Ended, Side, Tunnel, Whose};
use crate::observe::Open;
use crate::relay::{Relay, RelayError};
use crate::tls::Role;
use crate::upstream::{self, Upstream};
use crate::watch::Ending;
use crate::worker::{Peer, Worker};

/// What is known when an answer's head is there.
pub(super) struct Answered<'a> {
    pub(super) worker: &'a Worker,
    pub(super) plan: &'a Forward,
    /// What a peer engine says for itself.
    pub(super) peer: Option<Reason>,
}

/// How moving the answer ended.
enum Moved {
    Whole,
    UpstreamBroke(Option<Reject>),
    ClientLeft,
    Idle,
}

/// Forwards an answer to its end.
pub(super) async fn respond(
    connection: &mut Connection,
    mut upstream: Upstream,
    scratch: &mut Scratch,
    upload: &mut Upload,
    answered: Answered<'_>,
) -> End {
    let code = scratch.response.status();
    if code == 101 {
        return Box::pin(switch(connection, upstream, scratch, &answered)).await;
    }
    let framing = framing(scratch);
    let uncertain = upload.done.is_none() && scratch.request.expects_continue();
    let then = then(
        connection,
        answered.worker,
        scratch,
        uncertain || framing == Framing::UntilClose,
    );
    // The head of a stream is sent at once.
    let still = scratch.down.is_empty() && !connection.wire.is_http2();
    let before = still.then(|| scratch.down.written());
    strip(&mut scratch.response, &answered);
    let headed = match &mut connection.wire {
        Wire::H1(_) => {
            encode_head(scratch, &answered, framing, then);
            Ok(())
        }
        Wire::H2(call) => {
            let ended = upstream.is_ended(&scratch.response);
            call.head(frame_head(&scratch.response, &answered), ended)
        }
    };
    if headed.is_err() {
        return End {
            code: CLIENT_LEFT,
            reason: answered.peer,
            fate: Fate::Abort,
        };
    }
    let mut relay = Relay::new(
        if scratch.response.framing() == Framing::None {
            Framing::None
        } else {
            framing
        },
        0,
    );
    let idle = answered.plan.cluster.traffic.stream_idle;
    let end = |reason, fate| End { code, reason, fate };
    let moved = pump(connection, &mut upstream, scratch, upload, &mut relay, idle).await;
    scratch.trail.moved.1 = relay.moved();
    match moved {
        Moved::Whole => {}
        Moved::ClientLeft => {
            return End {
                code: CLIENT_LEFT,
                ..end(answered.peer, Fate::Abort)
            };
        }
        Moved::UpstreamBroke(refused) if before == Some(scratch.down.written()) => {
            // Nothing of it was sent, so that an answer of our own can still take its place.
            let error = broken(&answered, refused);
            return answer(connection, answered.worker, scratch, &Answer::from(&error)).await;
        }
        Moved::UpstreamBroke(refused) => {
            broken(&answered, refused);
            truncate(connection, framing);
            if let Wire::H2(call) = &mut connection.wire {
                call.reset();
            }
            return end(Some(Reason::Reset), Fate::Abort);
        }
        Moved::Idle => {
            truncate(connection, framing);
            if let Wire::H2(call) = &mut connection.wire {
                call.reset();
            }
            return end(Some(Reason::Reset), Fate::Abort);
        }
    }
    let uploaded = upload.done.is_some();
    if let Upstream::H1(upstream) = upstream
        && uploaded
        && scratch.response.keep_alive()
        && upstream.input.unread().is_empty()
        && scratch.up.is_empty()
    {
        answered.worker.give(
            upstream,
            answered.plan.cluster.traffic.idle_timeout,
            connection.now,
        );
    }
    end(
        answered.peer,
        if then == Then::Close || !uploaded {
            Fate::Close
        } else {
            Fate::Reuse
        },
    )
}

/// Both directions until the answer is written.
async fn pump(
    connection: &mut Connection,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
    upload: &mut Upload,
    relay: &mut Relay,
    idle: Duration,
) -> Moved {
    connection.bound(upstream.ends());
    // A short answer is there as a whole, and needs neither a clock nor an alarm.
    let mut waited = false;
    let mut upload_broken = false;
    let moved = poll_fn(|cx| {
        let (Some(source), Some(sink)) = (
            upstream.source(&mut scratch.response),
            connection.wire.sink(&mut scratch.down),
        ) else {
            return Poll::Ready(Moved::UpstreamBroke(None));
        };
        match relay.poll(cx, source, sink, None) {
            Poll::Ready(Ok(())) => return Poll::Ready(Moved::Whole),
            Poll::Ready(Err(RelayError::Sink(_))) => return Poll::Ready(Moved::ClientLeft),
            Poll::Ready(Err(RelayError::Refused(reject))) => {
                return Poll::Ready(Moved::UpstreamBroke(Some(reject)));
            }
            Poll::Ready(Err(RelayError::Source | RelayError::TooLarge)) => {
                return Poll::Ready(Moved::UpstreamBroke(None));
            }
            Poll::Pending => {}
        }
        if upload.done.is_none() && !upload_broken {
            match poll_upload(cx, connection, upstream, scratch, upload) {
                Poll::Ready(Ok(())) => upload.done = Some(Instant::now()),
                Poll::Ready(Err(RelayError::Sink(_))) => upload_broken = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Moved::ClientLeft),
                Poll::Pending => {}
            }
        }
        if connection.wire.poll_left(cx).is_ready() {
            return Poll::Ready(Moved::ClientLeft);
        }
        if relay.take_progress() | upload.relay.take_progress() | !waited {
            waited = true;
            connection.deadline.set(Instant::now() + idle);
        }
        connection.deadline.poll(cx).map(|()| Moved::Idle)
    })
    .await;
    connection.bound(None);
    if waited {
        connection.tick();
    }
    moved
}

/// Why an answer ends before its end; counted by that.
fn broken(answered: &Answered<'_>, refused: Option<Reject>) -> Error {
    let name = &answered.plan.cluster.name;
    match refused {
        Some(reject) => {
            answered.worker.counters.reject(reject, true);
            refused_response(name, reject)
        }
        None => Error::new(
            Reason::Reset,
            format!("{name} closed the connection inside its answer"),
        ),
    }
}

/// How the client is told where the body ends.
fn framing(scratch: &Scratch) -> Framing {
    match (scratch.response.announced(), scratch.request.version()) {
        (Framing::Chunked | Framing::UntilClose, Version::Http10) => Framing::UntilClose,
        (Framing::Chunked | Framing::UntilClose, Version::Http11) => Framing::Chunked,
        (known, _) => known,
    }
}

fn encode_head(scratch: &mut Scratch, answered: &Answered<'_>, framing: Framing, then: Then) {
    let Scratch {
        response: head,
        down,
        ..
    } = scratch;
    let out = &mut down.staged;
    encode::status_line(out, head.status(), head.reason());
    let edits = &answered.plan.rule.response;
    if edits.is_empty() {
        encode::forwarded(out, head.fields());
    } else {
        for field in head
            .fields()
            .forwarded()
            .filter(|field| !edits.drops(field.name))
        {
            encode::field(out, field.name, field.value);
        }
        out.extend_from_slice(edits.lines());
    }
    if let Some(fault) = &answered.plan.fault {
        encode::field(out, FAULT.as_bytes(), fault.as_bytes());
    }
    then.encode(out);
    encode::framing(out, framing);
    encode::end(out);
}

/// The head as HTTP/2 says it.
fn frame_head(head: &ResponseHead, answered: &Answered<'_>) -> http::Response<()> {
    let mut response = http::Response::new(());
    *response.status_mut() =
        http::StatusCode::from_u16(head.status()).unwrap_or(http::StatusCode::BAD_GATEWAY);
    let map = response.headers_mut();
    let edits = &answered.plan.rule.response;
    let goes_on = |field: &Field<'_>| edits.is_empty() || !edits.drops(field.name);
    append_fields(map, head.fields().forwarded().filter(goes_on));
    append_lines(map, edits.lines());
    if let Some(fault) = &answered.plan.fault {
        append(map, FAULT.as_bytes(), fault.as_bytes());
    }
    if head.fields().has(FieldId::ContentLength)
        && let Framing::Length(length) = head.announced()
    {
        append(map, b"content-length", length.to_string().as_bytes());
    }
    response
}

/// An application cannot pose as an engine, nor say who called.
fn strip(head: &mut ResponseHead, answered: &Answered<'_>) {
    let fields = head.fields_mut();
    fields.drop_id(FieldId::XWeftCaller);
    fields.drop_id(FieldId::XWeftMirror);
    if !matches!(answered.plan.way, Way::Mesh { .. }) {
        // A peer engine has done so already, and may say something itself.
        fields.drop_id(FieldId::Weft);
    }
    if answered.peer.is_none() {
        fields.drop_id(FieldId::XWeftReason);
    }
}

/// A body that ends with the connection has no other way of saying that it is not whole.
fn truncate(connection: &Connection, framing: Framing) {
    if framing == Framing::UntilClose
        && let Wire::H1(plain) = &connection.wire
    {
        // The connection is closed anyway; a reset is only the better way.
        let _ = SockRef::from(plain.stream.socket()).set_linger(Some(Duration::ZERO));
    }
}

/// After a 101: a tunnel, for as long as its caller may have it.
async fn switch(
    connection: &mut Connection,
    upstream: Upstream,
    scratch: &mut Scratch,
    answered: &Answered<'_>,
) -> End {
    strip(&mut scratch.response, answered);
    let out = &mut scratch.down.staged;
    encode::status_line(out, 101, scratch.response.reason());
    encode::forwarded(out, scratch.response.fields());
    out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    encode::end(out);
    let end = |reason| End {
        code: 101,
        reason,
        fate: Fate::Abort,
    };
    record_opened(connection, answered.worker, scratch, answered.plan);
    let counters = &answered.worker.counters;
    let _open = counters.opened(Open::Tunnel, connection.direction);
    let Connection {
        wire,
        deadline,
        peer,
        ..
    } = connection;
    let (Wire::H1(plain), Upstream::H1(mut upstream)) = (wire, upstream) else {
        return end(Some(Reason::Internal));
    };
    if poll_fn(|cx| scratch.down.poll_flush(&mut plain.stream, cx))
        .await
        .is_err()
    {
        scratch.trail.tunnel(Ending::Broken, (0, 0));
        return end(None);
    }
    let worker = answered.worker;
    let mut tunnel = Tunnel::default();
    let own = peer.as_ref().map(|peer| peer.life.end);
    let bounds = Bounds {
        idle: answered.plan.cluster.traffic.stream_idle,
        expires: own.into_iter().chain(upstream.ends).min(),
    };
    let mut total = (0, 0);
    let (ending, reason) = loop {
        if let Err(reason) = may_go_on(peer.as_deref(), &upstream, scratch, answered) {
            break (Ending::Revoked, Some(reason));
        }
        let down = Side {
            stream: &mut plain.stream,
            input: &mut plain.input,
        };
        let up = Side {
            stream: &mut upstream.stream,
            input: &mut upstream.input,
        };
        let moved = |sent, received| total = (total.0 + sent, total.1 + received);
        tokio::select! {
            ended = tunnel.run(down, up, deadline, bounds, moved) => break match ended {
                Ended::Whole => (Ending::Done, None),
                Ended::Broken(Whose::Up, _) => (Ending::Broken, Some(Reason::Reset)),
                Ended::Broken(Whose::Down, _) => (Ending::Broken, None),
                Ended::Idle => (Ending::Idle, None),
                Ended::Expired => (Ending::Expired, None),
            },
            () = worker.rejudge.notified() => {}
        }
    };
    scratch.trail.tunnel(ending, total);
    end(reason)
}

/// Whether a tunnel's caller is still believed and still allowed, and the instance behind it still believed; or why it ends.
fn may_go_on(
    peer: Option<&Peer>,
    upstream: &upstream::Connection,
    scratch: &Scratch,
    answered: &Answered<'_>,
) -> Result<(), Reason> {
    let world = answered.worker.world();
    if matches!(answered.plan.way, Way::Mesh { .. }) {
        let chain = upstream.stream.peer_certificates().unwrap_or_default();
        let tls = &world.tls;
        let judged = tls
            .trust
            .judge(chain, Role::Server, &tls.local, UnixTime::now());
        return judged.map(drop).map_err(|_| Reason::TlsFailed);
    }
    let Some(peer) = peer else {
        return Ok(());
    };
    let believed = peer.is_still_believed(&world.tls);
    let Some(service) = world.services.get(&peer.service) else {
        return Err(Reason::Denied);
    };
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let call = Call {
        caller: Some(&peer.caller),
        method: scratch.request.method_text(),
        path: text(scratch.request.path()),
    };
    let allowed = service.rules.access.judge(call).enforced.decision == Decision::Allow;
    (believed && allowed).then_some(()).ok_or(Reason::Denied)
}
